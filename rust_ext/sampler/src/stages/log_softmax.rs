//! Log-softmax.

use super::softmax::row_max;
use crate::simd::kernel;
use crate::torch::capability::Capability;
use crate::torch::exp::exp_and_sum;
use crate::torch::log::log;

/// What a logit becomes: `logit - max - log_sum`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normalizer {
    pub(crate) max: f32,
    pub(crate) log_sum: f32,
}

/// Writes the log-softmax of `logits` to `out`: the logarithm of the sum of exponentials is taken from
/// what the largest logit was taken from.
///
/// Returns `None` where the results are NaN: a NaN or +inf among the logits, or nothing but -inf.
pub(crate) fn log_softmax(
    logits: &[f32],
    out: &mut [f32],
    capability: Capability,
) -> Option<Normalizer> {
    let max = row_max(logits);
    let sum = exp_and_sum(logits, max, out, capability);
    if sum.is_nan() {
        return None;
    }
    let normalizer = Normalizer { max, log_sum: log(sum, capability) };
    normalize(logits, normalizer, out);
    Some(normalizer)
}

kernel! {
    fn normalize<'a>(logits: &'a [f32], normalizer: Normalizer, out: &'a mut [f32]) -> () {
        let Normalizer { max, log_sum } = normalizer;
        for (x, out) in logits.iter().zip(out) {
            *out = x - max - log_sum;
        }
    }
}
