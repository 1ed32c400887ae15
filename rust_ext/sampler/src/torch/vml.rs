//! What torch has the Math Kernel Library compute: `torch.exp`, `torch.log` and `torch.sqrt`.
//!
//! Those functions are closed, and a build of torch for another processor has others. But each result
//! is one of the two floats next to the exact one ("high accuracy", of less than an ulp): that much
//! is known of it.

use super::capability::Capability;
use super::exp::exp_and_sum;

/// Two floats that lie on both sides of an exact result; the same where it is a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Between {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Between {
    pub(crate) fn around(exact: f64) -> Self {
        let nearest = rounded(exact);
        let (low, high) = if f64::from(nearest) > exact {
            (nearest.next_down(), nearest)
        } else if f64::from(nearest) < exact {
            (nearest, nearest.next_up())
        } else {
            (nearest, nearest)
        };
        Self { low, high }
    }
}

/// The float that is next to an exact result: what the library mostly gives.
pub(crate) fn rounded(exact: f64) -> f32 {
    #[allow(clippy::cast_possible_truncation)] // The rounding.
    let nearest = exact as f32;
    nearest
}

/// Which of the floats next to an exponential is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Exponentials {
    /// The C library's, from which those of torch differ for one argument in a hundred.
    Near,
    Low,
    High,
}

impl Exponentials {
    /// Writes exponentials of arguments less `max`, which is not less than any.
    pub(crate) fn write(self, arguments: &[f32], max: f32, out: &mut [f32]) {
        let around = |x: f32| Between::around(f64::from(x - max).exp());
        match self {
            Self::Near => {
                exp_and_sum(arguments, max, out, Capability::Default);
            }
            Self::Low => {
                arguments.iter().zip(out).for_each(|(x, out)| *out = around(*x).low);
            }
            Self::High => {
                arguments.iter().zip(out).for_each(|(x, out)| *out = around(*x).high);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_lies_between_the_floats_next_to_it() {
        for exact in [0.1, 0.7, -0.1, -0.7, std::f64::consts::PI, 1.0 + f64::EPSILON, 1e-40] {
            let Between { low, high } = Between::around(exact);
            assert!(f64::from(low) < exact && exact < f64::from(high), "{exact}");
            assert_eq!(low.next_up(), high, "{exact}");
        }
        for float in [0.0, 0.5, -3.0, f32::MAX, f32::MIN_POSITIVE] {
            assert_eq!(Between::around(f64::from(float)), Between { low: float, high: float });
        }
    }
}
