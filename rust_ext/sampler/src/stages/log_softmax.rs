//! Log-softmax.

use super::softmax::row_max;
use crate::simd::kernel;
use crate::torch::capability::Capability;
use crate::torch::exp::exp_and_sum;
use crate::torch::log::log;

/// Writes the log-softmax of `logits` to `out`: the logarithm of the sum of exponentials is taken from
/// what the largest logit was taken from.
///
/// Returns `false` where the results are NaN, as [`softmax`](super::softmax::softmax).
pub(crate) fn log_softmax(logits: &[f32], out: &mut [f32], capability: Capability) -> bool {
    let max = row_max(logits);
    let sum = exp_and_sum(logits, max, out, capability);
    if sum.is_nan() {
        return false;
    }
    subtract(logits, max, log(sum, capability), out);
    true
}

kernel! {
    fn subtract<'a>(logits: &'a [f32], max: f32, log_sum: f32, out: &'a mut [f32]) -> () {
        for (x, out) in logits.iter().zip(out) {
            *out = x - max - log_sum;
        }
    }
}
