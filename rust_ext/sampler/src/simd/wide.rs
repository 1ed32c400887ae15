//! Sixteen lanes, written out: what the compiler makes badly of plain loops over arrays.

/// Lanes of a vector, whatever registers hold it.
pub(crate) const LANES: usize = 16;

/// Vectors of [`LANES`] floats, in the registers of one instruction set.
///
/// Each operation is the scalar one, lane by lane: the bits do not depend on the implementation.
pub(crate) trait Wide: Copy {
    /// A vector.
    type Floats: Copy;
    /// Sums of f64, one a lane.
    type Doubles: Copy;

    fn splat(self, x: f32) -> Self::Floats;
    fn load(self, x: &[f32; LANES]) -> Self::Floats;
    fn store(self, x: Self::Floats) -> [f32; LANES];
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a` where it is greater than `b`, and `b` elsewhere, so where either is NaN.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `x` where it is at least `least`, zero elsewhere; `least` is not NaN.
    fn or_zero(self, x: Self::Floats, least: Self::Floats) -> Self::Floats;
    /// One bit a lane: whether `x` is at least `least`.
    fn at_least(self, x: Self::Floats, least: Self::Floats) -> u32;
    /// One bit a lane: whether `a` is greater than `b`.
    fn greater(self, a: Self::Floats, b: Self::Floats) -> u32;
    /// Moves the lanes that have a bit in `lanes` to the front; what follows them is anything.
    fn gather(self, x: Self::Floats, lanes: u32) -> [f32; LANES];

    fn zeros(self) -> Self::Doubles;
    fn add_doubles(self, sums: Self::Doubles, x: Self::Floats) -> Self::Doubles;
    fn total(self, sums: Self::Doubles) -> f64;
}

/// Without any instruction set of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Wide for Portable {
    type Floats = [f32; LANES];
    type Doubles = [f64; LANES];

    fn splat(self, x: f32) -> Self::Floats {
        [x; LANES]
    }

    fn load(self, x: &[f32; LANES]) -> Self::Floats {
        *x
    }

    fn store(self, x: Self::Floats) -> [f32; LANES] {
        x
    }

    fn add(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
        a
    }

    fn mul(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a *= b;
        }
        a
    }

    fn max(self, mut a: Self::Floats, b: Self::Floats) -> Self::Floats {
        for (a, b) in a.iter_mut().zip(b) {
            *a = if *a > b { *a } else { b };
        }
        a
    }

    fn or_zero(self, mut x: Self::Floats, least: Self::Floats) -> Self::Floats {
        for (x, least) in x.iter_mut().zip(least) {
            *x = if *x >= least { *x } else { 0.0 };
        }
        x
    }

    fn at_least(self, x: Self::Floats, least: Self::Floats) -> u32 {
        let lanes = x.iter().zip(&least).rev();
        lanes.fold(0, |lanes, (x, least)| lanes << 1 | u32::from(x >= least))
    }

    fn greater(self, a: Self::Floats, b: Self::Floats) -> u32 {
        a.iter().zip(&b).rev().fold(0, |lanes, (a, b)| lanes << 1 | u32::from(a > b))
    }

    fn gather(self, x: Self::Floats, lanes: u32) -> [f32; LANES] {
        gather_in_turn(x, lanes)
    }

    fn zeros(self) -> Self::Doubles {
        [0.0; LANES]
    }

    fn add_doubles(self, mut sums: Self::Doubles, x: Self::Floats) -> Self::Doubles {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f64::from(x);
        }
        sums
    }

    fn total(self, sums: Self::Doubles) -> f64 {
        sums.iter().sum()
    }
}

fn gather_in_turn(x: [f32; LANES], mut lanes: u32) -> [f32; LANES] {
    let mut gathered = [0.0; LANES];
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
    use std::arch::x86_64::{__m256, __m256d, __m512, __m512d, _CMP_GE_OQ, _CMP_GT_OQ};

    use pulp::cast;
    use pulp::x86::{V3, V4};

    use super::{LANES, Wide, gather_in_turn};

    #[allow(clippy::inline_always)] // Parts of kernels.
    impl Wide for V4 {
        type Floats = __m512;
        type Doubles = [__m512d; 2];

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
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_mul_ps(a, b)
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_max_ps(a, b)
        }

        #[inline(always)]
        fn or_zero(self, x: __m512, least: __m512) -> __m512 {
            let kept = self.avx512f._mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, least);
            self.avx512f._mm512_maskz_mov_ps(kept, x)
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
        fn gather(self, x: __m512, lanes: u32) -> [f32; LANES] {
            #[allow(clippy::cast_possible_truncation)] // As many bits as lanes.
            let lanes = lanes as u16;
            cast(self.avx512f._mm512_maskz_compress_ps(lanes, x))
        }

        #[inline(always)]
        fn zeros(self) -> [__m512d; 2] {
            [self.avx512f._mm512_setzero_pd(); 2]
        }

        #[inline(always)]
        fn add_doubles(self, [low, high]: [__m512d; 2], x: __m512) -> [__m512d; 2] {
            let halves: [__m256; 2] = cast(x);
            let [x_low, x_high] = halves.map(|half| self.avx512f._mm512_cvtps_pd(half));
            [self.avx512f._mm512_add_pd(low, x_low), self.avx512f._mm512_add_pd(high, x_high)]
        }

        #[inline(always)]
        fn total(self, sums: [__m512d; 2]) -> f64 {
            cast::<_, [f64; LANES]>(sums).iter().sum()
        }
    }

    #[allow(clippy::inline_always)] // Parts of kernels.
    impl Wide for V3 {
        type Floats = [__m256; 2];
        type Doubles = [__m256d; 4];

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
        fn mul(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_mul_ps(a, c), self.avx._mm256_mul_ps(b, d)]
        }

        #[inline(always)]
        fn max(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_max_ps(a, c), self.avx._mm256_max_ps(b, d)]
        }

        #[inline(always)]
        fn or_zero(self, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 2] {
            [
                self.avx._mm256_and_ps(a, self.avx._mm256_cmp_ps::<_CMP_GE_OQ>(a, c)),
                self.avx._mm256_and_ps(b, self.avx._mm256_cmp_ps::<_CMP_GE_OQ>(b, d)),
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
        fn gather(self, x: [__m256; 2], lanes: u32) -> [f32; LANES] {
            gather_in_turn(self.store(x), lanes)
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
            cast::<_, [f64; LANES]>(sums).iter().sum()
        }
    }

    /// One bit a lane of two comparisons.
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn lanes_of(simd: V3, low: __m256, high: __m256) -> u32 {
        let (low, high) = (simd.avx._mm256_movemask_ps(low), simd.avx._mm256_movemask_ps(high));
        low.cast_unsigned() | high.cast_unsigned() << (LANES / 2)
    }
}
