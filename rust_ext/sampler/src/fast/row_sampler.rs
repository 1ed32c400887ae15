//! One row, drawn from in whichever way is fastest.

use super::estimate::{Drawn, Estimates, Limits};
use super::exp_estimate;
use super::keep::Gathered;
use super::masks::Masks;
use super::shortlist::{Outcome, Shortlist, Wanted, most_listed};
use super::softmax::exponentials;
use super::sparse_sum::sparse_row_sum;
use super::survivors::Survivors;
use super::top_k;
use super::top_p::{self, Nucleus};
use crate::draw::crowd::Crowd;
use crate::draw::multinomial::multinomial;
use crate::draw::notes::Notes;
use crate::error::SampleError;
use crate::parameters::SampleParameters;
use crate::planted::planted;
use crate::rows::Row;
use crate::simd::format::{Format, Single};
use crate::stages::distribution::distribution;
use crate::stages::scale;
use crate::stages::softmax::multiply_by;
use crate::torch::capability::Capability;
use crate::torch::generator::Generator;
use crate::torch::sums::row_sum_at_least;
use crate::trace::SampleLogitsTrace;

/// A list for more tokens takes longer than estimates of the whole row.
const MOST_LISTED: usize = 256;

/// For how many tokens a list is made where a nucleus is likely to have fewer.
const NARROW: usize = 64;

/// A row of which a draw gives a token of this probability or more is likely to have such a nucleus.
const LARGE: f64 = 1.0 / 128.0;

/// A workspace for one row after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowSampler {
    scaled: Vec<f32>,
    probs: Vec<f32>,
    scratch: Gathered,
    top_p: top_p::Workspace,
    shortlist: Shortlist,
    survivors: Survivors,
    notes: Notes,
    estimates: Estimates,
    narrow: Narrow,
}

/// Whether it is worth while to make a list for [`NARROW`] tokens: where it does not hold the nucleus, it
/// was made in vain. The next row is mostly like those before it.
#[derive(Debug, Clone, Copy)]
struct Narrow {
    /// How many rows are left that are likely to have a narrow nucleus before one is looked at.
    wait: u32,
    /// How many they are after the next list that was made in vain.
    patience: u32,
}

impl Default for Narrow {
    fn default() -> Self {
        Self { wait: 1, patience: 1 }
    }
}

impl Narrow {
    fn is_likely(self) -> bool {
        self.wait == 0
    }

    /// A row gave a token of some probability.
    fn note(&mut self, share: f64) {
        self.wait -= u32::from(share >= LARGE && self.wait > 0);
    }

    /// A list was made, in vain or not.
    fn made(&mut self, in_vain: bool) {
        const MOST: u32 = 32;
        if in_vain {
            self.wait = self.patience;
            self.patience = MOST.min(self.patience * 2);
        } else {
            self.patience = (self.patience / 2).max(1);
        }
    }
}

/// What the workspace holds of a row that is prepared, before renormalisation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Prepared {
    /// A list of the tokens that are possible.
    List,
    /// A list whose probabilities are exponentials: their sum was only estimated.
    EstimatedList {
        /// What is less may not be possible.
        sure: f32,
    },
    /// The whole row, much of which is possible.
    Crowd(Crowd),
}

/// Whether torch's sum of exponentials is needed before a draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sums {
    /// For more than one draw, or a trace.
    Exact,
    /// For one draw, for which an estimate of the sum mostly suffices.
    EstimatedWherePossible,
}

/// Whether draws are made from estimates of the whole row, where these leave no doubt.
pub(crate) fn is_estimated(vocab: usize, parameters: &SampleParameters) -> bool {
    let &SampleParameters { temperature, top_p, .. } = parameters;
    let is_listed = parameters.kept().is_some_and(|k| is_listed(k, vocab));
    !is_listed && Estimates::suit(vocab, temperature, top_p)
}

/// Whether what top-k keeps is listed for one draw.
fn is_listed(k: usize, vocab: usize) -> bool {
    k <= MOST_LISTED && Shortlist::suits(k, vocab)
}

impl RowSampler {
    /// Prepares a row and draws from it.
    pub(crate) fn draw(
        &mut self,
        row: Row<'_>,
        generator: &mut Generator,
    ) -> Result<usize, SampleError> {
        let Row { logits, parameters, replay, .. } = row;
        if is_estimated(logits.len(), parameters)
            && let Some(token) =
                self.draw_estimated::<Single>(logits, parameters, replay.capability, generator)
        {
            return Ok(token);
        }
        let prepared = self.prepare(row, Sums::EstimatedWherePossible)?;
        self.draw_prepared(row, prepared, generator)
    }

    /// Draws from a row of any format, where estimates suit it and leave no doubt. `None`, and the
    /// generator is as it was, where they do.
    pub(crate) fn draw_without_doubt<F: Format>(
        &mut self,
        logits: &[F::Bits],
        parameters: &SampleParameters,
        capability: Capability,
        generator: &mut Generator,
    ) -> Option<usize> {
        if is_estimated(logits.len(), parameters) {
            return self.draw_estimated::<F>(logits, parameters, capability, generator);
        }
        let sure = self.prepare_estimated::<F>(logits, parameters, capability)?;
        self.draw_sure(sure, logits.len(), generator)
    }

    /// As [`draw`](Self::draw), without estimates.
    pub(crate) fn draw_exactly(
        &mut self,
        row: Row<'_>,
        generator: &mut Generator,
    ) -> Result<usize, SampleError> {
        let prepared = self.prepare(row, Sums::Exact)?;
        self.draw_prepared(row, prepared, generator)
    }

    /// Draws from a row that [`is_estimated`], as [`draw_without_doubt`](Self::draw_without_doubt) does.
    fn draw_estimated<F: Format>(
        &mut self,
        logits: &[F::Bits],
        parameters: &SampleParameters,
        capability: Capability,
        generator: &mut Generator,
    ) -> Option<usize> {
        if self.probs.capacity() < logits.len() {
            // The first row of its length goes the exact way: that memory is taken as well.
            self.estimates.grow(logits.len());
            self.shortlist.grow(logits.len(), NARROW);
            self.probs.reserve(logits.len() - self.probs.len());
            return None;
        }
        if self.narrow.is_likely() {
            let sure = self.prepare_estimated::<F>(logits, parameters, capability);
            let drawn = sure.and_then(|sure| self.draw_sure(sure, logits.len(), generator));
            if drawn.is_some() {
                return drawn;
            }
        }
        let &SampleParameters { temperature, top_p, .. } = parameters;
        let limits = Limits { temperature, top_p, top_k: parameters.kept(), capability };
        let Drawn { token, share } = self.estimates.draw::<F>(logits, limits, generator)?;
        self.narrow.note(share);
        Some(token)
    }

    /// Draws from an estimated list; `None`, and the generator is as it was, where it leaves a doubt.
    fn draw_sure(&mut self, sure: f32, vocab: usize, generator: &mut Generator) -> Option<usize> {
        let start = generator.clone();
        let sum = || planted!(ListSum).then_some(1.0);
        let drawn = multinomial(self.survivors.possible(), vocab, sum, generator, &mut self.notes)
            .filter(|token| self.survivors.holds(*token, sure) || planted!(ListSure));
        if drawn.is_none() && !planted!(ListRestart) {
            generator.clone_from(&start);
        }
        drawn
    }

    /// Draws from the row that was prepared last.
    pub(crate) fn draw_prepared(
        &mut self,
        row: Row<'_>,
        mut prepared: Prepared,
        generator: &mut Generator,
    ) -> Result<usize, SampleError> {
        let vocab = row.logits.len();
        if let Prepared::EstimatedList { sure } = prepared {
            if let Some(token) = self.draw_sure(sure, vocab, generator) {
                return Ok(token);
            }
            prepared = self.prepare(row, Sums::Exact)?;
        }
        let Self { probs, survivors, notes, .. } = self;
        let sharing = row.sharing();
        let drawn = if let Prepared::Crowd(crowd) = prepared {
            let sum = || Some(row_sum_at_least(probs, crowd.least, sharing));
            crowd.multinomial(probs, sum, generator, notes)
        } else {
            let sum = || Some(sparse_row_sum(survivors, vocab, sharing));
            multinomial(survivors.possible(), vocab, sum, generator, notes)
        };
        // `None` would mean that the draw needed a sum and got none.
        Ok(drawn.unwrap_or(0))
    }

    /// [`prepare`](Self::prepare) without torch's sum; `None` where the row is not one for a list. Gives
    /// what is sure to be possible, as [`Prepared::EstimatedList`] has it.
    fn prepare_estimated<F: Format>(
        &mut self,
        logits: &[F::Bits],
        parameters: &SampleParameters,
        capability: Capability,
    ) -> Option<f32> {
        let (vocab, top_p) = (logits.len(), parameters.nucleus_mass());
        if !exp_estimate::suits(parameters.temperature) {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)] // torch compares, and divides, in f32.
        let (share, temperature) = (top_p as f32, parameters.temperature as f32);
        let share = if top_p > 0.0 { f64::from(share) } else { f64::INFINITY };
        let top_k = parameters.kept();
        let narrow = self.narrow.is_likely()
            && share < 1.0
            && Shortlist::suits(NARROW, vocab)
            && top_k.is_none_or(|k| k > NARROW);
        let listed = top_k.filter(|k| is_listed(*k, vocab)).map(|k| (k, true));
        for (k, is_top_k) in narrow.then_some((NARROW, false)).into_iter().chain(listed) {
            let wanted = Wanted { k, is_top_k, share, temperature, capability };
            let estimated = self.shortlist.estimate::<F>(logits, wanted) == Outcome::Estimated;
            if !is_top_k {
                self.narrow.made(!estimated);
            }
            if estimated {
                let Shortlist { listed, floor, sure, nucleus, .. } = &self.shortlist;
                self.survivors.take_at_least(listed, *floor);
                // Where a draw is left in doubt, the exact way needs as much.
                self.top_p.grow(most_listed(k));
                if is_top_k {
                    self.narrow.note(if nucleus.is_some_and(|n| n <= NARROW) { 1.0 } else { 0.0 });
                }
                return Some(*sure);
            }
        }
        None
    }

    /// Everything before the draw, for one row.
    pub(crate) fn prepare(&mut self, row: Row<'_>, sums: Sums) -> Result<Prepared, SampleError> {
        let Row { logits, parameters, replay, .. } = row;
        if sums == Sums::EstimatedWherePossible {
            let sure = self.prepare_estimated::<Single>(logits, parameters, replay.capability);
            if let Some(sure) = sure {
                return Ok(Prepared::EstimatedList { sure });
            }
        }
        let scaled = scaled(logits, parameters.temperature, &mut self.scaled);
        let vocab = logits.len();
        let top_p = parameters.nucleus_mass();
        if let Some(k) = parameters.kept()
            && Shortlist::suits(k, vocab)
        {
            match self.shortlist.take(scaled, k, replay.capability) {
                Outcome::Unsuitable | Outcome::Estimated => {}
                Outcome::Invalid => return Err(row.invalid(scaled)),
                Outcome::Listed => {
                    let Shortlist { listed, floor, .. } = &self.shortlist;
                    let floor = *floor;
                    let nucleus = if top_p > 0.0 {
                        top_p::nucleus_of_list(listed, floor, vocab, top_p, &mut self.top_p)
                    } else {
                        Nucleus::All
                    };
                    let masks = Masks { floor, nucleus, kept_ties: &self.top_p.kept_ties };
                    masks.take(listed, &mut self.survivors);
                    return Ok(Prepared::List);
                }
            }
        }
        let Self { probs, scratch, top_p: workspace, survivors, .. } = self;
        probs.resize(vocab, 0.0);
        let Some(factor) = exponentials(scaled, probs, replay.capability) else {
            return Err(row.invalid(scaled));
        };
        let (floor, nucleus) = if parameters.top_k <= 0 && top_p > 0.0 && vocab >= top_p::LONG {
            (0.0, top_p::nucleus_of_product(probs, factor, top_p, workspace))
        } else {
            multiply_by(probs, factor);
            let floor = parameters.kept().map_or(0.0, |k| top_k::threshold(probs, k, scratch));
            let nucleus = if top_p > 0.0 {
                top_p::nucleus(probs, floor, top_p, workspace)
            } else {
                Nucleus::All
            };
            (floor, nucleus)
        };
        let masks = Masks { floor, nucleus, kept_ties: &workspace.kept_ties };
        if let Some(crowd) = masks.crowd(probs) {
            return Ok(Prepared::Crowd(crowd));
        }
        masks.list(probs, survivors);
        Ok(Prepared::List)
    }

    /// Appends every stage before the draw to `trace`.
    ///
    /// The last stage, the token, is drawn as `sample` draws it, so that comparing traces compares
    /// draws.
    pub(crate) fn trace(
        &mut self,
        row: Row<'_>,
        trace: &mut SampleLogitsTrace,
    ) -> Result<(), SampleError> {
        distribution(row, Some(trace))?;
        let (vocab, sharing) = (row.logits.len(), row.sharing());
        let all = &mut trace.renormalized;
        if let Prepared::Crowd(Crowd { least, .. }) = self.prepare(row, Sums::Exact)? {
            let sum = row_sum_at_least(&self.probs, least, sharing);
            all.extend(self.probs.iter().map(|p| if *p >= least { p / sum } else { 0.0 }));
        } else {
            let sum = sparse_row_sum(&self.survivors, vocab, sharing);
            let start = all.len();
            all.resize(start + vocab, 0.0);
            for (token, p) in self.survivors.iter() {
                all[start + token as usize] = p / sum;
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Replay;
    use crate::stages::distribution::tests::exact_token;
    use crate::torch::generator::tests::monotonous;

    /// A list is worth while after a large share, and after one in vain only twice as many of them.
    #[test]
    fn a_list_in_vain_has_the_next_one_wait() {
        let shares_until_likely = |narrow: &mut Narrow| {
            narrow.note(LARGE.next_down());
            let mut shares = 0;
            while !narrow.is_likely() {
                narrow.note(LARGE);
                shares += 1;
            }
            narrow.note(1.0);
            assert!(narrow.is_likely());
            shares
        };
        let mut narrow = Narrow::default();
        assert_eq!(shares_until_likely(&mut narrow), 1);
        for expected in [1, 2, 4, 8, 16, 32, 32] {
            narrow.made(true);
            assert_eq!(shares_until_likely(&mut narrow), expected);
        }
        narrow.made(false);
        narrow.made(false);
        assert!(narrow.is_likely());
        narrow.made(true);
        assert_eq!(shares_until_likely(&mut narrow), 8);
    }

    /// A list for a nucleus that is likely to be narrow says nothing of a top-k that keeps fewer tokens.
    #[test]
    fn a_smaller_top_k_cuts_a_narrow_nucleus() {
        let mut random = Generator::new(8);
        let mut sampler = RowSampler::default();
        for top_k in [3, 64, 65, 100].repeat(30) {
            let mut logits: Vec<f32> = (0..8192).map(|_| random.next_f32() - 30.0).collect();
            logits[4000..4020].iter_mut().for_each(|x| *x = random.next_f32());
            let parameters = SampleParameters { top_p: 0.95, top_k, ..Default::default() };
            let replay = Replay::default();
            let row =
                Row { logits: &logits, number: 0, alone: true, parameters: &parameters, replay };
            let mut exact = random.clone();
            let expected = exact_token(row, &mut exact);
            assert_eq!(sampler.draw(row, &mut random), Ok(expected), "top-k {top_k}");
            assert!(random == exact);
        }
        assert!(sampler.narrow.is_likely());
    }

    /// Whatever is not more than zero switches the nucleus off, in a row of any length.
    #[test]
    fn a_nucleus_that_is_off_keeps_all() {
        let mut random = Generator::new(3);
        let mut sampler = RowSampler::default();
        for vocab in [100, 2047, 2048, 5000] {
            let logits: Vec<f32> = (0..vocab).map(|_| random.next_f32() * 3.0).collect();
            for (top_p, top_k) in [-1.0, -0.0, 0.0, f64::NAN, f64::NEG_INFINITY, 1e-300]
                .into_iter()
                .flat_map(|top_p| [0, 1, 7, 70, 1000].map(|top_k| (top_p, top_k)))
                .filter(|(_, top_k)| *top_k <= vocab)
            {
                let parameters = SampleParameters { top_p, top_k, ..Default::default() };
                let replay = Replay::default();
                let row = Row {
                    logits: &logits,
                    number: 0,
                    alone: true,
                    parameters: &parameters,
                    replay,
                };
                for sums in [Sums::Exact, Sums::EstimatedWherePossible] {
                    let mut exact = random.clone();
                    let expected = exact_token(row, &mut exact);
                    let prepared = sampler.prepare(row, sums);
                    let drawn = prepared
                        .and_then(|prepared| sampler.draw_prepared(row, prepared, &mut random));
                    assert_eq!(drawn, Ok(expected), "{vocab} {parameters:?}");
                    assert!(random == exact);
                }
            }
        }
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
            let expected = exact_token(row, &mut same.clone());
            let mut sampler = RowSampler::default();
            let prepared = sampler.prepare(row, Sums::EstimatedWherePossible);
            assert!(matches!(prepared, Ok(Prepared::EstimatedList { .. })));
            let (possible, vocab) = (sampler.survivors.possible(), logits.len());
            let mut notes = Notes::default();
            let drawn = multinomial(possible, vocab, || None, &mut same.clone(), &mut notes);
            assert_eq!(drawn, None, "the sum is needed");
            let mut drawn = same.clone();
            assert_eq!(sampler.draw(row, &mut drawn), Ok(expected));
            winners.insert(expected);
            let mut skipped = same.clone();
            skipped.skip_f64(logits.len());
            assert!(drawn == skipped);
        }
        assert_eq!(winners.into_iter().collect::<Vec<_>>(), [5, 100]);
    }
}
