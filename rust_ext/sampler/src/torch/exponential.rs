//! `torch.Tensor.exponential_(1)`.

use crate::planted::planted;

/// `exponential_(1)` from one uniform: -log1p(-u) in f64, rounded to f32.
///
/// The logarithm is the C library's, which is the one that torch calls.
pub(crate) fn exponential(uniform: f64) -> f32 {
    let logarithm = if planted!(DrawLog) { uniform.ln() } else { (-uniform).ln_1p() };
    #[allow(clippy::cast_possible_truncation)] // torch rounds to f32 here.
    let q = -logarithm as f32;
    q
}
