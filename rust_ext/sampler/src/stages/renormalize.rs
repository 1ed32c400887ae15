//! Renormalisation of what top-k and top-p left.

use std::num::NonZeroUsize;

use super::keep::SMALLEST;
use super::narrow::are_at_least;
use super::survivors::{Survivors, list_at_least};
use super::top_p::Nucleus;
use crate::planted;
use crate::simd::kernel;
use crate::torch::exponential::Crowd;
use crate::torch::sums::{row_sum, row_sum_at_least, sparse_row_sum};

/// What top-k and top-p leave of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks<'a> {
    /// The top-k threshold.
    pub(crate) floor: f32,
    pub(crate) nucleus: Nucleus,
    /// Where the nucleus parts ties: which of them stay, ascending.
    pub(crate) kept_ties: &'a [u32],
}

impl Masks<'_> {
    /// What is less, both masks drop.
    fn least_kept(&self) -> f32 {
        match self.nucleus {
            Nucleus::All => self.floor,
            Nucleus::AtLeast(value) => self.floor.max(value),
            Nucleus::Split { tied } => tied,
        }
    }

    /// Drops those of the tied tokens that are not to stay.
    fn part_ties(&self, survivors: &mut Survivors) {
        if let Nucleus::Split { tied } = self.nucleus {
            let mut kept_ties = self.kept_ties.iter().peekable();
            survivors.retain(|token, probability| {
                probability != tied || kept_ties.next_if_eq(&&token).is_some()
            });
        }
    }

    fn list(&self, probs: &[f32], survivors: &mut Survivors) {
        // A zero survives no mask: it cannot be drawn.
        list_at_least(probs, self.least_kept().max(SMALLEST), survivors);
        self.part_ties(survivors);
    }
}

/// Lists what the masks leave of a row, divided by its sum.
///
/// `alone` says that the batch has no other row, `threads` how many torch would run.
pub(crate) fn renormalize(
    probs: &[f32],
    masks: Masks<'_>,
    alone: bool,
    threads: NonZeroUsize,
    survivors: &mut Survivors,
) {
    masks.list(probs, survivors);
    let sum = sparse_row_sum(survivors, probs.len(), alone, threads);
    divide(survivors.probabilities_mut(), sum);
}

/// [`renormalize`] by a sum over the whole row, in which what the masks drop is left zero.
pub(crate) fn renormalize_plainly(
    probs: &mut [f32],
    masks: Masks<'_>,
    alone: bool,
    threads: NonZeroUsize,
    survivors: &mut Survivors,
) {
    masks.list(probs, survivors);
    probs.fill(0.0);
    for (token, probability) in survivors.iter() {
        probs[token as usize] = probability;
    }
    divide(survivors.probabilities_mut(), row_sum(probs, alone, threads));
}

/// [`renormalize`] of a row of `vocab` that is zero but for what is listed.
pub(crate) fn renormalize_list(
    listed: &Survivors,
    vocab: usize,
    masks: Masks<'_>,
    alone: bool,
    threads: NonZeroUsize,
    survivors: &mut Survivors,
) {
    survivors.take_at_least(listed, masks.least_kept());
    masks.part_ties(survivors);
    let sum = sparse_row_sum(survivors, vocab, alone, threads);
    divide(survivors.probabilities_mut(), sum);
}

kernel! {
    fn divide<'a>(probabilities: &'a mut [f32], sum: f32) -> () {
        for p in probabilities {
            if planted!(RenormalizeByReciprocal) {
                *p *= 1.0 / sum;
            } else {
                *p /= sum;
            }
        }
    }
}

/// The least probability that survives, and the sum of those that do, where many of a row do and
/// no tied ones are parted.
pub(crate) fn crowd(
    probs: &[f32],
    masks: Masks<'_>,
    alone: bool,
    threads: NonZeroUsize,
) -> Option<(f32, f32)> {
    /// Fewer survivors than one in this many are listed.
    const MANY: usize = 32;
    if let Nucleus::Split { .. } = masks.nucleus {
        return None;
    }
    let least = masks.least_kept();
    if !are_at_least(probs, least.max(Crowd::LEAST), probs.len() / MANY) {
        return None;
    }
    Some((least, row_sum_at_least(probs, least, alone, threads)))
}
