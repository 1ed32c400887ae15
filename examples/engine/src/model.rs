//! A recurrent model whose arithmetic is exact: the logits have the same bits in whatever order
//! they are summed. It is the model of `engine.py`.

use std::array;
use std::error::Error;

/// The semantic codes, the end, three tags, then the 4,096 global codes.
pub(crate) const VOCABULARY: usize = 12_292;
/// Numbers in the model's state.
const WIDTH: usize = 16;
/// The largest of the state: `16 * 2_048 * 511` is below 2^24, so that f32 holds each sum.
const LARGEST: i32 = 511;

/// The token that ends the semantic phase.
pub(crate) const END: usize = 8_192;

/// The weights, whole numbers of [-2,048, 2,047], made from a seed.
pub(crate) struct Weights {
    /// By number of the state, then by token: a sum for all tokens at once is a loop of vectors.
    readout: [Vec<f32>; WIDTH],
    embedding: Vec<[i32; WIDTH]>,
    recurrent: [[i32; WIDTH]; WIDTH],
}

impl Weights {
    /// Makes the three matrices, one after the other, row by row.
    pub(crate) fn new(seed: u64) -> Self {
        let mut weights = Splitmix(seed);
        let mut row = || array::from_fn(|_| weights.next());
        let mut readout = [const { Vec::new() }; WIDTH];
        for _ in 0..VOCABULARY {
            let row: [i16; WIDTH] = row();
            for (column, weight) in readout.iter_mut().zip(row) {
                column.push(f32::from(weight));
            }
        }
        let mut row = || row().map(i32::from);
        let embedding = (0..VOCABULARY).map(|_| row()).collect();
        Self { readout, embedding, recurrent: array::from_fn(|_| row()) }
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014), of which a weight takes the upper twelve bits.
struct Splitmix(u64);

impl Splitmix {
    fn next(&mut self) -> i16 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 52) as i16 - 2_048
    }
}

/// The state of one generation.
pub(crate) struct Model<'a> {
    weights: &'a Weights,
    /// How many tokens raise the end's logit by one; a power of two.
    pace: u16,
    state: [i32; WIDTH],
    fed: u16,
}

impl<'a> Model<'a> {
    pub(crate) fn new(weights: &'a Weights, pace: u16) -> Self {
        Self { weights, pace, state: [0; WIDTH], fed: 0 }
    }

    /// Takes a token in, which moves the state.
    pub(crate) fn feed(&mut self, token: i64) -> Result<(), Box<dyn Error>> {
        let row = usize::try_from(token).ok().and_then(|row| self.weights.embedding.get(row));
        let embedding = row.ok_or_else(|| format!("token {token} is beyond the vocabulary"))?;
        self.state = array::from_fn(|i| {
            let row = self.weights.recurrent[i].iter().zip(self.state);
            let moved = row.map(|(weight, state)| weight * state).sum::<i32>();
            ((moved + 1_536 * embedding[i]) >> 13).clamp(-LARGEST, LARGEST)
        });
        self.fed += 1;
        Ok(())
    }

    /// The logits; the end's rises with every token that was fed.
    pub(crate) fn logits(&self) -> Vec<f32> {
        let mut logits = vec![0.0; VOCABULARY];
        for (column, state) in self.weights.readout.iter().zip(self.state) {
            #[allow(clippy::cast_precision_loss)] // At most 511: exact.
            let state = state as f32;
            for (logit, weight) in logits.iter_mut().zip(column) {
                *logit += weight * state;
            }
        }
        for logit in &mut logits {
            *logit *= 1.0 / 262_144.0; // 2^-18
        }
        logits[END] = 7.0 + f32::from(self.fed) / f32::from(self.pace);
        logits
    }
}
