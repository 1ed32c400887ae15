//! Parts of the portable kernels that the compiler makes badly of arrays for SSE2, which every x86-64
//! processor has.

use std::arch::x86_64::{__m128, __m128d, __m128i};

use pulp::cast;
use pulp::core_arch::x86::{Sse, Sse2};

use super::lanes::LANES;
use super::sleef::{BIASED, Constants, LN2, MADE_UP, R_LN2};

type Floats = [__m128; 4];

/// The proof that the processor has them; the compiler knows it too.
#[derive(Clone, Copy)]
pub(super) struct Simd {
    sse: Sse,
    sse2: Sse2,
}

#[allow(clippy::inline_always)] // Parts of kernels.
impl Simd {
    #[inline(always)]
    pub(super) fn new() -> Option<Self> {
        Some(Self { sse: Sse::try_new()?, sse2: Sse2::try_new()? })
    }

    /// As [`Wide::at_least`](super::wide::Wide::at_least).
    #[inline(always)]
    pub(super) fn at_least(self, x: [f32; LANES], least: [f32; LANES]) -> u32 {
        let (mut x, least): (Floats, Floats) = (cast(x), cast(least));
        for (x, least) in x.iter_mut().zip(least) {
            *x = self.sse._mm_cmpge_ps(*x, least);
        }
        self.bits_of(x)
    }

    /// As [`Wide::greater`](super::wide::Wide::greater).
    #[inline(always)]
    pub(super) fn greater(self, a: [f32; LANES], b: [f32; LANES]) -> u32 {
        let (mut a, b): (Floats, Floats) = (cast(a), cast(b));
        for (a, b) in a.iter_mut().zip(b) {
            *a = self.sse._mm_cmpgt_ps(*a, b);
        }
        self.bits_of(a)
    }

    #[inline(always)]
    fn bits_of(self, lanes: Floats) -> u32 {
        let mut bits = 0;
        for (lanes, shift) in lanes.into_iter().zip([0, 4, 8, 12]) {
            bits |= self.sse._mm_movemask_ps(lanes).cast_unsigned() << shift;
        }
        bits
    }

    /// As [`in_doubles`](super::sleef::in_doubles), of sixteen.
    #[inline(always)]
    pub(super) fn sleef(self, d: [f32; LANES], constants: &Constants) -> [f32; LANES] {
        let mut d: Floats = cast(d);
        for d in &mut d {
            *d = self.sleef_of_four(*d, constants);
        }
        cast(d)
    }

    #[inline(always)]
    fn sleef_of_four(self, d: __m128, constants: &Constants) -> __m128 {
        let Self { sse, sse2 } = self;
        let biased = sse._mm_set1_ps(BIASED);
        let rounded = sse._mm_add_ps(sse._mm_mul_ps(d, sse._mm_set1_ps(R_LN2)), biased);
        let q = sse._mm_sub_ps(rounded, biased);
        let low = self.sleef_of_two(d, q, constants);
        let [d, q] = [d, q].map(cast::<_, __m128i>);
        // As integers, since the compiler would compute d and q by halves.
        let high = [sse2._mm_unpackhi_epi64(d, d), sse2._mm_unpackhi_epi64(q, q)];
        let high = high.map(cast::<_, __m128>);
        let e = sse._mm_movelh_ps(low, self.sleef_of_two(high[0], high[1], constants));
        let power = cast(sse2._mm_slli_epi32::<23>(cast(rounded)));
        let e = sse._mm_mul_ps(sse._mm_add_ps(sse._mm_set1_ps(1.0), e), power);
        sse._mm_mul_ps(e, sse._mm_set1_ps(MADE_UP))
    }

    /// Of the first two lanes, what is added to one.
    #[inline(always)]
    fn sleef_of_two(self, d: __m128, q: __m128, constants: &Constants) -> __m128 {
        let Self { sse, sse2 } = self;
        let all = |x: f64| -> __m128d { cast([x; 2]) };
        let product = sse2._mm_mul_pd(sse2._mm_cvtps_pd(q), all(LN2));
        let s = sse2._mm_cvtpd_ps(sse2._mm_sub_pd(sse2._mm_cvtps_pd(d), product));
        let square = sse2._mm_cvtps_pd(sse._mm_mul_ps(s, s));
        let s = sse2._mm_cvtps_pd(s);
        let mut u = all(constants.first);
        for (large, sum) in constants.steps {
            u = sse2._mm_add_pd(sse2._mm_mul_pd(u, s), all(sum));
            u = sse2._mm_sub_pd(u, all(large));
        }
        let u = sse2._mm_add_pd(sse2._mm_mul_pd(u, s), all(constants.last));
        let u = sse2._mm_cvtps_pd(sse2._mm_cvtpd_ps(u));
        sse2._mm_cvtpd_ps(sse2._mm_add_pd(sse2._mm_mul_pd(square, u), s))
    }
}
