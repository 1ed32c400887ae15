//! Renormalisation of what top-k and top-p left.

use std::num::NonZeroUsize;

use super::top_p::Nucleus;
use crate::torch::exponential::Survivor;
use crate::torch::sums::row_sum;

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
    let mut kept_ties = kept_ties.iter().peekable();
    survivors.clear();
    let (least, tied) = match nucleus {
        Nucleus::All => (floor, None),
        Nucleus::AtLeast(value) => (floor.max(value), None),
        Nucleus::Split { tied } => (tied, Some(tied)),
    };
    for (token, p) in (0..).zip(&mut *probs) {
        let dropped = *p < least || (tied == Some(*p) && kept_ties.next_if_eq(&&token).is_none());
        if dropped {
            *p = 0.0;
        } else if *p > 0.0 {
            survivors.push(Survivor { token, probability: *p });
        }
    }
    let sum = row_sum(probs, alone, threads);
    for survivor in survivors {
        survivor.probability /= sum;
        probs[survivor.token as usize] = survivor.probability;
    }
}
