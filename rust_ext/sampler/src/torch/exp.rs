//! The exponentials of torch's softmax and their sum, for arguments that are not positive.

use super::capability::Capability;
use crate::planted;
use crate::simd::kernel;

/// Logits that are taken together: the exponentials of as many wait in the first cache for the sum.
const GROUP: usize = 256;

/// Writes `exp(logits[i] - max)` to `out[i]` and returns their sum, in torch's order.
///
/// No `logits[i] - max` may be positive; NaN gives NaN.
pub(crate) fn exp_and_sum(
    logits: &[f32],
    max: f32,
    out: &mut [f32],
    capability: Capability,
) -> f32 {
    let wide = (capability == Capability::Avx512) ^ planted!(SoftmaxLanes);
    match capability {
        Capability::Default if wide => c_library16(logits, max, out),
        Capability::Default => c_library8(logits, max, out),
        _ if wide => sleef16(logits, max, out),
        _ => sleef8(logits, max, out),
    }
}

/// As [`exp_and_sum`], without keeping the exponentials.
pub(crate) fn exp_sum(logits: &[f32], max: f32, capability: Capability) -> f32 {
    match capability {
        Capability::Default => sum_c_library8(logits, max),
        Capability::Avx2 => sum_sleef8(logits, max),
        Capability::Avx512 => sum_sleef16(logits, max),
    }
}

kernel! {
    fn sleef8<'a>(logits: &'a [f32], max: f32, out: &'a mut [f32]) -> f32 {
        accumulate::<8>(logits, out, halves, |x, out| sleef_group(x, max, out))
    }
}

kernel! {
    fn sleef16<'a>(logits: &'a [f32], max: f32, out: &'a mut [f32]) -> f32 {
        accumulate::<16>(logits, out, halves, |x, out| sleef_group(x, max, out))
    }
}

kernel! {
    fn c_library8<'a>(logits: &'a [f32], max: f32, out: &'a mut [f32]) -> f32 {
        accumulate::<8>(logits, out, in_order, |x, out| c_group(x, max, out))
    }
}

kernel! {
    fn c_library16<'a>(logits: &'a [f32], max: f32, out: &'a mut [f32]) -> f32 {
        accumulate::<16>(logits, out, in_order, |x, out| c_group(x, max, out))
    }
}

kernel! {
    fn sum_sleef8<'a>(logits: &'a [f32], max: f32) -> f32 {
        accumulate::<8>(logits, &mut [], halves, |x, out| sleef_group(x, max, out))
    }
}

kernel! {
    fn sum_sleef16<'a>(logits: &'a [f32], max: f32) -> f32 {
        accumulate::<16>(logits, &mut [], halves, |x, out| sleef_group(x, max, out))
    }
}

kernel! {
    fn sum_c_library8<'a>(logits: &'a [f32], max: f32) -> f32 {
        accumulate::<8>(logits, &mut [], in_order, |x, out| c_group(x, max, out))
    }
}

/// `ATen`'s `vec::reduce_all`: lane accumulators start from the first block, a short last block is
/// added to the first lanes; a row shorter than a block is added one by one.
///
/// `exp` writes the exponentials of up to [`GROUP`] logits; where `out` is empty, they are
/// forgotten.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn accumulate<const LANES: usize>(
    logits: &[f32],
    out: &mut [f32],
    fold: impl Fn(&mut [f32; LANES]) -> f32,
    exp: impl Fn(&[f32], &mut [f32]),
) -> f32 {
    let mut passing = [0.0; GROUP];
    // Zeros instead of the first block: no exponential is a negative zero.
    let mut sums = [0.0; LANES];
    let mut kept = out.chunks_mut(GROUP);
    for group in logits.chunks(GROUP) {
        let exponentials = kept.next().unwrap_or(&mut passing[..group.len()]);
        exp(group, exponentials);
        let (blocks, tail) = exponentials.as_chunks::<LANES>();
        if logits.len() < LANES {
            return tail.iter().copied().reduce(|sum, e| sum + e).unwrap_or(0.0);
        }
        for block in blocks {
            for (sum, e) in sums.iter_mut().zip(block) {
                *sum += e;
            }
        }
        for (sum, e) in sums.iter_mut().zip(tail) {
            *sum += e;
        }
    }
    fold(&mut sums)
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn c_group(logits: &[f32], max: f32, out: &mut [f32]) {
    for (x, e) in logits.iter().zip(out) {
        *e = c_expf(x - max);
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn sleef_group(logits: &[f32], max: f32, out: &mut [f32]) {
    /// From here up to zero, the result is normal: 2^-124.5 or more.
    const LEAST: f32 = -86.0;
    let coefficients = sleef_coefficients();
    #[allow(clippy::needless_bitwise_bool)] // With an early exit this would not vectorise.
    let normal = logits.iter().fold(true, |normal, x| normal & (x - max >= LEAST));
    if normal {
        for (x, e) in logits.iter().zip(out) {
            *e = sleef_expf_normal(x - max, &coefficients);
        }
    } else {
        for (x, e) in logits.iter().zip(out) {
            *e = sleef_expf(x - max, &coefficients);
        }
    }
}

/// Lane i and lane i + half are added until one is left.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn halves<const LANES: usize>(sums: &mut [f32; LANES]) -> f32 {
    if planted!(SoftmaxFoldOrder) {
        return in_order(sums);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn in_order<const LANES: usize>(sums: &mut [f32; LANES]) -> f32 {
    if planted!(SoftmaxFoldOrder) {
        sums.reverse();
    }
    sums[1..].iter().fold(sums[0], |sum, lane| sum + lane)
}

/// The polynomial of Sleef's `expf` with 1.0 ulp (`xexpf`), highest power first.
const SLEEF: [f32; 6] =
    [0.000_198_527_62, 0.001_393_043_6, 0.008_333_361, 0.041_666_485, 0.166_666_67, 0.5];
/// Sleef's `R_LN2f`, `L2Uf` and `L2Lf`: 1 / ln 2, and ln 2 in two parts.
#[allow(clippy::approx_constant)] // Sleef's own rounding is what is replayed.
const R_LN2: f32 = 1.442_695;
const L2U: f32 = 0.693_145_75;
const L2L: f32 = 1.428_606_8e-6;

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn sleef_coefficients() -> [f32; 6] {
    let mut coefficients = SLEEF;
    if planted!(ExponentialCoefficientBit) {
        coefficients[4] = f32::from_bits(coefficients[4].to_bits() ^ 1);
    }
    coefficients
}

/// Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// The reduced argument's exponential, and `d / ln 2` rounded, plus [`ROUND`].
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn sleef_reduced(d: f32, coefficients: &[f32; 6]) -> (f32, f32) {
    let rounded = d * R_LN2 + ROUND;
    let q = rounded - ROUND;
    let s = q.mul_add(-L2L, q.mul_add(-L2U, d));
    let mut u = coefficients[0];
    for c in &coefficients[1..] {
        u = u.mul_add(s, *c);
    }
    (1.0 + (s * s).mul_add(u, s), rounded)
}

/// Sleef's `expf` with FMA, for `d <= 0` or NaN.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn sleef_expf(d: f32, coefficients: &[f32; 6]) -> f32 {
    let (u, rounded) = sleef_reduced(d, coefficients);
    // 2^q in two factors, as Sleef does it, so that a denormal result is rounded once, at the end.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    let half = exponent >> 1;
    let scaled = u * power_of_two(half) * power_of_two(exponent.wrapping_sub(half));
    // Written so that NaN is kept.
    if d < -104.0 { 0.0 } else { scaled }
}

/// [`sleef_expf`] where its result is normal: 2^q is then added to the exponent, exactly.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn sleef_expf_normal(d: f32, coefficients: &[f32; 6]) -> f32 {
    const { assert!(ROUND.to_bits() << 23 == 0, "the shift leaves nothing but q") };
    let (u, rounded) = sleef_reduced(d, coefficients);
    f32::from_bits(u.to_bits().wrapping_add(rounded.to_bits() << 23))
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127) << 23).cast_unsigned())
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
    const INVERSE_LN2_N: f64 = f64::from_bits(0x3ff7_1547_652b_82fe) * 32.0;
    /// Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const C: [f64; 3] = [
        f64::from_bits(0x3fac_6af8_4b91_2394) / 32.0 / 32.0 / 32.0,
        f64::from_bits(0x3fce_bfce_50fa_c4f3) / 32.0 / 32.0,
        f64::from_bits(0x3fe6_2e42_ff0c_52d6) / 32.0,
    ];
    let x = f64::from(d);
    let rounded = INVERSE_LN2_N.mul_add(x, ROUND);
    let integer = rounded.to_bits();
    let r = INVERSE_LN2_N.mul_add(x, ROUND - rounded);
    let entry = POWERS[(integer % 32) as usize]
        ^ u64::from(planted!(ExponentialTableBit) && integer % 32 == 16) << 30;
    let scale = f64::from_bits(entry.wrapping_add(integer << 47));
    let high = C[0].mul_add(r, C[1]);
    let low = C[2].mul_add(r, 1.0);
    #[allow(clippy::cast_possible_truncation)] // The rounding to f32 is the function's last step.
    let result = (high.mul_add(r * r, low) * scale) as f32;
    // Below ln 2^-150 the result rounds to zero. Written so that NaN is kept.
    if d < f32::from_bits(0xc2cf_f1b4) { 0.0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::simd::kernel! {
        fn count_differences<'a>(from: u32, to: u32, seen: &'a mut Vec<f32>) -> () {
            for d in (from..to).map(f32::from_bits) {
                if c_expf(d).to_bits() != d.exp().to_bits() {
                    seen.push(d);
                }
            }
        }
    }

    /// On glibc, `f32::exp` is the `expf` that torch calls. Every argument that a softmax can have
    /// is compared, from -0.0 to the last one before the result is zero, and some beyond.
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    #[test]
    fn agrees_with_the_c_library() {
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

    crate::simd::kernel! {
        fn normal_differs<'a>(from: u32, to: u32) -> u32 {
            let coefficients = sleef_coefficients();
            (from..to).map(f32::from_bits).fold(0, |count, d| {
                let (normal, general) =
                    (sleef_expf_normal(d, &coefficients), sleef_expf(d, &coefficients));
                count + u32::from(normal.to_bits() != general.to_bits())
            })
        }
    }

    /// Every argument from -0.0 to the least that gives a normal result, and short of it.
    #[test]
    fn the_normal_case_is_the_general_one() {
        let (first, last) = ((-0.0_f32).to_bits(), (-86.0_f32).to_bits());
        assert_eq!(normal_differs(first, last + 1), 0);
        assert!(normal_differs(last, (-100.0_f32).to_bits()) > 0, "a control");
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

    #[test]
    fn edges() {
        let coefficients = sleef_coefficients();
        for exp in [|d| c_expf(d), |d| sleef_expf(d, &SLEEF)] as [fn(f32) -> f32; 2] {
            assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
            assert_eq!(exp(-0.0).to_bits(), 1.0_f32.to_bits());
            assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
            assert_eq!(exp(-1e30).to_bits(), 0);
            assert!(exp(f32::NAN).is_nan());
        }
        // The smallest denormal, at the edge where Sleef gives up.
        assert_eq!(sleef_expf(-103.5, &coefficients).to_bits(), 1);
    }
}
