//! Top-k.

use crate::planted::planted;

/// `probs[probs < torch.topk(probs, top_k)[0][..., -1]] = 0`: what ties with the `top_k`-th largest
/// stays. Returns which tokens do; every one where `top_k` is not > 0, which switches the stage off.
///
/// No value is NaN, and `top_k` does not exceed their number.
pub(crate) fn top_k(probs: &mut [f32], top_k: i64) -> Vec<bool> {
    let Ok(k @ 1..) = usize::try_from(top_k) else {
        return vec![true; probs.len()];
    };
    let k = k + usize::from(planted!(TopKOffByOne) && k < probs.len());
    let threshold = kth_largest(probs, k);
    let mut kept: Vec<bool> = probs.iter().map(|p| *p >= threshold).collect();
    if planted!(TopKExactly) {
        let larger = probs.iter().filter(|p| **p > threshold).count();
        let tied = probs.iter().zip(&mut kept).filter(|(p, _)| **p == threshold);
        tied.skip(k - larger).for_each(|(_, kept)| *kept = false);
    }
    if planted!(TopKStrict) && probs.iter().any(|p| *p > threshold) {
        kept = probs.iter().map(|p| *p > threshold).collect();
    }
    drop_others(probs, &kept);
    kept
}

/// The `k`-th largest value of a row; `1 <= k <= row.len()`, and no value is NaN.
pub(crate) fn kth_largest(row: &[f32], k: usize) -> f32 {
    let mut values = row.to_vec();
    *values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// Sets to zero what is not kept.
pub(crate) fn drop_others(probs: &mut [f32], kept: &[bool]) {
    probs.iter_mut().zip(kept).filter(|(_, kept)| !**kept).for_each(|(p, _)| *p = 0.0);
}
