//! Values in ascending order of a measure, where the order of equal ones cannot be seen.

use crate::fast::keep::Gathered;
use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::torch::measure::Measure;

/// Fewer are sorted by comparisons.
const MANY: usize = 1024;
/// Bits of a code that are sorted by at a time, in two passes.
const DIGIT: u32 = 11;
/// A code is a whole number below 2^22, and 2^23 more, so that the last bits of this float are it.
const CODES: f32 = 4_194_304.0;
const FIRST_CODE: f32 = 8_388_608.0;
/// Values whose codes are written together.
const TOGETHER: usize = 256;

/// What is sorted, and memory to do it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ascending {
    values: Gathered,
    counts: Vec<[u32; 1 << DIGIT]>,
}

impl Ascending {
    /// Takes those values of a row that are at least `least`, and sorts them. None is infinite. `spare`
    /// is a workspace.
    pub(crate) fn sort_at_least<M: Measure>(
        &mut self,
        row: &[f32],
        least: f32,
        measure: M,
        spare: &mut Vec<f32>,
    ) -> &mut [f32] {
        let Self { values, counts } = self;
        let values = values.take_at_least(row, least);
        if values.len() < MANY || !sort_by_codes(values, measure, spare, counts) {
            values.sort_unstable_by(|a, b| measure.of_one(*a).total_cmp(&measure.of_one(*b)));
        }
        values
    }

    pub(crate) fn values(&self) -> &[f32] {
        self.values.values()
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        self.values.values_mut()
    }
}

/// Sorts by where each value's measure is between the least and the greatest one, rounded to some
/// steps; what is left to be done within a step is done one by one. Returns `false`, with the values
/// in any order, where that is too much.
fn sort_by_codes<M: Measure>(
    values: &mut [f32],
    measure: M,
    spare: &mut Vec<f32>,
    counts: &mut Vec<[u32; 1 << DIGIT]>,
) -> bool {
    let (low, high) = range(values, measure);
    // No code is rounded up to one too many.
    let scale = (CODES - 64.0) / (high - low);
    if !scale.is_finite() {
        return false;
    }
    spare.resize(values.len(), 0.0);
    counts.clear();
    counts.resize(2, [0; 1 << DIGIT]);
    let [lower, upper] = counts.as_mut_slice() else {
        return false;
    };
    let mut codes = [0; TOGETHER];
    for values in values.chunks(TOGETHER) {
        write_codes(values, measure, low, scale, &mut codes[..values.len()]);
        for code in &codes[..values.len()] {
            lower[lower_digit(*code)] += 1;
        }
    }
    to_starts(lower);
    for values in values.chunks(TOGETHER) {
        write_codes(values, measure, low, scale, &mut codes[..values.len()]);
        for (value, code) in values.iter().zip(&codes) {
            let next = &mut lower[lower_digit(*code)];
            spare[*next as usize] = *value;
            *next += 1;
            upper[upper_digit(*code)] += 1;
        }
    }
    to_starts(upper);
    for spare in spare.chunks(TOGETHER) {
        write_codes(spare, measure, low, scale, &mut codes[..spare.len()]);
        for (value, code) in spare.iter().zip(&codes) {
            let next = &mut upper[upper_digit(*code)];
            values[*next as usize] = *value;
            *next += 1;
        }
    }
    settle(values, measure)
}

fn lower_digit(code: u32) -> usize {
    code as usize % (1 << DIGIT)
}

fn upper_digit(code: u32) -> usize {
    (code >> DIGIT) as usize % (1 << DIGIT)
}

/// Makes of counts where each begins.
fn to_starts(counts: &mut [u32]) {
    let mut start = 0;
    for count in counts {
        start += std::mem::replace(count, start);
    }
}

kernel! {
    /// The least and the greatest measure.
    fn range<'a, M: Measure>(wide; values: &'a [f32], measure: M) -> (f32, f32) {
        let (blocks, tail) = values.as_chunks();
        let (mut low, mut high) = (wide.splat(f32::INFINITY), wide.splat(f32::NEG_INFINITY));
        for block in blocks {
            let x = measure.of(wide, wide.load(block));
            (low, high) = (wide.min(x, low), wide.max(x, high));
        }
        let (low, high) = (wide.store(low), wide.store(high));
        let (mut lowest, mut highest) = (f32::INFINITY, f32::NEG_INFINITY);
        for (low, high) in low.into_iter().zip(high) {
            (lowest, highest) = (lowest.min(low), highest.max(high));
        }
        for x in tail {
            let x = measure.of_one(*x);
            (lowest, highest) = (lowest.min(x), highest.max(x));
        }
        (lowest, highest)
    }
}

kernel! {
    /// Each step is rounded, and none of them changes an order: neither does the code.
    fn write_codes<'a, M: Measure>(
        wide; values: &'a [f32], measure: M, low: f32, scale: f32, codes: &'a mut [u32],
    ) -> () {
        let (blocks, tail) = values.as_chunks();
        let (blocks_of_codes, tail_of_codes) = codes.as_chunks_mut::<LANES>();
        let (lows, scales, first) = (wide.splat(low), wide.splat(scale), wide.splat(FIRST_CODE));
        for (block, codes) in blocks.iter().zip(blocks_of_codes) {
            let x = measure.of(wide, wide.load(block));
            let code = wide.add(wide.mul(wide.sub(x, lows), scales), first);
            *codes = wide.store(code).map(f32::to_bits);
        }
        for (x, code) in tail.iter().zip(tail_of_codes) {
            *code = ((measure.of_one(*x) - low) * scale + FIRST_CODE).to_bits();
        }
    }
}

kernel! {
    /// Sorts what is nearly sorted. Returns `false`, not done yet, where it is not.
    fn settle<'a, M: Measure>(wide; values: &'a mut [f32], measure: M) -> bool {
        /// Moves that are worth it, for each value.
        const MOVES: usize = 8;
        let mut left = MOVES * values.len();
        let mut sorted = 1;
        while sorted < values.len() {
            let block = sorted..values.len().min(sorted + LANES);
            sorted = block.end;
            let before = values[block.start - 1..].first_chunk();
            let after = values[block.start..].first_chunk();
            if let (Some(before), Some(after)) = (before, after) {
                let before = measure.of(wide, wide.load(before));
                if wide.greater(before, measure.of(wide, wide.load(after))) == 0 {
                    continue;
                }
            }
            for at in block {
                let moves = insert(values, at, measure);
                if moves > left {
                    return false;
                }
                left -= moves;
            }
        }
        true
    }
}

/// Moves a value to its place among those before it, which are sorted; returns how far that is.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn insert<M: Measure>(values: &mut [f32], at: usize, measure: M) -> usize {
    let value = values[at];
    let measured = measure.of_one(value);
    let mut hole = at;
    while hole > 0 && measure.of_one(values[hole - 1]) > measured {
        values[hole] = values[hole - 1];
        hole -= 1;
    }
    values[hole] = value;
    at - hole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::wide::Wide;
    use crate::torch::generator::Generator;
    use crate::torch::measure::Itself;

    /// How far from one a value is.
    #[derive(Debug, Clone, Copy)]
    struct FromOne;

    impl Measure for FromOne {
        fn of<W: Wide>(self, wide: W, x: W::Floats) -> W::Floats {
            let apart = wide.sub(x, wide.splat(1.0));
            wide.max(apart, wide.sub(wide.splat(0.0), apart))
        }

        fn of_one(self, x: f32) -> f32 {
            (x - 1.0).abs()
        }
    }

    fn is_sorted<M: Measure>(row: &[f32], least: f32, measure: M) {
        let mut ascending = Ascending::default();
        let sorted = ascending.sort_at_least(row, least, measure, &mut Vec::new());
        assert!(sorted.is_sorted_by_key(|x| measure.of_one(*x)));
        let mut sorted = sorted.to_vec();
        sorted.sort_by(f32::total_cmp);
        let mut expected: Vec<f32> = row.iter().copied().filter(|x| *x >= least).collect();
        expected.sort_by(f32::total_cmp);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&sorted), bits(&expected), "nothing is lost");
    }

    #[test]
    fn is_the_order_of_the_measure() {
        let mut generator = Generator::new(8);
        let kinds: [fn(f32, f32) -> f32; 9] = [
            |x, _| x,
            |x, y| (x + y) * 20.0 - 10.0,
            |x, _| (x * 40.0).floor(),
            |_, _| 3.0,
            // One is far away: the others share few codes, or one.
            |x, y| if y < 1e-3 { 100.0 } else { x },
            |x, y| if y < 1e-3 { 100.0 } else { 1.0 + x * 1e-3 },
            |x, y| if y < 1e-3 { 1e30 } else { x },
            |x, _| x * 1e-42,
            |x, y| (x * 200.0 - 100.0).exp2() * (y - 0.5).signum(),
        ];
        for length in [1, 2, 100, MANY - 1, MANY, MANY + 1, 5000, 50_003] {
            for kind in kinds {
                let row: Vec<f32> =
                    (0..length).map(|_| kind(generator.next_f32(), generator.next_f32())).collect();
                for least in [f32::MIN, 0.3] {
                    is_sorted(&row, least, Itself);
                    is_sorted(&row, least, FromOne);
                }
            }
        }
    }

    /// Values that a code does not tell apart are put in order one by one, unless they are many.
    #[test]
    fn what_codes_do_not_tell_apart_is_settled() {
        let mut generator = Generator::new(9);
        let (mut spare, mut counts) = (Vec::new(), Vec::new());
        let mut sort = |values: &mut [f32]| sort_by_codes(values, Itself, &mut spare, &mut counts);
        let mut values: Vec<f32> = (0..5000).map(|_| generator.next_f32()).collect();
        values.push(3000.0);
        assert!(sort(&mut values));
        assert!(values.is_sorted());
        for x in &mut values {
            *x = generator.next_f32();
        }
        values[7] = 1e6;
        assert!(!sort(&mut values));
    }
}
