//! A fused multiply-add of f32 where there is no instruction for it.

/// `a * b + c`, rounded once.
///
/// In f64 the product is exact. Its sum with `c` is rounded to odd: where it is not exact, the last
/// bit is set of what it is cut off to. f64 has more than two bits more than f32, so that the
/// rounding to f32 that follows is that of the exact sum (Boldo and Melquiond, 2008).
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // The one rounding.
pub(super) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // What the sum leaves of the two (Knuth).
    let of_c = sum - product;
    let left = (product - (sum - of_c)) + (c - of_c);
    let bits = sum.to_bits();
    // Towards zero, if the sum was rounded away from it.
    let away = (left < 0.0) != (sum < 0.0);
    let odd = bits.wrapping_sub(u64::from(away)) | 1;
    // What is infinite or NaN leaves NaN.
    let inexact = left != 0.0 && !left.is_nan();
    f64::from_bits(if inexact { odd } else { bits }) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::lanes::Source;

    /// A float as an integer times a power of two.
    fn parts(x: f32) -> (i128, i32) {
        let bits = x.to_bits();
        let (exponent, fraction) = ((bits >> 23 & 0xFF).cast_signed(), bits & 0x007F_FFFF);
        let (whole, power) = match exponent {
            0 => (fraction, -149),
            _ => (fraction | 0x0080_0000, exponent - 150),
        };
        (if x.is_sign_negative() { -i128::from(whole) } else { whole.into() }, power)
    }

    /// `a * b + c` in integers, and one rounding, ties to even; the result is not to overflow.
    fn exact(a: f32, b: f32, c: f32) -> f32 {
        let ((a, power_a), (b, power_b), (c, power_c)) = (parts(a), parts(b), parts(c));
        let (product, power) = (a * b, power_a + power_b);
        // What lies below all bits that can matter, of a number that is not zero, is one bit.
        let far = |x: i128, down: i32| match down {
            0..=70 => x << down,
            _ => x.signum(),
        };
        let (sum, power) = if power >= power_c {
            match power - power_c {
                by @ 0..=70 => ((product << by) + c, power_c),
                _ if product == 0 => (c, power_c),
                _ => ((product << 70) + far(c, i32::MAX), power - 70),
            }
        } else {
            match power_c - power {
                by @ 0..=70 => ((c << by) + product, power),
                _ if c == 0 => (product, power),
                _ => ((c << 70) + far(product, i32::MAX), power_c - 70),
            }
        };
        let size = sum.unsigned_abs();
        let bits = 128 - size.leading_zeros().cast_signed();
        let unit = (power + bits - 24).max(-149);
        let rounded = if unit <= power {
            size << (power - unit)
        } else {
            match unit - power {
                down @ 1..=127 => {
                    let (whole, rest) = (size >> down, size & ((1 << down) - 1));
                    let half = 1 << (down - 1);
                    whole + u128::from(rest > half || rest == half && whole & 1 == 1)
                }
                _ => 0,
            }
        };
        // At most 2^24, and so exact; and so is its product with a power of two.
        #[allow(clippy::cast_precision_loss)]
        let rounded = rounded as f64 * f64::from(unit).exp2();
        #[allow(clippy::cast_possible_truncation)] // Exact.
        let rounded = rounded as f32;
        if sum < 0 { -rounded } else { rounded }
    }

    /// What rounding to f64 and then to f32 makes of it.
    #[allow(clippy::cast_possible_truncation)] // The second rounding.
    fn rounded_twice(a: f32, b: f32, c: f32) -> f32 {
        (f64::from(a) * f64::from(b) + f64::from(c)) as f32
    }

    /// Products that are nearly half a unit in the last place of what is added to them, of every
    /// size, and of results that are denormal; then some of random bits.
    #[test]
    fn rounds_once() {
        let mut source = Source(9);
        let (mut compared, mut twice) = (0, 0);
        let mut compare = |a: f32, b: f32, c: f32| {
            let expected = exact(a, b, c);
            assert_eq!(mul_add(a, b, c).to_bits(), expected.to_bits(), "{a:e} * {b:e} + {c:e}");
            compared += 1;
            twice += u32::from(rounded_twice(a, b, c).to_bits() != expected.to_bits());
        };
        for power in (-140..=90).chain([-149, -148, -147]) {
            let size = |down: i32| f64::from(power - down).exp2();
            for round in 0..400_u32 {
                #[allow(clippy::cast_possible_truncation)] // Exact, or some float.
                let float = |x: f64| x as f32;
                let step = f64::from(round % 20) * f64::from(f32::EPSILON);
                let whole = 1.0 + f64::from(f32::EPSILON) * f64::from(source.next_u32() >> 9);
                let c = float(whole * size(0));
                let sign = if round % 3 == 0 { -1.0 } else { 1.0 };
                // Half a unit, a quarter, ..., but for a share of 2^-46 and more.
                for down in [22, 23, 24, 25, 26, 30, 48, 49, 50, 52, 53, 54] {
                    let (a, b) = (float(sign * (1.0 + step)), float((1.0 - step) * size(down)));
                    compare(a, b, c);
                    compare(a, b, -c);
                    compare(a, float((1.0 - step / 2.0) * size(down)), c);
                }
                let random = |bits: u32| {
                    let exponent = 1 + bits % 60 + u32::from(bits.is_multiple_of(7)) * 90;
                    f32::from_bits(bits & 0x807F_FFFF | exponent << 23)
                };
                let [a, b, c] = [(); 3].map(|()| random(source.next_u32()));
                compare(a * 1e20, b, c);
                compare(a, b * 1e15, c * 1e-5);
            }
        }
        assert!(compared > 1_000_000 && twice > 1000, "{compared} {twice}");
        // Zeros keep their signs, and what is not finite stays so.
        for (a, b, c) in [(0.0, 1.0, -0.0), (-0.0, 1.0, -0.0), (1.0, 1.0, -1.0)] {
            assert_eq!(mul_add(a, b, c).to_bits(), f32::mul_add(a, b, c).to_bits());
        }
        assert_eq!(mul_add(f32::INFINITY, 1.0, 1.0), f32::INFINITY);
        assert_eq!(mul_add(f32::MAX, -2.0, 1.0), f32::NEG_INFINITY);
        assert!(mul_add(f32::INFINITY, 0.0, 1.0).is_nan());
        assert!(mul_add(1.0, 1.0, f32::NAN).is_nan());
    }
}
