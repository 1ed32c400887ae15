//! Softmax and top-k together, for a `k` that is small beside the row: only the tokens that can be
//! among the k largest get a probability.

use super::exp_estimate::{FARTHEST, estimate_error};
use super::few::Few;
use super::listing::{Listing, WORD, Word, estimated_exp_sum_in, exp_sum_in};
use super::narrow::sum_at_least_in;
use super::peaks::{GROUP, Peaks};
use super::survivors::Survivors;
use crate::planted::planted;
use crate::simd::format::{Format, Single};
use crate::simd::kernel;
use crate::simd::wide::Wide;
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
    /// The list holds all that both masks may keep, with exponentials that were not multiplied.
    Estimated,
    /// The row is not one for a list.
    Unsuitable,
}

/// How little a probability may be below the k-th largest, as a share, without a doubt that it is
/// below when both are rounded.
const CLOSE: f32 = 1.0 - 1.0 / 1_048_576.0;

/// Room for the roundings between a sum of exponentials, over torch's, and torch's cumulative sum of
/// probabilities: one of the reciprocal, of each product and of the sum to f32, 2^-24 each, and those of
/// sums in f64.
const ROUNDINGS: f64 = 1.0 / 1_048_576.0;

/// What is this much above another exponential stays above it where [`CLOSE`] is allowed for.
const APART: f32 = 1.0 + 1.0 / 524_288.0;

/// What an estimated list is to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// How many tokens it is made for.
    pub(crate) k: usize,
    /// Whether top-k keeps as many, and no more; else the nucleus must be among them.
    pub(crate) is_top_k: bool,
    /// The share of torch's sum that the nucleus has; infinite where top-p is off.
    pub(crate) share: f64,
    /// Positive, and finite.
    pub(crate) temperature: f32,
    pub(crate) capability: Capability,
}

/// What top-k keeps of a row, and memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shortlist {
    peaks: Peaks,
    words: Vec<Word>,
    logits: Vec<f32>,
    few: Few,
    /// The tokens that can be among the k most probable, with their probabilities.
    pub(crate) listed: Survivors,
    /// What is less is not kept: the `k`-th largest probability, but for an estimated list.
    pub(crate) floor: f32,
    /// Of an estimated list: what is at least this is kept.
    pub(crate) sure: f32,
    /// Of an estimated list: how many tokens the nucleus holds, roughly; none where it holds all.
    pub(crate) nucleus: Option<usize>,
}

impl Shortlist {
    /// Whether a list is worth while.
    pub(crate) fn suits(k: usize, vocab: usize) -> bool {
        vocab >= 64 * k
    }

    /// Takes the memory that rows of some length need for lists that are made for `k` tokens.
    pub(crate) fn grow(&mut self, vocab: usize, k: usize) {
        let Self { peaks, words, logits, few, listed, .. } = self;
        peaks.grow(vocab);
        words.reserve((vocab.div_ceil(WORD) + 1).saturating_sub(words.len()));
        logits.reserve(most_listed(k).saturating_sub(logits.len()));
        few.reserve(most_listed(k));
        listed.clear();
        listed.reserve(most_listed(k));
    }

    /// Lists the tokens whose probability is at least the `k`-th largest, and some others.
    pub(crate) fn take(&mut self, logits: &[f32], k: usize, capability: Capability) -> Outcome {
        take(self, logits, k, capability)
    }

    /// Lists the tokens that both masks may keep, of logits that are not divided by the temperature yet,
    /// without torch's sum: an estimate, and the bound on its error, tell of most tokens whether the
    /// nucleus keeps them.
    pub(crate) fn estimate<F: Format>(&mut self, logits: &[F::Bits], wanted: Wanted) -> Outcome {
        estimate::<F>(self, logits, wanted)
    }
}

/// More tokens are not listed.
pub(crate) fn most_listed(k: usize) -> usize {
    4 * k + GROUP
}

kernel! {
    fn take<'a>(
        wide;
        list: &'a mut Shortlist,
        logits: &'a [f32],
        k: usize,
        capability: Capability,
    ) -> Outcome {
        let Shortlist { peaks, words, logits: values, few, listed, floor, .. } = list;
        let max = peaks.take::<Single, _>(wide, logits);
        if !max.is_finite() {
            return Outcome::Invalid;
        }
        let Some(bound) = peaks.lower_bound(wide, k, max, REACH) else {
            return Outcome::Unsuitable;
        };
        words.resize(logits.len().div_ceil(WORD) + 1, Word::default());
        let least = if planted!(ShortlistMargin) { bound } else { bound - MARGIN };
        let listing = Listing { least, peaks: &peaks.maxima, words };
        let sum = exp_sum_in(wide, logits, max, listing, capability);
        if sum.is_nan() {
            return Outcome::Invalid;
        }
        if !take_words::<Single>(words, logits, k, listed) {
            return Outcome::Unsuitable;
        }
        values.clear();
        values.reserve(most_listed(k));
        values.extend_from_slice(listed.probabilities());
        exp_and_sum_in(wide, values, max, listed.probabilities_mut(), capability);
        few.reserve(most_listed(k));
        let k = k + usize::from(planted!(ShortlistFloor) && k < listed.probabilities().len());
        let reciprocal = 1.0 / sum;
        for p in listed.probabilities_mut() {
            *p *= reciprocal;
        }
        *floor = few.kth_largest(wide, listed.probabilities(), k);
        Outcome::Listed
    }
}

/// Takes the tokens that the words name; `false` where they are too many, or fewer than `k`: of logits
/// that are mostly equal, or that another thread has lowered since the bound was found.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn take_words<F: Format>(
    words: &[Word],
    logits: &[F::Bits],
    k: usize,
    listed: &mut Survivors,
) -> bool {
    let length = words.iter().map(|word| word.lanes.count_ones() as usize).sum::<usize>();
    let most = most_listed(k);
    let suits = (k..=most).contains(&length);
    if suits {
        listed.take_lanes::<F>(logits, words, most);
    }
    suits
}

kernel! {
    fn estimate<'a, F: Format>(
        wide; list: &'a mut Shortlist, logits: &'a [F::Bits], wanted: Wanted,
    ) -> Outcome {
        let Wanted { k, temperature, capability, .. } = wanted;
        let Shortlist { peaks, words, logits: values, few, listed, .. } = list;
        let top = peaks.take::<F, _>(wide, logits);
        // Dividing keeps an order: this is the largest quotient.
        let max = top / temperature;
        let far = temperature != 1.0 && max.abs() > FARTHEST;
        if !max.is_finite() || far {
            return Outcome::Unsuitable;
        }
        let bound = peaks.lower_bound(wide, k, top, REACH * temperature);
        let Some(least) = bound.and_then(|bound| least_listed(bound, temperature)) else {
            return Outcome::Unsuitable;
        };
        words.resize(logits.len().div_ceil(WORD) + 1, Word::default());
        let listing = Listing { least, peaks: &peaks.maxima, words };
        let sum = estimated_exp_sum_in::<F, _>(wide, logits, top, temperature, listing);
        if !sum.is_finite() || !take_words::<F>(words, logits, k, listed) {
            return Outcome::Unsuitable;
        }
        values.clear();
        values.reserve(most_listed(k));
        values.extend_from_slice(listed.probabilities());
        if temperature != 1.0 {
            for x in &mut *values {
                *x /= temperature;
            }
        }
        exp_and_sum_in(wide, values, max, listed.probabilities_mut(), capability);
        few.reserve(most_listed(k));
        let error = estimate_error(logits.len(), capability);
        if sift(wide, list, wanted, sum, error) { Outcome::Estimated } else { Outcome::Unsuitable }
    }
}

/// A logit such that the quotient of every lesser one lies more than [`MARGIN`] below that of `bound`.
/// `None` where quotients are rounded too coarsely for that.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn least_listed(bound: f32, temperature: f32) -> Option<f32> {
    let margin = if planted!(ShortlistMargin) { 0.0 } else { MARGIN };
    if temperature == 1.0 {
        return Some(bound - margin);
    }
    let least = bound - 2.0 * margin * temperature;
    // Dividing keeps an order; the difference of two f32 that are as near is exact in f64.
    let gap = f64::from(bound / temperature) - f64::from(least / temperature);
    (gap >= f64::from(margin)).then_some(least)
}

/// Finds what both masks are sure to keep of a list, and what they may keep, from an estimate of the sum
/// of all exponentials; `false` where the list does not hold all of that.
///
/// Let C be the sum of some listed exponentials, s torch's sum, S the estimated one, and e = `error`, so
/// that S (1 - e) <= s <= S (1 + 2e). torch's cumulative sum of their probabilities is C / s, but for
/// [`ROUNDINGS`]. A token is kept if what may come before it is at most `least` = share S (1 - e), and
/// dropped if what is sure to is more than `most` = share S (1 + 2e). Exponentials that differ by less than
/// [`CLOSE`] may come in either order. Of the list in descending order, let J be the first place before
/// which there is more than `least`, and K the first before which there is more than `most`.
///
/// What is above the token at J, and not close to it, is kept: whatever may come before it is among the
/// first J tokens without itself, which weighs at least as much as the last of them, and so is no more than
/// the first J - 1. What is below the token before K, and not close to it, is dropped. So is what is not
/// listed: either top-k drops it, or K is at most k, and its probability is below those of the k tokens that
/// reach the bound.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn sift<W: Wide>(wide: W, list: &mut Shortlist, wanted: Wanted, sum: f64, error: f64) -> bool {
    let Shortlist { few, listed, floor, sure, nucleus, .. } = list;
    let Wanted { k, is_top_k, share, .. } = wanted;
    let exponentials = listed.probabilities();
    (*floor, *sure, *nucleus) = (0.0, 0.0, None);
    if is_top_k {
        let k = k + usize::from(planted!(ShortlistFloor) && k < exponentials.len());
        let least = few.kth_largest(wide, exponentials, k);
        (*floor, *sure) = (if planted!(ShortlistClose) { least } else { least * CLOSE }, least);
    }
    let error = if planted!(ShortlistError) { 0.0 } else { error + ROUNDINGS };
    let (least, most) = (share * sum * (1.0 - error), share * sum * (1.0 + 2.0 * error));
    if is_top_k && (sum_at_least_in(wide, exponentials, *floor) <= least || planted!(ShortlistTopP))
    {
        return true;
    }
    let sorted = few.sorted(wide, exponentials);
    let sorted = &sorted[..sorted.partition_point(|e| *e >= *floor)];
    let (mut before, mut kept) = (0.0, 0);
    let mut first_in_doubt = None;
    while kept < sorted.len() && before <= most {
        if before > least && first_in_doubt.is_none() {
            first_in_doubt = Some(sorted[kept]);
        }
        before += f64::from(sorted[kept]);
        kept += 1;
    }
    // The loop ends at K, or at the end of the list.
    let crossed = before > most;
    if !is_top_k && (!crossed || kept > k) {
        return false;
    }
    if crossed {
        first_in_doubt = first_in_doubt.or_else(|| sorted.get(kept).copied());
        *floor = floor.max(sorted[kept - 1] * CLOSE);
        *nucleus = Some(kept);
    }
    match first_in_doubt {
        Some(e) => *sure = sure.max(e * APART),
        // What comes after the last that is listed is not known.
        None if !is_top_k => return false,
        None => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::lanes::Portable;
    use crate::stages::softmax::softmax;
    use crate::stages::top_k::kth_largest;
    use crate::stages::top_p::top_p as top_p_mask;
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
                            || list.take(&row, k, capability) != Outcome::Listed
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

    /// Sifts descending exponentials, of which the nucleus has exactly this `mass`.
    fn sifted(exponentials: &[f32], k: usize, is_top_k: bool, mass: f64) -> Option<Shortlist> {
        let listed = (0..).zip(exponentials.iter().copied()).collect();
        let mut list = Shortlist { listed, ..Shortlist::default() };
        list.few.reserve(most_listed(k));
        let capability = Capability::Default;
        let wanted = Wanted { k, is_top_k, share: mass, temperature: 1.0, capability };
        sift(Portable, &mut list, wanted, 1.0, -ROUNDINGS).then_some(list)
    }

    /// A list for a nucleus is sure to hold as many of the largest as it was made for, and no more.
    #[test]
    fn a_nucleus_of_more_tokens_is_not_told_from_a_list() {
        let exponentials = [8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        for (mass, kept) in [(7.0, 1), (11.0, 2), (13.0, 3), (14.0, 4), (16.0, 6)] {
            for k in 1..=7 {
                let nucleus = sifted(&exponentials, k, false, mass).and_then(|list| list.nucleus);
                assert_eq!(nucleus, (kept <= k).then_some(kept), "{mass} {k}");
            }
        }
    }

    /// Of two that may come in either order, neither is sure where one of them is dropped, also where
    /// the lesser one is the least that top-k may keep.
    #[test]
    fn what_is_close_to_the_least_is_not_sure() {
        let list = sifted(&[1.0, 0.5, 0.5 * CLOSE, 0.25], 2, true, 1.2).unwrap();
        assert_eq!(list.floor, 0.5 * CLOSE);
        assert!(list.sure > 0.5 && list.sure < 1.0, "{}", list.sure);
    }

    /// What is below the least one that is listed has a quotient that lies further below than the margin.
    #[test]
    fn quotients_below_the_least_listed_are_far() {
        let mut generator = Generator::new(9);
        let mut found = 0;
        for temperature in [0.3, 0.7, 0.999, 1.0, 1.001, 1.5, 3.0] {
            for scale in [1.0, 100.0, 1e4, 1e6, 1e8] {
                for _ in 0..100 {
                    let bound = (generator.next_f32() - 0.5) * scale;
                    let Some(least) = least_listed(bound, temperature) else { continue };
                    let quotients = [bound, least.next_down()].map(|x| f64::from(x / temperature));
                    assert!(
                        quotients[0] - quotients[1] >= f64::from(MARGIN),
                        "{bound} {temperature}"
                    );
                    found += 1;
                }
            }
        }
        assert!(found > 1000, "{found}");
    }

    /// Quotients far from zero are rounded too coarsely for an estimate; undivided logits are not.
    #[test]
    fn far_quotients_are_not_estimated() {
        let mut list = Shortlist::default();
        for (temperature, top, expected) in [
            (0.5, FARTHEST / 2.0, Outcome::Estimated),
            (0.5, (FARTHEST / 2.0).next_up(), Outcome::Unsuitable),
            (0.5, 1.0, Outcome::Estimated),
            (1.0, FARTHEST * 2.0, Outcome::Estimated),
        ] {
            let mut row = vec![top - 20.0; 8192];
            // Each by itself in its column, and no two alike.
            row.iter_mut()
                .step_by(129)
                .zip(1_u8..)
                .for_each(|(x, n)| *x = top - f32::from(n) / 16.0);
            row[7] = top;
            for capability in Capability::ALL {
                let wanted = Wanted { k: 20, is_top_k: true, share: 0.9, temperature, capability };
                assert_eq!(list.estimate::<Single>(&row, wanted), expected, "{temperature} {top}");
            }
        }
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
                assert_eq!(list.take(&row, K, capability), Outcome::Listed);
                list.listed.retain(|_, p| p >= list.floor);
                assert_eq!(list.listed.tokens(), tied);
            }
        }
    }

    /// Holds what an estimated list says of a row against the definition: the tokens that it is sure of,
    /// and those that it leaves out. Returns how many it says nothing of; `None` where there is no list.
    fn in_doubt(
        list: &mut Shortlist,
        row: &[f32],
        wanted: Wanted,
        top_k: Option<usize>,
        top_p: f64,
    ) -> Option<usize> {
        #[allow(clippy::cast_possible_truncation)] // As torch does.
        let share = if top_p > 0.0 { f64::from(top_p as f32) } else { f64::INFINITY };
        let Wanted { capability, temperature, .. } = wanted;
        let outcome = list.estimate::<Single>(row, Wanted { share, ..wanted });
        if outcome != Outcome::Estimated {
            assert_eq!(outcome, Outcome::Unsuitable);
            return None;
        }
        let scaled: Vec<f32> = row.iter().map(|x| x / temperature).collect();
        let mut probs = vec![0.0; row.len()];
        assert!(softmax(&scaled, &mut probs, capability));
        let floor = top_k.map_or(0.0, |k| kth_largest(&probs, k));
        probs.iter_mut().filter(|p| **p < floor).for_each(|p| *p = 0.0);
        let nucleus = if top_p > 0.0 { top_p_mask(&mut probs.clone(), top_p) } else { Vec::new() };
        let is_kept = |token: usize| probs[token] > 0.0 && nucleus.get(token) != Some(&false);
        let mut doubts = 0;
        let mut listed = list.listed.iter().peekable();
        for token in 0..row.len() {
            let here = listed.next_if(|(listed, _)| *listed as usize == token);
            let e = here.map_or(0.0, |(_, e)| e);
            if e >= list.sure && e > 0.0 {
                assert!(is_kept(token), "token {token}: {wanted:?} {top_k:?} {top_p}");
            } else if e < list.floor || e == 0.0 {
                assert!(!is_kept(token), "token {token}: {wanted:?} {top_k:?} {top_p}");
            } else {
                doubts += 1;
            }
        }
        Some(doubts)
    }

    fn wanted(k: usize, is_top_k: bool, capability: Capability) -> Wanted {
        Wanted { k, is_top_k, share: 0.0, temperature: 1.0, capability }
    }

    /// All but a few tokens have one logit, so that an estimate's error is that of the sum, and so are
    /// the roundings. The nucleus ends as near to each of the few as f32 can say, and further away.
    #[test]
    fn an_estimated_sum_errs_within_its_bound() {
        let (mut list, mut decided, mut not) = (Shortlist::default(), 0, 0);
        for vocab in [2048, 20_011, 300_000] {
            for step in 0..12_u8 {
                let mut row = vec![-2.0 - f32::from(step) / 12.0; vocab];
                // In columns of their own, so that all else is below the bound.
                let every = vocab / 20 + 1;
                for (place, x) in (0_u8..).zip(row.iter_mut().step_by(every)) {
                    *x = -0.02 * f32::from(place);
                }
                let mut probs = vec![0.0; vocab];
                for capability in Capability::ALL {
                    assert!(softmax(&row, &mut probs, capability));
                    let first = 3 + usize::from(step);
                    let before: f64 =
                        probs.iter().step_by(every).take(first).map(|p| f64::from(*p)).sum();
                    for share in [1.0, 1.0 - 1e-6, 1.0 + 1e-6, 0.999, 1.001, 1.02] {
                        for is_top_k in [false, true] {
                            let wanted = wanted(20, is_top_k, capability);
                            let top_k = is_top_k.then_some(20);
                            match in_doubt(&mut list, &row, wanted, top_k, before * share) {
                                Some(0) => decided += 1,
                                Some(_) => not += 1,
                                None => assert!(!is_top_k, "{vocab} {step}"),
                            }
                        }
                    }
                }
            }
        }
        assert!(decided > 100 && not > 100, "{decided} are decided, {not} are not");
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
            for (top_p, doubts) in [(0.9375 - 1e-6, K), (0.9375 + 1e-6, K), (1.1, 0)] {
                let wanted = wanted(K, true, capability);
                assert_eq!(in_doubt(&mut list, &row, wanted, Some(K), top_p), Some(doubts));
            }
        }
    }

    /// Of two tokens whose exponentials differ and whose probabilities do not, the nucleus ends with
    /// either: with the one that torch's sort puts first.
    #[test]
    fn tokens_that_tie_by_rounded_products_come_in_either_order() {
        let mut list = Shortlist::default();
        let (mut tied, mut other_first) = (0, 0);
        for round in 0..200_u16 {
            let mut row: Vec<f32> =
                (0..2048_u16).map(|token| -20.0 - f32::from(token) / 256.0).collect();
            let likely = -0.9 - f32::from(round) / 1000.0;
            // The sum is such that floats are further from each other than before the multiplication.
            (row[700], row[701]) = (0.0, -1e-3);
            let pair = if round % 2 == 0 { [100, 900] } else { [900, 100] };
            (row[pair[0]], row[pair[1]]) = (likely, likely.next_down());
            let mut probs = vec![0.0; row.len()];
            assert!(softmax(&row, &mut probs, Capability::Avx2));
            let [p, q] = pair.map(|token| probs[token]);
            tied += u32::from(p == q);
            let top_p = f64::from(probs[700]) + f64::from(probs[701]) + 0.5 * f64::from(p);
            let kept = top_p_mask(&mut probs.clone(), top_p);
            other_first += u32::from(kept[pair[1]] && !kept[pair[0]]);
            for is_top_k in [false, true] {
                let wanted = wanted(5, is_top_k, Capability::Avx2);
                let top_k = is_top_k.then_some(5);
                assert!(in_doubt(&mut list, &row, wanted, top_k, top_p).is_some() || is_top_k);
            }
        }
        assert!(tied > 20 && other_first > 5, "{tied} tie, {other_first} in the other order");
    }

    /// Whatever the masks keep, and however a temperature divides.
    #[test]
    fn estimates_leave_no_doubt() {
        let mut generator = Generator::new(7);
        let mut list = Shortlist::default();
        let mut probs = Vec::new();
        let (mut decided, mut not, mut narrow) = (0, 0, 0);
        for round in 0..400_u16 {
            let vocab = [2048, 5000, 8193, 40_000][usize::from(round) % 4];
            let spread = 4.0 + f32::from(round % 23);
            let levels = [1e7, 40.0][usize::from(round / 4) % 2];
            let temperature = [1.0, 0.7, 3.1][usize::from(round / 8) % 3];
            let offset = [0.0, 0.0, 300.0, -5000.0][usize::from(round / 24) % 4];
            let mut row: Vec<f32> = (0..vocab)
                .map(|_| (generator.next_f32() * levels).floor() * spread / levels - spread)
                .map(|x| x + offset)
                .collect();
            // The k-th largest and the next one differ, but their probabilities need not.
            let mut sorted = row.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let close = row.iter().position(|x| *x == sorted[20]).unwrap_or(0);
            if round % 5 == 0 && sorted[19] != 0.0 {
                row[close] = f32::from_bits(sorted[19].to_bits() + u32::from(round));
            }
            let scaled: Vec<f32> = row.iter().map(|x| x / temperature).collect();
            for capability in Capability::ALL {
                probs.resize(vocab, 0.0);
                assert!(softmax(&scaled, &mut probs, capability));
                let mut order = probs.clone();
                order.sort_by(|a, b| b.total_cmp(a));
                let place = usize::from(round) % 20;
                let before: f64 = order[..=place].iter().map(|p| f64::from(*p)).sum();
                // Above, below, and too near to tell; of some token, and of what top-k keeps.
                let mass: f64 = order[..20].iter().map(|p| f64::from(*p)).sum();
                for top_p in [before * 1.01, before * 0.99, before * 1.0001, before, mass, 1.0, 0.0]
                {
                    for (k, is_top_k, top_k) in
                        [(20, true, Some(20)), (20, false, Some(21)), (31, false, None)]
                    {
                        let wanted = Wanted { temperature, ..wanted(k, is_top_k, capability) };
                        match in_doubt(&mut list, &row, wanted, top_k, top_p) {
                            Some(0) => decided += 1,
                            Some(_) => not += 1,
                            None => {}
                        }
                        narrow += u32::from(!is_top_k && list.nucleus.is_some());
                    }
                }
            }
        }
        assert!(
            decided > 1000 && not > 1000 && narrow > 1000,
            "{decided} were decided, {not} not, {narrow} nuclei were narrow"
        );
    }

    #[test]
    fn what_is_not_a_row_for_a_list_is_said() {
        let mut list = Shortlist::default();
        let mut row = vec![0.0; 4096];
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Unsuitable, "all tie");
        row.fill(f32::NEG_INFINITY);
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Invalid);
        // Out of reach, where probabilities are denormal.
        row.iter_mut().step_by(100).for_each(|x| *x = -61.0);
        row[7] = 0.0;
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Unsuitable, "far below");
        for temperature in [1.0, 0.7] {
            let divided: Vec<f32> = row.iter().map(|x| x * temperature).collect();
            let wanted = Wanted { temperature, ..wanted(20, true, Capability::Avx2) };
            let outcome = list.estimate::<Single>(&divided, wanted);
            assert_eq!(outcome, Outcome::Unsuitable, "far below at {temperature}");
        }
        row.fill(f32::NEG_INFINITY);
        row[7] = 0.0;
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Unsuitable, "one is possible");
        assert_eq!(list.take(&row, 1, Capability::Avx2), Outcome::Listed);
        row[8] = f32::NAN;
        assert_eq!(list.take(&row, 1, Capability::Avx2), Outcome::Invalid);
    }
}
