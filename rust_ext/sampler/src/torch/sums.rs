//! `torch.sum` over one row: a cascade in eight lanes, and its split between threads.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::exponential::Survivor;
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
    row_sum_at_least(row, f32::NEG_INFINITY, alone, threads)
}

/// [`row_sum`] of a row in which what is less than `least` counts as zero.
pub(crate) fn row_sum_at_least(row: &[f32], least: f32, alone: bool, threads: NonZeroUsize) -> f32 {
    if planted!(RenormalizeSequential) {
        return row.iter().sum();
    }
    if planted!(RenormalizeSumF64) {
        return sum_in_f64(row);
    }
    in_chunks(row.len(), alone, threads, |chunk| cascade_sum_at_least(&row[chunk], least))
}

/// Adds up the sums of the chunks that torch makes of a row of `length`; `sum` gives one chunk's.
fn in_chunks(
    length: usize,
    alone: bool,
    threads: NonZeroUsize,
    mut sum: impl FnMut(Range<usize>) -> f32,
) -> f32 {
    let threads = threads.get();
    if !alone || threads == 1 || length <= GRAIN {
        return sum(0..length);
    }
    let step = length.div_ceil(threads.min(length.div_ceil(GRAIN)));
    let chunks = (0..length).step_by(step).map(|start| start..length.min(start + step));
    // Each thread has a place in a buffer that the same sum is then taken over. The places of
    // threads without a chunk hold zeros, which change no partial sum.
    let mut partial = [0.0; LANES * SIDE];
    if threads <= partial.len() {
        for (slot, chunk) in partial.iter_mut().zip(chunks) {
            *slot = sum(chunk);
        }
        return cascade_sum(&partial[..threads]);
    }
    let mut partial: Vec<f32> = chunks.map(sum).collect();
    partial.resize(threads, 0.0);
    cascade_sum(&partial)
}

/// A sum more precise than torch's: what two planted faults take.
pub(crate) fn sum_in_f64(row: &[f32]) -> f32 {
    #[allow(clippy::cast_possible_truncation)] // Rounded once, at the end.
    let sum = row.iter().map(|x| f64::from(*x)).sum::<f64>() as f32;
    sum
}

/// [`row_sum`] of a row of `length` that is zero but for `survivors`, which ascend by token.
pub(crate) fn sparse_row_sum(
    survivors: &[Survivor],
    length: usize,
    alone: bool,
    threads: NonZeroUsize,
) -> f32 {
    let mut left = survivors;
    in_chunks(length, alone, threads, |chunk| {
        let (now, later) = left.split_at(left.partition_point(|s| (s.token as usize) < chunk.end));
        left = later;
        sparse_cascade_sum(now, chunk)
    })
}

/// [`cascade_sum`] of a chunk that is zero but for `survivors`. Adding a zero changes nothing, so
/// that only what moves sums from level to level is replayed.
fn sparse_cascade_sum(survivors: &[Survivor], chunk: Range<usize>) -> f32 {
    const GROUP: usize = SIDE * LANES;
    let length = chunk.len();
    let listed = survivors.iter().map(|s| (s.token as usize - chunk.start, s.probability));
    if length < LANES {
        let mut row = [0.0; LANES];
        for (at, p) in listed {
            row[at] = p;
        }
        return cascade_sum(&row[..length]);
    }
    let groups = length / GROUP;
    let power = cascade_power(groups);
    let mut levels = [[0.0; GROUP]; LEVELS];
    let mut leftover = [[0.0; LANES]; SIDE];
    let mut tail = 0.0;
    let mut block = 0;
    for (at, p) in listed {
        if at < groups * GROUP {
            let following = (at / GROUP) >> power;
            empty_levels(&mut levels, power, block, following);
            block = following;
            levels[0][at % GROUP] += p;
        } else if at < length / LANES * LANES {
            leftover[at / LANES % SIDE][at % LANES] = p;
        } else {
            tail += p;
        }
    }
    empty_levels(&mut levels, power, block, groups >> power);
    let [mut sums, higher @ ..] = levels;
    for level in &higher {
        add(&mut sums, level);
    }
    let (sides, _) = sums.as_chunks::<LANES>();
    let mut lanes = sides[0];
    for vector in &leftover {
        add(&mut lanes, vector);
    }
    for side in &sides[1..] {
        add(&mut lanes, side);
    }
    lanes.iter().fold(tail, |sum, lane| sum + lane)
}

/// Moves the sums up as [`cascade`] does between one block and a later one.
#[inline]
fn empty_levels<const L: usize>(
    levels: &mut [[f32; L]; LEVELS],
    power: u32,
    mut from: usize,
    mut to: usize,
) {
    for level in 1..LEVELS {
        if from == to {
            return;
        }
        let lower = std::mem::replace(&mut levels[level - 1], [0.0; L]);
        add(&mut levels[level], &lower);
        from >>= power;
        to >>= power;
    }
}

fn cascade_sum(row: &[f32]) -> f32 {
    cascade_sum_at_least(row, f32::NEG_INFINITY)
}

fn cascade_sum_at_least(row: &[f32], least: f32) -> f32 {
    if row.len() < LANES { cascade_lanes::<1>(row, least) } else { cascade_lanes8(row, least) }
}

kernel! {
    fn cascade_lanes8<'a>(row: &'a [f32], least: f32) -> f32 {
        cascade_lanes::<LANES>(row, least)
    }
}

/// `vectorized_inner_sum` of `SumKernel`, or `scalar_inner_sum` where `L` is 1.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn cascade_lanes<const L: usize>(row: &[f32], least: f32) -> f32 {
    let (vectors, tail) = row.as_chunks::<L>();
    let (groups, leftover) = vectors.as_chunks::<SIDE>();
    let side_sums = cascade(groups, least);
    let mut lanes = side_sums[0];
    for vector in leftover {
        add_at_least(&mut lanes, vector, least);
    }
    for side in &side_sums[1..] {
        add(&mut lanes, side);
    }
    let sum = tail.iter().fold(0.0, |sum, x| sum + at_least(*x, least));
    lanes.iter().fold(sum, |sum, lane| sum + lane)
}

/// `multi_row_sum` of `SumKernel`: level j is emptied into level j + 1 each time it has taken its
/// number of steps.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn cascade<const L: usize>(groups: &[[[f32; L]; SIDE]], least: f32) -> [[f32; L]; SIDE] {
    let step = 1 << cascade_power(groups.len());
    let mut levels = [[[0.0; L]; SIDE]; LEVELS];
    let (blocks, rest) = groups.split_at(groups.len() / step * step);
    for (index, block) in blocks.chunks_exact(step).enumerate() {
        for group in block {
            add_group_at_least(&mut levels[0], group, least);
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
        add_group_at_least(&mut levels[0], group, least);
    }
    let [mut sums, higher @ ..] = levels;
    for level in &higher {
        add_group(&mut sums, level);
    }
    sums
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn at_least(x: f32, least: f32) -> f32 {
    if x >= least { x } else { 0.0 }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn add_group_at_least<const L: usize>(
    sums: &mut [[f32; L]; SIDE],
    group: &[[f32; L]; SIDE],
    least: f32,
) {
    for (side, vector) in sums.iter_mut().zip(group) {
        add_at_least(side, vector, least);
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn add_at_least<const L: usize>(sums: &mut [f32; L], vector: &[f32; L], least: f32) {
    for (sum, x) in sums.iter_mut().zip(vector) {
        *sum += at_least(*x, least);
    }
}

/// How many steps a level of the cascade takes, as a power of two.
#[inline]
fn cascade_power(groups: usize) -> u32 {
    const LOG2_LEVELS: u32 = LEVELS.ilog2();
    (groups.max(1).next_power_of_two().ilog2() >> LOG2_LEVELS).max(4)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generator;

    #[test]
    fn the_sparse_sum_is_the_sum() {
        let mut generator = Generator::new(5);
        for length in [1, 7, 8, 9, 31, 32, 33, 100, 511, 512, 545, 8193, 40_000, 300_007] {
            for share in [0.003, 0.1, 1.0] {
                let row: Vec<f32> = (0..length)
                    .map(|_| if generator.next_f32() < share { generator.next_f32() } else { 0.0 })
                    .collect();
                let survivors: Vec<Survivor> = (0..)
                    .zip(&row)
                    .filter(|(_, p)| **p > 0.0)
                    .map(|(token, &probability)| Survivor { token, probability })
                    .collect();
                for threads in [1, 2, 5, 40] {
                    let threads = NonZeroUsize::MIN.saturating_add(threads - 1);
                    let expected = row_sum(&row, true, threads);
                    let actual = sparse_row_sum(&survivors, length, true, threads);
                    assert_eq!(actual.to_bits(), expected.to_bits(), "{length} {share} {threads}");
                }
            }
        }
    }
}
