//! `sample_logits`: temperature, softmax, top-k, top-p, renormalise, draw.

use std::num::NonZeroUsize;

#[cfg(feature = "rayon")]
use crate::batch;
use crate::error::SampleError;
use crate::fast::row_sampler::{RowSampler, Sums};
use crate::logits::{HalfLogits, Logits};
use crate::parameters::{Replay, SampleParameters, ZeroTemperature};
use crate::planted::planted;
use crate::rows::{MOST_TOKENS, Row, Rows, to_token};
use crate::simd::format::{Brain, Format, Half};
use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::stages::argmax::argmax;
use crate::stages::distribution::distribution;
use crate::stages::multinomial::multinomial;
use crate::torch::generator::Generator;
use crate::trace::SampleLogitsTrace;
use crate::watch::Watch;

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
    admit(logits, parameters)?;
    let mut tokens = vec![0; logits.rows()];
    Sampler::new().sample(logits, parameters, replay, generator, &mut tokens)?;
    Ok(tokens)
}

/// [`sample_logits`], keeping every stage.
///
/// ```
/// use torch_exact_sampler::{Generator, Logits, Replay, SampleParameters, trace_sample_logits};
///
/// let logits = [0.0_f32, 1.0, 1.0, -2.0];
/// let two = SampleParameters { top_k: 1, top_p: 0.0, ..SampleParameters::default() };
/// let (mut generator, replay) = (Generator::new(42), Replay::default());
/// let trace = trace_sample_logits(Logits::row(&logits), &two, replay, &mut generator)?;
/// assert_eq!(trace.top_k_mask, [false, true, true, false]); // a tie at the threshold stays
/// assert_eq!(trace.renormalized, [0.0, 0.5, 0.5, 0.0]);
/// # Ok::<(), torch_exact_sampler::SampleError>(())
/// ```
///
/// # Errors
///
/// As [`sample_logits`], and [`SampleError::OutOfMemory`].
pub fn trace_sample_logits(
    logits: Logits<'_>,
    parameters: &SampleParameters,
    replay: Replay,
    generator: &mut Generator,
) -> Result<SampleLogitsTrace, SampleError> {
    Sampler::new().trace(logits, parameters, replay, generator)
}

/// Draws `tokens.len()` tokens of one row: what as many successive calls of [`sample_logits`]
/// would give, doing everything before the draw once.
///
/// ```
/// use torch_exact_sampler::{Generator, Replay, SampleParameters, draw};
///
/// let logits = [0.1_f32, 2.0, -1.0, 0.5];
/// let largest = SampleParameters { top_k: 1, ..SampleParameters::default() };
/// let mut tokens = [0; 100];
/// draw(&logits, &largest, Replay::default(), &mut Generator::new(42), &mut tokens)?;
/// assert_eq!(tokens, [1; 100]);
/// # Ok::<(), torch_exact_sampler::SampleError>(())
/// ```
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
    /// Logits in half precision, widened: of a batch, or of a row that estimates leave in doubt.
    widened: Vec<f32>,
    #[cfg(feature = "rayon")]
    slots: batch::Slots,
    threads: Option<NonZeroUsize>,
    interrupted: Option<fn() -> bool>,
}

impl Sampler {
    /// A sampler with an empty workspace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has a batch use at most so many threads, the calling one among them; `None`, which is the
    /// default, for as many as rayon's pool has.
    pub fn use_threads(&mut self, most: Option<NonZeroUsize>) {
        self.threads = most;
    }

    /// Has long calls ask `interrupted`, every few milliseconds, on the calling thread. Where it
    /// answers `true`, they end with [`SampleError::Interrupted`].
    pub fn interrupt_when(&mut self, interrupted: Option<fn() -> bool>) {
        self.interrupted = interrupted;
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

    /// [`sample`](Self::sample) of logits in half precision.
    ///
    /// They are widened as they are read, where the batch has one row and estimates decide its draw;
    /// else into memory first.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample), and [`SampleError::OutOfMemory`].
    pub fn sample_half(
        &mut self,
        logits: HalfLogits<'_>,
        parameters: &SampleParameters,
        replay: Replay,
        generator: &mut Generator,
        tokens: &mut [i64],
    ) -> Result<(), SampleError> {
        let (rows, vocab, bits) = (logits.rows(), logits.vocab(), logits.bits());
        let alone = rows == 1
            && !planted!()
            && !wants_argmax(parameters)
            && check(vocab, parameters).is_ok();
        if let [token] = tokens
            && alone
        {
            let capability = replay.capability;
            let drawn = if logits.is_brain() {
                self.row.draw_without_doubt::<Brain>(bits, parameters, capability, generator)
            } else {
                self.row.draw_without_doubt::<Half>(bits, parameters, capability, generator)
            };
            if let Some(drawn) = drawn {
                *token = to_token(drawn);
                return Ok(());
            }
        }
        let mut widened = std::mem::take(&mut self.widened);
        if widened.try_reserve(bits.len().saturating_sub(widened.len())).is_err() {
            self.widened = widened;
            return Err(SampleError::OutOfMemory { rows, vocab });
        }
        widened.resize(bits.len(), 0.0);
        if logits.is_brain() {
            widen::<Brain>(bits, &mut widened);
        } else {
            widen::<Half>(bits, &mut widened);
        }
        let outcome = Logits::new(&widened, rows, vocab).and_then(|logits| match tokens {
            [token] if alone => {
                let row = Rows { logits, parameters, replay }.row(0);
                self.row.draw_exactly(row, generator).map(|drawn| *token = to_token(drawn))
            }
            _ => self.run(logits, parameters, replay, generator, tokens, None),
        });
        self.widened = widened;
        outcome
    }

    /// [`trace_sample_logits`] with this workspace.
    ///
    /// # Errors
    ///
    /// As [`trace_sample_logits`], and [`SampleError::OutOfMemory`].
    pub fn trace(
        &mut self,
        logits: Logits<'_>,
        parameters: &SampleParameters,
        replay: Replay,
        generator: &mut Generator,
    ) -> Result<SampleLogitsTrace, SampleError> {
        admit(logits, parameters)?;
        let mut trace = SampleLogitsTrace::with_room(logits.rows(), logits.vocab())?;
        let mut tokens = std::mem::take(&mut trace.token);
        tokens.resize(logits.rows(), 0);
        self.run(logits, parameters, replay, generator, &mut tokens, Some(&mut trace))?;
        trace.token = tokens;
        Ok(trace)
    }

    /// [`draw`] with this workspace.
    ///
    /// # Errors
    ///
    /// As [`draw`], and [`SampleError::Interrupted`]; the generator is then as it was.
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
        admit(batch, parameters)?;
        if wants_argmax(parameters) {
            tokens.fill(to_token(argmax(logits)));
            return Ok(());
        }
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
        let mut watch = Watch::new(self.interrupted);
        let all = tokens.len().saturating_mul(logits.len());
        let before = watch.may_interrupt(all).then(|| generator.clone());
        let mut tokens = tokens.iter_mut();
        tokens
            .try_for_each(|token| {
                *token = to_token(self.row.draw_prepared(row, prepared, generator)?);
                watch.pass(logits.len())
            })
            .inspect_err(|_| {
                if let Some(before) = before {
                    *generator = before;
                }
            })
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
        admit(logits, parameters)?;
        if tokens.len() != logits.rows() {
            return Err(SampleError::OutputLength { given: tokens.len(), rows: logits.rows() });
        }
        if wants_argmax(parameters) {
            take_argmax(logits, tokens, trace);
            return Ok(());
        }
        let mut watch = Watch::new(self.interrupted);
        let rows = Rows { logits, parameters, replay };
        // The reference looks at every row before it draws for the first.
        let before =
            (logits.rows() > 1 || planted!(GeneratorNotAdvanced)).then(|| generator.clone());
        #[cfg(feature = "rayon")]
        if trace.is_none()
            && !planted!()
            && let Some(helpers) = batch::helpers(logits, self.threads)
        {
            let slots = &mut self.slots;
            return batch::sample(slots, &helpers, rows, generator, tokens, watch).inspect_err(
                |_| {
                    if let Some(before) = before {
                        *generator = before;
                    }
                },
            );
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
            // After the last row, there is nothing left to interrupt.
            let more = number + 1 < logits.rows();
            let drawn = drawn.and_then(|drawn| {
                if more {
                    watch.pass(logits.vocab())?;
                }
                Ok(drawn)
            });
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

kernel! {
    fn widen<'a, F: Format>(wide; bits: &'a [F::Bits], widened: &'a mut [f32]) -> () {
        let (blocks, tail) = bits.as_chunks::<LANES>();
        let (places, last) = widened.as_chunks_mut::<LANES>();
        for (block, place) in blocks.iter().zip(places) {
            *place = wide.store(F::load(wide, block));
        }
        for (bits, place) in tail.iter().zip(last) {
            *place = F::widened(*bits);
        }
    }
}

fn wants_argmax(parameters: &SampleParameters) -> bool {
    parameters.temperature == 0.0 && parameters.zero_temperature == ZeroTemperature::Argmax
}

/// What the reference refuses whatever the logits' values are.
fn admit(logits: Logits<'_>, parameters: &SampleParameters) -> Result<(), SampleError> {
    if !wants_argmax(parameters) {
        return check(logits.vocab(), parameters);
    }
    if logits.vocab() == 0 { Err(SampleError::EmptyVocabulary) } else { Ok(()) }
}

fn check(vocab: usize, parameters: &SampleParameters) -> Result<(), SampleError> {
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

fn take_argmax(logits: Logits<'_>, tokens: &mut [i64], trace: Option<&mut SampleLogitsTrace>) {
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
        trace.renormalized.extend_from_slice(&trace.probs);
    }
}
