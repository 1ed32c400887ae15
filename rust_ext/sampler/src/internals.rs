//! What benchmarks and the tests of each instruction set look at; not part of the interface.

pub use crate::simd::{Kernel, force};
use crate::torch::exp;
use crate::{Capability, Generator};

/// The sum of a softmax's exponentials.
#[must_use]
pub fn exp_sum(logits: &[f32], max: f32, capability: Capability) -> f32 {
    exp::exp_sum(logits, max, capability)
}

/// Passes over `count` 64-bit outputs.
pub fn skip(generator: &mut Generator, count: usize) {
    generator.skip_f64(count);
}
