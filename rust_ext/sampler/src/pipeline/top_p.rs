//! Top-p of scores.

use super::ascending::Ascending;
use super::mask::{has_nan, remove_below};
use crate::simd::lanes::LANES;
use crate::stages::softmax::{row_max, softmax};
use crate::torch::capability::Capability;
use crate::torch::exp::NO_EXP;
use crate::torch::measure::Itself;
use crate::torch::sort::{Entry, order_of_equal};

/// Memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    ascending: Ascending,
    padded: Vec<f32>,
    probs: Vec<f32>,
    entries: Vec<Entry>,
    order: Vec<u32>,
}

/// Removes, of the scores in ascending order, those up to which the probabilities add up to at most
/// 1 - `top_p`; the last stays.
///
/// torch sorts the whole row, and takes the softmax of it as sorted: in the lanes of that sum, the
/// scores stand in this order. What has no exponential comes first and adds nothing: whole blocks of
/// it are left out, and are removed like what is -inf. torch's sort is not stable: of equal scores that are parted, its order decides which stay.
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
    let Workspace { ascending, padded, probs, entries, order } = workspace;
    let left = &*ascending.sort_at_least(scores, row_max(scores) + NO_EXP, Itself, probs);
    let removed = scores.len() - left.len();
    let sorted = if removed == 0 {
        left
    } else {
        padded.clear();
        let before = if removed < LANES { removed } else { LANES + removed % LANES };
        padded.resize(before, f32::NEG_INFINITY);
        padded.extend_from_slice(left);
        padded
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::generator::Generator;
    use crate::torch::sort::sort_descending;

    /// The step as transformers writes it: the whole row is sorted.
    fn plain(scores: &[f32], mass: f64, capability: Capability) -> Vec<f32> {
        let mut entries: Vec<Entry> =
            (0..).zip(scores).map(|(index, score)| Entry { key: -score, index }).collect();
        sort_descending(&mut entries);
        let sorted: Vec<f32> = entries.iter().map(|entry| scores[entry.index as usize]).collect();
        let mut probs = sorted.clone();
        assert!(softmax(&sorted, &mut probs, capability));
        let mut left = scores.to_vec();
        let mut sum = 0.0;
        for (entry, p) in entries[..scores.len() - 1].iter().zip(&probs) {
            sum += f64::from(*p);
            #[allow(clippy::cast_possible_truncation)] // As torch rounds.
            if sum as f32 <= (1.0 - mass) as f32 {
                left[entry.index as usize] = f32::NEG_INFINITY;
            }
        }
        left
    }

    #[test]
    fn is_the_definition() {
        let mut generator = Generator::new(23);
        let mut workspace = Workspace::default();
        let kinds: [fn(f32, f32) -> f32; 9] = [
            |x, y| (x + y) * 8.0 - 9.0,
            |x, _| (x * 40.0).floor() / 4.0 - 7.0,
            |x, y| if y < 0.7 { f32::NEG_INFINITY } else { x * 9.0 },
            |x, y| if y < 0.5 { x - 150.0 } else { x * 9.0 },
            |x, y| if y < 0.5 { f32::MIN } else { x },
            |x, y| if y < 0.01 { 15.0 + x } else { x },
            |x, _| x * 1e-4 + 3.0,
            |x, y| if y < 0.5 { 0.0 } else { -0.0 } + x * 1e-45,
            |x, _| 200_000.0 + x * 200.0,
        ];
        for length in [1, 2, 7, 15, 16, 17, 40, 1000, 1023, 1024, 1025, 5000, 20_011] {
            for kind in kinds {
                let mut row: Vec<f32> =
                    (0..length).map(|_| kind(generator.next_f32(), generator.next_f32())).collect();
                row[length / 2] = 3.0;
                for capability in Capability::ALL {
                    for mass in [0.0, 0.3, 0.9, 0.99, 1.0] {
                        let expected = plain(&row, mass, capability);
                        let mut scores = row.clone();
                        top_p(&mut scores, mass, capability, &mut workspace);
                        let bits =
                            |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        assert!(bits(&scores) == bits(&expected), "{length} {capability} {mass}");
                    }
                }
            }
        }
    }
}
