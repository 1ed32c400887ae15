//! Locally typical sampling.

use std::ops::Range;

use super::ascending::Ascending;
use super::mask::remove_where_above;
use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::simd::wide::Wide;
use crate::stages::log_softmax::{Normalizer, log_softmax};
use crate::stages::softmax::row_max;
use crate::torch::capability::Capability;
use crate::torch::exp::{NO_EXP, exp_and_sum, sum_of};
use crate::torch::measure::Measure;
use crate::torch::sort::{Nearest, OFF, Order, place_equal};
use crate::torch::sums::{Sharing, row_sum};
use crate::torch::vml::Exponentials;

/// Memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    /// The logarithms of the probabilities, then the scores as torch's sort moves them, then the
    /// greatest exponentials of a sum.
    highs: Vec<f32>,
    /// The terms of the entropy, then room for the sort, then the least exponentials of a sum.
    lows: Vec<f32>,
    ascending: Ascending,
    padded: Vec<f32>,
    places: Vec<u32>,
    ties: Vec<Range<usize>>,
    placed: Vec<Range<usize>>,
    keys: Vec<f32>,
}

/// How far the surprise -log p of a score's token is from the entropy.
#[derive(Debug, Clone, Copy)]
struct Shifted {
    normalizer: Normalizer,
    entropy: f32,
}

#[allow(clippy::inline_always)] // Part of kernels.
impl Measure for Shifted {
    #[inline(always)]
    fn of<W: Wide>(self, wide: W, x: W::Floats) -> W::Floats {
        let Self { normalizer: Normalizer { max, log_sum }, entropy } = self;
        let normalized = wide.sub(wide.sub(x, wide.splat(max)), wide.splat(log_sum));
        let apart = wide.add(normalized, wide.splat(entropy));
        wide.max(apart, wide.sub(wide.splat(0.0), apart))
    }

    /// torch takes the entropy from -log p: rounding is the same on both sides of zero.
    #[inline(always)]
    fn of_one(self, x: f32) -> f32 {
        let Self { normalizer: Normalizer { max, log_sum }, entropy } = self;
        (x - max - log_sum + entropy).abs()
    }
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
    workspace.highs.resize(scores.len(), 0.0);
    let Some(normalizer) = log_softmax(scores, &mut workspace.highs, capability) else {
        return true;
    };
    let entropy = workspace.entropy(sharing, Exponentials::Near);
    let range = ask.then(|| {
        let low = workspace.entropy(sharing, Exponentials::Low);
        let high = workspace.entropy(sharing, Exponentials::High);
        if low <= high { (low, high) } else { (high, low) }
    });
    let shifted = Shifted { normalizer, entropy };
    let most_shifted = workspace.most_shifted(scores, shifted, mass, capability);
    let mut certain = true;
    if let Some((mut other, last)) = range {
        let kept = |shifted: Shifted, most: f32| -> Vec<bool> {
            scores.iter().map(|score| shifted.of_one(*score) <= most).collect()
        };
        let stays = kept(shifted, most_shifted);
        let mut tried = 0;
        while certain && other <= last {
            let shifted = Shifted { normalizer, entropy: other };
            let most = workspace.most_shifted(scores, shifted, mass, capability);
            certain = tried < MOST && kept(shifted, most) == stays;
            other = other.next_up();
            tried += 1;
        }
    }
    remove_where_above(scores, shifted, most_shifted);
    certain
}

impl Workspace {
    /// -sum(p log p), with p = exp(log p), of the logarithms that are written.
    fn entropy(&mut self, sharing: Sharing, taken: Exponentials) -> f32 {
        let Self { highs: normalized, lows: terms, .. } = self;
        terms.resize(normalized.len(), 0.0);
        taken.write(normalized, 0.0, terms);
        multiply(terms, normalized);
        -row_sum(terms, sharing)
    }

    /// How far from the entropy a token may be: as far as the one, of all by how far they are, with
    /// which the probabilities add up to a mass.
    ///
    /// What has no exponential is farthest and adds nothing. Of tokens that are as far as each other,
    /// but have other exponentials, torch's sort decides in which order these are added up. Its moves
    /// are only made where that order may decide: mostly, they differ by so little that no sum shows
    /// it.
    fn most_shifted(
        &mut self,
        scores: &[f32],
        shifted: Shifted,
        mass: f32,
        capability: Capability,
    ) -> f32 {
        /// Scores that differ by more are on both sides of the entropy.
        const LITTLE: f32 = 1.0 / 64.0;
        let least = shifted.normalizer.max + NO_EXP;
        let sorted = self.ascending.sort_at_least(scores, least, shifted, &mut self.lows);
        self.places.clear();
        list_ties(sorted, shifted, &mut self.places);
        find_ties(sorted, shifted, &self.places, &mut self.ties);
        let mut little = LITTLE;
        loop {
            self.place(scores, shifted, little);
            if let Some(most) = self.most_in_any_order(scores.len(), shifted, mass, capability) {
                return most;
            }
            // Then no ties are left.
            little = f32::NEG_INFINITY;
        }
    }

    /// Brings those ties into torch's order whose scores differ by more than a `little`.
    ///
    /// The sort is of the scores alone: which of two tokens with one score comes first cannot be seen.
    fn place(&mut self, scores: &[f32], shifted: Shifted, little: f32) {
        let Self { ascending, highs: replayed, ties, placed, keys, .. } = self;
        let sorted = ascending.values_mut();
        let (order, key_of) = (Nearest(shifted), |tied: &Range<usize>| sorted[tied.start]);
        placed.clear();
        placed.extend(ties.extract_if(.., |tied| spread(&sorted[tied.clone()]) > little));
        if placed.is_empty() {
            return;
        }
        keys.clear();
        keys.extend(placed.iter().map(|tied| order.key(key_of(tied))));
        replayed.clear();
        replayed.extend_from_slice(scores);
        place_equal(replayed, keys, order);
        for (tied, key) in placed.iter().zip(&*keys) {
            let near = tied.start.saturating_sub(OFF)..replayed.len().min(tied.end + OFF);
            let in_order = replayed[near].iter().filter(|score| order.key(**score) == *key);
            for (score, placed) in sorted[tied.clone()].iter_mut().zip(in_order) {
                *score = *placed;
            }
        }
    }

    /// [`most_shifted`](Self::most_shifted), in whatever order the ties are; `None` where that may
    /// decide, which it cannot where there are none.
    ///
    /// Every step of a sum, and of what is made of it, is rounded, which changes no order: whatever
    /// torch adds up where its ties are, it finds no less than with the least of them in all their
    /// places, and no more than with the greatest.
    fn most_in_any_order(
        &mut self,
        vocab: usize,
        shifted: Shifted,
        mass: f32,
        capability: Capability,
    ) -> Option<f32> {
        let Self { ascending, padded, ties, lows, highs, .. } = self;
        let mut sorted = ascending.values();
        let left = sorted.len();
        if left < vocab.min(LANES) {
            padded.clear();
            padded.extend_from_slice(sorted);
            padded.resize(vocab.min(LANES), f32::NEG_INFINITY);
            sorted = padded;
        }
        lows.resize(sorted.len(), 0.0);
        let mut sum = exp_and_sum(sorted, shifted.normalizer.max, lows, capability);
        let highs = if ties.is_empty() {
            &*lows
        } else {
            highs.clear();
            highs.extend_from_slice(lows);
            for tied in &*ties {
                let (lows, highs) = (&mut lows[tied.clone()], &mut highs[tied.clone()]);
                lows.fill(least(lows));
                highs.fill(row_max(highs));
            }
            sum = sum_of(lows, capability);
            if sum != sum_of(highs, capability) {
                return None;
            }
            highs
        };
        let reciprocal = 1.0 / sum;
        let reached = |sum: f64| {
            #[allow(clippy::cast_possible_truncation)] // torch rounds each output of the sum.
            let sum = sum as f32;
            sum >= mass
        };
        let (mut low, mut high) = (0.0, 0.0);
        let (mut first, mut last) = (None, None);
        for (place, (p, q)) in lows[..left].iter().zip(highs).enumerate() {
            low += f64::from(p * reciprocal);
            high += f64::from(q * reciprocal);
            if reached(high) {
                first.get_or_insert(place);
                if reached(low) {
                    last = Some(place);
                    break;
                }
            }
        }
        // Of all tokens, none is farther than the last.
        let far = |place: Option<usize>| {
            place.map_or(f32::INFINITY, |place| shifted.of_one(sorted[place]))
        };
        (far(first) == far(last)).then_some(far(last))
    }
}

/// The least of some values that are not NaN.
fn least(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::INFINITY, f32::min)
}

/// By how much the scores of some tokens differ.
fn spread(scores: &[f32]) -> f32 {
    row_max(scores) - least(scores)
}

/// Finds the places of tokens that are as far as each other, of which some are known.
fn find_ties(sorted: &[f32], shifted: Shifted, places: &[u32], ties: &mut Vec<Range<usize>>) {
    ties.clear();
    for place in places.iter().map(|place| *place as usize) {
        if ties.last().is_some_and(|last| place < last.end) {
            continue;
        }
        let far = shifted.of_one(sorted[place]);
        let is_tied = |score: &&f32| shifted.of_one(**score) == far;
        let before = sorted[..place].iter().rev().take_while(is_tied).count();
        let after = sorted[place..].iter().take_while(is_tied).count();
        ties.push(place - before..place + after);
    }
}

kernel! {
    /// Multiplies exponentials by what they are of.
    fn multiply<'a>(terms: &'a mut [f32], normalized: &'a [f32]) -> () {
        for (term, normalized) in terms.iter_mut().zip(normalized) {
            let product = *normalized * *term;
            // -inf * 0, which torch leaves out.
            *term = if product.is_nan() { 0.0 } else { product };
        }
    }
}

kernel! {
    /// Lists the places, of sorted scores, of those that are as far as the next one, but have another
    /// exponential, which is one of what the largest is more.
    fn list_ties<'a>(wide; sorted: &'a [f32], shifted: Shifted, places: &'a mut Vec<u32>) -> () {
        let Normalizer { max, .. } = shifted.normalizer;
        let mut place = 0;
        while let (Some(a), Some(b)) =
            (sorted[place..].first_chunk(), sorted[place + 1..].first_chunk())
        {
            let (a, b) = (wide.load(a), wide.load(b));
            let mut lanes = wide.at_least(shifted.of(wide, a), shifted.of(wide, b));
            if lanes != 0 {
                let (a, b) = (wide.sub(a, wide.splat(max)), wide.sub(b, wide.splat(max)));
                lanes &= wide.greater(a, b) | wide.greater(b, a);
            }
            while lanes != 0 {
                #[allow(clippy::cast_possible_truncation)] // A row has at most 2^24 tokens.
                places.push(place as u32 + lanes.trailing_zeros());
                lanes &= lanes - 1;
            }
            place += LANES;
        }
        for (pair, place) in sorted[place..].windows(2).zip(place..) {
            let (a, b) = (pair[0], pair[1]);
            if shifted.of_one(a) == shifted.of_one(b) && a - max != b - max {
                #[allow(clippy::cast_possible_truncation)] // A row has at most 2^24 tokens.
                places.push(place as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::softmax::softmax;
    use crate::torch::generator::Generator;
    use crate::torch::sort::{Entry, sort_descending};

    /// The step as transformers writes it: the whole row is sorted.
    fn plain(scores: &[f32], mass: f64, capability: Capability) -> Vec<f32> {
        let mut normalized = vec![0.0; scores.len()];
        log_softmax(scores, &mut normalized, capability).unwrap();
        let mut terms = normalized.clone();
        Exponentials::Near.write(&normalized, 0.0, &mut terms);
        let terms = normalized.iter().zip(&terms).map(|(n, e)| n * e);
        let terms: Vec<f32> = terms.map(|term| if term.is_nan() { 0.0 } else { term }).collect();
        let entropy = -row_sum(&terms, Sharing::default());
        let shifted: Vec<f32> = normalized.iter().map(|n| (-n - entropy).abs()).collect();
        let mut entries: Vec<Entry> =
            (0..).zip(&shifted).map(|(index, shifted)| Entry { key: -shifted, index }).collect();
        sort_descending(&mut entries);
        let sorted: Vec<f32> = entries.iter().map(|entry| scores[entry.index as usize]).collect();
        let mut probs = sorted.clone();
        assert!(softmax(&sorted, &mut probs, capability));
        #[allow(clippy::cast_possible_truncation)] // As torch rounds.
        let last = probs.iter().scan(0.0, |sum, p| {
            *sum += f64::from(*p);
            Some(*sum as f32)
        });
        #[allow(clippy::cast_possible_truncation)] // As torch rounds.
        let last = last.take_while(|sum| *sum < mass as f32).count();
        let most = shifted[entries[last.min(scores.len() - 1)].index as usize];
        let keep = |(score, shifted): (&f32, &f32)| {
            if *shifted > most { f32::NEG_INFINITY } else { *score }
        };
        scores.iter().zip(&shifted).map(keep).collect()
    }

    /// Rows of many tokens that are as far from the entropy as others, on both sides of it or on one.
    fn tied(length: usize, spread: f32, generator: &mut Generator) -> Vec<f32> {
        let mut scores: Vec<f32> = (0..length)
            .map(|_| -6.0 - (generator.next_f32() * spread * 4_194_304.0).floor() / 4_194_304.0)
            .collect();
        scores[length / 3] = 0.0;
        scores
    }

    fn rows(length: usize, generator: &mut Generator) -> Vec<Vec<f32>> {
        let mut row = |kind: fn(f32, f32) -> f32| -> Vec<f32> {
            let mut row: Vec<f32> =
                (0..length).map(|_| kind(generator.next_f32(), generator.next_f32())).collect();
            row[length / 2] = 3.0;
            row
        };
        let mut rows = vec![
            row(|x, y| (x + y) * 8.0 - 9.0),
            row(|x, _| (x * 40.0).floor() / 4.0 - 7.0),
            row(|x, y| if y < 0.7 { f32::NEG_INFINITY } else { x * 9.0 }),
            row(|x, y| if y < 0.5 { x - 150.0 } else { x * 9.0 }),
            row(|x, y| if y < 0.5 { f32::MIN } else { x }),
            row(|x, y| if y < 0.01 { 15.0 + x } else { x }),
            row(|x, _| x * 1e-4 + 3.0),
            row(|x, y| if y < 0.5 { 0.0 } else { -0.0 } + x * 1e-45),
            row(|_, _| 3.0),
        ];
        rows.extend([1.0, 0.1, 0.01].map(|spread| tied(length, spread, generator)));
        rows
    }

    #[test]
    fn is_the_definition() {
        let mut generator = Generator::new(21);
        let mut workspace = Workspace::default();
        for length in [1, 2, 7, 15, 16, 17, 40, 1000, 1023, 1024, 1025, 5000, 20_011] {
            for row in rows(length, &mut generator) {
                for capability in Capability::ALL {
                    for mass in [1e-60, 0.2, 0.9, 0.9999] {
                        let expected = plain(&row, mass, capability);
                        let mut scores = row.clone();
                        let sharing = Sharing::default();
                        typical(&mut scores, mass, capability, sharing, false, &mut workspace);
                        let bits =
                            |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        assert!(bits(&scores) == bits(&expected), "{length} {capability} {mass}");
                    }
                }
            }
        }
    }

    /// Sums of probabilities, as they are compared with the mass.
    fn sums(sorted: &[f32], capability: Capability) -> Vec<f32> {
        let mut probs = sorted.to_vec();
        assert!(softmax(sorted, &mut probs, capability));
        let mut sum = 0.0;
        let add = |p: f32| {
            sum += f64::from(p);
            #[allow(clippy::cast_possible_truncation)] // As torch rounds.
            let sum = sum as f32;
            sum
        };
        probs.into_iter().map(add).collect()
    }

    /// The mass is what the sums reach in one order of the ties, but not in another.
    #[test]
    fn the_order_of_ties_is_asked_for_where_it_decides() {
        let mut generator = Generator::new(22);
        let (mut asked, mut decided) = (0, 0);
        for round in 0..300 {
            let row = tied(3000, [1.0, 0.1, 0.01][round % 3], &mut generator);
            let capability = Capability::ALL[round / 3 % 3];
            let mut workspace = Workspace::default();
            workspace.highs.resize(row.len(), 0.0);
            let normalizer = log_softmax(&row, &mut workspace.highs, capability).unwrap();
            let entropy = workspace.entropy(Sharing::default(), Exponentials::Near);
            let shifted = Shifted { normalizer, entropy };
            let sorted =
                workspace.ascending.sort_at_least(&row, f32::MIN, shifted, &mut Vec::new());
            let other = sums(sorted, capability);
            list_ties(sorted, shifted, &mut workspace.places);
            find_ties(sorted, shifted, &workspace.places, &mut workspace.ties);
            let ties = workspace.ties.clone();
            workspace.place(&row, shifted, f32::NEG_INFINITY);
            let torchs = sums(workspace.ascending.values(), capability);
            let differing = torchs.iter().zip(&other).skip(500).find(|(a, b)| a != b);
            let Some((a, b)) = differing else {
                continue;
            };
            let mass = a.max(*b);
            let at = |sums: &[f32]| {
                let place = sums.iter().position(|sum| *sum >= mass).unwrap();
                shifted.of_one(workspace.ascending.values()[place])
            };
            let (most, another) = (at(&torchs), at(&other));
            let found = workspace.most_shifted(&row, shifted, mass, capability);
            assert_eq!(found, most, "{round}");
            workspace.ascending.sort_at_least(&row, f32::MIN, shifted, &mut Vec::new());
            workspace.ties = ties;
            let found = workspace.most_in_any_order(row.len(), shifted, mass, capability);
            assert!(found.is_none_or(|found| found == most), "{round}");
            asked += u32::from(found.is_none());
            decided += u32::from(another != most);
        }
        assert!(asked > 30 && decided > 10, "{asked} {decided}");
    }
}
