//! `sample_logits`: temperature, softmax, top-k, top-p, renormalise, draw.

use std::num::NonZeroUsize;

#[cfg(feature = "rayon")]
use crate::batch;
use crate::simd::kernel;
use crate::stages::estimate::Estimates;
use crate::stages::keep::Gathered;
use crate::stages::renormalize::{Masks, renormalize};
use crate::stages::shortlist::{Outcome, Shortlist};
use crate::stages::survivors::Survivors;
use crate::stages::top_p::{self, Nucleus};
use crate::stages::{scale, softmax, top_k};
use crate::torch::exponential::{Crowd, Notes, multinomial, plain_multinomial};
use crate::torch::sums::{Sharing, row_sum_at_least, sparse_row_sum};
use crate::watch::Watch;
use crate::{Capability, Generator, Logits, Offence, SampleError, SampleLogitsTrace, planted};

/// The most categories that `torch.multinomial` takes: those that f32 can count.
const MOST_TOKENS: usize = 1 << 24;

/// What a temperature of zero does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroTemperature {
    /// What the reference does: the probabilities are NaN, and the draw refuses them.
    #[default]
    Raise,
    /// What its author meant: the first index of the largest logit; the generator is left alone.
    Argmax,
}

/// The parameters of [`sample_logits`]; the default is the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleParameters {
    /// Divisor of the logits.
    pub temperature: f64,
    /// Nucleus mass, of the probabilities as top-k left them; off when not > 0.
    pub top_p: f64,
    /// Tokens below the `top_k`-th largest probability are dropped, ties at it stay; off when
    /// not > 0.
    pub top_k: i64,
    /// What `temperature == 0` does.
    pub zero_temperature: ZeroTemperature,
}

impl Default for SampleParameters {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 0.85,
            top_k: 0,
            zero_temperature: ZeroTemperature::default(),
        }
    }
}

/// Which torch is replayed: its bits depend on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Replay {
    /// torch's CPU dispatch level.
    pub capability: Capability,
    /// torch's thread count, `torch.get_num_threads()`. It shows in one place: the
    /// renormalisation sum of a batch of one row with more than 32,768 tokens.
    pub threads: NonZeroUsize,
}

impl Default for Replay {
    /// The level that torch would choose here, with one thread.
    fn default() -> Self {
        Self { capability: Capability::of_torch_here(), threads: NonZeroUsize::MIN }
    }
}

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
    scaled: Vec<f32>,
    probs: Vec<f32>,
    scratch: Gathered,
    top_p: top_p::Workspace,
    shortlist: Shortlist,
    /// What is left to be drawn from, before renormalisation.
    survivors: Survivors,
    /// Where many of `probs` survive, instead of a list of them.
    crowd: Option<Crowd>,
    notes: Notes,
    estimates: Estimates,
    /// Whether `survivors` have exponentials for probabilities, whose sum was only estimated.
    sum_is_estimated: bool,
    /// Whether top-p kept all that top-k did of the last row: the next one is mostly alike.
    top_p_keeps: bool,
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
            self.prepare_traced(row, None)?;
        } else if let [token] = tokens {
            *token = to_token(self.draw_row(row, generator)?);
            return Ok(());
        } else {
            self.prepare(row, Sums::Exact)?;
        }
        let mut watch = Watch::new(self.interrupted);
        let all = tokens.len().saturating_mul(logits.len());
        let before = watch.may_interrupt(all).then(|| generator.clone());
        let mut tokens = tokens.iter_mut();
        tokens
            .try_for_each(|token| {
                *token = to_token(self.draw_prepared(row, generator)?);
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
            let drawn = match trace.as_deref_mut() {
                None if !planted!() => self.draw_row(row, generator),
                trace => self.prepare_traced(row, trace).and_then(|()| {
                    // The token of a trace is that of a draw without one.
                    if planted!() {
                        self.draw_prepared(row, generator)
                    } else {
                        self.draw_row(row, generator)
                    }
                }),
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

    /// Prepares a row and draws from it, whichever way is fastest.
    pub(crate) fn draw_row(
        &mut self,
        row: Row<'_>,
        generator: &mut Generator,
    ) -> Result<usize, SampleError> {
        if let Some(token) = self.draw_estimated(row, generator) {
            return Ok(token);
        }
        self.prepare(row, Sums::EstimatedWherePossible)?;
        self.draw_prepared(row, generator)
    }

    fn draw_estimated(&mut self, row: Row<'_>, generator: &mut Generator) -> Option<usize> {
        let Row { logits, parameters, .. } = row;
        if !is_estimated(logits.len(), parameters) {
            return None;
        }
        if self.probs.capacity() < logits.len() {
            // The first row of its length goes the exact way: that memory is taken as well.
            self.estimates.grow(logits.len());
            return None;
        }
        let &SampleParameters { temperature, top_p, .. } = parameters;
        self.estimates.draw(logits, temperature, top_p, generator)
    }

    /// Draws from a row that is prepared.
    pub(crate) fn draw_prepared(
        &mut self,
        row: Row<'_>,
        generator: &mut Generator,
    ) -> Result<usize, SampleError> {
        let vocab = row.logits.len();
        if planted!() {
            return Ok(plain_multinomial(&self.survivors, vocab, generator));
        }
        if self.sum_is_estimated {
            let start = generator.clone();
            let drawn = multinomial(&self.survivors, vocab, || None, generator, &mut self.notes);
            if let Some(token) = drawn {
                return Ok(token);
            }
            generator.clone_from(&start);
            self.prepare(row, Sums::Exact)?;
        }
        let Self { probs, survivors, crowd, notes, .. } = self;
        let sharing = row.sharing();
        let drawn = if let Some(crowd) = *crowd {
            let sum = || Some(row_sum_at_least(probs, crowd.least, sharing));
            crowd.multinomial(probs, sum, generator, notes)
        } else {
            let sum = || Some(sparse_row_sum(survivors, vocab, sharing));
            multinomial(survivors, vocab, sum, generator, notes)
        };
        // There is none only where a sum is needed and not given.
        Ok(drawn.unwrap_or(0))
    }

    /// Everything before the draw, for one row: fills `survivors`, or finds a `crowd`.
    pub(crate) fn prepare(&mut self, row: Row<'_>, sums: Sums) -> Result<(), SampleError> {
        let Row { logits, parameters, replay, .. } = row;
        let scaled = scaled(logits, parameters.temperature, &mut self.scaled);
        let vocab = logits.len();
        self.crowd = None;
        self.sum_is_estimated = false;
        if let Ok(k @ 1..) = usize::try_from(parameters.top_k)
            && Shortlist::suits(k, vocab)
        {
            let top_p = nucleus_mass(parameters);
            let enough = if top_p > 0.0 { top_p } else { f64::INFINITY };
            let estimate = sums == Sums::EstimatedWherePossible && self.top_p_keeps;
            match self.shortlist.take(scaled, k, replay.capability, estimate.then_some(enough)) {
                Outcome::Unsuitable => {}
                Outcome::Invalid => return Err(row.invalid(scaled)),
                Outcome::Estimated => {
                    self.sum_is_estimated = true;
                    let Shortlist { listed, floor, .. } = &self.shortlist;
                    self.survivors.take_at_least(listed, *floor);
                    return Ok(());
                }
                Outcome::Listed => {
                    let Shortlist { listed, floor, .. } = &self.shortlist;
                    let floor = *floor;
                    let nucleus = if top_p > 0.0 {
                        top_p::nucleus_of_list(listed, floor, vocab, top_p, &mut self.top_p)
                    } else {
                        Nucleus::All
                    };
                    self.top_p_keeps = nucleus == Nucleus::All;
                    let masks = Masks { floor, nucleus, kept_ties: &self.top_p.kept_ties };
                    masks.take(listed, &mut self.survivors);
                    return Ok(());
                }
            }
        }
        let probs = &mut self.probs;
        probs.resize(vocab, 0.0);
        let Some(factor) = softmax::exponentials(scaled, probs, replay.capability) else {
            return Err(row.invalid(scaled));
        };
        let top_p = nucleus_mass(parameters);
        let (floor, nucleus) = if parameters.top_k <= 0 && top_p > 0.0 && vocab >= top_p::LONG {
            (0.0, top_p::nucleus_of_product(probs, factor, top_p, &mut self.top_p))
        } else {
            softmax::multiply_by(probs, factor);
            let floor = self.top_k_floor(parameters.top_k);
            (floor, self.nucleus(floor, top_p))
        };
        let Self { probs, top_p, survivors, .. } = self;
        let masks = Masks { floor, nucleus, kept_ties: &top_p.kept_ties };
        self.crowd = masks.crowd(probs);
        if self.crowd.is_none() {
            masks.list(probs, survivors);
        }
        Ok(())
    }

    /// As [`prepare`](Self::prepare), keeping every stage.
    ///
    /// The last one is that of what draws use, so that a comparison of traces is one of those.
    fn prepare_traced(
        &mut self,
        row: Row<'_>,
        mut trace: Option<&mut SampleLogitsTrace>,
    ) -> Result<(), SampleError> {
        self.prepare_plainly(row, trace.as_deref_mut())?;
        if !planted!() {
            self.prepare(row, Sums::Exact)?;
        }
        if let Some(trace) = trace {
            let all = &mut trace.renormalized;
            let (vocab, sharing) = (row.logits.len(), row.sharing());
            if let Some(Crowd { least, .. }) = self.crowd {
                let sum = row_sum_at_least(&self.probs, least, sharing);
                all.extend(self.probs.iter().map(|p| if *p >= least { p / sum } else { 0.0 }));
            } else {
                // The plain stages have divided already.
                let sum =
                    if planted!() { 1.0 } else { sparse_row_sum(&self.survivors, vocab, sharing) };
                let start = all.len();
                all.resize(start + vocab, 0.0);
                for (token, p) in self.survivors.iter() {
                    all[start + token as usize] = p / sum;
                }
            }
        }
        Ok(())
    }

    /// Everything before the draw, stage by stage over the whole row: the definition.
    fn prepare_plainly(
        &mut self,
        row: Row<'_>,
        mut trace: Option<&mut SampleLogitsTrace>,
    ) -> Result<(), SampleError> {
        let Row { logits, parameters, replay, .. } = row;
        self.crowd = None;
        self.sum_is_estimated = false;
        let scaled = scaled(logits, parameters.temperature, &mut self.scaled);
        self.probs.resize(logits.len(), 0.0);
        if !softmax::softmax(scaled, &mut self.probs, replay.capability) {
            return Err(row.invalid(scaled));
        }

        // Each stage is kept as soon as it is done: a planted fault may undo what it read.
        if let Some(trace) = &mut trace {
            trace.scaled_logits.extend_from_slice(scaled);
            trace.probs.extend_from_slice(&self.probs);
        }
        let floor = self.top_k_floor(parameters.top_k);
        if let Some(trace) = &mut trace {
            trace.top_k_mask.extend(self.probs.iter().map(|p| *p >= floor));
        }
        let nucleus = self.nucleus(floor, nucleus_mass(parameters));
        if let Some(trace) = &mut trace {
            let kept_ties = &self.top_p.kept_ties;
            trace.top_p_mask.extend((0..).zip(&self.probs).map(|(token, &p)| match nucleus {
                Nucleus::All => true,
                Nucleus::AtLeast(value) => p >= value,
                Nucleus::Split { tied } if p == tied => kept_ties.binary_search(&token).is_ok(),
                Nucleus::Split { tied } => p > tied,
            }));
        }
        let Self { probs, top_p, survivors, .. } = self;
        let masks = Masks { floor, nucleus, kept_ties: &top_p.kept_ties };
        renormalize(probs, masks, row.sharing(), survivors);
        Ok(())
    }

    /// The probability below which top-k drops a token; 0 where the stage is off.
    fn top_k_floor(&mut self, top_k: i64) -> f32 {
        let Ok(k @ 1..) = usize::try_from(top_k) else {
            return 0.0;
        };
        let k = k + usize::from(planted!(TopKOffByOne) && k < self.probs.len());
        let floor = top_k::threshold(&self.probs, k, &mut self.scratch);
        if planted!(TopKExactly) {
            top_k::cut_ties(&mut self.probs, k, floor);
        }
        if planted!(TopKStrict) { top_k::without_ties(&self.probs, floor) } else { floor }
    }

    /// What top-p keeps of what top-k left.
    fn nucleus(&mut self, floor: f32, mut top_p: f64) -> Nucleus {
        let greedy = planted!(TopPZeroIsGreedy) && top_p == 0.0;
        if !(top_p > 0.0 || greedy) {
            return Nucleus::All;
        }
        if planted!(TopPOfRenormalized) {
            top_p = top_p::share_of_kept(&self.probs, floor, top_p);
        }
        let nucleus = top_p::nucleus(&self.probs, floor, top_p, &mut self.top_p);
        if planted!(TopPRotates) {
            top_p::drop_first(&mut self.probs, nucleus);
        }
        nucleus
    }
}

/// Whether draws are made from estimates, where these leave no doubt.
pub(crate) fn is_estimated(vocab: usize, parameters: &SampleParameters) -> bool {
    let &SampleParameters { temperature, top_p, top_k, .. } = parameters;
    top_k <= 0 && Estimates::suit(vocab, temperature, top_p)
}

/// The rows of a batch, and what is to be done with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) logits: Logits<'a>,
    pub(crate) parameters: &'a SampleParameters,
    pub(crate) replay: Replay,
}

impl<'a> Rows<'a> {
    pub(crate) fn row(&self, number: usize) -> Row<'a> {
        let &Self { logits, parameters, replay } = self;
        let (vocab, alone) = (logits.vocab(), logits.rows() == 1);
        let logits = &logits.values()[number * vocab..][..vocab];
        Row { logits, number, alone, parameters, replay }
    }
}

/// A row, and what is to be done with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) logits: &'a [f32],
    /// Its number in the batch.
    pub(crate) number: usize,
    /// Whether the batch has no other row.
    pub(crate) alone: bool,
    pub(crate) parameters: &'a SampleParameters,
    pub(crate) replay: Replay,
}

impl Row<'_> {
    fn sharing(self) -> Sharing {
        Sharing { alone: self.alone, threads: self.replay.threads }
    }

    /// What made the softmax NaN.
    fn invalid(self, scaled: &[f32]) -> SampleError {
        let Self { logits, number: row, parameters, .. } = self;
        let temperature = parameters.temperature;
        SampleError::InvalidProbabilities(if temperature == 0.0 || temperature.is_nan() {
            Offence::Temperature(temperature)
        } else {
            scaled.iter().position(|x| x.is_nan() || *x == f32::INFINITY).map_or(
                Offence::NoToken { row },
                |token| Offence::Logit { row, token, value: logits[token], temperature },
            )
        })
    }
}

/// Whether torch's sum of exponentials is needed before a draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sums {
    /// For more than one draw, or a trace.
    Exact,
    /// For one draw: mostly an estimate will do.
    EstimatedWherePossible,
}

/// The logits of a row after division by the temperature; `workspace` holds them where they are
/// others.
fn scaled<'a>(logits: &'a [f32], temperature: f64, workspace: &'a mut Vec<f32>) -> &'a [f32] {
    if temperature == 1.0 {
        return logits;
    }
    workspace.resize(logits.len(), 0.0);
    scale::divide(logits, temperature, workspace);
    workspace
}

/// The nucleus mass; a temperature of zero switches the stage off.
fn nucleus_mass(parameters: &SampleParameters) -> f64 {
    if parameters.temperature == 0.0 { 0.0 } else { parameters.top_p }
}

fn wants_argmax(parameters: &SampleParameters) -> bool {
    parameters.temperature == 0.0 && parameters.zero_temperature == ZeroTemperature::Argmax
}

/// What the reference refuses whatever the logits' values are.
fn admit(logits: Logits<'_>, parameters: &SampleParameters) -> Result<(), SampleError> {
    if !wants_argmax(parameters) {
        return check(logits, parameters);
    }
    if logits.vocab() == 0 { Err(SampleError::EmptyVocabulary) } else { Ok(()) }
}

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

/// `torch.argmax`: the first index of the maximum; a NaN counts as the maximum.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let max = max_or_nan(row);
    if planted!(ArgmaxLastWins) {
        let wins = |x: &f32| if max.is_nan() { x.is_nan() } else { *x == max };
        return row.iter().rposition(wins).unwrap_or(0);
    }
    first_at_least(row, max)
}

kernel! {
    /// The largest value, or NaN where there is one.
    fn max_or_nan<'a>(row: &'a [f32]) -> f32 {
        const LANES: usize = 16;
        let (blocks, tail) = row.as_chunks::<LANES>();
        let none = ([f32::NEG_INFINITY; LANES], [0.0_f32; LANES]);
        let (lanes, not_numbers) = blocks.iter().fold(none, |(mut lanes, mut nans), block| {
            for lane in 0..LANES {
                let x = block[lane];
                lanes[lane] = if x > lanes[lane] { x } else { lanes[lane] };
                nans[lane] = if x.is_nan() { x } else { nans[lane] };
            }
            (lanes, nans)
        });
        if not_numbers.iter().chain(tail).any(|x| x.is_nan()) {
            return f32::NAN;
        }
        lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
    }
}

kernel! {
    /// The index of the first value that is not less than `max`: of the first NaN, if that is one.
    fn first_at_least<'a>(row: &'a [f32], max: f32) -> usize {
        const LANES: usize = 64;
        #[allow(clippy::neg_cmp_op_on_partial_ord)] // NaN is not less than anything.
        let reaches = |x: &f32| if max.is_nan() { x.is_nan() } else { !(*x < max) };
        let blocks = row.chunks(LANES);
        #[allow(clippy::needless_bitwise_bool)] // With an early exit this would not vectorise.
        let block = blocks
            .clone()
            .position(|block| block.iter().fold(false, |any, x| any | reaches(x)))
            .unwrap_or(0);
        let start = block * LANES;
        start + row[start..].iter().position(reaches).unwrap_or(0)
    }
}

pub(crate) fn to_token(index: usize) -> i64 {
    // A slice has at most isize::MAX elements.
    i64::try_from(index).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::torch::generator::tests::monotonous;

    /// The token of the exact stages.
    pub(crate) fn exact_token(
        logits: &[f32],
        parameters: &SampleParameters,
        capability: Capability,
        generator: &mut Generator,
    ) -> usize {
        let mut sampler = Sampler::new();
        let replay = Replay { capability, threads: NonZeroUsize::MIN };
        let row = Row { logits, number: 0, alone: true, parameters, replay };
        assert_eq!(sampler.prepare_traced(row, None), Ok(()));
        sampler.draw_prepared(row, generator).unwrap_or(usize::MAX)
    }

    /// Where every q is the same, the sum decides between tokens that are as good as each other: an
    /// estimate of it does not.
    #[test]
    fn close_ones_get_the_exact_sum() {
        const VOCAB: u16 = 6000;
        let same = monotonous();
        let mut random = Generator::new(2);
        let mut winners = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut logits: Vec<f32> = (0..VOCAB).map(|_| random.next_f32() * 8.0 - 40.0).collect();
            logits[5] = -0.01;
            logits[100] = f32::from_bits(logits[5].to_bits() - random.next_u32() % 300);
            let parameters = SampleParameters { top_p: 0.0, top_k: 90, ..Default::default() };
            let replay = Replay::default();
            let row =
                Row { logits: &logits, number: 0, alone: true, parameters: &parameters, replay };
            let expected = exact_token(&logits, &parameters, replay.capability, &mut same.clone());
            let mut sampler = Sampler { top_p_keeps: true, ..Sampler::new() };
            let mut drawn = same.clone();
            assert_eq!(sampler.draw_row(row, &mut drawn), Ok(expected));
            assert!(!sampler.sum_is_estimated, "the sum was needed");
            winners.insert(expected);
            let mut skipped = same.clone();
            skipped.skip_f64(logits.len());
            assert!(drawn == skipped);
        }
        assert_eq!(winners.into_iter().collect::<Vec<_>>(), [5, 100]);
    }
}
