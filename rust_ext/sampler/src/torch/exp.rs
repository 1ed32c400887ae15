//! The exponentials of torch's softmax and their sum, for arguments that are not positive.

use super::capability::{Arithmetic, Capability};
use crate::planted::planted;
use crate::simd::format::{Format, Single};
use crate::simd::kernel;
use crate::simd::lanes::LANES as BLOCK;
use crate::simd::sleef::{COEFFICIENTS, Coefficients};
use crate::simd::wide::{Wide, folded};
use crate::torch::sums::added;

kernel! {
    /// Writes `exp(logits[i] - max)` to `out[i]` and returns their sum, in torch's order.
    ///
    /// No `logits[i] - max` may be positive; NaN gives NaN.
    pub(crate) fn exp_and_sum<'a>(
        wide; logits: &'a [f32], max: f32, out: &'a mut [f32], capability: Capability,
    ) -> f32 {
        exp_and_sum_in(wide, logits, max, out, capability)
    }
}

/// [`exp_and_sum`], as part of a kernel.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn exp_and_sum_in<W: Wide>(
    wide: W,
    logits: &[f32],
    max: f32,
    out: &mut [f32],
    capability: Capability,
) -> f32 {
    let (sleef, library) = (Sleef::new(wide, max), CLibrary { max });
    match (capability.arithmetic(), planted!(SoftmaxLanes)) {
        (Arithmetic::Default, false) => {
            in_order(accumulate::<8, Single, _>(wide, library, logits, out))
        }
        (Arithmetic::Default, true) => {
            in_order(accumulate::<16, Single, _>(wide, library, logits, out))
        }
        (Arithmetic::Neon, false) => halves(accumulate::<4, Single, _>(wide, sleef, logits, out)),
        (Arithmetic::Avx2, false) | (Arithmetic::Avx512 | Arithmetic::Neon, true) => {
            halves(accumulate::<8, Single, _>(wide, sleef, logits, out))
        }
        (Arithmetic::Avx512, false) | (Arithmetic::Avx2, true) => {
            halves(accumulate::<16, Single, _>(wide, sleef, logits, out))
        }
    }
}

/// An exponential function, of logits less their maximum.
pub(crate) trait Exponential<W: Wide>: Copy {
    fn of(self, wide: W, logits: W::Floats) -> W::Floats;
}

/// Sums in `LANES` lanes, 4, 8 or 16, as `ATen`'s `vec::reduce_all` takes them.
///
/// It starts from the first block, not from zeros, and adds a short last block to the first lanes:
/// which is the same, since no exponential is a negative zero. But a row shorter than a block it
/// adds one by one.
#[derive(Clone, Copy)]
pub(crate) struct Sums<W: Wide, const LANES: usize> {
    sixteen: W::Floats,
    eight: W::Eight,
    four: [f32; 4],
}

impl<W: Wide, const LANES: usize> Sums<W, LANES> {
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn new(wide: W) -> Self {
        Self { sixteen: wide.splat(0.0), eight: wide.eight_zeros(), four: [0.0; 4] }
    }

    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn add(&mut self, wide: W, e: W::Floats) {
        if LANES == BLOCK {
            self.sixteen = wide.add(self.sixteen, e);
        } else if LANES == self.four.len() {
            for quarter in wide.store(e).as_chunks().0 {
                self.four = added(self.four, quarter);
            }
        } else {
            self.eight = wide.add_in_eight(self.eight, e);
        }
    }

    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn lanes(self, wide: W, count: usize) -> [f32; LANES] {
        let (sixteen, eight) = (wide.store(self.sixteen), wide.store_eight(self.eight));
        let lanes = match LANES {
            BLOCK => &sixteen[..],
            4 => &self.four[..],
            _ => &eight[..],
        };
        if count < LANES {
            let sum = lanes[..count].iter().fold(0.0, |sum, e| sum + e);
            return std::array::from_fn(|lane| if lane == 0 { sum } else { 0.0 });
        }
        std::array::from_fn(|lane| lanes[lane])
    }
}

/// The lane sums of the exponentials, which are written to `out`.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
pub(crate) fn accumulate<const LANES: usize, F: Format, W: Wide>(
    wide: W,
    exp: impl Exponential<W>,
    logits: &[F::Bits],
    out: &mut [f32],
) -> [f32; LANES] {
    let mut sums = Sums::<W, LANES>::new(wide);
    let (blocks, tail) = logits.as_chunks();
    let (out, last) = out.as_chunks_mut::<BLOCK>();
    for (block, out) in blocks.iter().zip(out) {
        let e = exp.of(wide, F::load(wide, block));
        *out = wide.store(e);
        sums.add(wide, e);
    }
    if !tail.is_empty() {
        let e = exp.of(wide, F::load_tail(wide, tail));
        last.copy_from_slice(&wide.store(e)[..tail.len()]);
        sums.add(wide, e);
    }
    sums.lanes(wide, logits.len())
}

kernel! {
    /// The sum of exponentials, as [`exp_and_sum`] takes it.
    pub(crate) fn sum_of<'a>(wide; exponentials: &'a [f32], capability: Capability) -> f32 {
        match capability.arithmetic() {
            Arithmetic::Default => in_order(lanes_of::<8, _>(wide, exponentials)),
            Arithmetic::Avx2 => halves(lanes_of::<8, _>(wide, exponentials)),
            Arithmetic::Avx512 => halves(lanes_of::<16, _>(wide, exponentials)),
            Arithmetic::Neon => halves(lanes_of::<4, _>(wide, exponentials)),
        }
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn lanes_of<const LANES: usize, W: Wide>(wide: W, exponentials: &[f32]) -> [f32; LANES] {
    let mut sums = Sums::<W, LANES>::new(wide);
    let (blocks, tail) = exponentials.as_chunks();
    for block in blocks {
        sums.add(wide, wide.load(block));
    }
    let mut last = [0.0; BLOCK];
    last[..tail.len()].copy_from_slice(tail);
    sums.add(wide, wide.load(&last));
    sums.lanes(wide, exponentials.len())
}

/// Lane i and lane i + half are added until one is left.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
pub(crate) fn halves<const LANES: usize>(sums: [f32; LANES]) -> f32 {
    if planted!(SoftmaxFoldOrder) {
        return in_order(sums);
    }
    if planted!(SoftmaxFoldPairs) {
        return pairs(sums);
    }
    folded(sums, |a, b| a + b)
}

/// Lane 2i and lane 2i + 1 are added until one is left: what a planted fault does.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn pairs<const LANES: usize>(mut sums: [f32; LANES]) -> f32 {
    let mut left = LANES;
    while left > 1 {
        left /= 2;
        for lane in 0..left {
            sums[lane] = sums[2 * lane] + sums[2 * lane + 1];
        }
    }
    sums[0]
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
pub(crate) fn in_order<const LANES: usize>(mut sums: [f32; LANES]) -> f32 {
    if planted!(SoftmaxFoldOrder) {
        sums.reverse();
    }
    sums[1..].iter().fold(sums[0], |sum, lane| sum + lane)
}

/// What is no more than this has an exponential of zero at every capability.
pub(crate) const NO_EXP: f32 = -105.0;
/// Sleef gives 0 for what is less than -104; so does its arithmetic, down to here and beyond.
const LEAST: f32 = -104.5;

/// Sleef's `expf` with FMA.
#[derive(Clone, Copy)]
pub(crate) struct Sleef<W: Wide> {
    max: W::Floats,
    coefficients: Coefficients,
}

impl<W: Wide> Sleef<W> {
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn new(wide: W, max: f32) -> Self {
        let mut coefficients = COEFFICIENTS;
        if planted!(ExponentialCoefficientBit) {
            coefficients[4] = f32::from_bits(coefficients[4].to_bits() ^ 1);
        }
        Self { max: wide.splat(max), coefficients }
    }
}

impl<W: Wide> Exponential<W> for Sleef<W> {
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    fn of(self, wide: W, logits: W::Floats) -> W::Floats {
        let d = wide.max(wide.splat(LEAST), wide.sub(logits, self.max));
        wide.sleef(d, &self.coefficients)
    }
}

/// The C library's `expf`.
#[derive(Clone, Copy)]
pub(crate) struct CLibrary {
    pub(crate) max: f32,
}

impl<W: Wide> Exponential<W> for CLibrary {
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    fn of(self, wide: W, logits: W::Floats) -> W::Floats {
        let mut block = wide.store(logits);
        for x in &mut block {
            let d = *x - self.max;
            *x = if W::FUSED { c_expf(d) } else { c_expf_in_steps(d) };
        }
        wide.load(&block)
    }
}

/// 2^(i/32) as the bits of a double, less i * 2^47, so that adding the integer part's bits is all.
///
/// The values are those of exact arithmetic, rounded; see `table_is_consistent`.
const POWERS: [u64; 32] = [
    0x3ff0_0000_0000_0000,
    0x3fef_d9b0_d315_8574,
    0x3fef_b558_6cf9_890f,
    0x3fef_9301_d012_5b51,
    0x3fef_72b8_3c7d_517b,
    0x3fef_5487_3168_b9aa,
    0x3fef_387a_6e75_6238,
    0x3fef_1e9d_f51f_dee1,
    0x3fef_06fe_0a31_b715,
    0x3fee_f1a7_373a_a9cb,
    0x3fee_dea6_4c12_3422,
    0x3fee_ce08_6061_892d,
    0x3fee_bfda_d536_2a27,
    0x3fee_b42b_569d_4f82,
    0x3fee_ab07_dd48_5429,
    0x3fee_a47e_b03a_5585,
    0x3fee_a09e_667f_3bcd,
    0x3fee_9f75_e8ec_5f74,
    0x3fee_a114_73eb_0187,
    0x3fee_a589_994c_ce13,
    0x3fee_ace5_422a_a0db,
    0x3fee_b737_b0cd_c5e5,
    0x3fee_c491_82a3_f090,
    0x3fee_d503_b23e_255d,
    0x3fee_e89f_995a_d3ad,
    0x3fee_ff76_f2fb_5e47,
    0x3fef_199b_dd85_529c,
    0x3fef_3720_dcef_9069,
    0x3fef_5818_dcfb_a487,
    0x3fef_7c97_337b_9b5f,
    0x3fef_a4af_a2a4_90da,
    0x3fef_d076_5b6e_4540,
];

/// glibc's `expf` (since 2.28; the ARM optimized routines' algorithm), for `d <= 0` or NaN.
///
/// glibc has a build with fused multiply-adds, which it uses where the processor has them, and
/// one without. This is the former, on any processor. Of all the arguments that a softmax can
/// have, the two differ for one: -63.09946.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn c_expf(d: f32) -> f32 {
    let x = f64::from(d);
    let rounded = INVERSE_LN2_N.mul_add(x, ROUND);
    let r = INVERSE_LN2_N.mul_add(x, ROUND - rounded);
    let high = C[0].mul_add(r, C[1]);
    let low = C[2].mul_add(r, 1.0);
    c_expf_of(d, rounded, high.mul_add(r * r, low))
}

/// The same bits without any fused multiply-add: glibc's other build, and what it gives else for
/// one argument.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn c_expf_in_steps(d: f32) -> f32 {
    let x = INVERSE_LN2_N * f64::from(d);
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    let high = C[0] * r + C[1];
    let low = C[2] * r + 1.0;
    let result = c_expf_of(d, rounded, high * (r * r) + low);
    let other = u32::from(d.to_bits() == OTHER);
    f32::from_bits(result.to_bits().wrapping_add(other))
}

const INVERSE_LN2_N: f64 = f64::from_bits(0x3ff7_1547_652b_82fe) * 32.0;
/// Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
const C: [f64; 3] = [
    f64::from_bits(0x3fac_6af8_4b91_2394) / 32.0 / 32.0 / 32.0,
    f64::from_bits(0x3fce_bfce_50fa_c4f3) / 32.0 / 32.0,
    f64::from_bits(0x3fe6_2e42_ff0c_52d6) / 32.0,
];
/// -63.09946.
const OTHER: u32 = 0xc27c_65d9;

/// What is left to do: the power of two of a multiple of 1/32, rounded, and of the rest.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn c_expf_of(d: f32, rounded: f64, power: f64) -> f32 {
    let integer = rounded.to_bits();
    let entry = POWERS[(integer % 32) as usize]
        ^ u64::from(planted!(ExponentialTableBit) && integer % 32 == 16) << 30;
    let scale = f64::from_bits(entry.wrapping_add(integer << 47));
    #[allow(clippy::cast_possible_truncation)] // The rounding to f32 is the function's last step.
    let result = (power * scale) as f32;
    // Below ln 2^-150 the result rounds to zero. Written so that NaN is kept.
    if d < f32::from_bits(0xc2cf_f1b4) { 0.0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What glibc's build with fused multiply-adds gives where its other build differs.
    #[test]
    fn one_argument_is_another_in_steps() {
        let other = f32::from_bits(OTHER);
        assert_eq!(c_expf(other).to_bits(), c_expf_in_steps(other).to_bits());
        for near in [other.next_up(), other.next_down()] {
            assert_eq!(c_expf(near).to_bits(), c_expf_in_steps(near).to_bits());
        }
        let x = INVERSE_LN2_N * f64::from(other);
        let rounded = x + ROUND;
        let r = x - (rounded - ROUND);
        let power = (C[0] * r + C[1]) * (r * r) + (C[2] * r + 1.0);
        assert_ne!(c_expf(other).to_bits(), c_expf_of(other, rounded, power).to_bits());
    }

    /// On glibc, `f32::exp` is the `expf` that torch calls. Every argument that a softmax can have
    /// is compared, from -0.0 to the last one before the result is zero, and some beyond.
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    #[test]
    fn agrees_with_the_c_library() {
        crate::simd::kernel! {
            fn count_differences<'a>(from: u32, to: u32, seen: &'a mut Vec<f32>) -> () {
                for d in (from..to).map(f32::from_bits) {
                    let expected = d.exp().to_bits();
                    if c_expf(d).to_bits() != expected || c_expf_in_steps(d).to_bits() != expected {
                        seen.push(d);
                    }
                }
            }
        }

        let (first, last) = ((-0.0_f32).to_bits(), (-110.0_f32).to_bits());
        let middle = first + (last - first) / 2;
        let differences: Vec<f32> = std::thread::scope(|scope| {
            [first..middle, middle..last + 1]
                .map(|range| {
                    scope.spawn(move || {
                        let mut seen = Vec::new();
                        count_differences(range.start, range.end, &mut seen);
                        seen
                    })
                })
                .into_iter()
                .flat_map(|half| half.join().unwrap_or_else(|_| vec![f32::NAN]))
                .collect()
        });
        let without_fma: &[f32] = &[f32::from_bits(0xc27c_65d9)];
        let expected = if is_x86_feature_detected!("fma") { &[] } else { without_fma };
        assert_eq!(differences, expected);
    }

    #[allow(clippy::approx_constant)] // Sleef's own rounding.
    const R_LN2: f32 = 1.442_695;
    const L2U: f32 = 0.693_145_75;
    const L2L: f32 = 1.428_606_8e-6;
    /// Adding 1.5 * 2^23 rounds to the nearest integer, ties to even.
    const INTEGER: f32 = 12_582_912.0;

    /// Sleef's `expf` as it is written there, for `d <= 0` or NaN.
    #[inline(always)]
    #[allow(clippy::inline_always)] // Its multiply-adds are instructions where the caller's are.
    fn sleef_expf(d: f32) -> f32 {
        let rounded = d * R_LN2 + INTEGER;
        let q = rounded - INTEGER;
        let s = q.mul_add(-L2L, q.mul_add(-L2U, d));
        let u = COEFFICIENTS[1..].iter().fold(COEFFICIENTS[0], |u, c| u.mul_add(s, *c));
        let u = 1.0 + (s * s).mul_add(u, s);
        // 2^q in two factors.
        let exponent = rounded.to_bits().wrapping_sub(INTEGER.to_bits()).cast_signed();
        let half = exponent >> 1;
        let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23).cast_unsigned());
        let scaled = u * power(half) * power(exponent.wrapping_sub(half));
        // Written so that NaN is kept.
        if d < -104.0 { 0.0 } else { scaled }
    }

    /// Arguments from one whose bits are given up to another, every so many blocks.
    struct Walk<W> {
        wide: W,
        from: u32,
        to: u32,
        every: usize,
    }

    impl<W: Wide> pulp::NullaryFnOnce for Walk<W> {
        type Output = Vec<f32>;

        #[inline(always)]
        #[allow(clippy::inline_always)] // Part of a kernel.
        fn call(self) -> Vec<f32> {
            let Self { wide, from, to, every } = self;
            let exp = Sleef::new(wide, 0.0);
            let mut differing = Vec::new();
            for first in (from..to).step_by(every * BLOCK) {
                let mut d = [0.0; BLOCK];
                for (d, bits) in d.iter_mut().zip(first..) {
                    *d = f32::from_bits(bits);
                }
                let found = wide.store(exp.of(wide, wide.load(&d)));
                // A loop of its own, which the compiler makes one of vectors.
                let mut expected = d;
                for x in &mut expected {
                    *x = sleef_expf(*x);
                }
                for (d, (x, e)) in d.iter().zip(expected.iter().zip(found)) {
                    if x.to_bits() != e.to_bits() {
                        differing.push(*d);
                    }
                }
            }
            differing
        }
    }

    /// Every argument from -0.0 to the last one before the result is zero, and some beyond; with
    /// narrower vectors or none, fewer of those whose result is normal.
    #[test]
    fn lanes_are_sleef() {
        let [first, denormal, last] = [-0.0_f32, -86.0, -110.0].map(f32::to_bits);
        let normal_and_denormal = |every| [(first, denormal, every), (denormal, last, 1)];
        for (from, to, every) in normal_and_denormal(61) {
            let wide = crate::simd::lanes::Portable;
            assert_eq!(pulp::NullaryFnOnce::call(Walk { wide, from, to, every }), []);
        }
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(wide) = pulp::x86::V3::try_new() {
                for (from, to, every) in normal_and_denormal(5) {
                    assert_eq!(wide.vectorize(Walk { wide, from, to, every }), []);
                }
            }
            if let Some(wide) = pulp::x86::V4::try_new() {
                for (from, to, every) in normal_and_denormal(1) {
                    assert_eq!(wide.vectorize(Walk { wide, from, to, every }), []);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(wide) = pulp::aarch64::Neon::try_new() {
            for (from, to, every) in normal_and_denormal(61) {
                assert_eq!(wide.vectorize(Walk { wide, from, to, every }), []);
            }
        }
    }

    /// Where there is no instruction for a fused multiply-add, some roundings are double ones. Here
    /// is one, so that Sleef is quick, and what is computed without it is compared for every argument.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_argument_is_the_same_in_doubles() {
        let Some(simd) = pulp::x86::V3::try_new() else {
            return;
        };
        let (from, to) = ((-0.0_f32).to_bits(), (-110.0_f32).to_bits());
        let wide = crate::simd::lanes::Portable;
        assert_eq!(simd.vectorize(Walk { wide, from, to, every: 1 }), []);
    }

    #[test]
    fn table_is_consistent() {
        // Squaring 2^(i/32) gives 2^(2i/32), to within the rounding of one multiplication.
        for (i, bits) in (0_u64..32).zip(POWERS) {
            let power = |i: u64| f64::from_bits(POWERS[(i % 32) as usize].wrapping_add(i << 47));
            let (squared, direct) = (power(i) * power(i), power(2 * i));
            assert!((squared / direct - 1.0).abs() <= 2.0 * f64::EPSILON, "entry {i}: {bits:x}");
        }
    }

    fn exponential(d: f32, capability: Capability) -> u32 {
        let mut out = [1.0; 3];
        exp_and_sum(&[d, 0.0, d], 0.0, &mut out, capability);
        assert_eq!(out[0].to_bits(), out[2].to_bits());
        out[0].to_bits()
    }

    /// As many lanes as the capability has, which are folded in its order; but a row that has fewer
    /// exponentials is added up one by one.
    #[test]
    fn sums_are_taken_in_lanes() {
        let mut generator = crate::torch::generator::Generator::new(3);
        for round in 0..10 * 40 {
            let length = 1 + round % 40;
            let logits: Vec<f32> = (0..length).map(|_| -generator.next_f32()).collect();
            for capability in Capability::ALL {
                let mut e = vec![0.0; length];
                let sum = exp_and_sum(&logits, 0.0, &mut e, capability);
                assert_eq!(sum_of(&e, capability).to_bits(), sum.to_bits());
                let count = match capability {
                    Capability::Avx512 => 16,
                    Capability::Neon => 4,
                    _ => 8,
                };
                let mut lanes = vec![0.0; count];
                for (at, e) in e.iter().enumerate() {
                    lanes[at % count] += e;
                }
                if length < count || capability == Capability::Default {
                    lanes = vec![lanes.iter().fold(0.0, |sum, lane| sum + lane)];
                }
                while lanes.len() > 1 {
                    let (low, high) = lanes.split_at(lanes.len() / 2);
                    lanes = low.iter().zip(high).map(|(a, b)| a + b).collect();
                }
                assert_eq!(sum.to_bits(), f32::to_bits(lanes[0]), "{length} {capability}");
            }
        }
    }

    #[test]
    fn edges() {
        for capability in Capability::ALL {
            for (d, expected) in
                [(0.0, 1.0), (-0.0, 1.0), (f32::NEG_INFINITY, 0.0), (-1e30, 0.0), (NO_EXP, 0.0)]
            {
                assert_eq!(exponential(d, capability), f32::to_bits(expected), "{d}");
            }
            // Every bit of a payload may be set.
            for payload in [0, 1, 0x1FF, 0x003F_FFFF] {
                let nan = f32::from_bits(f32::NAN.to_bits() | payload);
                assert!(f32::from_bits(exponential(nan, capability)).is_nan());
                assert!(f32::from_bits(exponential(-nan, capability)).is_nan());
            }
        }
        // Where the C library's result is the smallest denormal for the last time.
        let last = 0xc2cf_f1b4;
        for d in (last - 2..=last + 2).map(f32::from_bits) {
            #[allow(clippy::cast_possible_truncation)] // Rounded once more, and far from half way.
            let expected = f64::from(d).exp() as f32;
            assert_eq!(exponential(d, Capability::Default), expected.to_bits(), "{d}");
        }
        // The smallest denormal, at the edge where Sleef gives up.
        assert_eq!(exponential(-103.5, Capability::Avx2), 1);
    }
}
