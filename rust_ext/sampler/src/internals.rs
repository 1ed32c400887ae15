//! What benchmarks and the tests of each instruction set look at; not part of the interface.

use crate::fast::exp_estimate::estimate;
use crate::fast::listing::{Listing, exp_sum_in};
use crate::simd::format::Single;
use crate::simd::kernel;
pub use crate::simd::{Kernel, force};
use crate::torch::capability::Capability;
use crate::torch::generator::Generator;

kernel! {
    /// The sum of a softmax's exponentials.
    #[must_use]
    pub fn exp_sum<'a>(wide; logits: &'a [f32], max: f32, capability: Capability) -> f32 {
        let listing = Listing { least: f32::INFINITY, peaks: &[], words: &mut Vec::new() };
        exp_sum_in(wide, logits, max, listing, capability)
    }
}

/// Writes estimates of a softmax's exponentials, and returns their sum.
#[must_use]
pub fn estimates(logits: &[f32], max: f32, out: &mut [f32]) -> f64 {
    estimate::<Single>(logits, max, std::f32::consts::LOG2_E, out)
}

/// Passes over `count` 64-bit outputs.
pub fn skip(generator: &mut Generator, count: usize) {
    generator.skip_f64(count);
}
