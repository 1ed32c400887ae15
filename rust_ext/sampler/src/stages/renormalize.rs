//! Renormalisation of what top-k and top-p left.

use crate::planted::planted;
use crate::torch::sums::{Sharing, row_sum};

/// `probs / probs.sum()`.
pub(crate) fn renormalize(probs: &mut [f32], sharing: Sharing) {
    let sum = row_sum(probs, sharing);
    for p in probs {
        if planted!(RenormalizeByReciprocal) {
            *p *= 1.0 / sum;
        } else {
            *p /= sum;
        }
    }
}
