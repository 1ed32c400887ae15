//! What floats are sorted by.

use crate::simd::wide::Wide;

/// A number of each float, which is never NaN; the same one by one and in vectors.
pub(crate) trait Measure: Copy {
    fn of<W: Wide>(self, wide: W, x: W::Floats) -> W::Floats;
    fn of_one(self, x: f32) -> f32;
}

/// The float itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Itself;

#[allow(clippy::inline_always)] // Part of kernels.
impl Measure for Itself {
    #[inline(always)]
    fn of<W: Wide>(self, _: W, x: W::Floats) -> W::Floats {
        x
    }

    #[inline(always)]
    fn of_one(self, x: f32) -> f32 {
        x
    }
}
