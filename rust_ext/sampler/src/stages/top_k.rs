//! Top-k.

use crate::simd::kernel;

/// Elements whose maximum stands for them in the first look.
pub(crate) const BLOCK: usize = 16;

/// The `k`-th largest value of a row; `1 <= k <= row.len()`, and no value is NaN.
///
/// `scratch` is a workspace, whatever it holds.
pub(crate) fn threshold(row: &[f32], k: usize, scratch: &mut Vec<f32>) -> f32 {
    scratch.clear();
    let blocks = row.len() / BLOCK;
    if blocks >= 2 * k {
        // The k-th largest block maximum has at least k values at or above it, so nothing below
        // it can be the k-th largest; few values are left to select from.
        scratch.resize(blocks, 0.0);
        block_maxima(row, scratch);
        let floor = kth_largest(scratch, k);
        scratch.clear();
        let tail = row.len() - row.len() % BLOCK;
        for block in row[..tail].as_chunks::<BLOCK>().0 {
            extend_at_least(scratch, block, floor);
        }
        extend_at_least(scratch, &row[tail..], floor);
    } else {
        scratch.extend_from_slice(row);
    }
    kth_largest(scratch, k)
}

fn kth_largest(values: &mut [f32], k: usize) -> f32 {
    *values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// Appends the values of a short block that are at least `floor`; most blocks have none.
pub(crate) fn extend_at_least(values: &mut Vec<f32>, block: &[f32], floor: f32) {
    // A count has no early exit, and so vectorises.
    if block.iter().filter(|p| **p >= floor).count() > 0 {
        values.extend(block.iter().copied().filter(|p| *p >= floor));
    }
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
    fn is_the_kth_of_the_sorted_row() {
        let mut generator = crate::Generator::new(1);
        let mut scratch = Vec::new();
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
