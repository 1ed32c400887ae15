//! What torch has the Math Kernel Library compute: `torch.exp`, `torch.log` and `torch.sqrt`.
//!
//! Those functions are closed, and a build of torch for another processor has others. But each result
//! is one of the two floats next to the exact one ("high accuracy", of less than an ulp): that much
//! is known of it.

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
