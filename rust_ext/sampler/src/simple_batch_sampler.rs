//! `simple_batch_sampler`: argmax of scaled logits plus uniform noise.

use crate::error::SampleError;
use crate::planted::planted;
use crate::rows::to_token;
use crate::stages::argmax::argmax;
use crate::stages::scale;
use crate::torch::generator::Generator;
use crate::trace::SimpleBatchTrace;

/// The parameters of [`simple_batch_sampler`]; the default is the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimpleBatchParameters {
    /// Upper end of the uniform noise; 0 adds none and leaves the generator alone.
    pub noise: f64,
    /// The logits are multiplied by 1 / temp.
    pub temp: f64,
    /// A token whose logits are set to -inf first.
    pub forbid_token: Option<usize>,
    /// In which order the logits take their noise from the generator.
    pub order: NoiseOrder,
}

/// In which order the logits take their noise from the generator.
///
/// torch fills a tensor in the order of its memory: a transposed one column by column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoiseOrder {
    /// Row by row.
    #[default]
    RowMajor,
    /// Column by column.
    ColumnMajor,
}

impl Default for SimpleBatchParameters {
    fn default() -> Self {
        Self { noise: 1.0, temp: 1.0, forbid_token: None, order: NoiseOrder::RowMajor }
    }
}

/// Takes the argmax of each row after scaling it and adding noise, in place.
///
/// `logits` is `[B, V]`, row-major, with `vocab` = V and B = `tokens.len()`; it holds the scaled,
/// noised logits afterwards. The noise takes one 32-bit output a logit.
///
/// ```
/// use torch_exact_sampler::{Generator, SimpleBatchParameters, simple_batch_sampler};
///
/// let mut logits = [0.5_f32, 2.0, -1.0, /* the second row */ 3.0, 0.0, 1.0];
/// let greedy = SimpleBatchParameters { noise: 0.0, temp: 2.0, ..Default::default() };
/// let mut tokens = [0; 2];
/// simple_batch_sampler(&mut logits, 3, &greedy, &mut Generator::new(42), &mut tokens)?;
/// assert_eq!(tokens, [1, 0]);
/// assert_eq!(logits, [0.25, 1.0, -0.5, 1.5, 0.0, 0.5]); // scaled in place
/// # Ok::<(), torch_exact_sampler::SampleError>(())
/// ```
///
/// # Errors
///
/// As the reference refuses: see [`SampleError`]. Logits and generator are as they were, except
/// that a refused noise leaves the logits scaled, as in the reference.
pub fn simple_batch_sampler(
    logits: &mut [f32],
    vocab: usize,
    parameters: &SimpleBatchParameters,
    generator: &mut Generator,
    tokens: &mut [i64],
) -> Result<(), SampleError> {
    run(logits, vocab, parameters, generator, tokens, None)
}

/// [`simple_batch_sampler`], keeping every stage.
///
/// # Errors
///
/// As [`simple_batch_sampler`], and [`SampleError::OutOfMemory`].
pub fn trace_simple_batch_sampler(
    logits: &mut [f32],
    vocab: usize,
    parameters: &SimpleBatchParameters,
    generator: &mut Generator,
    rows: usize,
) -> Result<SimpleBatchTrace, SampleError> {
    let mut trace = SimpleBatchTrace::with_room(rows, vocab)?;
    let mut tokens = std::mem::take(&mut trace.token);
    tokens.resize(rows, 0);
    run(logits, vocab, parameters, generator, &mut tokens, Some(&mut trace))?;
    trace.token = tokens;
    Ok(trace)
}

fn run(
    logits: &mut [f32],
    vocab: usize,
    parameters: &SimpleBatchParameters,
    generator: &mut Generator,
    tokens: &mut [i64],
    mut trace: Option<&mut SimpleBatchTrace>,
) -> Result<(), SampleError> {
    let &SimpleBatchParameters { noise, temp, forbid_token, .. } = parameters;
    let untouched = planted!(InputNotMutated).then(|| logits.to_vec());
    let unmoved = planted!(GeneratorNotAdvanced).then(|| generator.clone());
    if tokens.len().checked_mul(vocab) != Some(logits.len()) {
        return Err(SampleError::Shape { values: logits.len(), rows: tokens.len(), vocab });
    }
    if temp <= 0.0 || temp.is_nan() {
        return Err(SampleError::TemperatureNotPositive { temp });
    }
    if let Some(token) = forbid_token {
        if token >= vocab {
            return Err(SampleError::ForbiddenTokenOutOfRange { token, vocab });
        }
        for row in logits.chunks_exact_mut(vocab) {
            row[token] = f32::NEG_INFINITY;
        }
    }

    if temp != 1.0 {
        if planted!(SimpleDivides) {
            let undivided = logits.to_vec();
            scale::divide(&undivided, temp, logits);
        } else {
            scale::multiply(logits, 1.0 / temp);
        }
    }
    if let Some(trace) = trace.as_deref_mut() {
        trace.scaled_logits.extend_from_slice(logits);
    }
    if noise != 0.0 {
        add_noise(logits, vocab, parameters, generator)?;
    }
    if let Some(trace) = trace {
        trace.noised_logits.extend_from_slice(logits);
    }
    if vocab == 0 {
        return Err(SampleError::EmptyVocabulary);
    }
    for (row, token) in logits.chunks_exact(vocab).zip(tokens) {
        *token = to_token(argmax(row));
    }
    if planted!(GeneratorExtraStep) {
        generator.next_u32();
    }
    if let Some(unmoved) = unmoved {
        *generator = unmoved;
    }
    if let Some(untouched) = untouched {
        logits.copy_from_slice(&untouched);
    }
    Ok(())
}

/// `logits.add_(uniform_(0, noise))`.
fn add_noise(
    logits: &mut [f32],
    vocab: usize,
    parameters: &SimpleBatchParameters,
    generator: &mut Generator,
) -> Result<(), SampleError> {
    let &SimpleBatchParameters { noise, forbid_token, order, .. } = parameters;
    if !(0.0..=f64::from(f32::MAX)).contains(&noise) {
        return Err(SampleError::NoiseOutOfRange { noise });
    }
    #[allow(clippy::cast_possible_truncation)] // torch rounds the bounds to the tensor's type.
    let range = noise as f32;
    if planted!(ForbiddenTakesNoNoise)
        && let Some(token) = forbid_token
    {
        for row in logits.chunks_exact_mut(vocab) {
            let (before, after) = row.split_at_mut(token);
            generator.add_uniforms(before, range);
            generator.add_uniforms(&mut after[1..], range);
        }
        return Ok(());
    }
    match order {
        NoiseOrder::RowMajor => generator.add_uniforms(logits, range),
        NoiseOrder::ColumnMajor => {
            for column in 0..vocab {
                for x in logits[column..].iter_mut().step_by(vocab) {
                    *x += generator.next_below(range);
                }
            }
        }
    }
    Ok(())
}
