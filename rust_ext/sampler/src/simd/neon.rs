//! Sixteen lanes in four of NEON's registers.

use std::arch::aarch64::{float32x4_t, float64x2_t, int32x4_t, uint32x4_t};

use pulp::aarch64::Neon;
use pulp::cast;

use super::lanes::LANES;
use super::mersenne::Mersenne;
use super::wide::{LEAST_NORMAL, Wide, folded, gather_in_turn};

type Floats = [float32x4_t; 4];

// Its loops over arrays are compiled well.
impl Mersenne for Neon {}

#[allow(clippy::inline_always)] // Parts of kernels.
impl Wide for Neon {
    type Floats = Floats;
    type Eight = [float32x4_t; 2];
    type Doubles = [float64x2_t; 8];

    const FUSED: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> Floats {
        [self.neon.vdupq_n_f32(x); 4]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Floats {
        cast(*x)
    }

    #[inline(always)]
    fn store(self, x: Floats) -> [f32; LANES] {
        cast(x)
    }

    #[inline(always)]
    fn add(self, mut a: Floats, b: Floats) -> Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = self.neon.vaddq_f32(*a, b);
        }
        a
    }

    #[inline(always)]
    fn sub(self, mut a: Floats, b: Floats) -> Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = self.neon.vsubq_f32(*a, b);
        }
        a
    }

    #[inline(always)]
    fn mul(self, mut a: Floats, b: Floats) -> Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = self.neon.vmulq_f32(*a, b);
        }
        a
    }

    #[inline(always)]
    fn mul_add(self, a: Floats, b: Floats, mut c: Floats) -> Floats {
        for (c, (a, b)) in c.iter_mut().zip(a.into_iter().zip(b)) {
            *c = self.neon.vfmaq_f32(*c, a, b);
        }
        c
    }

    #[inline(always)]
    fn scale(self, mut x: Floats, exponent: Floats) -> Floats {
        let least = self.neon.vdupq_n_f32(LEAST_NORMAL);
        let mut low = self.neon.vdupq_n_u32(0);
        for exponent in exponent {
            low = self.neon.vorrq_u32(low, self.neon.vcltq_f32(exponent, least));
        }
        if self.neon.vmaxvq_u32(low) != 0 {
            for (x, exponent) in x.iter_mut().zip(exponent) {
                *x = scaled_in_two(self, *x, exponent);
            }
            return x;
        }
        for (x, exponent) in x.iter_mut().zip(exponent) {
            *x = scaled(self, *x, exponent);
        }
        x
    }

    #[inline(always)]
    fn max(self, mut a: Floats, b: Floats) -> Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = self.neon.vbslq_f32(self.neon.vcgtq_f32(*a, b), *a, b);
        }
        a
    }

    #[inline(always)]
    fn min(self, mut a: Floats, b: Floats) -> Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = self.neon.vbslq_f32(self.neon.vcltq_f32(*a, b), *a, b);
        }
        a
    }

    #[inline(always)]
    fn or_zero(self, mut x: Floats, least: Floats) -> Floats {
        for (x, least) in x.iter_mut().zip(least) {
            *x = masked(self, *x, self.neon.vcgeq_f32(*x, least));
        }
        x
    }

    #[inline(always)]
    fn add_less(self, mut sum: Floats, x: Floats, level: Floats) -> Floats {
        for (sum, (x, level)) in sum.iter_mut().zip(x.into_iter().zip(level)) {
            let less = masked(self, x, self.neon.vcltq_f32(x, level));
            *sum = self.neon.vaddq_f32(*sum, less);
        }
        sum
    }

    #[inline(always)]
    fn where_less(self, mut a: Floats, b: Floats, then: Floats, or: Floats) -> Floats {
        for ((a, b), (then, or)) in a.iter_mut().zip(b).zip(then.into_iter().zip(or)) {
            *a = self.neon.vbslq_f32(self.neon.vcltq_f32(*a, b), then, or);
        }
        a
    }

    #[inline(always)]
    fn at_least(self, x: Floats, least: Floats) -> u32 {
        let mut lanes = [self.neon.vdupq_n_u32(0); 4];
        for (lanes, (x, least)) in lanes.iter_mut().zip(x.into_iter().zip(least)) {
            *lanes = self.neon.vcgeq_f32(x, least);
        }
        bits_of(self, lanes)
    }

    #[inline(always)]
    fn greater(self, a: Floats, b: Floats) -> u32 {
        let mut lanes = [self.neon.vdupq_n_u32(0); 4];
        for (lanes, (a, b)) in lanes.iter_mut().zip(a.into_iter().zip(b)) {
            *lanes = self.neon.vcgtq_f32(a, b);
        }
        bits_of(self, lanes)
    }

    #[inline(always)]
    fn least_above(self, mut least: Floats, x: Floats, floor: Floats) -> Floats {
        for (least, (x, floor)) in least.iter_mut().zip(x.into_iter().zip(floor)) {
            let above = self.neon.vcgtq_f32(x, floor);
            let lesser = self.neon.vandq_u32(above, self.neon.vcltq_f32(x, *least));
            *least = self.neon.vbslq_f32(lesser, x, *least);
        }
        least
    }

    #[inline(always)]
    fn count_greater(self, mut count: Floats, a: Floats, b: Floats) -> Floats {
        let one = self.neon.vdupq_n_f32(1.0);
        for (count, (a, b)) in count.iter_mut().zip(a.into_iter().zip(b)) {
            let more = masked(self, one, self.neon.vcgtq_f32(a, b));
            *count = self.neon.vaddq_f32(*count, more);
        }
        count
    }

    #[inline(always)]
    fn gather(self, x: Floats, lanes: u32) -> [f32; LANES] {
        gather_in_turn(self.store(x), lanes)
    }

    #[inline(always)]
    fn eight_zeros(self) -> [float32x4_t; 2] {
        [self.neon.vdupq_n_f32(0.0); 2]
    }

    #[inline(always)]
    fn add_in_eight(self, [a, b]: [float32x4_t; 2], x: Floats) -> [float32x4_t; 2] {
        [
            self.neon.vaddq_f32(self.neon.vaddq_f32(a, x[0]), x[2]),
            self.neon.vaddq_f32(self.neon.vaddq_f32(b, x[1]), x[3]),
        ]
    }

    #[inline(always)]
    fn store_eight(self, sums: [float32x4_t; 2]) -> [f32; LANES / 2] {
        cast(sums)
    }

    #[inline(always)]
    fn zeros(self) -> [float64x2_t; 8] {
        [self.neon.vdupq_n_f64(0.0); 8]
    }

    #[inline(always)]
    fn add_doubles(self, mut sums: [float64x2_t; 8], x: Floats) -> [float64x2_t; 8] {
        for ([low, high], x) in sums.as_chunks_mut().0.iter_mut().zip(x) {
            *low = self.neon.vaddq_f64(*low, self.neon.vcvt_f64_f32(self.neon.vget_low_f32(x)));
            *high = self.neon.vaddq_f64(*high, self.neon.vcvt_high_f64_f32(x));
        }
        sums
    }

    #[inline(always)]
    fn total(self, sums: [float64x2_t; 8]) -> f64 {
        folded(cast::<_, [f64; LANES]>(sums), |a, b| a + b)
    }
}

/// `x` in the lanes whose bits are set, zero elsewhere.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn masked(simd: Neon, x: float32x4_t, lanes: uint32x4_t) -> float32x4_t {
    cast(simd.neon.vandq_u32(cast(x), lanes))
}

/// One bit a lane of four comparisons.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn bits_of(simd: Neon, lanes: [uint32x4_t; 4]) -> u32 {
    // A lane's own bit, and then a sum, in which no two bits meet.
    let mut bits = simd.neon.vandq_u32(lanes[0], cast([1_u32, 2, 4, 8]));
    for (lanes, shift) in lanes[1..].iter().zip([4, 8, 12]) {
        let own: uint32x4_t = cast([1_u32 << shift, 2 << shift, 4 << shift, 8 << shift]);
        bits = simd.neon.vorrq_u32(bits, simd.neon.vandq_u32(*lanes, own));
    }
    simd.neon.vaddvq_u32(bits)
}

/// A power of two is added to the exponent; NaN is converted to no power.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn scaled(simd: Neon, x: float32x4_t, exponent: float32x4_t) -> float32x4_t {
    let bits = simd.neon.vshlq_n_s32::<23>(simd.neon.vcvtnq_s32_f32(exponent));
    cast(simd.neon.vaddq_s32(cast(x), bits))
}

/// By two powers of two, the first of which is exact.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn scaled_in_two(simd: Neon, x: float32x4_t, exponent: float32x4_t) -> float32x4_t {
    let exponent = simd.neon.vcvtnq_s32_f32(exponent);
    let half = simd.neon.vshrq_n_s32::<1>(exponent);
    let rest = simd.neon.vsubq_s32(exponent, half);
    let x = simd.neon.vmulq_f32(x, power_of_two(simd, half));
    simd.neon.vmulq_f32(x, power_of_two(simd, rest))
}

/// 2 to the power of integers from -126 to 127; some float of any other.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn power_of_two(simd: Neon, exponent: int32x4_t) -> float32x4_t {
    let biased = simd.neon.vaddq_s32(exponent, simd.neon.vdupq_n_s32(127));
    cast(simd.neon.vshlq_n_s32::<23>(biased))
}
