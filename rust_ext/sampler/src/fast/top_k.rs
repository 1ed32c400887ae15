//! Top-k of a row that has no list: the threshold, with few values to select from.

use super::keep::{BLOCK, Gathered};
use crate::simd::kernel;

/// The `k`-th largest value of a row; `1 <= k <= row.len()`. Of a row with a NaN, any value.
///
/// `scratch` is a workspace, whatever it holds.
pub(crate) fn threshold(row: &[f32], k: usize, scratch: &mut Gathered) -> f32 {
    let blocks = row.len() / BLOCK;
    let mut least = f32::NEG_INFINITY;
    if blocks >= 2 * k {
        // The k-th largest block maximum has at least k values at or above it, so nothing below
        // it can be the k-th largest; few values are left to select from.
        let maxima = &mut scratch.room(row.len())[..blocks];
        block_maxima(row, maxima);
        least = kth_largest(maxima, k);
    }
    let candidates = scratch.take_at_least(row, least);
    // Fewer only where the row holds NaN: other logits were read for the sum than for the row.
    let k = k.min(candidates.len());
    if k == 0 { least } else { kth_largest(candidates, k) }
}

fn kth_largest(values: &mut [f32], k: usize) -> f32 {
    *values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

kernel! {
    fn block_maxima<'a>(row: &'a [f32], maxima: &'a mut [f32]) -> () {
        for (block, maximum) in row.as_chunks::<BLOCK>().0.iter().zip(maxima) {
            let mut lanes = *block;
            let mut half = BLOCK / 2;
            while half > 0 {
                for lane in 0..half {
                    let other = lanes[lane + half];
                    lanes[lane] = if other > lanes[lane] { other } else { lanes[lane] };
                }
                half /= 2;
            }
            *maximum = lanes[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_a_number_is_no_reason_to_panic() {
        let mut row = vec![0.25; 100];
        for numbers in (0..=row.len()).rev() {
            row[numbers..].fill(f32::NAN);
            for k in [1, 2, 50, 100] {
                threshold(&row, k, &mut Gathered::default());
            }
        }
    }

    #[test]
    fn is_the_kth_of_the_sorted_row() {
        let mut generator = crate::torch::generator::Generator::new(1);
        let mut scratch = Gathered::default();
        for length in [1, 2, 15, 16, 17, 40, 64, 100, 1000, 4099] {
            for levels in [1.0, 3.0, 50.0, 1e9] {
                let row: Vec<f32> =
                    (0..length).map(|_| (generator.next_f32() * levels).floor()).collect();
                let mut sorted = row.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                for k in [1, 2, 5, length / 3, length - 1, length] {
                    if (1..=length).contains(&k) {
                        assert_eq!(threshold(&row, k, &mut scratch), sorted[k - 1], "{length} {k}");
                    }
                }
            }
        }
    }
}
