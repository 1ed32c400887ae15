//! Locally typical sampling.

use super::ascending::{Ascending, key, value};
use super::mask::remove_where_above;
use crate::simd::lanes::LANES;
use crate::stages::log_softmax::log_softmax;
use crate::stages::softmax::softmax;
use crate::torch::capability::Capability;
use crate::torch::sort::{Entry, place_equal};
use crate::torch::sums::{Sharing, row_sum};
use crate::torch::vml;

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
    ties: Vec<f32>,
    places: Vec<u32>,
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
    let entropy = workspace.entropy(sharing, Exponentials::Near);
    let most_shifted = workspace.most_shifted(scores, entropy, mass, capability);
    let mut certain = true;
    if ask {
        let low = workspace.entropy(sharing, Exponentials::Low);
        let high = workspace.entropy(sharing, Exponentials::High);
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

/// Which of the floats next to an exponential is taken.
#[derive(Debug, Clone, Copy)]
enum Exponentials {
    /// Nearly always the nearest, as torch's.
    Near,
    Low,
    High,
}

impl Workspace {
    /// -sum(p log p), with p = exp(log p).
    fn entropy(&mut self, sharing: Sharing, taken: Exponentials) -> f32 {
        let Self { normalized, terms, .. } = self;
        terms.resize(normalized.len(), 0.0);
        match taken {
            Exponentials::Near => vml::exp(normalized, terms),
            Exponentials::Low => vml::exp_low(normalized, terms),
            Exponentials::High => vml::exp_high(normalized, terms),
        }
        for (term, normalized) in terms.iter_mut().zip(normalized) {
            let product = *normalized * *term;
            // -inf * 0, which torch leaves out.
            *term = if product.is_nan() { 0.0 } else { product };
        }
        -row_sum(terms, sharing)
    }

    fn shift(&mut self, entropy: f32) {
        self.shifted.clear();
        self.shifted.extend(self.normalized.iter().map(|normalized| (-normalized - entropy).abs()));
    }

    /// How far from the entropy a token may be; how far each is becomes `shifted`.
    ///
    /// What is -inf is farthest and adds nothing.
    fn most_shifted(
        &mut self,
        scores: &[f32],
        entropy: f32,
        mass: f32,
        capability: Capability,
    ) -> f32 {
        self.shift(entropy);
        self.sort(scores);
        let Self { ascending, sorted, probs, .. } = self;
        let left = ascending.items.len();
        sorted.clear();
        sorted.extend(ascending.items.iter().map(|item| scores[token(*item)]));
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
        last.map_or(f32::INFINITY, |last| value(distance(ascending.items[last])))
    }

    /// Lists the tokens by how far they are; of tokens that are as far as each other, but have other
    /// scores, torch's sort decides in which order these are added up.
    fn sort(&mut self, scores: &[f32]) {
        let Self { shifted, ascending, entries, ties, places, .. } = self;
        let Ascending { items, .. } = ascending;
        items.clear();
        let left = (0..).zip(shifted.iter().zip(scores));
        items.extend(
            left.filter(|(_, (_, score))| **score > f32::NEG_INFINITY)
                .map(|(token, (shifted, _))| u64::from(key(*shifted)) << 32 | token),
        );
        ascending.sort_by(distance);
        let Ascending { items, .. } = ascending;
        let ties_of = |a: &u64, b: &u64| distance(*a) == distance(*b);
        let differ = |tied: &[u64]| {
            let first = scores[token(tied[0])];
            tied[1..].iter().any(|item| scores[token(*item)] != first)
        };
        ties.clear();
        let tied = items.chunk_by(ties_of).filter(|tied| differ(tied));
        ties.extend(tied.map(|tied| -value(distance(tied[0]))));
        if ties.is_empty() {
            return;
        }
        entries.clear();
        // A descending sort of what is negated makes the moves of an ascending one.
        entries.extend((0..).zip(&*shifted).map(|(index, shifted)| Entry { key: -shifted, index }));
        place_equal(entries, ties);
        places.resize(scores.len(), 0);
        for (place, entry) in (0..).zip(&*entries) {
            places[entry.index as usize] = place;
        }
        for tied in items.chunk_by_mut(ties_of).filter(|tied| differ(tied)) {
            tied.sort_unstable_by_key(|item| places[token(*item)]);
        }
    }
}

/// The key of how far an item's token is.
fn distance(item: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // The upper half.
    let key = (item >> 32) as u32;
    key
}

fn token(item: u64) -> usize {
    #[allow(clippy::cast_possible_truncation)] // The lower half.
    let token = item as u32;
    token as usize
}
