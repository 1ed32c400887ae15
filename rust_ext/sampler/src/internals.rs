//! Parts of the samplers, for benchmarks.

use crate::stages::{softmax, top_k};
use crate::torch::exp;
use crate::{Capability, Generator};

/// The exponentials of a softmax and their sum.
pub fn exp_and_sum(logits: &[f32], max: f32, out: &mut [f32], capability: Capability) -> f32 {
    exp::exp_and_sum(logits, max, out, capability)
}

/// The largest logit.
#[must_use]
pub fn row_max(logits: &[f32]) -> f32 {
    softmax::row_max(logits)
}

/// The k-th largest value.
pub fn threshold(row: &[f32], k: usize, scratch: &mut Vec<f32>) -> f32 {
    top_k::threshold(row, k, scratch)
}

/// Passes over `count` 64-bit outputs.
pub fn skip(generator: &mut Generator, count: usize) {
    generator.skip_f64(count);
}
