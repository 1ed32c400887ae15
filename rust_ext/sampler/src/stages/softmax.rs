//! Softmax.

use crate::planted::planted;
use crate::simd::kernel;
use crate::torch::capability::Capability;
use crate::torch::exp::exp_and_sum;
use crate::torch::sums::sum_in_f64;

/// Writes the softmax of `logits` to `probs`.
///
/// Returns `false` where the probabilities are NaN: a NaN or +inf among the logits, or nothing
/// but -inf.
pub(crate) fn softmax(logits: &[f32], probs: &mut [f32], capability: Capability) -> bool {
    let mut sum = exp_and_sum(logits, row_max(logits), probs, capability);
    if planted!(SoftmaxSumF64) {
        sum = sum_in_f64(probs);
    }
    if planted!(SoftmaxDivides) {
        for p in &mut *probs {
            *p /= sum;
        }
    } else {
        multiply_by(probs, 1.0 / sum);
    }
    if planted!(DenormalsFlushed) {
        probs.iter_mut().filter(|p| p.is_subnormal()).for_each(|p| *p = 0.0);
    }
    !sum.is_nan()
}

/// Writes exponentials, which the softmax multiplies by the reciprocal of their sum. Returns the
/// largest of the logits, and that reciprocal; `None` as [`softmax`] returns `false`.
pub(crate) fn exponentials(
    logits: &[f32],
    out: &mut [f32],
    capability: Capability,
) -> Option<(f32, f32)> {
    let max = row_max(logits);
    let sum = exp_and_sum(logits, max, out, capability);
    (!sum.is_nan()).then_some((max, 1.0 / sum))
}

kernel! {
    /// The largest value that is not NaN.
    pub(crate) fn row_max<'a>(logits: &'a [f32]) -> f32 {
        // Lanes, since the compiler may not reorder a fold; the order cannot be seen in a maximum.
        let (blocks, tail) = logits.as_chunks::<32>();
        let mut lanes = [f32::NEG_INFINITY; 32];
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane = if *x > *lane { *x } else { *lane };
            }
        }
        lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
    }
}

kernel! {
    pub(crate) fn multiply_by<'a>(probs: &'a mut [f32], reciprocal: f32) -> () {
        for p in probs {
            *p *= reciprocal;
        }
    }
}
