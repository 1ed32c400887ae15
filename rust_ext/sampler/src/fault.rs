//! Mistakes that can be switched on, so that the gate can be seen to name them.
//!
//! Compiled only with the feature `planted-faults`; the switch is process-wide.

use std::sync::atomic::{AtomicUsize, Ordering};

static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Declares the faults: each with what it does, its name, the first stage at which it shows, and
/// the verdict that the gate must give.
macro_rules! faults {
    ($($(#[$meta:meta])* $fault:ident: $name:literal, $stage:literal, $verdict:literal;)*) => {
        /// One mistake in the port.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$meta])* $fault,)*
        }

        impl Fault {
            /// Every fault: its name, the first stage at which it shows, and its verdict.
            pub const ALL: &[(Self, &'static str, &'static str, &'static str)] =
                &[$((Self::$fault, $name, $stage, $verdict),)*];
        }
    };
}

faults! {
    /// The logits are multiplied by 1 / temperature.
    TemperatureByReciprocal: "temperature-by-reciprocal", "scaled_logits", "rounding";
    /// The logits are divided in f64, by a temperature that is not rounded to f32.
    TemperatureInF64: "temperature-in-f64", "scaled_logits", "rounding";
    /// The last bit of one polynomial coefficient of the vectorised exponential is flipped.
    ExponentialCoefficientBit: "exponential-coefficient-bit", "probs", "rounding";
    /// The last bit of one entry of the C library's exponential table is flipped.
    ExponentialTableBit: "exponential-table-bit", "probs", "rounding";
    /// The softmax sum takes half or twice the lanes.
    SoftmaxLanes: "softmax-lanes", "probs", "rounding";
    /// The lanes of the softmax sum are added one by one, from the last.
    SoftmaxFoldOrder: "softmax-fold-order", "probs", "rounding";
    /// The softmax sum is taken in f64.
    SoftmaxSumF64: "softmax-sum-f64", "probs", "rounding";
    /// The softmax divides by its sum; torch multiplies by the reciprocal.
    SoftmaxDivides: "softmax-divides", "probs", "rounding";
    /// Denormal probabilities are flushed to zero.
    DenormalsFlushed: "denormals-flushed", "probs", "semantic";
    /// Top-k keeps one token more.
    TopKOffByOne: "top-k-off-by-one", "top_k_mask", "semantic";
    /// Top-k keeps exactly k tokens: of those tied at the threshold, the first.
    TopKExactly: "top-k-exactly", "top_k_mask", "semantic";
    /// Top-k drops what is not above the threshold, unless nothing would be left: `<=` for `<`.
    TopKStrict: "top-k-strict", "top_k_mask", "semantic";
    /// The nucleus ends where the cumulative sum reaches `top_p`, not where it exceeds it.
    TopPInclusive: "top-p-inclusive", "top_p_mask", "semantic";
    /// The removal is not shifted: the token that crosses `top_p` goes, unless it is the first.
    TopPWithoutShift: "top-p-without-shift", "top_p_mask", "semantic";
    /// The removal is rotated instead of shifted: the first token goes, unless it is the only one.
    TopPRotates: "top-p-rotates", "top_p_mask", "semantic";
    /// The nucleus is measured after renormalising what top-k left.
    TopPOfRenormalized: "top-p-of-renormalized", "top_p_mask", "semantic";
    /// `top_p` = 0 keeps the first token only; it means that the stage is off.
    TopPZeroIsGreedy: "top-p-zero-is-greedy", "top_p_mask", "semantic";
    /// The cumulative sum is kept in f32.
    TopPSumF32: "top-p-sum-f32", "top_p_mask", "rounding";
    /// The cumulative sum is compared with `top_p` in f64, without rounding it to f32.
    TopPComparedInF64: "top-p-compared-in-f64", "top_p_mask", "rounding";
    /// Tied tokens at the nucleus' edge are kept by ascending index.
    TopPStableTies: "top-p-stable-ties", "top_p_mask", "tie_order";
    /// The renormalisation sum is taken in one lane.
    RenormalizeSequential: "renormalize-sequential", "renormalized", "rounding";
    /// The renormalisation sum is taken in f64.
    RenormalizeSumF64: "renormalize-sum-f64", "renormalized", "rounding";
    /// The renormalisation multiplies by 1 / sum.
    RenormalizeByReciprocal: "renormalize-by-reciprocal", "renormalized", "rounding";
    /// The draw's uniforms have 24 bits.
    DrawUniform24Bits: "draw-uniform-24-bits", "token", "generator";
    /// The draw's exponentials are -ln(u), not -ln(1 - u).
    DrawLog: "draw-log", "token", "generator";
    /// The last row of a batch draws first.
    DrawRowsReversed: "draw-rows-reversed", "token", "generator";
    /// The two words of a 64-bit output are swapped.
    GeneratorWordOrder: "generator-word-order", "token", "generator";
    /// The generator steps once too often after a call.
    GeneratorExtraStep: "generator-extra-step", "token", "generator";
    /// A call leaves the generator as it found it.
    GeneratorNotAdvanced: "generator-not-advanced", "token", "generator";
    /// The last of several maxima wins.
    ArgmaxLastWins: "argmax-last-wins", "token", "tie_order";
    /// The simple sampler divides by the temperature.
    SimpleDivides: "simple-divides", "scaled_logits", "rounding";
    /// The simple sampler's noise includes the bit above the 24 that torch uses.
    SimpleUniform25Bits: "simple-uniform-25-bits", "noised_logits", "generator";
    /// The simple sampler's forbidden token takes no noise from the generator.
    ForbiddenTakesNoNoise: "forbidden-takes-no-noise", "noised_logits", "generator";
    /// The simple sampler leaves its logits as they were.
    InputNotMutated: "input-not-mutated", "input", "effect";
}

impl Fault {
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

pub(crate) fn any_is_planted() -> bool {
    PLANTED.load(Ordering::Relaxed) != 0
}
