//! Sleef's `expf` with 1.0 ulp (`xexpf`) and fused multiply-adds, for what is not positive.
//!
//! Without its look at whether the result is normal: the last step multiplies by a power of two and
//! rounds once, as Sleef's two multiplications do, the first of which is exact.

/// Of the polynomial, highest power first.
pub(crate) type Coefficients = [f32; 6];
pub(crate) const COEFFICIENTS: Coefficients =
    [0.000_198_527_62, 0.001_393_043_6, 0.008_333_361, 0.041_666_485, 0.166_666_67, 0.5];
/// Sleef's `R_LN2f`, `L2Uf` and `L2Lf`: 1 / ln 2, and ln 2 in two parts.
#[allow(clippy::approx_constant)] // Sleef's own rounding is what is replayed.
pub(super) const R_LN2: f32 = 1.442_695;
pub(super) const L2U: f32 = 0.693_145_75;
pub(super) const L2L: f32 = 1.428_606_8e-6;
/// Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// Lanes that are computed at a time without a fused multiply-add.
const FEW: usize = 4;

/// Of the polynomial's steps that add the second coefficient to the fifth: f64 whose unit in the last
/// place is that of the step's result in f32. Each result lies between the same two powers of two
/// for every argument: 2^-10 and 2^-9, 2^-7 and 2^-6, 2^-5 and 2^-4, 2^-3 and 2^-2.
const LARGE: [f64; 4] = [786_432.0, 6_291_456.0, 25_165_824.0, 100_663_296.0];

/// What [`in_doubles`] adds and multiplies by.
#[derive(Clone, Copy)]
pub(super) struct Constants {
    pub(super) first: f64,
    /// A number of [`LARGE`], and its sum with the coefficient.
    pub(super) steps: [(f64, f64); 4],
    pub(super) last: f64,
}

impl Constants {
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    pub(super) fn new(coefficients: &Coefficients) -> Self {
        let [first, middle @ .., last] = coefficients.map(f64::from);
        let step = |at: usize| (LARGE[at], middle[at] + LARGE[at]);
        Self { first, steps: [step(0), step(1), step(2), step(3)], last }
    }
}

/// [`ROUND`], the bias of an exponent, and the exponent of what is made up for at last.
pub(super) const BIASED: f32 = ROUND + 127.0 + 63.0;
pub(super) const LN2: f64 = L2U as f64 + L2L as f64;
pub(super) const MADE_UP: f32 = f32::from_bits((127 - 63) << 23);

/// The same bits without any fused multiply-add.
///
/// The product of two f32 is exact in f64, and so is the reduced argument, which is rounded once to
/// f32. A step of the polynomial is rounded once too, to f32's unit in the last place, where the
/// product is added to a number that has this unit in f64. Two steps have results of any size: their
/// sums are rounded to f64, then to f32. That this is never seen is shown for every argument
/// (`every_argument_is_the_same_in_doubles`).
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // Roundings to f32.
pub(super) fn in_doubles(d: [f32; FEW], constants: &Constants) -> [f32; FEW] {
    let Constants { first, steps, last } = constants;
    let rounded = d.map(|d| d * R_LN2 + BIASED);
    let q = rounded.map(|rounded| rounded - BIASED);
    let mut s = [0.0_f32; FEW];
    for lane in 0..FEW {
        s[lane] = (f64::from(d[lane]) - f64::from(q[lane]) * LN2) as f32;
    }
    let square = s.map(|s| f64::from(s * s));
    let s = s.map(f64::from);
    let mut u = [*first; FEW];
    for (large, sum) in steps {
        for lane in 0..FEW {
            u[lane] = (u[lane] * s[lane] + sum) - large;
        }
    }
    let mut added = [0.0_f32; FEW];
    for lane in 0..FEW {
        let u = f64::from((u[lane] * s[lane] + last) as f32);
        added[lane] = (square[lane] * u + s[lane]) as f32;
    }
    for lane in 0..FEW {
        // A power of two from 2^-88 to 2^63: the product is exact.
        let power = f32::from_bits(rounded[lane].to_bits() << 23);
        added[lane] = (1.0 + added[lane]) * power * MADE_UP;
    }
    added
}
