//! `sample_logits`: temperature, softmax, top-k, top-p, renormalise, draw.

#[cfg(feature = "rayon")]
use crate::batch;
use crate::error::SampleError;
use crate::fast::row_sampler::{RowSampler, Sums};
use crate::logits::Logits;
use crate::parameters::{Replay, SampleParameters, ZeroTemperature};
use crate::planted::planted;
use crate::rows::{Row, Rows, to_token};
use crate::stages::argmax::argmax;
use crate::stages::distribution::distribution;
use crate::stages::multinomial::multinomial;
use crate::torch::generator::Generator;
use crate::trace::SampleLogitsTrace;

/// The most categories that `torch.multinomial` takes: those that f32 can count.
const MOST_TOKENS: usize = 1 << 24;

/// Draws one token a row.
///
/// # Errors
///
/// As the reference refuses: see [`SampleError`]. The generator is then as it was.
pub fn sample_logits(
    logits: Logits<'_>,
    parameters: &SampleParameters,
    replay: Replay,
    generator: &mut Generator,
) -> Result<Vec<i64>, SampleError> {
    let mut tokens = vec![0; logits.rows()];
    Sampler::new().sample(logits, parameters, replay, generator, &mut tokens)?;
    Ok(tokens)
}

/// [`sample_logits`], keeping every stage.
///
/// # Errors
///
/// As [`sample_logits`].
pub fn trace_sample_logits(
    logits: Logits<'_>,
    parameters: &SampleParameters,
    replay: Replay,
    generator: &mut Generator,
) -> Result<SampleLogitsTrace, SampleError> {
    let mut trace = SampleLogitsTrace::default();
    let mut tokens = vec![0; logits.rows()];
    Sampler::new().run(logits, parameters, replay, generator, &mut tokens, Some(&mut trace))?;
    trace.token = tokens;
    Ok(trace)
}

/// Draws `tokens.len()` tokens of one row: what as many successive calls of [`sample_logits`]
/// would give, doing everything before the draw once.
///
/// # Errors
///
/// As [`sample_logits`]; nothing is checked or computed where `tokens` is empty.
pub fn draw(
    logits: &[f32],
    parameters: &SampleParameters,
    replay: Replay,
    generator: &mut Generator,
    tokens: &mut [i64],
) -> Result<(), SampleError> {
    Sampler::new().draw(logits, parameters, replay, generator, tokens)
}

/// [`sample_logits`] and [`draw`] with a workspace of its own: nothing is allocated once the
/// workspace has grown to the row length.
#[derive(Debug, Clone, Default)]
pub struct Sampler {
    row: RowSampler,
    #[cfg(feature = "rayon")]
    slots: batch::Slots,
}

impl Sampler {
    /// A sampler with an empty workspace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// [`sample_logits`] into `tokens`, one a row.
    ///
    /// # Errors
    ///
    /// As [`sample_logits`]; [`SampleError::OutputLength`] where `tokens` is not as long as the
    /// batch. What `tokens` then holds is not specified.
    pub fn sample(
        &mut self,
        logits: Logits<'_>,
        parameters: &SampleParameters,
        replay: Replay,
        generator: &mut Generator,
        tokens: &mut [i64],
    ) -> Result<(), SampleError> {
        self.run(logits, parameters, replay, generator, tokens, None)
    }

    /// [`draw`] with this workspace.
    ///
    /// # Errors
    ///
    /// As [`draw`].
    pub fn draw(
        &mut self,
        logits: &[f32],
        parameters: &SampleParameters,
        replay: Replay,
        generator: &mut Generator,
        tokens: &mut [i64],
    ) -> Result<(), SampleError> {
        if tokens.is_empty() {
            return Ok(());
        }
        let batch = Logits::row(logits);
        if wants_argmax(parameters) {
            if logits.is_empty() {
                return Err(SampleError::EmptyVocabulary);
            }
            tokens.fill(to_token(argmax(logits)));
            return Ok(());
        }
        check(batch, parameters)?;
        let row = Rows { logits: batch, parameters, replay }.row(0);
        if planted!() {
            let probs = distribution(row, None)?;
            tokens.fill_with(|| to_token(multinomial(&probs, generator)));
            return Ok(());
        }
        if let [token] = tokens {
            *token = to_token(self.row.draw(row, generator)?);
            return Ok(());
        }
        let prepared = self.row.prepare(row, Sums::Exact)?;
        for token in tokens {
            *token = to_token(self.row.draw_prepared(row, prepared, generator)?);
        }
        Ok(())
    }

    fn run(
        &mut self,
        logits: Logits<'_>,
        parameters: &SampleParameters,
        replay: Replay,
        generator: &mut Generator,
        tokens: &mut [i64],
        mut trace: Option<&mut SampleLogitsTrace>,
    ) -> Result<(), SampleError> {
        if tokens.len() != logits.rows() {
            return Err(SampleError::OutputLength { given: tokens.len(), rows: logits.rows() });
        }
        if wants_argmax(parameters) {
            return take_argmax(logits, tokens, trace);
        }
        check(logits, parameters)?;
        let rows = Rows { logits, parameters, replay };
        // The reference looks at every row before it draws for the first.
        let before =
            (logits.rows() > 1 || planted!(GeneratorNotAdvanced)).then(|| generator.clone());
        #[cfg(feature = "rayon")]
        if trace.is_none()
            && !planted!()
            && let Some(helpers) = batch::helpers(logits)
        {
            let slots = &mut self.slots;
            return batch::sample(slots, &helpers, rows, generator, tokens).inspect_err(|_| {
                if let Some(before) = before {
                    *generator = before;
                }
            });
        }
        for (number, token) in tokens.iter_mut().enumerate() {
            let row = rows.row(number);
            if planted!(DrawRowsReversed)
                && let Some(before) = &before
            {
                generator.clone_from(before);
                generator.skip_f64((logits.rows() - 1 - number) * logits.vocab());
            }
            let drawn = if planted!() {
                draw_plainly(row, trace.as_deref_mut(), generator)
            } else {
                let traced =
                    trace.as_deref_mut().map_or(Ok(()), |trace| self.row.trace(row, trace));
                // The token of a trace is that of a draw without one.
                traced.and_then(|()| self.row.draw(row, generator))
            };
            match drawn {
                Ok(drawn) => *token = to_token(drawn),
                Err(error) => {
                    if let Some(before) = before {
                        *generator = before;
                    }
                    return Err(error);
                }
            }
        }
        if planted!(DrawRowsReversed) {
            // The first row to be drawn was the last.
            generator.skip_f64(logits.rows().saturating_sub(1) * logits.vocab());
        }
        if planted!(GeneratorExtraStep) {
            generator.next_u32();
        }
        if planted!(GeneratorNotAdvanced)
            && let Some(before) = before
        {
            *generator = before;
        }
        Ok(())
    }
}

/// One draw by the definition of the stages: what the planted faults that are in it reach.
fn draw_plainly(
    row: Row<'_>,
    mut trace: Option<&mut SampleLogitsTrace>,
    generator: &mut Generator,
) -> Result<usize, SampleError> {
    let probs = distribution(row, trace.as_deref_mut())?;
    if let Some(trace) = trace {
        trace.renormalized.extend_from_slice(&probs);
    }
    Ok(multinomial(&probs, generator))
}

fn wants_argmax(parameters: &SampleParameters) -> bool {
    parameters.temperature == 0.0 && parameters.zero_temperature == ZeroTemperature::Argmax
}

/// What the reference refuses whatever the logits' values are.
fn check(logits: Logits<'_>, parameters: &SampleParameters) -> Result<(), SampleError> {
    let vocab = logits.vocab();
    let top_k = parameters.top_k;
    if usize::try_from(top_k).is_ok_and(|k| k > vocab) {
        return Err(SampleError::TopKOutOfRange { top_k, vocab });
    }
    if vocab == 0 {
        let first_is_looked_for = parameters.top_p > 0.0 && parameters.temperature != 0.0;
        return Err(if first_is_looked_for {
            SampleError::EmptyVocabulary
        } else {
            SampleError::NothingToDraw
        });
    }
    if vocab > MOST_TOKENS {
        return Err(SampleError::TooManyTokens { vocab });
    }
    Ok(())
}

fn take_argmax(
    logits: Logits<'_>,
    tokens: &mut [i64],
    trace: Option<&mut SampleLogitsTrace>,
) -> Result<(), SampleError> {
    if logits.vocab() == 0 {
        return Err(SampleError::EmptyVocabulary);
    }
    for (values, token) in logits.each_row().zip(&mut *tokens) {
        *token = to_token(argmax(values));
    }
    if let Some(trace) = trace {
        let size = logits.values().len();
        trace.scaled_logits.extend_from_slice(logits.values());
        trace.top_k_mask.resize(size, true);
        trace.top_p_mask.resize(size, true);
        for values in logits.each_row() {
            let winner = argmax(values);
            trace.probs.extend((0..values.len()).map(|i| f32::from(u8::from(i == winner))));
        }
        trace.renormalized.clone_from(&trace.probs);
    }
    Ok(())
}
