//! Argmax.

use crate::planted::planted;
use crate::simd::kernel;

/// `torch.argmax`: the first index of the maximum; a NaN counts as the maximum.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let max = max_or_nan(row);
    if planted!(ArgmaxLastWins) {
        let wins = |x: &f32| if max.is_nan() { x.is_nan() } else { *x == max };
        return row.iter().rposition(wins).unwrap_or(0);
    }
    first_at_least(row, max)
}

kernel! {
    /// The largest value, or NaN where there is one.
    fn max_or_nan<'a>(row: &'a [f32]) -> f32 {
        const LANES: usize = 16;
        let (blocks, tail) = row.as_chunks::<LANES>();
        let none = ([f32::NEG_INFINITY; LANES], [0.0_f32; LANES]);
        let (lanes, not_numbers) = blocks.iter().fold(none, |(mut lanes, mut nans), block| {
            for lane in 0..LANES {
                let x = block[lane];
                lanes[lane] = if x > lanes[lane] { x } else { lanes[lane] };
                nans[lane] = if x.is_nan() { x } else { nans[lane] };
            }
            (lanes, nans)
        });
        if not_numbers.iter().chain(tail).any(|x| x.is_nan()) {
            return f32::NAN;
        }
        lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
    }
}

kernel! {
    /// The index of the first value that is not less than `max`: of the first NaN, if that is one.
    fn first_at_least<'a>(row: &'a [f32], max: f32) -> usize {
        const LANES: usize = 64;
        #[allow(clippy::neg_cmp_op_on_partial_ord)] // NaN is not less than anything.
        let reaches = |x: &f32| if max.is_nan() { x.is_nan() } else { !(*x < max) };
        let blocks = row.chunks(LANES);
        #[allow(clippy::needless_bitwise_bool)] // With an early exit this would not vectorise.
        let block = blocks
            .clone()
            .position(|block| block.iter().fold(false, |any, x| any | reaches(x)))
            .unwrap_or(0);
        let start = block * LANES;
        start + row[start..].iter().position(reaches).unwrap_or(0)
    }
}
