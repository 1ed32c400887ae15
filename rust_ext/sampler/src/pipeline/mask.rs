//! Removal: a score of -inf.

use crate::simd::kernel;

kernel! {
    /// Removes the scores that are less than `least`; a NaN stays.
    pub(crate) fn remove_below<'a>(scores: &'a mut [f32], least: f32) -> () {
        for score in scores {
            *score = if *score < least { f32::NEG_INFINITY } else { *score };
        }
    }
}

kernel! {
    /// Removes the scores below `most` whose value is less than `least`.
    pub(crate) fn remove_where_below<'a>(
        scores: &'a mut [f32], values: &'a [f32], least: f32, most: f32,
    ) -> () {
        for (score, value) in scores.iter_mut().zip(values) {
            #[allow(clippy::needless_bitwise_bool)] // With a branch this would not vectorise.
            let removed = (*value < least) & (*score < most);
            *score = if removed { f32::NEG_INFINITY } else { *score };
        }
    }
}

kernel! {
    /// Removes the scores whose value is more than `most`.
    pub(crate) fn remove_where_above<'a>(
        scores: &'a mut [f32], values: &'a [f32], most: f32,
    ) -> () {
        for (score, value) in scores.iter_mut().zip(values) {
            *score = if *value > most { f32::NEG_INFINITY } else { *score };
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
