//! `torch.sum` over one row: a cascade in eight lanes, and its split between threads.
//!
//! At every capability: on Arm as well, but for rows that are shorter than eight.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::planted::planted;
use crate::simd::kernel;
use crate::torch::capability::{Arithmetic, Capability};

/// Lanes of the sum, at every capability.
pub(crate) const LANES: usize = 8;
/// Vectors taken side by side, and levels of the cascade (`ilp_factor`, `num_levels` of `SumKernel`).
pub(crate) const SIDE: usize = 4;
pub(crate) const LEVELS: usize = 4;
pub(crate) const GROUP: usize = SIDE * LANES;

/// A sum, or a value, for each lane of the vectors side by side; in halves of the widest register.
type Group = [[f32; GROUP / 2]; 2];
const EMPTY: Group = [[0.0; GROUP / 2]; 2];
/// torch's `at::internal::GRAIN_SIZE`: less work than this is not split.
const GRAIN: usize = 32_768;
/// The most chunks of a row, which has at most 2^24 tokens. Where there are more threads, their places
/// change nothing: as many as these are in the first block of the cascade, however long it is.
const PLACES: usize = (1 << 24) / GRAIN;

/// How torch shares a row's sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sharing {
    /// Whether the tensor has no other row: only then does torch split the row between threads
    /// (`two_pass_reduction` of `ATen`'s `TensorIterator`).
    pub(crate) alone: bool,
    /// How many torch would run.
    pub(crate) threads: NonZeroUsize,
    /// Its level, which decides how short rows are added up.
    pub(crate) capability: Capability,
}

/// The sum of a row, as torch takes it.
pub(crate) fn row_sum(row: &[f32], sharing: Sharing) -> f32 {
    row_sum_at_least(row, f32::NEG_INFINITY, sharing)
}

/// [`row_sum`] of a row in which what is less than `least` counts as zero.
pub(crate) fn row_sum_at_least(row: &[f32], least: f32, sharing: Sharing) -> f32 {
    if planted!(RenormalizeSequential) {
        return row.iter().sum();
    }
    if planted!(RenormalizeSumF64) {
        return sum_in_f64(row);
    }
    let capability = sharing.capability;
    in_chunks(row.len(), sharing, |chunk| cascade_sum_at_least(&row[chunk], least, capability))
}

/// Adds up the sums of the chunks that torch makes of a row of `length`; `sum` gives one chunk's.
pub(crate) fn in_chunks(
    length: usize,
    Sharing { alone, threads, capability }: Sharing,
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
    let mut partial = [0.0; PLACES];
    for (slot, chunk) in partial.iter_mut().zip(chunks) {
        *slot = sum(chunk);
    }
    cascade_sum(&partial[..threads.min(PLACES)], capability)
}

/// A sum more precise than torch's: what two planted faults take.
pub(crate) fn sum_in_f64(row: &[f32]) -> f32 {
    #[allow(clippy::cast_possible_truncation)] // Rounded once, at the end.
    let sum = row.iter().map(|x| f64::from(*x)).sum::<f64>() as f32;
    sum
}

pub(crate) fn cascade_sum(row: &[f32], capability: Capability) -> f32 {
    cascade_sum_at_least(row, f32::NEG_INFINITY, capability)
}

/// `vectorized_inner_sum` of `SumKernel`, or `scalar_inner_sum` of a row that is shorter than a
/// vector.
///
/// On Arm without vectors of 256 bits, torch takes four floats for a vector and adds up eight at a
/// time: of a row that has no eight, what is left behind them is all, and is added one by one.
fn cascade_sum_at_least(row: &[f32], least: f32, capability: Capability) -> f32 {
    if row.len() < LANES {
        let mut row = row.iter().map(|x| at_least(*x, least));
        let in_turn = capability.arithmetic() == Arithmetic::Neon;
        if in_turn && !planted!(RenormalizeShortInLanes) {
            return row.fold(0.0, |sum, x| sum + x);
        }
        let sides: [f32; SIDE] = std::array::from_fn(|_| row.next().unwrap_or(0.0));
        return row.chain(sides[1..].iter().copied()).fold(sides[0], |sum, x| sum + x);
    }
    let (halves, rest) = row.as_chunks::<{ GROUP / 2 }>();
    let (groups, odd) = halves.as_chunks();
    let sums = cascade(groups, least);
    let (sides, _) = sums.as_flattened().as_chunks::<LANES>();
    let (vectors, tail) = rest.as_chunks::<LANES>();
    let (odd, _) = odd.as_flattened().as_chunks();
    let lanes = odd.iter().chain(vectors).fold(sides[0], |mut lanes, vector| {
        add_at_least(&mut lanes, vector, least);
        lanes
    });
    let lanes = sides[1..].iter().fold(lanes, added);
    let sum = tail.iter().fold(0.0, |sum, x| sum + at_least(*x, least));
    lanes.iter().fold(sum, |sum, lane| sum + lane)
}

/// `multi_row_sum` of `SumKernel`: level j is emptied into level j + 1 each time it has taken its
/// number of steps.
fn cascade(groups: &[Group], least: f32) -> Group {
    let step = 1 << cascade_power(groups.len());
    let mut levels = [EMPTY; LEVELS];
    let blocks = groups.chunks_exact(step);
    let rest = blocks.remainder();
    for (done, block) in (1..).zip(blocks) {
        add_groups(&mut levels[0], block, least);
        let mut done: usize = done;
        for level in 1..LEVELS {
            let lower = std::mem::replace(&mut levels[level - 1], EMPTY);
            levels[level] = added_group(levels[level], &lower);
            if !done.is_multiple_of(step) {
                break;
            }
            done /= step;
        }
    }
    add_groups(&mut levels[0], rest, least);
    let [sums, higher @ ..] = levels;
    higher.iter().fold(sums, added_group)
}

kernel! {
    fn add_groups<'a>(wide; sums: &'a mut Group, groups: &'a [Group], least: f32) -> () {
        let [first, second] = sums;
        let sums = (wide.load(first), wide.load(second));
        let least = wide.splat(least);
        let sums = groups.iter().fold(sums, |sums, [low, high]| {
            (
                wide.add(sums.0, wide.or_zero(wide.load(low), least)),
                wide.add(sums.1, wide.or_zero(wide.load(high), least)),
            )
        });
        (*first, *second) = (wide.store(sums.0), wide.store(sums.1));
    }
}

fn at_least(x: f32, least: f32) -> f32 {
    if x >= least { x } else { 0.0 }
}

fn add_at_least<const L: usize>(sums: &mut [f32; L], values: &[f32; L], least: f32) {
    for (sum, x) in sums.iter_mut().zip(values) {
        *sum += at_least(*x, least);
    }
}

/// How many steps a level of the cascade takes, as a power of two.
#[inline]
pub(crate) fn cascade_power(groups: usize) -> u32 {
    const LOG2_LEVELS: u32 = LEVELS.ilog2();
    (groups.max(1).next_power_of_two().ilog2() >> LOG2_LEVELS).max(4)
}

pub(crate) fn added<const L: usize>(mut sums: [f32; L], values: &[f32; L]) -> [f32; L] {
    for (sum, x) in sums.iter_mut().zip(values) {
        *sum += x;
    }
    sums
}

fn added_group([first, second]: Group, values: &Group) -> Group {
    [added(first, &values[0]), added(second, &values[1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::generator::Generator;

    impl Default for Sharing {
        fn default() -> Self {
            Self { alone: true, threads: NonZeroUsize::MIN, capability: Capability::Default }
        }
    }

    /// However many threads a caller says there are, no memory is taken for them.
    #[test]
    fn threads_without_a_chunk_change_nothing() {
        let mut generator = Generator::new(4);
        for chunks in [2, 7, 33, 500, PLACES] {
            let partial: Vec<f32> = (0..chunks).map(|_| generator.next_f32()).collect();
            for threads in [chunks, 513, 545, 1000, 8192, 100_003] {
                let mut places = partial.clone();
                places.resize(threads.max(chunks), 0.0);
                let mut sums = partial.iter();
                let threads = NonZeroUsize::MIN.saturating_add(places.len() - 1);
                let capability = Capability::ALL[chunks % Capability::ALL.len()];
                let sharing = Sharing { alone: true, threads, capability };
                let sum = |_| sums.next().copied().unwrap_or(f32::NAN);
                let shared = in_chunks(chunks * GRAIN, sharing, sum);
                let expected = cascade_sum(&places, capability);
                assert_eq!(shared.to_bits(), expected.to_bits(), "{chunks} {threads}");
                assert!(sums.next().is_none());
            }
        }
    }

    /// The rule as it is stated: in lanes of which each takes every fourth, or one by one.
    #[test]
    fn short_rows_are_added_as_the_level_does() {
        let mut generator = Generator::new(6);
        let mut parted = 0;
        for round in 0..700 {
            let row: Vec<f32> = (0..=round % 7).map(|_| generator.next_f32()).collect();
            let in_turn = row.iter().fold(0.0, |sum, x| sum + x);
            let mut sides = [0.0; SIDE];
            for (side, x) in (0..SIDE).chain([0; LANES]).zip(&row) {
                sides[side] += x;
            }
            let in_lanes = sides[1..].iter().fold(sides[0], |sum, side| sum + side);
            parted += u32::from(in_turn != in_lanes);
            for capability in Capability::ALL {
                let expected = if capability == Capability::Neon { in_turn } else { in_lanes };
                assert_eq!(cascade_sum(&row, capability), expected, "{row:?} {capability}");
            }
        }
        assert!(parted > 50, "{parted}");
    }
}
