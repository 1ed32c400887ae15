//! Removal: a score of -inf.

use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::torch::measure::Measure;

const REMOVED: f32 = f32::NEG_INFINITY;

kernel! {
    /// Removes the scores that are less than `least`; a NaN stays.
    pub(crate) fn remove_below<'a>(wide; scores: &'a mut [f32], least: f32) -> () {
        let (leasts, removed) = (wide.splat(least), wide.splat(REMOVED));
        let (blocks, tail) = scores.as_chunks_mut();
        for block in blocks {
            let x = wide.load(block);
            *block = wide.store(wide.where_less(x, leasts, removed, x));
        }
        for score in tail.iter_mut().filter(|score| **score < least) {
            *score = REMOVED;
        }
    }
}

kernel! {
    /// Removes the scores below `most` whose value, times a factor, is less than `least`.
    pub(crate) fn remove_where_below<'a>(
        wide; scores: &'a mut [f32], values: &'a [f32], factor: f32, least: f32, most: f32,
    ) -> () {
        let (factors, leasts, mosts) = (wide.splat(factor), wide.splat(least), wide.splat(most));
        let removed = wide.splat(REMOVED);
        let (blocks, tail) = scores.as_chunks_mut();
        let (blocks_of_values, tail_of_values) = values.as_chunks::<LANES>();
        for (block, values) in blocks.iter_mut().zip(blocks_of_values) {
            let x = wide.load(block);
            let below = wide.where_less(x, mosts, removed, x);
            let product = wide.mul(wide.load(values), factors);
            *block = wide.store(wide.where_less(product, leasts, below, x));
        }
        for (score, value) in tail.iter_mut().zip(tail_of_values) {
            if *value * factor < least && *score < most {
                *score = REMOVED;
            }
        }
    }
}

kernel! {
    /// Writes what is left of some values where scores are removed: zero.
    pub(crate) fn keep_where_left<'a>(
        wide; scores: &'a [f32], values: &'a [f32], out: &'a mut [f32],
    ) -> () {
        let (removed, zero) = (wide.splat(REMOVED), wide.splat(0.0));
        let (blocks, tail) = scores.as_chunks();
        let (blocks_of_values, tail_of_values) = values.as_chunks::<LANES>();
        let (out, tail_of_out) = out.as_chunks_mut::<LANES>();
        for (out, (block, values)) in out.iter_mut().zip(blocks.iter().zip(blocks_of_values)) {
            let left = wide.where_less(removed, wide.load(block), wide.load(values), zero);
            *out = wide.store(left);
        }
        for (out, (score, value)) in tail_of_out.iter_mut().zip(tail.iter().zip(tail_of_values)) {
            *out = if *score > REMOVED { *value } else { 0.0 };
        }
    }
}

kernel! {
    /// Removes the scores that measure more than `most`.
    pub(crate) fn remove_where_above<'a, M: Measure>(
        wide; scores: &'a mut [f32], measure: M, most: f32,
    ) -> () {
        let (mosts, removed) = (wide.splat(most), wide.splat(REMOVED));
        let (blocks, tail) = scores.as_chunks_mut();
        for block in blocks {
            let x = wide.load(block);
            *block = wide.store(wide.where_less(mosts, measure.of(wide, x), removed, x));
        }
        for score in tail.iter_mut().filter(|score| measure.of_one(**score) > most) {
            *score = REMOVED;
        }
    }
}

kernel! {
    /// Whether one of the values is NaN.
    pub(crate) fn has_nan<'a>(values: &'a [f32]) -> bool {
        const LANES: usize = 64;
        #[allow(clippy::needless_bitwise_bool)] // With an early exit this would not vectorise.
        values.chunks(LANES).any(|values| values.iter().fold(false, |any, x| any | x.is_nan()))
    }
}
