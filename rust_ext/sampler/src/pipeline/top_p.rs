//! Top-p of scores.

use super::ascending::{Ascending, key, value};
use super::mask::{has_nan, remove_below};
use crate::fast::keep::Gathered;
use crate::simd::lanes::LANES;
use crate::stages::softmax::softmax;
use crate::torch::capability::Capability;
use crate::torch::sort::{Entry, order_of_equal};

/// Memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    left: Gathered,
    ascending: Ascending<u32>,
    sorted: Vec<f32>,
    probs: Vec<f32>,
    entries: Vec<Entry>,
    order: Vec<u32>,
}

/// Removes, of the scores in ascending order, those up to which the probabilities add up to at most
/// 1 - `top_p`; the last stays.
///
/// torch sorts the whole row, and takes the softmax of it as sorted: in the lanes of that sum, the
/// scores stand in this order. What is -inf comes first and adds nothing: whole blocks of it are left
/// out. torch's sort is not stable: of equal scores that are parted, its order decides which stay.
pub(crate) fn top_p(
    scores: &mut [f32],
    top_p: f64,
    capability: Capability,
    workspace: &mut Workspace,
) {
    #[allow(clippy::cast_possible_truncation)] // Python takes 1 - top_p, torch rounds it.
    let most = (1.0 - top_p) as f32;
    // A row that has no softmax keeps none, whatever is removed: whoever draws from it refuses it.
    if most.is_nan() || has_nan(scores) {
        return;
    }
    let Workspace { left, ascending, sorted, probs, entries, order } = workspace;
    let left = left.take_at_least(scores, f32::MIN);
    let removed = scores.len() - left.len();
    ascending.items.clear();
    ascending.items.extend(left.iter().map(|score| key(*score)));
    ascending.sort_by(|key| key);
    sorted.clear();
    let before = if removed < LANES { removed } else { LANES + removed % LANES };
    sorted.resize(before, f32::NEG_INFINITY);
    sorted.extend(ascending.items.iter().map(|key| value(*key)));
    probs.resize(sorted.len(), 0.0);
    if !softmax(sorted, probs, capability) {
        return;
    }
    let mut sum = 0.0;
    let crossing = probs.iter().position(|p| {
        sum += f64::from(*p);
        #[allow(clippy::cast_possible_truncation)] // torch rounds each output of the sum to f32.
        let sum = sum as f32;
        sum > most
    });
    let crossing = crossing.unwrap_or(sorted.len() - 1);
    let least = sorted[crossing];
    let parted = sorted[..crossing].iter().rev().take_while(|score| **score == least).count();
    order.clear();
    if parted > 0 {
        entries.clear();
        // A descending sort of what is negated makes the moves of an ascending one.
        entries.extend((0..).zip(&*scores).map(|(index, score)| Entry { key: -score, index }));
        order_of_equal(entries, -least, order);
    }
    remove_below(scores, least);
    for token in order.iter().take(parted) {
        scores[*token as usize] = f32::NEG_INFINITY;
    }
}
