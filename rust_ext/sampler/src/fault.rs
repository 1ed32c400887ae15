//! Mistakes that can be switched on, so that the gate can be seen to name them.
//!
//! Compiled only with the feature `planted-faults`; the switch is process-wide.

use std::sync::atomic::{AtomicUsize, Ordering};

static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// One mistake in the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The logits are multiplied by 1 / temperature.
    TemperatureByReciprocal,
    /// The last bit of one polynomial coefficient of the vectorised exponential is flipped.
    ExponentialCoefficientBit,
    /// The last bit of one entry of the C library's exponential table is flipped.
    ExponentialTableBit,
    /// The softmax sum takes half or twice the lanes.
    SoftmaxLanes,
    /// Top-k keeps one token more.
    TopKOffByOne,
    /// The nucleus ends where the cumulative sum reaches `top_p`, not where it exceeds it.
    TopPInclusive,
    /// Tied tokens at the nucleus' edge are kept by ascending index.
    TopPStableTies,
    /// The renormalisation sum is taken in one lane.
    RenormalizeSequential,
    /// The draw's uniforms have 24 bits.
    DrawUniform24Bits,
    /// The two words of a 64-bit output are swapped.
    GeneratorWordOrder,
    /// The simple sampler divides by the temperature.
    SimpleDivides,
    /// The simple sampler's noise includes the bit above the 24 that torch uses.
    SimpleUniform25Bits,
    /// The last of several maxima wins.
    ArgmaxLastWins,
    /// The generator steps once too often after a call.
    GeneratorExtraStep,
}

impl Fault {
    /// Every fault: its name, and the first stage at which it shows.
    pub const ALL: [(Self, &'static str, &'static str); 14] = [
        (Self::TemperatureByReciprocal, "temperature-by-reciprocal", "scaled_logits"),
        (Self::ExponentialCoefficientBit, "exponential-coefficient-bit", "probs"),
        (Self::ExponentialTableBit, "exponential-table-bit", "probs"),
        (Self::SoftmaxLanes, "softmax-lanes", "probs"),
        (Self::TopKOffByOne, "top-k-off-by-one", "top_k_mask"),
        (Self::TopPInclusive, "top-p-inclusive", "top_p_mask"),
        (Self::TopPStableTies, "top-p-stable-ties", "top_p_mask"),
        (Self::RenormalizeSequential, "renormalize-sequential", "renormalized"),
        (Self::DrawUniform24Bits, "draw-uniform-24-bits", "token"),
        (Self::GeneratorWordOrder, "generator-word-order", "token"),
        (Self::SimpleDivides, "simple-divides", "scaled_logits"),
        (Self::SimpleUniform25Bits, "simple-uniform-25-bits", "noised_logits"),
        (Self::ArgmaxLastWins, "argmax-last-wins", "token"),
        (Self::GeneratorExtraStep, "generator-extra-step", "token"),
    ];

    /// Switches this fault on, and every other one off.
    pub fn plant(self) {
        PLANTED.store(self as usize + 1, Ordering::Relaxed);
    }

    /// Switches every fault off.
    pub fn clear() {
        PLANTED.store(0, Ordering::Relaxed);
    }
}

pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.load(Ordering::Relaxed) == fault as usize + 1
}
