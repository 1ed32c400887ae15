//! Softmax and top-k together, for a `k` that is small beside the row: only the tokens that can be
//! among the k largest get a probability.

use super::exp_estimate::estimate_error;
use super::few::Few;
use super::listing::{Listing, WORD, Word, estimated_exp_sum_in, exp_sum_in};
use super::narrow::sum_at_least_in;
use super::peaks::{GROUP, Peaks};
use super::survivors::Survivors;
use crate::planted::planted;
use crate::simd::kernel;
use crate::torch::capability::Capability;
use crate::torch::exp::exp_and_sum_in;

/// How far below the largest logit the k-th largest may lie. Its probability is then a normal
/// number: exp(-60) / 2^24 and no less.
const REACH: f32 = 60.0;

/// A logit this much below another has a probability below the other's.
///
/// With d the logits less their maximum, rounded: each |d| is at most 61, and off by 2^-19. An
/// exponential is off by less than 2^-22 of itself, 1 / sum's multiplication by 2^-24. So a gap of
/// 2^-17 is enough where it is taken from the true logits; rounding the difference of a logit and
/// this margin leaves two thirds of it or more.
const MARGIN: f32 = 1.0 / 32_768.0;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// The list holds what top-k keeps.
    Listed,
    /// The probabilities are NaN.
    Invalid,
    /// As [`Listed`](Self::Listed), but with exponentials that were not multiplied yet; top-p, if it
    /// is on, keeps all that top-k does.
    Estimated,
    /// The row is not one for a list.
    Unsuitable,
}

/// How little a probability may be below the k-th largest, as a share, without a doubt that it is
/// below when both are rounded.
const CLOSE: f32 = 1.0 - 1.0 / 1_048_576.0;

/// What top-k keeps of a row, and memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shortlist {
    peaks: Peaks,
    words: Vec<Word>,
    logits: Vec<f32>,
    few: Few,
    /// The tokens that can be among the k most probable, with their probabilities.
    pub(crate) listed: Survivors,
    /// The `k`-th largest probability: what is less is not kept.
    pub(crate) floor: f32,
}

impl Shortlist {
    /// Whether a list is worth while.
    pub(crate) fn suits(k: usize, vocab: usize) -> bool {
        vocab >= 64 * k
    }

    /// Lists the tokens whose probability is at least the `k`-th largest, and some others.
    ///
    /// With `enough`, the sum of all exponentials may be an estimate: it is one if, within the
    /// estimate's error, kept / sum <= `enough`, where `kept` is the sum of the exponentials that
    /// top-k keeps.
    pub(crate) fn take(
        &mut self,
        logits: &[f32],
        k: usize,
        capability: Capability,
        enough: Option<f64>,
    ) -> Outcome {
        take(self, logits, k, capability, enough)
    }
}

kernel! {
    fn take<'a>(
        wide;
        list: &'a mut Shortlist,
        logits: &'a [f32],
        k: usize,
        capability: Capability,
        enough: Option<f64>,
    ) -> Outcome {
        let Shortlist { peaks, words, logits: values, few, listed, floor } = list;
        let max = peaks.take(wide, logits);
        if !max.is_finite() {
            return Outcome::Invalid;
        }
        let Some(bound) = peaks.lower_bound(wide, k, max, REACH) else {
            return Outcome::Unsuitable;
        };
        words.resize(logits.len().div_ceil(WORD) + 1, Word::default());
        let least = if planted!(ShortlistMargin) { bound } else { bound - MARGIN };
        let listing = Listing { least, peaks: &peaks.maxima, words };
        let (mut sum, estimated) = match enough {
            None => (exp_sum_in(wide, logits, max, listing, capability), 0.0),
            Some(_) => (0.0, estimated_exp_sum_in(wide, logits, max, listing)),
        };
        if sum.is_nan() || estimated.is_nan() {
            return Outcome::Invalid;
        }
        let length = words.iter().map(|word| word.lanes.count_ones() as usize).sum::<usize>();
        let most = 4 * k + GROUP;
        if length > most || length < k {
            // Logits that are mostly equal; or that another thread has lowered since the bound was
            // found.
            return Outcome::Unsuitable;
        }
        listed.take_lanes(logits, words, most);
        values.clear();
        values.reserve(most);
        values.extend_from_slice(listed.probabilities());
        exp_and_sum_in(wide, values, max, listed.probabilities_mut(), capability);
        few.reserve(most);
        let k = k + usize::from(planted!(ShortlistFloor) && k < listed.probabilities().len());
        if let Some(enough) = enough {
            *floor = few.kth_largest(wide, listed.probabilities(), k);
            let kept = sum_at_least_in(wide, listed.probabilities(), *floor);
            let or_close = sum_at_least_in(wide, listed.probabilities(), *floor * CLOSE);
            let certain = enough * estimated * (1.0 - estimate_error(logits.len(), capability));
            let apart = kept == or_close || planted!(ShortlistClose);
            if apart && (kept <= certain || planted!(ShortlistTopP)) {
                return Outcome::Estimated;
            }
            let nothing = Listing { least: f32::INFINITY, peaks: &[], words };
            sum = exp_sum_in(wide, logits, max, nothing, capability);
        }
        let reciprocal = 1.0 / sum;
        for p in listed.probabilities_mut() {
            *p *= reciprocal;
        }
        *floor = few.kth_largest(wide, listed.probabilities(), k);
        Outcome::Listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fast::top_p::{Nucleus, Workspace, nucleus};
    use crate::stages::softmax::softmax;
    use crate::stages::top_k::kth_largest;
    use crate::torch::generator::Generator;

    #[test]
    fn lists_what_the_plain_stages_keep() {
        let mut generator = Generator::new(6);
        let mut list = Shortlist::default();
        let mut probs = Vec::new();
        let mut listed = 0;
        for vocab in [64, 1000, 4096, 8193, 70_000] {
            // Few levels tie; an offset rounds the difference to the largest coarsely.
            for (levels, offset) in [(1e6, 0.0), (12.0, 0.0), (1e6, 1e4), (1e6, -3e6), (3.0, 0.0)] {
                let mut row: Vec<f32> = (0..vocab)
                    .map(|_| (generator.next_f32() * levels).floor() * 40.0 / levels + offset)
                    .collect();
                row[vocab / 3] = f32::NEG_INFINITY;
                for capability in Capability::ALL {
                    probs.resize(vocab, 0.0);
                    assert!(softmax(&row, &mut probs, capability));
                    for k in [1, 5, 20, 80] {
                        if !Shortlist::suits(k, vocab)
                            || list.take(&row, k, capability, None) != Outcome::Listed
                        {
                            continue;
                        }
                        listed += 1;
                        let floor = kth_largest(&probs, k);
                        let expected: Survivors =
                            (0..).zip(probs.iter().copied()).filter(|(_, p)| *p >= floor).collect();
                        list.listed.retain(|_, p| p >= list.floor);
                        assert_eq!(list.listed, expected, "{vocab} {levels} {offset} {k}");
                    }
                }
            }
        }
        assert!(listed > 100, "{listed} rows were listed");
    }

    /// A logit below the bound has the probability of those that reach it, where the difference to the
    /// largest is rounded to the same: [`MARGIN`] is what lists it.
    #[test]
    fn what_ties_by_a_rounded_difference_is_listed() {
        const K: usize = 80;
        // The second differences are rounded to 2^-18, and are as far as a list reaches.
        let step = 1.0 / 524_288.0;
        for (max, value, below, least) in
            [(3.0, 1e-3, 1e-3 - 2e-8, -9.0), (40.25, -19.0, -19.0 - step, -40.0)]
        {
            let mut row = vec![least; 8192];
            row[4000] = max;
            // In more columns than k, so that the bound comes as close to them as it can.
            row.iter_mut().step_by(17).take(200).for_each(|x| *x = value);
            row[5000..5200].fill(below);
            let reached = row.iter().filter(|x| **x >= value).count();
            let mut probs = vec![0.0; row.len()];
            for capability in Capability::ALL {
                assert!(softmax(&row, &mut probs, capability));
                let floor = kth_largest(&probs, K);
                let tied: Vec<u32> = (0..)
                    .zip(&probs)
                    .filter(|(_, p)| **p >= floor)
                    .map(|(token, _)| token)
                    .collect();
                assert_eq!(tied.len(), reached + 200, "tokens below the others tie with them");
                let mut list = Shortlist::default();
                assert_eq!(list.take(&row, K, capability, None), Outcome::Listed);
                list.listed.retain(|_, p| p >= list.floor);
                assert_eq!(list.listed.tokens(), tied);
            }
        }
    }

    /// All but a few tokens have one logit, so that an estimate's error is that of the sum, and so are
    /// the roundings: what is kept is never taken for less of the sum than it is.
    #[test]
    fn an_estimated_sum_errs_within_its_bound() {
        let (mut list, mut estimated) = (Shortlist::default(), 0);
        for vocab in [2048, 20_011, 300_000] {
            for step in 0..24_u8 {
                let mut row = vec![-2.0 - f32::from(step) / 24.0; vocab];
                // In columns of their own, so that all else is below the bound.
                let every = vocab / 20 + 1;
                row.iter_mut().step_by(every).for_each(|x| *x = 0.0);
                let mut probs = vec![0.0; vocab];
                for capability in Capability::ALL {
                    assert!(softmax(&row, &mut probs, capability));
                    let mass: f64 = probs.iter().step_by(every).map(|p| f64::from(*p)).sum();
                    for share in [1.0, 1.0 - 1e-6, 1.001] {
                        let outcome = list.take(&row, 20, capability, Some(mass * share));
                        assert!(outcome != Outcome::Estimated || share > 1.0, "{vocab} {step}");
                        estimated += u32::from(outcome == Outcome::Estimated);
                    }
                }
            }
        }
        assert!(estimated > 100, "{estimated}");
    }

    /// Each lane of torch's sum holds two ones, or four, so that all else is rounded away; of the
    /// estimate, it is not.
    #[test]
    fn what_torch_rounds_away_is_allowed_for() {
        const K: usize = 16;
        let mut probs = vec![0.0; 1 << 20];
        for (capability, power) in
            [(Capability::Default, -23.0), (Capability::Avx2, -23.0), (Capability::Neon, -22.0)]
        {
            let mut row = vec![(0.99 * f32::exp2(power)).ln(); probs.len()];
            row[..K].fill(0.0);
            assert!(softmax(&row, &mut probs, capability));
            assert_eq!(probs[..K], [1.0 / 16.0; K], "torch's sum is that of the first");
            let mut list = Shortlist::default();
            let outcome = list.take(&row, K, capability, Some(1.0 - 1e-6));
            assert_eq!(outcome, Outcome::Listed, "what is kept is more than that");
            assert_eq!(list.take(&row, K, capability, Some(1.1)), Outcome::Estimated);
        }
    }

    /// Top-k keeps what the plain stage keeps, and top-p keeps all of that.
    #[test]
    fn estimates_leave_no_doubt() {
        let mut generator = Generator::new(7);
        let (mut list, mut workspace) = (Shortlist::default(), Workspace::default());
        let mut probs = Vec::new();
        let (mut estimated, mut not) = (0, 0);
        for round in 0..400_u16 {
            let vocab = [2048, 5000, 8193, 40_000][usize::from(round) % 4];
            let spread = 4.0 + f32::from(round % 23);
            let levels = [1e7, 40.0][usize::from(round / 4) % 2];
            let mut row: Vec<f32> = (0..vocab)
                .map(|_| (generator.next_f32() * levels).floor() * spread / levels - spread)
                .collect();
            // The k-th largest and the next one differ, but their probabilities need not.
            let mut sorted = row.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let close = row.iter().position(|x| *x == sorted[20]).unwrap_or(0);
            if round % 5 == 0 {
                row[close] = f32::from_bits(sorted[19].to_bits() + u32::from(round));
            }
            for capability in Capability::ALL {
                probs.resize(vocab, 0.0);
                assert!(softmax(&row, &mut probs, capability));
                let floor = kth_largest(&probs, 20);
                let mass: f64 = probs.iter().filter(|p| **p >= floor).map(|p| f64::from(*p)).sum();
                // Above, below, and too near to tell.
                for top_p in [mass * 1.01, mass * 0.99, mass * 1.0001, mass] {
                    let outcome = list.take(&row, 20, capability, Some(top_p));
                    if outcome != Outcome::Estimated {
                        not += 1;
                        continue;
                    }
                    estimated += 1;
                    let expected: Vec<u32> =
                        (0..).zip(&probs).filter(|(_, p)| **p >= floor).map(|(i, _)| i).collect();
                    list.listed.retain(|_, e| e >= list.floor);
                    assert_eq!(list.listed.tokens(), expected, "{round}");
                    assert!(top_p > mass, "{round} {top_p} {mass}");
                    assert_eq!(nucleus(&probs, floor, top_p, &mut workspace), Nucleus::All);
                }
            }
        }
        assert!(estimated > 300 && not > estimated, "{estimated} were estimated, {not} not");
    }

    #[test]
    fn what_is_not_a_row_for_a_list_is_said() {
        let mut list = Shortlist::default();
        let mut row = vec![0.0; 4096];
        assert_eq!(list.take(&row, 20, Capability::Avx2, None), Outcome::Unsuitable, "all tie");
        row.fill(f32::NEG_INFINITY);
        assert_eq!(list.take(&row, 20, Capability::Avx2, None), Outcome::Invalid);
        // Out of reach, where probabilities are denormal.
        row.iter_mut().step_by(100).for_each(|x| *x = -61.0);
        row[7] = 0.0;
        assert_eq!(list.take(&row, 20, Capability::Avx2, None), Outcome::Unsuitable, "far below");
        row.fill(f32::NEG_INFINITY);
        row[7] = 0.0;
        assert_eq!(
            list.take(&row, 20, Capability::Avx2, None),
            Outcome::Unsuitable,
            "one is possible"
        );
        assert_eq!(list.take(&row, 1, Capability::Avx2, None), Outcome::Listed);
        row[8] = f32::NAN;
        assert_eq!(list.take(&row, 1, Capability::Avx2, None), Outcome::Invalid);
    }
}
