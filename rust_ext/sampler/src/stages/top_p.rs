//! Top-p (nucleus).

use super::top_k::drop_others;
use crate::planted::planted;
use crate::torch::sort::{Entry, sort_descending};

/// Drops a token where the cumulative sum of those before it, in descending order, exceeds `top_p`.
/// Returns which tokens stay; every one where `top_p` is not > 0, which switches the stage off.
///
/// torch sorts the whole row, zeros included, and its sort is not stable: of tied tokens, its order
/// decides which stay. It keeps the sum in f64, and rounds it to f32 for each comparison. No value is
/// NaN.
pub(crate) fn top_p(probs: &mut [f32], mut top_p: f64) -> Vec<bool> {
    let greedy = planted!(TopPZeroIsGreedy) && top_p == 0.0;
    if !(top_p > 0.0 || greedy) {
        return vec![true; probs.len()];
    }
    if planted!(TopPOfRenormalized) {
        top_p *= probs.iter().map(|p| f64::from(*p)).sum::<f64>();
    }
    let sorted = sorted(probs);
    let count = count_kept(&sorted, top_p);
    let mut kept = vec![false; probs.len()];
    for entry in &sorted[..count] {
        kept[entry.index as usize] = true;
    }
    // A removal that is rotated by one instead of shifted gives the first token the last one's lot.
    if planted!(TopPRotates) && (2..sorted.len()).contains(&count) {
        kept[sorted[0].index as usize] = false;
    }
    drop_others(probs, &kept);
    kept
}

/// The tokens in torch's order.
pub(crate) fn sorted(probs: &[f32]) -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        (0..).zip(probs).map(|(index, &key)| Entry { key, index }).collect();
    if planted!(TopPStableTies) {
        entries.sort_by(|a, b| b.key.total_cmp(&a.key));
    } else {
        sort_descending(&mut entries);
    }
    entries
}

/// How many tokens stay, of some in descending order.
fn count_kept(sorted: &[Entry], top_p: f64) -> usize {
    #[allow(clippy::cast_possible_truncation)] // torch compares in f32.
    let top_p = top_p as f32;
    let mut sum = 0.0;
    let crossing = sorted.iter().position(|entry| {
        sum += f64::from(entry.key);
        if planted!(TopPSumF32) {
            #[allow(clippy::cast_possible_truncation)] // The sum of two f32, rounded once more.
            let rounded = sum as f32;
            sum = f64::from(rounded);
        }
        crosses(sum, top_p)
    });
    crossing
        .map_or(sorted.len(), |last| last + 1 - usize::from(planted!(TopPWithoutShift) && last > 0))
}

/// Whether the token that brings the cumulative sum to `sum` is the last to stay.
#[inline]
pub(crate) fn crosses(sum: f64, top_p: f32) -> bool {
    if planted!(TopPComparedInF64) {
        return sum > f64::from(top_p);
    }
    #[allow(clippy::cast_possible_truncation)] // torch rounds each output of the sum to f32.
    let sum = sum as f32;
    if planted!(TopPInclusive) { sum >= top_p } else { sum > top_p }
}
