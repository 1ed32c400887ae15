//! Temperature.

use crate::planted::planted;
use crate::simd::kernel;

/// `logits / temperature`: the divisor is rounded to f32, the division is a division.
pub(crate) fn divide(logits: &[f32], temperature: f64, out: &mut [f32]) {
    if planted!(TemperatureByReciprocal) {
        out.copy_from_slice(logits);
        return multiply(out, 1.0 / temperature);
    }
    if planted!(TemperatureInF64) {
        for (x, scaled) in logits.iter().zip(out) {
            #[allow(clippy::cast_possible_truncation)] // The fault's only rounding.
            let quotient = (f64::from(*x) / temperature) as f32;
            *scaled = quotient;
        }
        return;
    }
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    divide_by(logits, temperature as f32, out);
}

/// [`divide`] in place.
pub(crate) fn divide_in_place(scores: &mut [f32], temperature: f64) {
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    divide_all(scores, temperature as f32);
}

/// `logits.mul_(factor)`: the factor is rounded to f32.
pub(crate) fn multiply(logits: &mut [f32], factor: f64) {
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    multiply_by(logits, factor as f32);
}

kernel! {
    fn divide_by<'a>(logits: &'a [f32], divisor: f32, out: &'a mut [f32]) -> () {
        for (x, scaled) in logits.iter().zip(out) {
            *scaled = x / divisor;
        }
    }
}

kernel! {
    fn divide_all<'a>(scores: &'a mut [f32], divisor: f32) -> () {
        for score in scores {
            *score /= divisor;
        }
    }
}

kernel! {
    fn multiply_by<'a>(logits: &'a mut [f32], factor: f32) -> () {
        for x in logits {
            *x *= factor;
        }
    }
}
