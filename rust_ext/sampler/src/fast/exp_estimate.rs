//! Estimates of exponentials, and how far they and their sums are from torch's.

use crate::simd::format::Format;
use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::simd::wide::Wide;
use crate::torch::capability::{Arithmetic, Capability};
use crate::torch::exp::{Exponential, accumulate};

kernel! {
    /// Writes estimates of 2 to the power of `(logits[i] - max) * scale` to `out[i]`, and returns
    /// their sum; `max` need not be one.
    pub(crate) fn estimate<'a, F: Format>(
        wide; logits: &'a [F::Bits], max: f32, scale: f32, out: &'a mut [f32],
    ) -> f64 {
        /// What is added up in f32: in each lane so many that their roundings are 2^-16.
        const CHUNK: usize = 4096;
        let exp = Estimate { max, scale };
        let mut sum = 0.0;
        for (logits, out) in logits.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
            sum += total(accumulate::<LANES, F, _>(wide, exp, logits, out));
        }
        sum
    }
}

pub(crate) fn total(lanes: [f32; LANES]) -> f64 {
    lanes.into_iter().map(f64::from).sum()
}

/// What a logit is multiplied by, so that two to that power is its exponential at a temperature.
pub(crate) fn scale_of(temperature: f32) -> f32 {
    #[allow(clippy::cast_possible_truncation)] // A rounding that the bounds allow for.
    let scale = (std::f64::consts::LOG2_E / f64::from(temperature)) as f32;
    scale
}

/// The largest |logit / temperature| of the row's maximum for which the error bounds hold, where the
/// temperature is not one.
pub(crate) const FARTHEST: f32 = 1024.0;

/// Whether the error bounds hold at a temperature.
pub(crate) fn suits(temperature: f64) -> bool {
    (1e-3..1e3).contains(&temperature)
}

/// How far an estimated sum may be from torch's, as a share: torch's is less by no more than this, and
/// more by no more than twice as much.
///
/// An estimate is off by less than 2^-12, and each addition by 2^-24, here in sixteen lanes. Of the
/// former, the polynomial has 7.6e-5 with its roundings. The others are of the argument, in natural units
/// and roundings of 2^-24. torch's quotients by the temperature, of a logit and of the largest, are off by
/// [`FARTHEST`] + 80 and [`FARTHEST`] of them, its difference by 80, and ours by three times 80: 1.5e-4
/// together. What is further than 80 from the maximum is at most 2^-114 of a sum, estimated or not.
///
/// With a this bound without torch's own and t [`torch_error`], torch's sum is at most (1 + 2t) / (1 - a)
/// of an estimated one, which is at most 1 + 2 (a + t), as long as a + t is at most a half. For the longest
/// row it is 5/16.
pub(crate) fn estimate_error(vocab: usize, capability: Capability) -> f64 {
    #[allow(clippy::cast_precision_loss)] // A row has at most 2^24 tokens.
    let roundings = (vocab / 16 + 8) as f64;
    (-12.0_f64).exp2() + roundings * (-24.0_f64).exp2() + torch_error(vocab, capability)
}

/// How far torch's sum may be from the true one, as a share: less by no more than this, and more by
/// less than twice as much.
///
/// It is taken in lanes, four on Arm without vectors of 256 bits, else eight or sixteen. A number comes
/// by one addition for each block of a lane, and by one for each lane at most as those are added: eight
/// in order, or four by halves, in two. Each is off by 2^-24, of which n leave (1 - 2^-24)^n, which is
/// at least 1 - n 2^-24; and make (1 + 2^-24)^n, which for the 2^22 + 8 of the longest row is less than
/// 1 + 2 n 2^-24.
pub(crate) fn torch_error(vocab: usize, capability: Capability) -> f64 {
    let least_lanes = if capability.arithmetic() == Arithmetic::Neon { 4 } else { 8 };
    #[allow(clippy::cast_precision_loss)] // A row has at most 2^24 tokens.
    let roundings = (vocab / least_lanes + 8) as f64;
    roundings * (-24.0_f64).exp2()
}

/// An estimate of 2 to the power of what is above `max`, times `scale`.
#[derive(Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) max: f32,
    pub(crate) scale: f32,
}

impl<W: Wide> Exponential<W> for Estimate {
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    fn of(self, wide: W, logits: W::Floats) -> W::Floats {
        wide.estimate(logits, self.max, self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much a number may grow, or shrink, on the longest way through a sum in some lanes, which
    /// are then added up in some steps.
    fn grown(vocab: usize, lanes: usize, steps: usize, rounding: f64) -> f64 {
        (1..vocab.div_ceil(lanes) + steps).fold(1.0, |grown, _| grown * (1.0 + rounding))
    }

    /// Of estimates that are all too large, and roundings that are all up, against torch's, which are
    /// all down.
    #[test]
    fn the_bounds_allow_for_the_worst_of_all_roundings() {
        let rounding = (-24.0_f64).exp2();
        // Shorter rows are not estimated.
        for vocab in [64, 65, 2048, 20_011, 300_000, 1 << 20, 1 << 24] {
            for capability in Capability::ALL {
                // Eight lanes in order, and the others by halves.
                let (lanes, steps) = match capability {
                    Capability::Default => (8, 7),
                    Capability::Avx2 | Capability::Sve256 => (8, 3),
                    Capability::Avx512 => (16, 4),
                    Capability::Neon => (4, 2),
                };
                let torch = grown(vocab, lanes, steps, -rounding);
                let error = torch_error(vocab, capability);
                assert!(torch >= 1.0 - error, "{vocab} {capability}: torch's sum");
                let most = grown(vocab, lanes, steps, rounding);
                assert!(most <= 1.0 + 2.0 * error, "{vocab} {capability}: torch's sum");
                // Lanes are added up in f64.
                let ours = (1.0 + (-12.0_f64).exp2()) * grown(vocab, LANES, 0, rounding);
                let least = ours * (1.0 - estimate_error(vocab, capability));
                assert!(least <= torch, "{vocab} {capability}: the estimate");
            }
        }
    }
}
