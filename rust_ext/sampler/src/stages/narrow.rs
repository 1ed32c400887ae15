//! Where, in a long row, the cumulative sum in descending order crosses a mass: found without a
//! sort, by sums of what is at or above one value after another.

use super::keep::{BLOCK, lanes_at_least};
use crate::simd::kernel;

/// Blocks of the row that the first guess looks at.
const SAMPLED: usize = 512;
/// How far the guess may be off, as a share of the mass below the cutoff. It comes from some 8,000
/// values none of which is above the cutoff: 1 or 2 %.
const ALLOWANCE: f32 = 0.06;

/// Finds some values of `row`, all there are between two bounds, such that the sum of those above
/// them does not cross and that of those with them does; they are left in `inside`, in any order,
/// and the former sum is returned. `sample` is a workspace.
///
/// `crosses` tells of a sum whether it does. `left_out` is, roughly, the mass below the cutoff
/// among the values that are at least `least`. `None` where the guess was wrong.
pub(crate) fn narrow<E>(
    row: &[f32],
    least: f32,
    left_out: f32,
    crosses: impl Fn(f64) -> Result<bool, E>,
    inside: &mut Vec<f32>,
    sample: &mut Vec<f32>,
) -> Result<Option<f64>, E> {
    /// As many values are soon sorted.
    const FEW: usize = 64;
    let (low, high) = guess(row, least, left_out, sample);
    let mut above = at_least(row, high);
    if crosses(above)? {
        return Ok(None);
    }
    inside.clear();
    list_between(row, low, high, inside);
    if !crosses(above + at_least(inside, low))? {
        return Ok(None);
    }
    let (mut low, mut high) = (low.to_bits(), high.to_bits());
    while inside.len() > FEW && high - low > 1 {
        let middle = low + (high - low) / 2;
        let middle_value = f32::from_bits(middle);
        let mass = at_least(inside, middle_value);
        if crosses(above + mass)? {
            low = middle;
            inside.retain(|p| *p >= middle_value);
        } else {
            high = middle;
            above += mass;
            inside.retain(|p| *p < middle_value);
        }
    }
    Ok(Some(above))
}

/// Two values between which the cutoff is likely to be.
fn guess(row: &[f32], least: f32, left_out: f32, sample: &mut Vec<f32>) -> (f32, f32) {
    let (blocks, _) = row.as_chunks::<BLOCK>();
    sample.clear();
    sample.extend(blocks.iter().step_by(blocks.len().div_ceil(SAMPLED).max(1)).flatten());
    #[allow(clippy::cast_precision_loss)] // A guess.
    let share = sample.len() as f32 / row.len() as f32;
    let place = |mass: f32, mut low: u32, mut high: u32| {
        // Neighbouring values are alike in all but the last 16 bits.
        while high - low > 1 << 16 {
            let middle = low + (high - low) / 2;
            if sum_between(sample, least, f32::from_bits(middle)) < mass * share {
                low = middle;
            } else {
                high = middle;
            }
        }
        (low, high)
    };
    let (bottom, top) = (least.to_bits(), 1.5_f32.to_bits());
    let (low, _) = place(left_out * (1.0 - ALLOWANCE), bottom, top);
    // A quarter of an octave further: mostly enough, and fewer steps.
    let near = (low + (1 << 21)).min(top);
    let mass = left_out * (1.0 + ALLOWANCE);
    let enough = sum_between(sample, least, f32::from_bits(near)) >= mass * share;
    let (_, high) = place(mass, low, if enough { near } else { top });
    (f32::from_bits(low), f32::from_bits(high))
}

kernel! {
    /// The sum of the values from `least` up to, not with, `limit`; roughly.
    fn sum_between<'a>(values: &'a [f32], least: f32, limit: f32) -> f32 {
        let zero = ([0.0; BLOCK], [0.0; BLOCK]);
        let (pairs, _) = values.as_chunks::<{ 2 * BLOCK }>();
        let (even, odd) = pairs.iter().fold(zero, |(even, odd), pair| {
            let (first, second) = pair.split_at(BLOCK);
            (add_between(even, first, least, limit), add_between(odd, second, least, limit))
        });
        even.iter().chain(&odd).sum()
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn add_between(mut sums: [f32; BLOCK], values: &[f32], least: f32, limit: f32) -> [f32; BLOCK] {
    for (sum, p) in sums.iter_mut().zip(values) {
        *sum += if *p >= least && *p < limit { *p } else { 0.0 };
    }
    sums
}

kernel! {
    /// The sum of the values that are at least `least`.
    fn at_least<'a>(values: &'a [f32], least: f32) -> f64 {
        let (blocks, tail) = values.as_chunks::<BLOCK>();
        let sums = blocks.iter().fold([0.0_f64; BLOCK], |mut sums, block| {
            for (sum, p) in sums.iter_mut().zip(block) {
                *sum += f64::from(if *p >= least { *p } else { 0.0 });
            }
            sums
        });
        let tail = tail.iter().filter(|p| **p >= least).map(|p| f64::from(*p)).sum::<f64>();
        sums.iter().sum::<f64>() + tail
    }
}

kernel! {
    /// How many values are at least `least`.
    pub(crate) fn count_at_least<'a>(values: &'a [f32], least: f32) -> usize {
        values.iter().map(|p| u32::from(*p >= least)).sum::<u32>() as usize
    }
}

kernel! {
    /// Appends the values from `low` up to, not with, `high`.
    fn list_between<'a>(values: &'a [f32], low: f32, high: f32, listed: &'a mut Vec<f32>) -> () {
        let (blocks, tail) = values.as_chunks::<BLOCK>();
        for block in blocks {
            // What is too large becomes what is too small.
            let mut small = *block;
            for p in &mut small {
                *p = if *p < high { *p } else { 0.0 };
            }
            let mut lanes = lanes_at_least(&small, low);
            while lanes != 0 {
                listed.push(block[lanes.trailing_zeros() as usize % BLOCK]);
                lanes &= lanes - 1;
            }
        }
        listed.extend(tail.iter().filter(|p| (low..high).contains(*p)));
    }
}
