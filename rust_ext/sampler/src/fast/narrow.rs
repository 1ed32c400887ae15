//! Where, in a long row, the cumulative sum in descending order crosses a mass: found without a
//! sort, by sums of what is at or above one value after another.

use super::keep::{BLOCK, Gathered};
use crate::planted::planted;
use crate::simd::kernel;
use crate::simd::wide::Wide;

/// Blocks of the row that the first guess looks at.
const SAMPLED: usize = 128;
/// How far the guess may be off, as a share of the mass below the cutoff. It comes from some 2,000
/// values, few of which are above the cutoff: 3 %.
const ALLOWANCE: f32 = 0.1;
/// A guess that fewer sampled values surround is not one.
const FEWEST: usize = 16;

/// Two probabilities between which a cutoff is likely to be: the first is in, the second not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    low: f32,
    high: f32,
}

/// How far off [`multiply_and_split`] may be, as a share of its sum: [`TOGETHER`] roundings of 2^-24.
#[allow(clippy::cast_precision_loss)] // A handful.
pub(crate) const SPLIT_ERROR: f64 = TOGETHER as f64 / 16_777_216.0;

/// Multiplies `row` by `factor`, takes what is then `inside` the bounds, and returns the sum of what
/// is above them: each addition of [`TOGETHER`] numbers is rounded to f32.
pub(crate) fn multiply_and_split(
    row: &mut [f32],
    factor: f32,
    Bounds { low, high }: Bounds,
    inside: &mut Gathered,
) -> f64 {
    let room = inside.room(row.len());
    let (above, length) = multiply_and_gather(row, factor, low, high, room);
    inside.keep(length);
    above
}

/// As [`multiply_and_split`] by one, but with a sum in f64.
pub(crate) fn split(row: &[f32], Bounds { low, high }: Bounds, inside: &mut Gathered) -> f64 {
    let length = part(inside.take_at_least(row, low), low, high);
    inside.keep(length);
    sum_at_least(row, high)
}

/// Leaves those values `inside` some bounds, whose order does not matter, such that the sum of what
/// is larger does not cross and that of those with it does; returns the former.
///
/// `crosses` tells of a sum whether it does; `above` is the sum of what is above the bounds. `None`
/// where the cutoff is not inside them.
pub(crate) fn narrow<E>(
    inside: &mut Gathered,
    Bounds { low, high }: Bounds,
    mut above: f64,
    crosses: impl Fn(f64) -> Result<bool, E>,
) -> Result<Option<f64>, E> {
    /// As many values are soon sorted.
    const FEW: usize = 64;
    if !planted!(GuessUnasked)
        && (crosses(above)? || !crosses(above + sum_at_least(inside.values(), low))?)
    {
        return Ok(None);
    }
    let (mut low, mut high) = (low.to_bits(), high.to_bits());
    while inside.values().len() > FEW && high - low > 1 {
        let middle = low + (high - low) / 2;
        let middle_value = f32::from_bits(middle);
        let mass = sum_at_least(inside.values(), middle_value);
        if crosses(above + mass)? {
            low = middle;
        } else {
            high = middle;
            above += mass;
        }
        let length = part(inside.values_mut(), f32::from_bits(low), f32::from_bits(high));
        inside.keep(length);
    }
    Ok(Some(above))
}

/// Guesses where the cutoff is of a row that is yet to be multiplied by `factor`; `left_out` is,
/// roughly, the mass below it. `sample` is a workspace. `None` where no guess can be made.
pub(crate) fn guess(
    row: &[f32],
    factor: f32,
    left_out: f32,
    sample: &mut Vec<f32>,
) -> Option<Bounds> {
    /// Neighbouring values are alike in all but these last bits.
    const ALIKE: u32 = 1 << 17;
    let (blocks, _) = row.as_chunks::<BLOCK>();
    sample.clear();
    sample.extend(blocks.iter().step_by(blocks.len().div_ceil(SAMPLED).max(1)).flatten());
    #[allow(clippy::cast_precision_loss)] // A guess.
    let (length, sampled) = (row.len() as f32, sample.len() as f32);
    // The sample is of what is not multiplied yet.
    let mass = left_out * sampled / length / factor;
    let [all, ..] = sums_at_least(sample, [0.0; LEVELS]);
    let place = |mass: f32, mut low: u32, mut high: u32| {
        while high - low > ALIKE {
            #[allow(clippy::cast_possible_truncation)] // A handful.
            let step = ((high - low) / (LEVELS as u32 + 1)).max(1);
            let mut levels = [low; LEVELS];
            for (level, number) in levels.iter_mut().zip(1..) {
                *level += number * step;
            }
            let sums = sums_at_least(sample, levels.map(f32::from_bits));
            for (level, sum) in levels.into_iter().zip(sums) {
                if all - sum < mass {
                    low = level;
                } else {
                    high = level;
                    break;
                }
            }
        }
        (low, high)
    };
    // Whatever is less adds up to less than what is left out.
    let bottom = left_out / length / factor;
    let top = 2.0_f32;
    if !(bottom > 0.0 && bottom < top) {
        return None;
    }
    let top = top.to_bits();
    let (low, _) = place(mass * (1.0 - ALLOWANCE), bottom.to_bits(), top);
    // Half an octave further: mostly enough, and fewer steps.
    let near = (low + (1 << 22)).min(top);
    let enough = mass * (1.0 + ALLOWANCE);
    let [above, ..] = sums_at_least(sample, [f32::from_bits(near); LEVELS]);
    let (_, high) = place(enough, low, if all - above >= enough { near } else { top });
    let (low, high) = (f32::from_bits(low), f32::from_bits(high));
    let surrounding = count_at_least(sample, low) - count_at_least(sample, high);
    (surrounding >= FEWEST).then_some(Bounds { low: low * factor, high: high * factor })
}

/// Levels that are looked at in one pass over the sample.
const LEVELS: usize = 4;

kernel! {
    /// The sums of the values that are at least as large as each of some levels; roughly.
    fn sums_at_least<'a>(wide; values: &'a [f32], levels: [f32; LEVELS]) -> [f32; LEVELS] {
        let mut sums = [wide.splat(0.0); LEVELS];
        for block in values.as_chunks().0 {
            let x = wide.load(block);
            for (sum, level) in sums.iter_mut().zip(levels) {
                *sum = wide.add(*sum, wide.or_zero(x, wide.splat(level)));
            }
        }
        let mut totals = [0.0; LEVELS];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = wide.store(sum).iter().sum();
        }
        totals
    }
}

/// Blocks whose sums are taken in f32, before they are added up in f64.
const TOGETHER: usize = 4;

kernel! {
    /// Multiplies the values; returns the sum of those that are then at least `high`, and how many
    /// from `low` up to it were written to `room`.
    fn multiply_and_gather<'a>(
        wide;
        values: &'a mut [f32],
        factor: f32,
        low: f32,
        high: f32,
        room: &'a mut [f32],
    ) -> (f64, usize) {
        let (factors, lows, highs) = (wide.splat(factor), wide.splat(low), wide.splat(high));
        let mut sums = wide.zeros();
        let mut length = 0;
        let (groups, rest) = values.as_chunks_mut::<{ TOGETHER * BLOCK }>();
        for group in groups {
            let mut sum = wide.splat(0.0);
            for block in group.as_chunks_mut().0 {
                let x = wide.mul(wide.load(block), factors);
                *block = wide.store(x);
                sum = wide.add(sum, wide.or_zero(x, highs));
                let inside = wide.at_least(x, lows) & !wide.at_least(x, highs);
                if inside != 0 {
                    room[length..length + BLOCK].copy_from_slice(&wide.gather(x, inside));
                    length += inside.count_ones() as usize;
                }
            }
            sums = wide.add_doubles(sums, sum);
        }
        let mut above = wide.total(sums);
        for x in rest {
            *x *= factor;
            if *x >= high {
                above += f64::from(*x);
            } else if *x >= low {
                room[length] = *x;
                length += 1;
            }
        }
        (above, length)
    }
}

kernel! {
    /// Moves the values from `low` up to, not with, `high` to the front; returns how many there are.
    fn part<'a>(wide; values: &'a mut [f32], low: f32, high: f32) -> usize {
        let (lows, highs) = (wide.splat(low), wide.splat(high));
        let mut length = 0;
        let mut at = 0;
        while let Some(block) = values.get(at..).and_then(<[f32]>::first_chunk) {
            let x = wide.load(block);
            let inside = wide.at_least(x, lows) & !wide.at_least(x, highs);
            // What is overwritten was read.
            values[length..length + BLOCK].copy_from_slice(&wide.gather(x, inside));
            length += inside.count_ones() as usize;
            at += BLOCK;
        }
        for at in at..values.len() {
            let x = values[at];
            values[length] = x;
            length += usize::from(x >= low && x < high);
        }
        length
    }
}

kernel! {
    /// The sum of the values that are at least `least`.
    pub(crate) fn sum_at_least<'a>(wide; values: &'a [f32], least: f32) -> f64 {
        sum_at_least_in(wide, values, least)
    }
}

/// [`sum_at_least`], as part of a kernel.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn sum_at_least_in<W: Wide>(wide: W, values: &[f32], least: f32) -> f64 {
    let leasts = wide.splat(least);
    let (blocks, tail) = values.as_chunks();
    let mut sums = wide.zeros();
    for block in blocks {
        sums = wide.add_doubles(sums, wide.or_zero(wide.load(block), leasts));
    }
    let tail = tail.iter().filter(|p| **p >= least).map(|p| f64::from(*p)).sum::<f64>();
    wide.total(sums) + tail
}

/// Whether as many as `count` values are at least `least`.
pub(crate) fn are_at_least(values: &[f32], least: f32, count: usize) -> bool {
    let mut found = 0;
    values.chunks(64 * BLOCK).any(|values| {
        found += count_at_least(values, least);
        found >= count
    })
}

kernel! {
    /// How many values are at least `least`.
    pub(crate) fn count_at_least<'a>(wide; values: &'a [f32], least: f32) -> usize {
        let leasts = wide.splat(least);
        let (blocks, tail) = values.as_chunks();
        let mut count = tail.iter().filter(|p| **p >= least).count();
        for block in blocks {
            count += wide.at_least(wide.load(block), leasts).count_ones() as usize;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::generator::Generator;

    /// Rows of few values, among which are both bounds, in blocks and behind them.
    #[test]
    fn a_split_is_a_filter_and_a_sum() {
        let mut generator = Generator::new(5);
        let mut inside = Gathered::default();
        for length in [1, 15, 16, 17, 63, 64, 65, 100, 1000] {
            // Eighths, whose sums are exact.
            let row: Vec<f32> = (0..length).map(|_| (generator.next_f32() * 9.0).floor()).collect();
            for (low, high) in [(0.25, 0.75), (0.125, 1.0), (0.5, 0.625), (0.0, 2.0)] {
                let product: Vec<f32> = row.iter().map(|x| x / 8.0).collect();
                let mut expected: Vec<f32> =
                    product.iter().copied().filter(|x| (low..high).contains(x)).collect();
                let above: f64 =
                    product.iter().filter(|x| **x >= high).map(|x| f64::from(*x)).sum();
                let bounds = Bounds { low, high };
                let mut multiplied = row.clone();
                let sum = multiply_and_split(&mut multiplied, 0.125, bounds, &mut inside);
                assert_eq!((sum, &multiplied), (above, &product), "{length} {low} {high}");
                assert_eq!(inside.values(), expected, "{length} {low} {high}");
                assert_eq!(split(&product, bounds, &mut inside), above, "{length} {low} {high}");
                inside.values_mut().sort_by(f32::total_cmp);
                expected.sort_by(f32::total_cmp);
                assert_eq!(inside.values(), expected, "{length} {low} {high}");
            }
        }
    }
}
