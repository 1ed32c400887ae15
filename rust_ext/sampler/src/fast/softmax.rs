//! A softmax without its last multiplication, which the reader of its exponentials does.

use crate::stages::softmax::row_max;
use crate::torch::capability::Capability;
use crate::torch::exp::exp_and_sum;

/// Writes the exponentials of a softmax to `exponentials`, and returns what they are to be
/// multiplied by; `None` where the probabilities are NaN, as in [`softmax`](crate::stages::softmax::softmax).
pub(crate) fn exponentials(
    logits: &[f32],
    exponentials: &mut [f32],
    capability: Capability,
) -> Option<f32> {
    let sum = exp_and_sum(logits, row_max(logits), exponentials, capability);
    (!sum.is_nan()).then_some(1.0 / sum)
}
