//! Renormalisation of what top-k and top-p left.

use std::num::NonZeroUsize;

use super::keep::{BLOCK, SMALLEST, any_at_least, extend_kept};
use super::narrow::count_at_least;
use super::top_p::Nucleus;
use crate::planted;
use crate::simd::kernel;
use crate::torch::exponential::{Crowd, Survivor};
use crate::torch::sums::{row_sum, row_sum_at_least, sparse_row_sum};

/// Zeroes what the masks drop, divides the rest by its sum, and lists it.
///
/// `floor` is the top-k threshold; `alone` says that the batch has no other row, `threads` how
/// many torch would run.
pub(crate) fn renormalize(
    probs: &mut [f32],
    floor: f32,
    nucleus: Nucleus,
    kept_ties: &[u32],
    alone: bool,
    threads: NonZeroUsize,
    survivors: &mut Vec<Survivor>,
) {
    let least = match nucleus {
        Nucleus::All => floor,
        Nucleus::AtLeast(value) => floor.max(value),
        Nucleus::Split { tied } => tied,
    };
    survivors.clear();
    // A zero survives no mask: it cannot be drawn.
    keep_at_least(probs, least.max(SMALLEST), survivors);
    if let Nucleus::Split { tied } = nucleus {
        let mut kept_ties = kept_ties.iter().peekable();
        survivors.retain(|&Survivor { token, probability }| {
            let kept = probability != tied || kept_ties.next_if_eq(&&token).is_some();
            if !kept {
                probs[token as usize] = 0.0;
            }
            kept
        });
    }
    let sum = row_sum(probs, alone, threads);
    for survivor in survivors {
        if planted!(RenormalizeByReciprocal) {
            survivor.probability *= 1.0 / sum;
        } else {
            survivor.probability /= sum;
        }
        probs[survivor.token as usize] = survivor.probability;
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
    let least = match nucleus {
        Nucleus::All => floor,
        Nucleus::AtLeast(value) => floor.max(value),
        Nucleus::Split { .. } => return None,
    };
    if least < Crowd::LEAST || count_at_least(probs, least) < probs.len() / MANY {
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
    let mut kept_ties = kept_ties.iter().peekable();
    survivors.clear();
    survivors.extend(kept.iter().filter(|&&Survivor { token, probability }| match nucleus {
        Nucleus::All => true,
        Nucleus::AtLeast(value) => probability >= value,
        Nucleus::Split { tied } if probability == tied => kept_ties.next_if_eq(&&token).is_some(),
        Nucleus::Split { tied } => probability > tied,
    }));
    let sum = sparse_row_sum(survivors, vocab, alone, threads);
    for survivor in survivors {
        survivor.probability /= sum;
    }
}

kernel! {
    /// Zeroes what is less than `least`, and lists the rest.
    fn keep_at_least<'a>(
        probs: &'a mut [f32],
        least: f32,
        survivors: &'a mut Vec<Survivor>,
    ) -> () {
        let (blocks, tail) = probs.as_chunks_mut::<BLOCK>();
        #[allow(clippy::cast_possible_truncation)] // A row has at most 2^24 tokens.
        let in_blocks = (blocks.len() * BLOCK) as u32;
        for (first, block) in (0..).step_by(BLOCK).zip(blocks) {
            if any_at_least(block, least) {
                let listed = (first..).zip(&*block).map(|(token, &probability)| {
                    (Survivor { token, probability }, probability >= least)
                });
                extend_kept(survivors, listed);
                *block = block.map(|p| if p >= least { p } else { 0.0 });
            } else {
                *block = [0.0; BLOCK];
            }
        }
        for (token, p) in (in_blocks..).zip(tail) {
            if *p >= least {
                survivors.push(Survivor { token, probability: *p });
            } else {
                *p = 0.0;
            }
        }
    }
}
