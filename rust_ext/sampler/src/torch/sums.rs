//! `torch.sum` over one row: a cascade in eight lanes, and its split between threads.

use std::num::NonZeroUsize;

use crate::planted;
use crate::simd::kernel;

/// Lanes of the sum, at every capability.
const LANES: usize = 8;
/// Vectors taken side by side, and levels of the cascade (`ilp_factor`, `num_levels` of `SumKernel`).
const SIDE: usize = 4;
const LEVELS: usize = 4;
/// torch's `at::internal::GRAIN_SIZE`: less work than this is not split.
const GRAIN: usize = 32_768;

/// The sum of a row, as torch takes it.
///
/// `alone` says that the tensor has no other row: only then does torch split the row between
/// threads (`two_pass_reduction` of `ATen`'s `TensorIterator`).
pub(crate) fn row_sum(row: &[f32], alone: bool, threads: NonZeroUsize) -> f32 {
    if planted!(RenormalizeSequential) {
        return row.iter().sum();
    }
    if planted!(RenormalizeSumF64) {
        return sum_in_f64(row);
    }
    let threads = threads.get();
    if !alone || threads == 1 || row.len() <= GRAIN {
        return cascade_sum(row);
    }
    let chunks = threads.min(row.len().div_ceil(GRAIN));
    let length = row.len().div_ceil(chunks);
    // Each thread has a place in a buffer that the same sum is then taken over. The places of
    // threads without a chunk hold zeros, which change no partial sum.
    let mut partial = [0.0; LANES * SIDE];
    if threads <= partial.len() {
        for (slot, chunk) in partial.iter_mut().zip(row.chunks(length)) {
            *slot = cascade_sum(chunk);
        }
        return cascade_sum(&partial[..threads]);
    }
    let mut partial: Vec<f32> = row.chunks(length).map(cascade_sum).collect();
    partial.resize(threads, 0.0);
    cascade_sum(&partial)
}

/// A sum more precise than torch's: what two planted faults take.
pub(crate) fn sum_in_f64(row: &[f32]) -> f32 {
    #[allow(clippy::cast_possible_truncation)] // Rounded once, at the end.
    let sum = row.iter().map(|x| f64::from(*x)).sum::<f64>() as f32;
    sum
}

fn cascade_sum(row: &[f32]) -> f32 {
    if row.len() < LANES { cascade_lanes::<1>(row) } else { cascade_lanes8(row) }
}

kernel! {
    fn cascade_lanes8<'a>(row: &'a [f32]) -> f32 {
        cascade_lanes::<LANES>(row)
    }
}

/// `vectorized_inner_sum` of `SumKernel`, or `scalar_inner_sum` where `L` is 1.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn cascade_lanes<const L: usize>(row: &[f32]) -> f32 {
    let (vectors, tail) = row.as_chunks::<L>();
    let (groups, leftover) = vectors.as_chunks::<SIDE>();
    let side_sums = cascade(groups);
    let mut lanes = side_sums[0];
    for vector in leftover {
        add(&mut lanes, vector);
    }
    for side in &side_sums[1..] {
        add(&mut lanes, side);
    }
    let sum = tail.iter().fold(0.0, |sum, x| sum + x);
    lanes.iter().fold(sum, |sum, lane| sum + lane)
}

/// `multi_row_sum` of `SumKernel`: level j is emptied into level j + 1 each time it has taken its
/// number of steps.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn cascade<const L: usize>(groups: &[[[f32; L]; SIDE]]) -> [[f32; L]; SIDE] {
    let ceil_log2 = groups.len().max(1).next_power_of_two().ilog2() as usize;
    let power = (ceil_log2 / LEVELS).max(4);
    let step = 1 << power;
    let mut levels = [[[0.0; L]; SIDE]; LEVELS];
    let (blocks, rest) = groups.split_at(groups.len() / step * step);
    for (index, block) in blocks.chunks_exact(step).enumerate() {
        for group in block {
            add_group(&mut levels[0], group);
        }
        let mut done = index + 1;
        for level in 1..LEVELS {
            let lower = std::mem::replace(&mut levels[level - 1], [[0.0; L]; SIDE]);
            add_group(&mut levels[level], &lower);
            if done % step != 0 {
                break;
            }
            done /= step;
        }
    }
    for group in rest {
        add_group(&mut levels[0], group);
    }
    let [mut sums, higher @ ..] = levels;
    for level in &higher {
        add_group(&mut sums, level);
    }
    sums
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn add_group<const L: usize>(sums: &mut [[f32; L]; SIDE], group: &[[f32; L]; SIDE]) {
    for (side, vector) in sums.iter_mut().zip(group) {
        add(side, vector);
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn add<const L: usize>(sums: &mut [f32; L], vector: &[f32; L]) {
    for (sum, x) in sums.iter_mut().zip(vector) {
        *sum += x;
    }
}
