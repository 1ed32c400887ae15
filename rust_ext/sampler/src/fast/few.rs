//! A few values: sorted, and the k-th largest of them, without branches that cannot be predicted.

use super::keep::BLOCK;
use crate::simd::kernel;
use crate::simd::wide::{Wide, folded};

/// Memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Few {
    padded: Vec<[f32; BLOCK]>,
    sorted: Vec<f32>,
}

impl Few {
    /// Makes room for as many values.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.padded.clear();
        self.padded.reserve(count.div_ceil(BLOCK));
        self.sorted.clear();
        self.sorted.reserve(count);
    }

    /// The `k`-th largest value; `1 <= k <= values.len()`, and none is negative.
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn kth_largest<W: Wide>(&mut self, wide: W, values: &[f32], k: usize) -> f32 {
        /// More to be left out are better sorted.
        const MOST: usize = 24;
        if values.len() - k > MOST {
            return self.sorted(wide, values)[k - 1];
        }
        self.pad(values);
        leave_out(wide, &self.padded, k)
    }

    /// The values in descending order; none is negative.
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn sorted<W: Wide>(&mut self, wide: W, values: &[f32]) -> &[f32] {
        /// As many are sorted by counting, for each, those above it.
        const MOST: usize = 256;
        self.sorted.clear();
        if values.len() > MOST {
            self.sorted.extend_from_slice(values);
            self.sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            return &self.sorted;
        }
        self.pad(values);
        self.sorted.resize(values.len(), -1.0);
        place(wide, values, &self.padded, &mut self.sorted);
        // Equal values went to one place; the ones after it are theirs.
        let mut before = 0.0;
        for value in &mut self.sorted {
            if *value < 0.0 {
                *value = before;
            }
            before = *value;
        }
        &self.sorted
    }

    /// Whole blocks, filled up with what is less than any value.
    fn pad(&mut self, values: &[f32]) {
        let (blocks, tail) = values.as_chunks();
        self.padded.clear();
        self.padded.extend_from_slice(blocks);
        if !tail.is_empty() {
            let mut last = [-1.0; BLOCK];
            last[..tail.len()].copy_from_slice(tail);
            self.padded.push(last);
        }
    }
}

/// The least value that leaves fewer than `k` above it: tried from below.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn leave_out<W: Wide>(wide: W, padded: &[[f32; BLOCK]], k: usize) -> f32 {
    let mut value = -1.0;
    loop {
        let values = wide.splat(value);
        let (mut above, mut next) = (0, wide.splat(f32::INFINITY));
        for block in padded {
            let x = wide.load(block);
            above += wide.greater(x, values).count_ones();
            next = wide.least_above(next, x, values);
        }
        if (above as usize) < k {
            return value;
        }
        value = folded(wide.store(next), |a: f32, b| if b < a { b } else { a });
    }
}

/// Puts each value where it belongs by how many are larger.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn place<W: Wide>(wide: W, values: &[f32], padded: &[[f32; BLOCK]], sorted: &mut [f32]) {
    /// Blocks that are counted for together.
    const SIDE: usize = 6;
    let mut left = values.len();
    for blocks in padded.chunks(SIDE) {
        let mut x = [wide.splat(0.0); SIDE];
        for (at, x) in x.iter_mut().enumerate() {
            *x = wide.load(&blocks[at % blocks.len()]);
        }
        let mut larger = [wide.splat(0.0); SIDE];
        for value in values {
            let value = wide.splat(*value);
            for (larger, x) in larger.iter_mut().zip(x) {
                *larger = wide.count_greater(*larger, value, x);
            }
        }
        for (block, larger) in blocks.iter().zip(larger) {
            for (larger, x) in wide.store(larger).iter().zip(block).take(left) {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A count.
                let larger = *larger as usize;
                sorted[larger] = *x;
            }
            left = left.saturating_sub(BLOCK);
        }
    }
}

kernel! {
    /// [`Few::sorted`], as a kernel of its own.
    pub(crate) fn sorted<'a>(wide; few: &'a mut Few, values: &'a [f32]) -> &'a [f32] {
        few.sorted(wide, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::generator::Generator;

    kernel! {
        fn kth_largest<'a>(wide; few: &'a mut Few, values: &'a [f32], k: usize) -> f32 {
            few.kth_largest(wide, values, k)
        }
    }

    #[test]
    fn is_a_sort() {
        let mut generator = Generator::new(8);
        let mut few = Few::default();
        for length in [1, 2, 15, 16, 17, 90, 256, 257, 1000] {
            for levels in [1.0, 5.0, 1e6] {
                let values: Vec<f32> =
                    (0..length).map(|_| (generator.next_f32() * levels).floor()).collect();
                let mut expected = values.clone();
                expected.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(sorted(&mut few, &values), expected);
                for k in [1, length / 2, length - 5.min(length - 1), length] {
                    let k = k.max(1);
                    assert_eq!(kth_largest(&mut few, &values, k), expected[k - 1], "{length} {k}");
                }
            }
        }
    }
}
