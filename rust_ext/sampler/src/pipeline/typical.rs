//! Locally typical sampling.

use super::ascending::{Ascending, key, value};
use super::mask::remove_where_above;
use crate::simd::lanes::LANES;
use crate::stages::log_softmax::log_softmax;
use crate::stages::softmax::softmax;
use crate::torch::capability::Capability;
use crate::torch::sort::{Entry, sort_descending};
use crate::torch::sums::{Sharing, row_sum};
use crate::torch::vml::{Between, rounded};

/// Memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    normalized: Vec<f32>,
    terms: Vec<f32>,
    shifted: Vec<f32>,
    ascending: Ascending<u64>,
    sorted: Vec<f32>,
    probs: Vec<f32>,
    entries: Vec<Entry>,
}

/// Keeps the tokens whose -log p is nearest to the entropy, up to a mass. No score is NaN.
///
/// Returns whether torch is certain to keep the same: its `exp` may be either of two floats, which
/// leaves some room for the entropy. It is looked at where `ask` says so; else the answer is `true`.
pub(crate) fn typical(
    scores: &mut [f32],
    mass: f64,
    capability: Capability,
    sharing: Sharing,
    ask: bool,
    workspace: &mut Workspace,
) -> bool {
    /// Entropies that are tried.
    const MOST: usize = 64;
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    let mass = mass as f32;
    workspace.normalized.resize(scores.len(), 0.0);
    if !log_softmax(scores, &mut workspace.normalized, capability) {
        return true;
    }
    let entropy = workspace.entropy(sharing, rounded);
    let most_shifted = workspace.most_shifted(scores, entropy, mass, capability);
    let mut certain = true;
    if ask {
        let low = workspace.entropy(sharing, |p| Between::around(p).low);
        let high = workspace.entropy(sharing, |p| Between::around(p).high);
        let kept = |shifted: &[f32], most: f32| -> Vec<bool> {
            shifted.iter().map(|shifted| *shifted <= most).collect()
        };
        let stays = kept(&workspace.shifted, most_shifted);
        let (mut other, last) = if low <= high { (low, high) } else { (high, low) };
        let mut tried = 0;
        while certain && other <= last {
            let most = workspace.most_shifted(scores, other, mass, capability);
            certain = tried < MOST && kept(&workspace.shifted, most) == stays;
            other = other.next_up();
            tried += 1;
        }
        workspace.shift(entropy);
    }
    remove_where_above(scores, &workspace.shifted, most_shifted);
    certain
}

impl Workspace {
    /// -sum(p log p), with p = exp(log p) as `round` makes floats of it.
    fn entropy(&mut self, sharing: Sharing, round: impl Fn(f64) -> f32) -> f32 {
        self.terms.clear();
        self.terms.extend(self.normalized.iter().map(|&normalized| {
            let term = normalized * round(f64::from(normalized).exp());
            // -inf * 0, which torch leaves out.
            if term.is_nan() { 0.0 } else { term }
        }));
        -row_sum(&self.terms, sharing)
    }

    fn shift(&mut self, entropy: f32) {
        self.shifted.clear();
        self.shifted.extend(self.normalized.iter().map(|normalized| (-normalized - entropy).abs()));
    }

    /// How far from the entropy a token may be; how far each is becomes `shifted`.
    ///
    /// Where tokens are as far as each other, but have other scores, torch's sort decides in which
    /// order these are added up. What is -inf is farthest and adds nothing.
    fn most_shifted(
        &mut self,
        scores: &[f32],
        entropy: f32,
        mass: f32,
        capability: Capability,
    ) -> f32 {
        self.shift(entropy);
        let Self { shifted, ascending, sorted, probs, entries, .. } = self;
        let pair = |(shifted, score)| u64::from(key(shifted)) << 32 | u64::from(key(score));
        #[allow(clippy::cast_possible_truncation)] // The halves.
        let (far, score) = (|pair: u64| (pair >> 32) as u32, |pair: u64| pair as u32);
        ascending.items.clear();
        let left = shifted.iter().copied().zip(scores.iter().copied());
        ascending.items.extend(left.filter(|(_, score)| *score > f32::NEG_INFINITY).map(pair));
        ascending.sort_by(far);
        sorted.clear();
        let pairs = ascending.items.iter();
        if ascending.items.is_sorted_by(|a, b| far(*a) != far(*b) || score(*a) == score(*b)) {
            sorted.extend(pairs.map(|pair| value(score(*pair))));
        } else {
            entries.clear();
            // A descending sort of what is negated makes the moves of an ascending one.
            entries.extend((0..).zip(&*shifted).map(|(index, key)| Entry { key: -key, index }));
            sort_descending(entries);
            let left = entries[..pairs.len()].iter();
            sorted.extend(left.map(|entry| scores[entry.index as usize]));
        }
        let left = sorted.len();
        sorted.resize(left.max(scores.len().min(LANES)), f32::NEG_INFINITY);
        probs.resize(sorted.len(), 0.0);
        softmax(sorted, probs, capability);
        let mut sum = 0.0;
        let last = probs[..left].iter().position(|p| {
            sum += f64::from(*p);
            #[allow(clippy::cast_possible_truncation)] // torch rounds each output of the sum.
            let sum = sum as f32;
            sum >= mass
        });
        // Of all tokens, none is farther than the last.
        last.map_or(f32::INFINITY, |last| value(far(ascending.items[last])))
    }
}
