//! Renormalisation of what top-k and top-p left.

use std::num::NonZeroUsize;

use super::keep::{SMALLEST, list_at_least};
use super::narrow::are_at_least;
use super::top_p::Nucleus;
use crate::planted;
use crate::torch::exponential::{Crowd, Survivor};
use crate::torch::sums::{row_sum, row_sum_at_least, sparse_row_sum};

/// Lists what the masks leave of a row, divided by its sum.
///
/// `floor` is the top-k threshold; `alone` says that the batch has no other row, `threads` how
/// many torch would run.
pub(crate) fn renormalize(
    probs: &[f32],
    floor: f32,
    nucleus: Nucleus,
    kept_ties: &[u32],
    alone: bool,
    threads: NonZeroUsize,
    survivors: &mut Vec<Survivor>,
) {
    list(probs, floor, nucleus, kept_ties, survivors);
    let sum = sparse_row_sum(survivors, probs.len(), alone, threads);
    divide(survivors, sum);
}

/// [`renormalize`] by a sum over the whole row, in which what the masks drop is left zero.
pub(crate) fn renormalize_plainly(
    probs: &mut [f32],
    floor: f32,
    nucleus: Nucleus,
    kept_ties: &[u32],
    alone: bool,
    threads: NonZeroUsize,
    survivors: &mut Vec<Survivor>,
) {
    list(probs, floor, nucleus, kept_ties, survivors);
    probs.fill(0.0);
    for &Survivor { token, probability } in &*survivors {
        probs[token as usize] = probability;
    }
    divide(survivors, row_sum(probs, alone, threads));
}

fn list(
    probs: &[f32],
    floor: f32,
    nucleus: Nucleus,
    kept_ties: &[u32],
    survivors: &mut Vec<Survivor>,
) {
    survivors.clear();
    // A zero survives no mask: it cannot be drawn.
    list_at_least(probs, least_kept(floor, nucleus).max(SMALLEST), survivors);
    part_ties(survivors, nucleus, kept_ties);
}

/// What is less, both masks drop.
fn least_kept(floor: f32, nucleus: Nucleus) -> f32 {
    match nucleus {
        Nucleus::All => floor,
        Nucleus::AtLeast(value) => floor.max(value),
        Nucleus::Split { tied } => tied,
    }
}

/// Drops those of the tied tokens that are not to stay.
fn part_ties(survivors: &mut Vec<Survivor>, nucleus: Nucleus, kept_ties: &[u32]) {
    if let Nucleus::Split { tied } = nucleus {
        let mut kept_ties = kept_ties.iter().peekable();
        survivors.retain(|&Survivor { token, probability }| {
            probability != tied || kept_ties.next_if_eq(&&token).is_some()
        });
    }
}

fn divide(survivors: &mut [Survivor], sum: f32) {
    for Survivor { probability, .. } in survivors {
        if planted!(RenormalizeByReciprocal) {
            *probability *= 1.0 / sum;
        } else {
            *probability /= sum;
        }
    }
}

/// The least probability that survives, and the sum of those that do, where many of a row do and
/// no tied ones are parted.
pub(crate) fn crowd(
    probs: &[f32],
    floor: f32,
    nucleus: Nucleus,
    alone: bool,
    threads: NonZeroUsize,
) -> Option<(f32, f32)> {
    /// Fewer survivors than one in this many are listed.
    const MANY: usize = 32;
    if let Nucleus::Split { .. } = nucleus {
        return None;
    }
    let least = least_kept(floor, nucleus);
    if !are_at_least(probs, least.max(Crowd::LEAST), probs.len() / MANY) {
        return None;
    }
    Some((least, row_sum_at_least(probs, least, alone, threads)))
}

/// [`renormalize`] of a row of `vocab` that is zero but for what top-k kept.
pub(crate) fn renormalize_list(
    kept: &[Survivor],
    vocab: usize,
    nucleus: Nucleus,
    kept_ties: &[u32],
    alone: bool,
    threads: NonZeroUsize,
    survivors: &mut Vec<Survivor>,
) {
    let least = least_kept(0.0, nucleus);
    survivors.clear();
    survivors.extend(kept.iter().filter(|survivor| survivor.probability >= least));
    part_ties(survivors, nucleus, kept_ties);
    let sum = sparse_row_sum(survivors, vocab, alone, threads);
    divide(survivors, sum);
}
