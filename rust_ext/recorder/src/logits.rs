//! Logits as an engine passes them, and what is kept of them.

use half::{bf16, f16};
use safetensors::Dtype;
use sha2::{Digest, Sha256};

use crate::reader::Tensor;
use crate::{Keep, record};

/// The logits of one call, as passed to the sampler.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    values: Values<'a>,
    rows: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    F32(&'a [f32]),
    Bytes(Dtype, &'a [u8]),
}

/// What is kept of a call's logits.
pub(crate) struct Kept {
    pub(crate) keep: &'static str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) digest: String,
    pub(crate) tensors: Vec<(&'static str, Tensor)>,
}

impl Default for Logits<'_> {
    fn default() -> Self {
        Self::row(&[])
    }
}

impl<'a> Logits<'a> {
    /// One row of logits, f32 `[V]`.
    #[must_use]
    pub fn row(values: &'a [f32]) -> Self {
        Self { values: Values::F32(values), rows: None }
    }

    /// A batch of `rows` rows, f32 `[rows, V]`, row-major.
    #[must_use]
    pub fn rows(values: &'a [f32], rows: usize) -> Self {
        Self { values: Values::F32(values), rows: Some(rows) }
    }

    /// Logits as row-major, little-endian bytes of `F32`, `F16`, `BF16` or `F64`: `[V]` where
    /// `rows` is `None`, else `[rows, V]`.
    #[must_use]
    pub fn bytes(dtype: Dtype, bytes: &'a [u8], rows: Option<usize>) -> Self {
        Self { values: Values::Bytes(dtype, bytes), rows }
    }

    /// Copies what `keep` asks for; the message says why that cannot be.
    pub(crate) fn keep(self, keep: Keep) -> Result<Kept, String> {
        let dtype = self.dtype();
        let shape = self.shape()?;
        let kept =
            |keep, digest, tensors| Kept { keep, dtype, shape: shape.clone(), digest, tensors };
        Ok(match keep {
            Keep::Whole => {
                let tensor = Tensor { dtype, shape: shape.clone(), bytes: self.to_bytes() };
                kept(record::WHOLE, String::new(), vec![("logits", tensor)])
            }
            Keep::Top(most) => kept(record::TOP, String::new(), self.top(most, &shape)),
            Keep::Digest => {
                let digest = match self.values {
                    Values::F32(_) => Sha256::digest(self.to_bytes()),
                    Values::Bytes(_, bytes) => Sha256::digest(bytes),
                };
                kept(record::DIGEST, hexadecimal(&digest), Vec::new())
            }
        })
    }

    fn dtype(self) -> Dtype {
        match self.values {
            Values::F32(_) => Dtype::F32,
            Values::Bytes(dtype, _) => dtype,
        }
    }

    fn shape(self) -> Result<Vec<usize>, String> {
        let count = match self.values {
            Values::F32(values) => values.len(),
            Values::Bytes(dtype, bytes) => {
                let size = size(dtype).ok_or_else(|| format!("{dtype} is no dtype of logits"))?;
                if !bytes.len().is_multiple_of(size) {
                    return Err(format!("{} bytes are no whole number of {dtype}", bytes.len()));
                }
                bytes.len() / size
            }
        };
        match self.rows {
            None => Ok(vec![count]),
            Some(0) if count == 0 => Ok(vec![0, 0]),
            // No logits would make any number of rows, and a huge one would fill the memory.
            Some(rows) if rows > 0 && count > 0 && count.is_multiple_of(rows) => {
                Ok(vec![rows, count / rows])
            }
            Some(rows) => Err(format!("{count} logits do not make {rows} rows")),
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        match self.values {
            Values::F32(values) => {
                let mut bytes = vec![0; values.len() * 4];
                for (four, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                    *four = value.to_le_bytes();
                }
                bytes
            }
            Values::Bytes(_, bytes) => bytes.to_vec(),
        }
    }

    /// The largest logits of each row, and the mass of the others.
    fn top(self, most: usize, shape: &[usize]) -> Vec<(&'static str, Tensor)> {
        let &[.., vocabulary] = shape else { return Vec::new() };
        let rows = if let [rows, _] = *shape { rows } else { 1 };
        let most = most.min(vocabulary);
        let (mut tokens, mut logits, mut rests) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            let first = row * vocabulary;
            let (largest, rest) = match self.values {
                Values::F32(values) => top_of_row(&values[first..first + vocabulary], most),
                Values::Bytes(dtype, bytes) => {
                    let size = size(dtype).unwrap_or(1);
                    let bytes = &bytes[first * size..(first + vocabulary) * size];
                    top_of_row(&widen(dtype, bytes), most)
                }
            };
            for token in largest {
                tokens.extend((token as u64).to_le_bytes());
                self.push_bytes(first + token, &mut logits);
            }
            rests.extend(rest.to_le_bytes());
        }
        let (dtype, shape) = (self.dtype(), vec![rows, most]);
        vec![
            ("tokens", Tensor { dtype: Dtype::I64, shape: shape.clone(), bytes: tokens }),
            ("logits", Tensor { dtype, shape, bytes: logits }),
            ("rest", Tensor { dtype: Dtype::F64, shape: vec![rows], bytes: rests }),
        ]
    }

    fn push_bytes(self, index: usize, bytes: &mut Vec<u8>) {
        match self.values {
            Values::F32(values) => bytes.extend(values[index].to_le_bytes()),
            Values::Bytes(dtype, all) => {
                let size = size(dtype).unwrap_or(1);
                bytes.extend(&all[index * size..(index + 1) * size]);
            }
        }
    }
}

/// Bytes of one logit, where logits can be of this dtype.
pub(crate) fn size(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::F32 => Some(4),
        Dtype::F64 => Some(8),
        _ => None,
    }
}

/// The values of a float tensor's bytes; each conversion is exact. Nothing for other dtypes.
pub(crate) fn widen(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        Dtype::F16 => each(bytes, |value| f16::from_le_bytes(value).to_f64()),
        Dtype::BF16 => each(bytes, |value| bf16::from_le_bytes(value).to_f64()),
        Dtype::F32 => each(bytes, |value| f64::from(f32::from_le_bytes(value))),
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        _ => Vec::new(),
    }
}

fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|&bytes| value(bytes)).collect()
}

/// The tokens of the `most` largest logits, the largest first, of equal ones the lower token; and
/// the logarithm of the sum of `exp(logit)` over all others, -inf where there is none.
fn top_of_row<T: Copy + Into<f64>>(logits: &[T], most: usize) -> (Vec<usize>, f64) {
    let mut keys: Vec<u64> = logits.iter().map(|&logit| key(logit.into())).collect();
    let last = if most < keys.len() { *keys.select_nth_unstable(most).1 } else { u64::MAX };
    let key = |token: usize| key(logits[token].into());
    let mut tokens: Vec<_> = (0..logits.len()).filter(|&token| key(token) <= last).collect();
    tokens.sort_by_key(|&token| key(token)); // A stable sort keeps the lower token first.
    let next = tokens.get(most).map_or(f64::NEG_INFINITY, |&token| logits[token].into());
    tokens.truncate(most);
    if next.is_infinite() {
        return (tokens, next); // Less itself it would be NaN.
    }
    let mut is_kept = vec![false; logits.len()];
    for &token in &tokens {
        is_kept[token] = true;
    }
    let others = logits.iter().zip(&is_kept).filter(|(_, is_kept)| !**is_kept);
    let sum: f64 = others.map(|(&logit, _)| (logit.into() - next).exp()).sum();
    (tokens, next + sum.ln())
}

/// A key that ascends from the largest logit to the smallest.
///
/// NaN stands before every number, as `torch.topk` has it; the two zeros are equal.
fn key(logit: f64) -> u64 {
    if logit.is_nan() {
        return 0;
    }
    let bits = (logit + 0.0).to_bits(); // -0.0 + 0.0 is 0.0
    if bits >> 63 == 1 { bits } else { !(bits | 1 << 63) }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}
