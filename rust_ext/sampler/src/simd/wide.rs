//! Sixteen lanes, written out: what the compiler makes badly of plain loops over arrays.

use super::lanes::{LANES, Portable};
use super::mersenne::Mersenne;
use super::sleef::{self, Coefficients, Constants, L2L, L2U, R_LN2, ROUND};
#[cfg(target_arch = "x86_64")]
use super::sse2::Simd;

/// Vectors of [`LANES`] floats, in the registers of one instruction set.
///
/// Each operation is the scalar one, lane by lane: the bits do not depend on the implementation.
#[allow(clippy::inline_always)] // Parts of kernels.
pub(crate) trait Wide: Mersenne {
    /// A vector.
    type Floats: Copy;
    /// Half as many floats.
    type Eight: Copy;
    /// Sums of f64, one a lane.
    type Doubles: Copy;

    /// Whether a fused multiply-add is one instruction.
    const FUSED: bool;

    fn splat(self, x: f32) -> Self::Floats;
    fn load(self, x: &[f32; LANES]) -> Self::Floats;
    fn store(self, x: Self::Floats) -> [f32; LANES];
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// `a * b + c`, however rounded.
    #[inline(always)]
    fn about_mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        self.mul_add(a, b, c)
    }
    /// `x * 2^exponent`, rounded once; exponents are integers from -151 to 115, or NaN, which stays.
    /// `x` is in [1/2, 2], or NaN.
    fn scale(self, x: Self::Floats, exponent: Self::Floats) -> Self::Floats;
    /// [`sleef`](super::sleef) of numbers from -104.5 to 0, or NaN, which stays.
    #[inline(always)]
    fn sleef(self, d: Self::Floats, coefficients: &Coefficients) -> Self::Floats {
        sleef_fused(self, d, coefficients)
    }
    /// An estimate of 2^x: within 2^-13 of itself from -115 to 115; at most 2^-114 below, and at
    /// least 2^114 above. NaN stays.
    ///
    /// Other instruction sets may give others.
    #[inline(always)]
    fn exp2_estimate(self, x: Self::Floats) -> Self::Floats {
        let x = self.min(self.splat(EXP2_REACH), self.max(self.splat(-EXP2_REACH), x));
        let rounded = self.add(self.sub(x, self.splat(0.5)), self.splat(ROUND));
        let floor = self.sub(rounded, self.splat(ROUND));
        self.scale(exp2_of_fraction(self, self.sub(x, floor)), floor)
    }
    /// [`exp2_estimate`](Self::exp2_estimate) of what is above `max`, times `scale`.
    #[inline(always)]
    fn estimate(self, x: Self::Floats, max: f32, scale: f32) -> Self::Floats {
        let above = self.sub(x, self.splat(max));
        self.exp2_estimate(self.mul(above, self.splat(scale)))
    }
    /// `a` where it is greater than `b`, and `b` elsewhere, so where either is NaN.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a` where it is less than `b`, and `b` elsewhere, so where either is NaN.
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `x` where it is at least `least`, zero elsewhere; `least` is not NaN.
    fn or_zero(self, x: Self::Floats, least: Self::Floats) -> Self::Floats;
    /// `sum`, which is not -0.0, more by `x` where that is less than `level`.
    fn add_less(self, sum: Self::Floats, x: Self::Floats, level: Self::Floats) -> Self::Floats;
    /// `then` where `a` is less than `b`, and `or` elsewhere, so where either is NaN.
    ///
    /// A plain loop that stores what is chosen is compiled to masked stores, which are slow.
    fn where_less(
        self,
        a: Self::Floats,
        b: Self::Floats,
        then: Self::Floats,
        or: Self::Floats,
    ) -> Self::Floats;
    /// One bit a lane: whether `x` is at least `least`.
    fn at_least(self, x: Self::Floats, least: Self::Floats) -> u32;
    /// One bit a lane: whether `a` is greater than `b`.
    fn greater(self, a: Self::Floats, b: Self::Floats) -> u32;
    /// The lesser of `least` and `x` where `x` is greater than `floor`; `least` elsewhere.
    fn least_above(self, least: Self::Floats, x: Self::Floats, floor: Self::Floats)
    -> Self::Floats;
    /// `count`, which is not -0.0, one more where `a` is greater than `b`.
    fn count_greater(self, count: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Moves the lanes that have a bit in `lanes` to the front; what follows them is anything.
    fn gather(self, x: Self::Floats, lanes: u32) -> [f32; LANES];
    /// As [`gather`](Self::gather), of integers.
    fn gather_numbers(self, x: &[u32; LANES], lanes: u32) -> [u32; LANES] {
        gather_in_turn(*x, lanes)
    }
    /// The numbers of the lanes that have a bit in `lanes`, the first lane's being `first`; what
    /// follows them is anything.
    fn numbers(self, first: u32, lanes: u32) -> [u32; LANES] {
        let mut number = first;
        let numbers = std::array::from_fn(|_| {
            number += 1;
            number - 1
        });
        self.gather_numbers(&numbers, lanes)
    }

    fn eight_zeros(self) -> Self::Eight;
    /// Adds the first eight lanes, then the other eight.
    fn add_in_eight(self, sums: Self::Eight, x: Self::Floats) -> Self::Eight;
    fn store_eight(self, sums: Self::Eight) -> [f32; LANES / 2];

    fn zeros(self) -> Self::Doubles;
    fn add_doubles(self, sums: Self::Doubles, x: Self::Floats) -> Self::Doubles;
    fn total(self, sums: Self::Doubles) -> f64;
}

#[allow(clippy::inline_always)] // Parts of kernels.
impl Wide for Portable {
    type Floats = [f32; LANES];
    type Eight = [f32; LANES / 2];
    type Doubles = [f64; LANES];

    const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Floats {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::Floats {
        *x
    }

    #[inline(always)]
    fn store(self, x: Self::Floats) -> [f32; LANES] {
        x
    }

    #[inline(always)]
    fn add(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
        a
    }

    #[inline(always)]
    fn sub(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a -= b;
        }
        a
    }

    #[inline(always)]
    fn mul(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a *= b;
        }
        a
    }

    #[inline(always)]
    fn mul_add(self, mut a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        for (a, (b, c)) in a.iter_mut().zip(b.iter().zip(c)) {
            *a = a.mul_add(*b, c);
        }
        a
    }

    #[inline(always)]
    fn about_mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn scale(self, mut x: Self::Floats, exponent: Self::Floats) -> Self::Floats {
        for (x, exponent) in x.iter_mut().zip(exponent) {
            let exponent = (exponent + ROUND).to_bits().wrapping_sub(ROUND.to_bits());
            let exponent = exponent.cast_signed();
            // In two factors, the first of which is exact.
            let half = exponent >> 1;
            *x = *x * power_of_two(half) * power_of_two(exponent.wrapping_sub(half));
        }
        x
    }

    #[inline(always)]
    fn sleef(self, mut d: Self::Floats, coefficients: &Coefficients) -> Self::Floats {
        if Self::FUSED {
            return sleef_fused(self, d, coefficients);
        }
        let constants = Constants::new(coefficients);
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = Simd::new() {
            return simd.sleef(d, &constants);
        }
        for d in d.as_chunks_mut().0 {
            *d = sleef::in_doubles(*d, &constants);
        }
        d
    }

    #[inline(always)]
    fn exp2_estimate(self, mut x: Self::Floats) -> Self::Floats {
        for x in &mut x {
            *x = exp2_estimate(*x);
        }
        x
    }

    #[inline(always)]
    fn max(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = if *a > b { *a } else { b };
        }
        a
    }

    #[inline(always)]
    fn min(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = if *a < b { *a } else { b };
        }
        a
    }

    #[inline(always)]
    fn or_zero(self, mut x: Self::Floats, least: Self::Floats) -> Self::Floats {
        for (x, least) in x.iter_mut().zip(least) {
            *x = if *x >= least { *x } else { 0.0 };
        }
        x
    }

    #[inline(always)]
    fn add_less(self, mut sum: Self::Floats, x: Self::Floats, level: Self::Floats) -> Self::Floats {
        for (sum, (x, level)) in sum.iter_mut().zip(x.iter().zip(level)) {
            *sum += if *x < level { *x } else { 0.0 };
        }
        sum
    }

    #[inline(always)]
    fn where_less(
        self,
        a: Self::Floats,
        b: Self::Floats,
        then: Self::Floats,
        or: Self::Floats,
    ) -> Self::Floats {
        std::array::from_fn(|lane| if a[lane] < b[lane] { then[lane] } else { or[lane] })
    }

    #[inline(always)]
    fn at_least(self, x: Self::Floats, least: Self::Floats) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = Simd::new() {
            return simd.at_least(x, least);
        }
        let lanes = x.iter().zip(&least).rev();
        lanes.fold(0, |lanes, (x, least)| lanes << 1 | u32::from(x >= least))
    }

    #[inline(always)]
    fn greater(self, a: Self::Floats, b: Self::Floats) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = Simd::new() {
            return simd.greater(a, b);
        }
        a.iter().zip(&b).rev().fold(0, |lanes, (a, b)| lanes << 1 | u32::from(a > b))
    }

    #[inline(always)]
    fn least_above(
        self,
        mut least: Self::Floats,
        x: Self::Floats,
        floor: Self::Floats,
    ) -> Self::Floats {
        for (least, (x, floor)) in least.iter_mut().zip(x.iter().zip(floor)) {
            *least = if *x > floor && *x < *least { *x } else { *least };
        }
        least
    }

    #[inline(always)]
    fn count_greater(
        self,
        mut count: Self::Floats,
        a: Self::Floats,
        b: Self::Floats,
    ) -> Self::Floats {
        for (count, (a, b)) in count.iter_mut().zip(a.iter().zip(b)) {
            *count += f32::from(u8::from(*a > b));
        }
        count
    }

    #[inline(always)]
    fn gather(self, x: Self::Floats, lanes: u32) -> [f32; LANES] {
        gather_in_turn(x, lanes)
    }

    #[inline(always)]
    fn eight_zeros(self) -> Self::Eight {
        [0.0; LANES / 2]
    }

    #[inline(always)]
    fn add_in_eight(self, mut sums: Self::Eight, x: Self::Floats) -> Self::Eight {
        for half in x.as_chunks::<{ LANES / 2 }>().0 {
            for (sum, x) in sums.iter_mut().zip(half) {
                *sum += x;
            }
        }
        sums
    }

    #[inline(always)]
    fn store_eight(self, sums: Self::Eight) -> [f32; LANES / 2] {
        sums
    }

    #[inline(always)]
    fn zeros(self) -> Self::Doubles {
        [0.0; LANES]
    }

    #[inline(always)]
    fn add_doubles(self, mut sums: Self::Doubles, x: Self::Floats) -> Self::Doubles {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f64::from(x);
        }
        sums
    }

    #[inline(always)]
    fn total(self, sums: Self::Doubles) -> f64 {
        folded(sums, |a, b| a + b)
    }
}

/// [`sleef`] where a fused multiply-add is an instruction.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn sleef_fused<W: Wide>(wide: W, d: W::Floats, coefficients: &Coefficients) -> W::Floats {
    let rounded = wide.add(wide.mul(d, wide.splat(R_LN2)), wide.splat(ROUND));
    let q = wide.sub(rounded, wide.splat(ROUND));
    let s = wide.mul_add(q, wide.splat(-L2L), wide.mul_add(q, wide.splat(-L2U), d));
    let mut u = wide.splat(coefficients[0]);
    for c in &coefficients[1..] {
        u = wide.mul_add(u, s, wide.splat(*c));
    }
    let u = wide.add(wide.splat(1.0), wide.mul_add(wide.mul(s, s), u, s));
    wide.scale(u, q)
}

/// [`Wide::exp2_estimate`] without a fused multiply-add.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn exp2_estimate(x: f32) -> f32 {
    /// [`ROUND`], and the bias of an exponent.
    const BIASED: f32 = ROUND + 127.0;
    let x = if -EXP2_REACH > x { -EXP2_REACH } else { x };
    let x = if EXP2_REACH < x { EXP2_REACH } else { x };
    let rounded = x + BIASED;
    // BIASED is one constant to the compiler where it is not subtracted.
    let fraction = x + (BIASED - rounded);
    let [first, others @ ..] = EXP2_AROUND_ZERO;
    let power = others.iter().fold(first, |power, c| power * fraction + c);
    power * f32::from_bits(rounded.to_bits() << 23)
}

/// How far from zero [`Wide::exp2_estimate`] looks.
const EXP2_REACH: f32 = 115.0;

/// 2^x for x from 0 to 1, at most 7.5e-5 of it away (Remez), highest power first.
const EXP2: [f32; 4] = [0.078_024_52, 0.226_067_16, 0.695_833_56, 0.999_925_2];

/// 2^x for x from -1/2 to 1/2, at most 7.5e-5 of itself away, highest power first.
const EXP2_AROUND_ZERO: [f32; 4] = [0.055_171_67, 0.242_611_13, 0.693_260_97, 0.999_928_06];

#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn exp2_of_fraction<W: Wide>(wide: W, x: W::Floats) -> W::Floats {
    let mut power = wide.splat(EXP2[0]);
    for c in &EXP2[1..] {
        power = wide.about_mul_add(power, x, wide.splat(*c));
    }
    power
}

/// From here on, [`Wide::scale`] gives a normal number.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const LEAST_NORMAL: f32 = -125.0;

/// 2 to the power of an integer from -126 to 127; some float of any other.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127) << 23).cast_unsigned())
}

/// Folds a power of two of lanes by halves, lane i with lane i + half, until one is left.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn folded<T: Copy, const N: usize>(mut lanes: [T; N], fold: impl Fn(T, T) -> T) -> T {
    let mut half = N / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = fold(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

pub(super) fn gather_in_turn<T: Copy + Default>(x: [T; LANES], mut lanes: u32) -> [T; LANES] {
    let mut gathered = [T::default(); LANES];
    for slot in &mut gathered {
        if lanes == 0 {
            break;
        }
        *slot = x[lanes.trailing_zeros() as usize % LANES];
        lanes &= lanes - 1;
    }
    gathered
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m256d, __m256i, __m512, __m512d, _CMP_GE_OQ, _CMP_GT_OQ, _CMP_LT_OQ,
    };

    use pulp::cast;
    use pulp::x86::{V3, V4};

    use super::{LANES, LEAST_NORMAL, Wide, exp2_of_fraction, folded, gather_in_turn};

    #[allow(clippy::inline_always)] // Parts of kernels.
    impl Wide for V4 {
        type Floats = __m512;
        type Eight = __m256;
        type Doubles = [__m512d; 2];

        const FUSED: bool = true;

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            self.avx512f._mm512_set1_ps(x)
        }

        #[inline(always)]
        fn load(self, x: &[f32; LANES]) -> __m512 {
            cast(*x)
        }

        #[inline(always)]
        fn store(self, x: __m512) -> [f32; LANES] {
            cast(x)
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_add_ps(a, b)
        }

        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_sub_ps(a, b)
        }

        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_mul_ps(a, b)
        }

        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            self.avx512f._mm512_fmadd_ps(a, b, c)
        }

        #[inline(always)]
        fn scale(self, x: __m512, exponent: __m512) -> __m512 {
            self.avx512f._mm512_scalef_ps(x, exponent)
        }

        #[inline(always)]
        fn exp2_estimate(self, x: __m512) -> __m512 {
            /// What is above the greatest integer that is not greater.
            const ABOVE_FLOOR: i32 = 1;
            let fraction = self.avx512dq._mm512_reduce_ps::<ABOVE_FLOOR>(x);
            // It scales by the power of that integer.
            self.avx512f._mm512_scalef_ps(exp2_of_fraction(self, fraction), x)
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_max_ps(a, b)
        }

        #[inline(always)]
        fn min(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_min_ps(a, b)
        }

        #[inline(always)]
        fn or_zero(self, x: __m512, least: __m512) -> __m512 {
            let kept = self.avx512f._mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, least);
            self.avx512f._mm512_maskz_mov_ps(kept, x)
        }

        #[inline(always)]
        fn add_less(self, sum: __m512, x: __m512, level: __m512) -> __m512 {
            let less = self.avx512f._mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, level);
            self.avx512f._mm512_mask_add_ps(sum, less, sum, x)
        }

        #[inline(always)]
        fn where_less(self, a: __m512, b: __m512, then: __m512, or: __m512) -> __m512 {
            let less = self.avx512f._mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
            self.avx512f._mm512_mask_blend_ps(less, or, then)
        }

        #[inline(always)]
        fn at_least(self, x: __m512, least: __m512) -> u32 {
            self.avx512f._mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, least).into()
        }

        #[inline(always)]
        fn greater(self, a: __m512, b: __m512) -> u32 {
            self.avx512f._mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b).into()
        }

        #[inline(always)]
        fn least_above(self, least: __m512, x: __m512, floor: __m512) -> __m512 {
            let above = self.avx512f._mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, floor);
            self.avx512f._mm512_mask_min_ps(least, above, x, least)
        }

        #[inline(always)]
        fn count_greater(self, count: __m512, a: __m512, b: __m512) -> __m512 {
            let more = self.avx512f._mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b);
            self.avx512f._mm512_mask_add_ps(count, more, count, self.splat(1.0))
        }

        #[inline(always)]
        fn gather(self, x: __m512, lanes: u32) -> [f32; LANES] {
            #[allow(clippy::cast_possible_truncation)] // As many bits as lanes.
            let lanes = lanes as u16;
            cast(self.avx512f._mm512_maskz_compress_ps(lanes, x))
        }

        #[inline(always)]
        fn gather_numbers(self, x: &[u32; LANES], lanes: u32) -> [u32; LANES] {
            #[allow(clippy::cast_possible_truncation)] // As many bits as lanes.
            let lanes = lanes as u16;
            cast(self.avx512f._mm512_maskz_compress_epi32(lanes, cast(*x)))
        }

        #[inline(always)]
        fn eight_zeros(self) -> __m256 {
            self.avx._mm256_setzero_ps()
        }

        #[inline(always)]
        fn add_in_eight(self, sums: __m256, x: __m512) -> __m256 {
            let [low, high]: [__m256; 2] = cast(x);
            self.avx._mm256_add_ps(self.avx._mm256_add_ps(sums, low), high)
        }

        #[inline(always)]
        fn store_eight(self, sums: __m256) -> [f32; LANES / 2] {
            cast(sums)
        }

        #[inline(always)]
        fn zeros(self) -> [__m512d; 2] {
            [self.avx512f._mm512_setzero_pd(); 2]
        }

        #[inline(always)]
        fn add_doubles(self, [low, high]: [__m512d; 2], x: __m512) -> [__m512d; 2] {
            let halves: [__m256; 2] = cast(x);
            [
                self.avx512f._mm512_add_pd(low, self.avx512f._mm512_cvtps_pd(halves[0])),
                self.avx512f._mm512_add_pd(high, self.avx512f._mm512_cvtps_pd(halves[1])),
            ]
        }

        #[inline(always)]
        fn total(self, sums: [__m512d; 2]) -> f64 {
            folded(cast::<_, [f64; LANES]>(sums), |a, b| a + b)
        }
    }

    #[allow(clippy::inline_always)] // Parts of kernels.
    impl Wide for V3 {
        type Floats = [__m256; 2];
        type Eight = __m256;
        type Doubles = [__m256d; 4];

        const FUSED: bool = true;

        #[inline(always)]
        fn splat(self, x: f32) -> [__m256; 2] {
            [self.avx._mm256_set1_ps(x); 2]
        }

        #[inline(always)]
        fn load(self, x: &[f32; LANES]) -> [__m256; 2] {
            cast(*x)
        }

        #[inline(always)]
        fn store(self, x: [__m256; 2]) -> [f32; LANES] {
            cast(x)
        }

        #[inline(always)]
        fn add(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_add_ps(a, c), self.avx._mm256_add_ps(b, d)]
        }

        #[inline(always)]
        fn sub(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_sub_ps(a, c), self.avx._mm256_sub_ps(b, d)]
        }

        #[inline(always)]
        fn mul_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            [self.fma._mm256_fmadd_ps(a[0], b[0], c[0]), self.fma._mm256_fmadd_ps(a[1], b[1], c[1])]
        }

        #[inline(always)]
        fn scale(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            let least = self.avx._mm256_set1_ps(LEAST_NORMAL);
            let low = self.avx._mm256_cmp_ps::<_CMP_LT_OQ>(c, least);
            let low = self.avx._mm256_or_ps(low, self.avx._mm256_cmp_ps::<_CMP_LT_OQ>(d, least));
            if self.avx._mm256_movemask_ps(low) != 0 {
                return [scaled_in_two(self, a, c), scaled_in_two(self, b, d)];
            }
            [scaled(self, a, c), scaled(self, b, d)]
        }

        #[inline(always)]
        fn mul(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_mul_ps(a, c), self.avx._mm256_mul_ps(b, d)]
        }

        #[inline(always)]
        fn max(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_max_ps(a, c), self.avx._mm256_max_ps(b, d)]
        }

        #[inline(always)]
        fn min(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_min_ps(a, c), self.avx._mm256_min_ps(b, d)]
        }

        #[inline(always)]
        fn or_zero(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [
                self.avx._mm256_and_ps(a, self.avx._mm256_cmp_ps::<_CMP_GE_OQ>(a, c)),
                self.avx._mm256_and_ps(b, self.avx._mm256_cmp_ps::<_CMP_GE_OQ>(b, d)),
            ]
        }

        #[inline(always)]
        fn add_less(self, sum: [__m256; 2], x: [__m256; 2], level: [__m256; 2]) -> [__m256; 2] {
            [add_less(self, sum[0], x[0], level[0]), add_less(self, sum[1], x[1], level[1])]
        }

        #[inline(always)]
        fn where_less(
            self,
            a: [__m256; 2],
            b: [__m256; 2],
            then: [__m256; 2],
            or: [__m256; 2],
        ) -> [__m256; 2] {
            [
                where_less(self, a[0], b[0], then[0], or[0]),
                where_less(self, a[1], b[1], then[1], or[1]),
            ]
        }

        #[inline(always)]
        fn at_least(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> u32 {
            lanes_of(
                self,
                self.avx._mm256_cmp_ps::<_CMP_GE_OQ>(a, c),
                self.avx._mm256_cmp_ps::<_CMP_GE_OQ>(b, d),
            )
        }

        #[inline(always)]
        fn greater(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> u32 {
            lanes_of(
                self,
                self.avx._mm256_cmp_ps::<_CMP_GT_OQ>(a, c),
                self.avx._mm256_cmp_ps::<_CMP_GT_OQ>(b, d),
            )
        }

        #[inline(always)]
        fn least_above(
            self,
            least: [__m256; 2],
            x: [__m256; 2],
            floor: [__m256; 2],
        ) -> [__m256; 2] {
            [
                least_above(self, least[0], x[0], floor[0]),
                least_above(self, least[1], x[1], floor[1]),
            ]
        }

        #[inline(always)]
        fn count_greater(self, count: [__m256; 2], a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            [count_greater(self, count[0], a[0], b[0]), count_greater(self, count[1], a[1], b[1])]
        }

        #[inline(always)]
        fn gather(self, x: [__m256; 2], lanes: u32) -> [f32; LANES] {
            gather_in_turn(self.store(x), lanes)
        }

        #[inline(always)]
        fn eight_zeros(self) -> __m256 {
            self.avx._mm256_setzero_ps()
        }

        #[inline(always)]
        fn add_in_eight(self, sums: __m256, [low, high]: [__m256; 2]) -> __m256 {
            self.avx._mm256_add_ps(self.avx._mm256_add_ps(sums, low), high)
        }

        #[inline(always)]
        fn store_eight(self, sums: __m256) -> [f32; LANES / 2] {
            cast(sums)
        }

        #[inline(always)]
        fn zeros(self) -> [__m256d; 4] {
            [self.avx._mm256_setzero_pd(); 4]
        }

        #[inline(always)]
        fn add_doubles(self, mut sums: [__m256d; 4], x: [__m256; 2]) -> [__m256d; 4] {
            let quarters: [_; 4] = cast(x);
            for (sum, quarter) in sums.iter_mut().zip(quarters) {
                *sum = self.avx._mm256_add_pd(*sum, self.avx._mm256_cvtps_pd(quarter));
            }
            sums
        }

        #[inline(always)]
        fn total(self, sums: [__m256d; 4]) -> f64 {
            folded(cast::<_, [f64; LANES]>(sums), |a, b| a + b)
        }
    }

    // Halves of the operations above. They are no closures: those are not compiled for the
    // instruction set that they are made in.

    /// A power of two is added to the exponent; of NaN, the shift leaves nothing.
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn scaled(simd: V3, x: __m256, exponent: __m256) -> __m256 {
        let exponent = simd.avx._mm256_cvtps_epi32(exponent);
        let bits = simd.avx2._mm256_slli_epi32::<23>(exponent);
        let sum = simd.avx2._mm256_add_epi32(simd.avx._mm256_castps_si256(x), bits);
        simd.avx._mm256_castsi256_ps(sum)
    }

    /// By two powers of two, the first of which is exact.
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn scaled_in_two(simd: V3, x: __m256, exponent: __m256) -> __m256 {
        let exponent = simd.avx._mm256_cvtps_epi32(exponent);
        let half = simd.avx2._mm256_srai_epi32::<1>(exponent);
        let rest = simd.avx2._mm256_sub_epi32(exponent, half);
        let x = simd.avx._mm256_mul_ps(x, power_of_two(simd, half));
        simd.avx._mm256_mul_ps(x, power_of_two(simd, rest))
    }

    /// 2 to the power of integers from -126 to 127; some float of any other.
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn power_of_two(simd: V3, exponent: __m256i) -> __m256 {
        let biased = simd.avx2._mm256_add_epi32(exponent, simd.avx._mm256_set1_epi32(127));
        simd.avx._mm256_castsi256_ps(simd.avx2._mm256_slli_epi32::<23>(biased))
    }

    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn where_less(simd: V3, a: __m256, b: __m256, then: __m256, or: __m256) -> __m256 {
        simd.avx._mm256_blendv_ps(or, then, simd.avx._mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
    }

    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn least_above(simd: V3, least: __m256, x: __m256, floor: __m256) -> __m256 {
        let above = simd.avx._mm256_cmp_ps::<_CMP_GT_OQ>(x, floor);
        simd.avx._mm256_min_ps(simd.avx._mm256_blendv_ps(least, x, above), least)
    }

    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn add_less(simd: V3, sum: __m256, x: __m256, level: __m256) -> __m256 {
        let less = simd.avx._mm256_cmp_ps::<_CMP_LT_OQ>(x, level);
        simd.avx._mm256_add_ps(sum, simd.avx._mm256_and_ps(x, less))
    }

    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn count_greater(simd: V3, count: __m256, a: __m256, b: __m256) -> __m256 {
        let more = simd.avx._mm256_cmp_ps::<_CMP_GT_OQ>(a, b);
        let one = simd.avx._mm256_and_ps(more, simd.avx._mm256_set1_ps(1.0));
        simd.avx._mm256_add_ps(count, one)
    }

    /// One bit a lane of two comparisons.
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn lanes_of(simd: V3, low: __m256, high: __m256) -> u32 {
        let (low, high) = (simd.avx._mm256_movemask_ps(low), simd.avx._mm256_movemask_ps(high));
        low.cast_unsigned() | high.cast_unsigned() << (LANES / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::lanes::Source;
    use crate::simd::sleef::COEFFICIENTS;

    /// What can be run with any instruction set.
    trait Run {
        type Output;

        /// To be inlined, so that it is compiled for the instruction set.
        fn run<W: Wide>(&self, wide: W) -> Self::Output;
    }

    struct Call<'a, R, W> {
        run: &'a R,
        wide: W,
    }

    impl<R: Run, W: Wide> pulp::NullaryFnOnce for Call<'_, R, W> {
        type Output = R::Output;

        #[inline(always)]
        #[allow(clippy::inline_always)] // A kernel.
        fn call(self) -> R::Output {
            self.run.run(self.wide)
        }
    }

    /// Runs it with every instruction set that the processor has, whose name is given too.
    fn everywhere<R: Run>(run: &R) -> Vec<(&'static str, R::Output)> {
        let mut found = vec![("portable", run.run(Portable))];
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(wide) = pulp::x86::V3::try_new() {
                found.push(("avx2", wide.vectorize(Call { run, wide })));
                // The portable operations again, which are compiled to other instructions.
                found.push(("portable in avx2", wide.vectorize(Call { run, wide: Portable })));
            }
            if let Some(wide) = pulp::x86::V4::try_new() {
                found.push(("avx512", wide.vectorize(Call { run, wide })));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(wide) = pulp::aarch64::Neon::try_new() {
            found.push(("neon", wide.vectorize(Call { run, wide })));
        }
        found
    }

    /// Estimates of powers.
    struct Powers<'a>(&'a [f32]);

    impl Run for Powers<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        #[allow(clippy::inline_always)] // Part of a kernel.
        fn run<W: Wide>(&self, wide: W) -> Vec<f32> {
            let mut values = self.0.to_vec();
            for block in values.as_chunks_mut().0 {
                *block = wide.store(wide.exp2_estimate(wide.load(block)));
            }
            values
        }
    }

    #[test]
    fn powers_are_estimated_as_closely_as_is_said() {
        let outside = [-116.0, -150.0, -1e30, f32::NEG_INFINITY, 116.0, 1e9, 3e38, f32::INFINITY];
        let steps: u16 = 50_000;
        let mut x: Vec<f32> = (0..=steps)
            .map(|place| EXP2_REACH * (2.0 * f32::from(place) / f32::from(steps) - 1.0))
            .collect();
        let inside = x.len();
        x.extend(outside);
        x.resize(x.len().next_multiple_of(LANES), f32::NAN);
        for (set, found) in everywhere(&Powers(&x)) {
            for (x, estimate) in x.iter().zip(&found[..inside]) {
                let share = f64::from(*estimate) / f64::from(*x).exp2();
                assert!((share - 1.0).abs() < (-13.0_f64).exp2(), "{set}: {x} {estimate}");
            }
            let (low, rest) = found[inside..].split_at(4);
            let (high, rest) = rest.split_at(4);
            assert!(low.iter().all(|x| (0.0..=(-114.0_f32).exp2()).contains(x)), "{set}: {low:?}");
            assert!(high.iter().all(|x| *x >= 114.0_f32.exp2()), "{set}: {high:?}");
            assert!(rest.iter().all(|x| x.is_nan()), "{set}: {rest:?}");
        }
    }

    /// Three blocks of lanes, and places of two bits.
    type Operands = [[f32; LANES]; 3];

    /// What operations make of three blocks, as bits; of NaN, whether it is one.
    struct Operations<'a>(&'a [Operands]);

    impl Run for Operations<'_> {
        type Output = Vec<Vec<u64>>;

        #[inline(always)]
        #[allow(clippy::inline_always)] // Part of a kernel.
        fn run<W: Wide>(&self, wide: W) -> Vec<Vec<u64>> {
            let mut made = Vec::new();
            for blocks in self.0 {
                let [x, y, z] = blocks.each_ref().map(|block| wide.load(block));
                let mut bits = Vec::new();
                // Where nothing is added to a sum, -0.0 may stay or become 0.0.
                let sum = wide.add(x, wide.splat(0.0));
                for floats in [
                    wide.splat(blocks[0][3]),
                    wide.add(x, y),
                    wide.sub(x, y),
                    wide.mul(x, y),
                    wide.mul_add(x, y, z),
                    wide.max(x, y),
                    wide.min(x, y),
                    wide.or_zero(x, y),
                    wide.add_less(sum, y, z),
                    wide.where_less(x, y, z, x),
                    wide.least_above(x, y, z),
                    wide.count_greater(sum, y, z),
                ] {
                    bits.extend(wide.store(floats).map(bits_or_nan));
                }
                let (reaching, greater) = (wide.at_least(x, y), wide.greater(x, y));
                bits.extend([reaching, greater].map(u64::from));
                let gathered = wide.gather(x, reaching);
                let count = reaching.count_ones() as usize;
                bits.extend(gathered[..count].iter().map(|x| bits_or_nan(*x)));
                bits.extend(wide.numbers(7, reaching)[..count].iter().map(|n| u64::from(*n)));
                let eight = wide.add_in_eight(wide.add_in_eight(wide.eight_zeros(), x), y);
                bits.extend(wide.store_eight(eight).map(bits_or_nan));
                let doubles = wide.add_doubles(wide.add_doubles(wide.zeros(), x), y);
                let total = wide.total(doubles);
                bits.push(if total.is_nan() { u64::MAX } else { total.to_bits() });
                made.push(bits);
            }
            made
        }
    }

    fn bits_or_nan(x: f32) -> u64 {
        if x.is_nan() { u64::MAX } else { x.to_bits().into() }
    }

    /// The same, lane by lane, as the operations are described.
    fn described([a, b, c]: &Operands) -> Vec<u64> {
        let lane_by_lane: [fn(f32, f32, f32) -> f32; 11] = [
            |a, b, _| a + b,
            |a, b, _| a - b,
            |a, b, _| a * b,
            f32::mul_add,
            |a, b, _| if a > b { a } else { b },
            |a, b, _| if a < b { a } else { b },
            |a, b, _| if a >= b { a } else { 0.0 },
            |a, b, c| if b < c { a + 0.0 + b } else { a + 0.0 },
            |a, b, c| if a < b { c } else { a },
            |a, b, c| if b > c && b < a { b } else { a },
            |a, b, c| if b > c { a + 0.0 + 1.0 } else { a + 0.0 },
        ];
        let mut bits = vec![bits_or_nan(a[3]); LANES];
        for operation in lane_by_lane {
            let lanes = a.iter().zip(b).zip(c);
            bits.extend(lanes.map(|((a, b), c)| bits_or_nan(operation(*a, *b, *c))));
        }
        let places = |chosen: fn(f32, f32) -> bool| {
            (0..LANES).filter(move |lane| chosen(a[*lane], b[*lane])).collect::<Vec<_>>()
        };
        let (reaching, greater) = (places(|a, b| a >= b), places(|a, b| a > b));
        bits.extend(
            [&reaching, &greater].map(|lanes| lanes.iter().map(|lane| 1 << lane).sum::<u64>()),
        );
        bits.extend(reaching.iter().map(|lane| bits_or_nan(a[*lane])));
        bits.extend(reaching.iter().map(|lane| 7 + *lane as u64));
        bits.extend((0..LANES / 2).map(|lane| {
            let high = lane + LANES / 2;
            bits_or_nan(0.0 + a[lane] + a[high] + b[lane] + b[high])
        }));
        let mut sums: Vec<f64> =
            a.iter().zip(b).map(|(a, b)| 0.0 + f64::from(*a) + f64::from(*b)).collect();
        while sums.len() > 1 {
            let high = sums.split_off(sums.len() / 2);
            for (low, high) in sums.iter_mut().zip(high) {
                *low += high;
            }
        }
        bits.push(if sums[0].is_nan() { u64::MAX } else { sums[0].to_bits() });
        bits
    }

    /// With what is tied, not finite, not a number, denormal, and with zeros of both signs.
    #[test]
    fn an_operation_is_the_scalar_one_lane_by_lane() {
        const ODD: [f32; 12] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MIN_POSITIVE,
            -1e-40,
            f32::MAX,
            f32::EPSILON,
            -3.0,
        ];
        let mut source = Source(6);
        let operands: Vec<Operands> = (0..500)
            .map(|round| {
                [(); 3].map(|()| {
                    [(); LANES].map(|()| match source.next_u32() as usize % 40 {
                        at if at < ODD.len() && round % 2 == 0 => ODD[at],
                        at if at < 20 => (source.next_f32() * 9.0).floor(),
                        _ => source.next_f32() - 0.5,
                    })
                })
            })
            .collect();
        let expected: Vec<_> = operands.iter().map(described).collect();
        for (set, made) in everywhere(&Operations(&operands)) {
            for (made, expected) in made.iter().zip(&expected) {
                assert_eq!(made, expected, "{set}");
            }
        }
    }

    /// Without fused multiply-adds, in arrays, what is computed with them or in registers.
    #[test]
    fn sleef_in_arrays_is_sleef() {
        let constants = Constants::new(&COEFFICIENTS);
        let (first, last) = ((-0.0_f32).to_bits(), (-104.5_f32).to_bits());
        for bits in (first..last).step_by(61 * LANES) {
            let mut lanes = [0.0; LANES];
            for (d, bits) in lanes.iter_mut().zip(bits..) {
                *d = f32::from_bits(bits).max(-104.5);
            }
            let expected = Portable.sleef(lanes, &COEFFICIENTS);
            for (d, expected) in lanes.as_chunks().0.iter().zip(expected.as_chunks().0) {
                let found = sleef::in_doubles(*d, &constants);
                assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits), "{d:?}");
            }
        }
        let nan = sleef::in_doubles([f32::NAN; 4], &constants);
        assert!(nan.iter().all(|e| e.is_nan()));
    }

    struct Scaled<'a>(&'a [(f32, f32)]);

    impl Run for Scaled<'_> {
        type Output = Vec<u64>;

        #[inline(always)]
        #[allow(clippy::inline_always)] // Part of a kernel.
        fn run<W: Wide>(&self, wide: W) -> Vec<u64> {
            let mut bits = Vec::new();
            for pairs in self.0.as_chunks::<LANES>().0 {
                let (x, exponents) = (pairs.map(|pair| pair.0), pairs.map(|pair| pair.1));
                let scaled = wide.scale(wide.load(&x), wide.load(&exponents));
                bits.extend(wide.store(scaled).map(bits_or_nan));
            }
            bits
        }
    }

    #[test]
    fn scaling_rounds_once() {
        let mut source = Source(7);
        // A block of normal results, then one of denormal ones, and so on.
        let pairs: Vec<(f32, f32)> = (0..267 * LANES)
            .map(|at| {
                let x = 0.5 + 1.5 * source.next_f32();
                #[allow(clippy::cast_precision_loss)] // A small integer.
                let exponent = 115.0 - (at / LANES) as f32;
                match at % 37 {
                    9 => (f32::NAN, f32::NAN),
                    11 => (x, 0.0),
                    _ => (x, exponent),
                }
            })
            .collect();
        #[allow(clippy::cast_possible_truncation)] // The one rounding.
        let expected: Vec<u64> = pairs
            .iter()
            .map(|(x, exponent)| bits_or_nan((f64::from(*x) * f64::from(*exponent).exp2()) as f32))
            .collect();
        for (set, bits) in everywhere(&Scaled(&pairs)) {
            for (pair, (bits, expected)) in pairs.iter().zip(bits.iter().zip(&expected)) {
                assert_eq!(bits, expected, "{set}: {pair:?}");
            }
        }
    }
}
