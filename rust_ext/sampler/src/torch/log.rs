//! The logarithm of torch's log-softmax.

use super::capability::{Arithmetic, Capability};

/// The logarithm of a sum of exponentials, which is at least 1: Sleef's, or the C library's.
pub(crate) fn log(sum: f32, capability: Capability) -> f32 {
    match capability.arithmetic() {
        Arithmetic::Default => sum.ln(),
        Arithmetic::Avx2 | Arithmetic::Avx512 | Arithmetic::Neon => sleef_logf(sum),
    }
}

/// A number in two parts.
type Double = (f32, f32);

/// Sleef's `logf` of 1.0 ulp (`xlogf_u1`) with FMA, for positive normal numbers.
fn sleef_logf(d: f32) -> f32 {
    /// ln 2 in two parts.
    #[allow(clippy::approx_constant)] // Sleef's own rounding is what is replayed.
    const LN2: Double = (0.693_147_2, -1.904_654_3e-9);
    const POLYNOMIAL: [f32; 3] = [0.302_729_5, 0.399_610_82, 0.666_669_5];
    const MANTISSA_BITS: u32 = 23;
    let exponent = ((d * (1.0 / 0.75)).to_bits() >> MANTISSA_BITS).cast_signed() - 127;
    // Within [0.75, 1.5).
    let fraction =
        f32::from_bits(d.to_bits().wrapping_sub((exponent << MANTISSA_BITS).cast_unsigned()));
    #[allow(clippy::cast_precision_loss)] // A small integer.
    let exponent = exponent as f32;
    let high = LN2.0 * exponent;
    let power = (high, LN2.1.mul_add(exponent, LN2.0.mul_add(exponent, -high)));
    let x = quotient(sum_of(-1.0, fraction), sum_of(1.0, fraction));
    let square = x.0 * x.0;
    let series = POLYNOMIAL[0].mul_add(square, POLYNOMIAL[1]).mul_add(square, POLYNOMIAL[2]);
    let double = (x.0 * 2.0, x.1 * 2.0);
    let high = power.0 + double.0;
    let low = power.0 - high + double.0 + power.1 + double.1;
    let last = square * x.0 * series;
    let sum = high + last;
    sum + (high - sum + last + low)
}

fn sum_of(x: f32, y: f32) -> Double {
    let sum = x + y;
    let other = sum - x;
    (sum, (x - (sum - other)) + (y - other))
}

fn quotient(dividend: Double, divisor: Double) -> Double {
    let reciprocal = 1.0 / divisor.0;
    let high = dividend.0 * reciprocal;
    let rest = reciprocal.mul_add(dividend.0, -high);
    let off = (-divisor.1).mul_add(reciprocal, (-divisor.0).mul_add(reciprocal, 1.0));
    (high, high.mul_add(off, dividend.1.mul_add(reciprocal, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Less than an ulp from the logarithm, over the sums that a row can have.
    #[test]
    fn is_a_logarithm() {
        let (first, last) = (1.0_f32.to_bits(), 16_777_216.0_f32.to_bits());
        for bits in (first..=last).step_by(41) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).ln();
            for capability in Capability::ALL {
                let found = f64::from(log(x, capability));
                #[allow(clippy::cast_possible_truncation)] // The size of an ulp.
                let ulp = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
                assert!((found - exact).abs() <= ulp, "{x} {capability} {found} {exact}");
            }
        }
    }

    /// What torch 2.15.0 gives at avx2: the log-softmax of as many zeros, for numbers whose logarithm
    /// Sleef rounds the other way.
    #[test]
    fn value_stability() {
        for (count, bits) in [
            (429.0, 0x40c1_f774),
            (1218.0, 0x40e3_5be1),
            (1579.0, 0x40eb_aa5e),
            (2794.0, 0x40fd_ed67),
            (2862.0, 0x40fe_b264),
            (4753.0, 0x4107_76ea),
            (4935.0, 0x4108_10d4),
        ] {
            assert_eq!(log(count, Capability::Avx2).to_bits(), bits, "{count}");
            assert_eq!(log(count, Capability::Avx512).to_bits(), bits, "{count}");
            #[allow(clippy::cast_possible_truncation)] // The nearest float.
            let nearest = f64::from(count).ln() as f32;
            assert_ne!(nearest.to_bits(), bits, "{count}");
        }
    }
}
