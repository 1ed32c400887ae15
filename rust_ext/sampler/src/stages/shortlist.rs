//! Softmax and top-k together, for a `k` that is small beside the row: only the tokens that can be
//! among the k largest get a probability.

use super::keep::{BLOCK, extend_at_least};
use super::peaks::{GROUP, Peaks, lower_bound, peaks};
use crate::Capability;
use crate::simd::kernel;
use crate::torch::exp::{exp_and_sum, exp_sum};
use crate::torch::exponential::Survivor;

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

/// Logits that are looked at together, one a bit.
const WORD: usize = u64::BITS as usize;

/// The first of some logits, and which of them are listed.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    first: u32,
    lanes: u64,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// The list holds what top-k keeps.
    Listed,
    /// The probabilities are NaN.
    Invalid,
    /// The row is not one for a list.
    Unsuitable,
}

/// What top-k keeps of a row, and memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shortlist {
    peaks: Vec<Peaks>,
    coarse: Vec<Peaks>,
    words: Vec<Word>,
    values: Vec<f32>,
    padded: Vec<[f32; BLOCK]>,
    /// The kept tokens with their probabilities, ascending by token.
    pub(crate) kept: Vec<Survivor>,
    /// The kept probabilities, descending.
    pub(crate) sorted: Vec<f32>,
}

impl Shortlist {
    /// Whether a list is worth while.
    pub(crate) fn suits(k: usize, vocab: usize) -> bool {
        vocab >= 64 * k
    }

    /// Lists the tokens whose probability is at least the `k`-th largest.
    pub(crate) fn take(&mut self, logits: &[f32], k: usize, capability: Capability) -> Outcome {
        let Self { peaks: all, coarse, words, values, padded, kept, sorted } = self;
        let max = peaks(logits, all);
        let sum = exp_sum(logits, max, capability);
        if sum.is_nan() {
            return Outcome::Invalid;
        }
        let Some(bound) = lower_bound(all, k, max, REACH, coarse) else {
            return Outcome::Unsuitable;
        };
        kept.clear();
        list_in_groups(logits, all, bound - MARGIN, words, kept);
        // Logits that are mostly equal.
        if kept.len() > 4 * k + GROUP {
            return Outcome::Unsuitable;
        }
        sorted.clear();
        sorted.extend(kept.iter().map(|candidate| candidate.probability));
        values.resize(sorted.len(), 0.0);
        exp_and_sum(sorted, max, values, capability);
        let reciprocal = 1.0 / sum;
        for (candidate, e) in kept.iter_mut().zip(&mut *values) {
            *e *= reciprocal;
            candidate.probability = *e;
        }
        sort_descending(values, padded, sorted);
        let floor = sorted[k - 1];
        kept.retain(|candidate| candidate.probability >= floor);
        sorted.truncate(kept.len());
        Outcome::Listed
    }
}

kernel! {
    /// Lists the tokens whose logit is at least `least`, passing over the groups without any.
    fn list_in_groups<'a>(
        wide;
        logits: &'a [f32],
        peaks: &'a [Peaks],
        least: f32,
        words: &'a mut Vec<Word>,
        listed: &'a mut Vec<Survivor>,
    ) -> () {
        let leasts = wide.splat(least);
        let (wholes, rest) = logits.as_chunks::<WORD>();
        words.resize(wholes.len() + 1, Word::default());
        let mut count = 0;
        let groups = wholes.chunks(GROUP / WORD).zip(peaks);
        for (first, (group, peaks)) in (0..).step_by(GROUP).zip(groups) {
            if wide.at_least(wide.load(peaks), leasts) == 0 {
                continue;
            }
            // Which words have any cannot be predicted: those that do are listed without a branch.
            for (first, word) in (first..).step_by(WORD).zip(group) {
                let lanes = word.as_chunks().0.iter().rev().fold(0, |lanes, block| {
                    lanes << BLOCK | u64::from(wide.at_least(wide.load(block), leasts))
                });
                words[count] = Word { first, lanes };
                count += usize::from(lanes != 0);
            }
        }
        for &Word { first, mut lanes } in &words[..count] {
            while lanes != 0 {
                let token = first + lanes.trailing_zeros();
                listed.push(Survivor { token, probability: logits[token as usize] });
                lanes &= lanes - 1;
            }
        }
        #[allow(clippy::cast_possible_truncation)] // A row has at most 2^24 tokens.
        let first = (logits.len() - rest.len()) as u32;
        extend_at_least(wide, rest, first, least, listed);
    }
}

/// Sorts by counting, for each value, those above it: quadratic, but without a branch.
///
/// `values` are not negative. `padded` is a workspace.
fn sort_descending(values: &[f32], padded: &mut Vec<[f32; BLOCK]>, sorted: &mut Vec<f32>) {
    const MOST: usize = 256;
    sorted.clear();
    sorted.extend_from_slice(values);
    if values.len() > MOST {
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        return;
    }
    padded.clear();
    let (blocks, tail) = values.as_chunks();
    padded.extend_from_slice(blocks);
    let mut last = [0.0; BLOCK];
    last[..tail.len()].copy_from_slice(tail);
    padded.push(last);
    sorted.fill(-1.0);
    place(values, padded, sorted);
    // Equal values went to one place; the ones after it are theirs.
    let mut before = 0.0;
    for value in sorted {
        if *value < 0.0 {
            *value = before;
        }
        before = *value;
    }
}

kernel! {
    fn place<'a>(values: &'a [f32], padded: &'a [[f32; BLOCK]], sorted: &'a mut [f32]) -> () {
        let mut left = values.len();
        for block in padded {
            let mut larger = [0_u32; BLOCK];
            for value in values {
                for (larger, x) in larger.iter_mut().zip(block) {
                    *larger += u32::from(value > x);
                }
            }
            for (larger, x) in larger.iter().zip(block).take(left) {
                sorted[*larger as usize] = *x;
            }
            left = left.saturating_sub(BLOCK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generator;
    use crate::stages::{keep::Gathered, softmax::softmax, top_k};

    #[test]
    fn sorting_is_sorting() {
        let mut generator = Generator::new(8);
        let (mut padded, mut sorted) = (Vec::new(), Vec::new());
        for length in [1, 2, 15, 16, 17, 90, 256, 257, 1000] {
            for levels in [1.0, 5.0, 1e6] {
                let values: Vec<f32> =
                    (0..length).map(|_| (generator.next_f32() * levels).floor()).collect();
                let mut expected = values.clone();
                expected.sort_by(|a, b| b.total_cmp(a));
                sort_descending(&values, &mut padded, &mut sorted);
                assert_eq!(sorted, expected);
            }
        }
    }

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
                        let floor = top_k::threshold(&probs, k, &mut Gathered::default());
                        let expected: Vec<Survivor> = (0..)
                            .zip(&probs)
                            .filter(|(_, p)| **p >= floor)
                            .map(|(token, &probability)| Survivor { token, probability })
                            .collect();
                        assert_eq!(list.kept, expected, "{vocab} {levels} {offset} {k}");
                        let mut descending: Vec<f32> =
                            expected.iter().map(|survivor| survivor.probability).collect();
                        descending.sort_by(|a, b| b.total_cmp(a));
                        assert_eq!(list.sorted, descending);
                    }
                }
            }
        }
        assert!(listed > 100, "{listed} rows were listed");
    }

    #[test]
    fn what_is_not_a_row_for_a_list_is_said() {
        let mut list = Shortlist::default();
        let mut row = vec![0.0; 4096];
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Unsuitable, "all tie");
        row.fill(f32::NEG_INFINITY);
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Invalid);
        row[7] = 0.0;
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Unsuitable, "one is possible");
        row[8] = f32::NAN;
        assert_eq!(list.take(&row, 20, Capability::Avx2), Outcome::Invalid);
    }
}
