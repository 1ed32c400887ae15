//! The ports as they were found, faults and all.
//!
//! Specimens: they show that the parity gate catches what it is there for. Each has a traced form
//! that says what its own steps made. Do not sample with them; compiled only with the feature
//! `specimens`.
//!
//! Where the description of what was found leaves something open, the choice is in the item's
//! documentation. Common to all three: an empty row gives token 0, nothing panics, and where no
//! generator is given (`None`) the thread's own is used.

mod fast_sampler;
mod sample_logits;
mod simple_batch_sampler;

use rand::RngExt;
use rand::rngs::StdRng;

pub use fast_sampler::{FastSampler, FastSamplerConfig, FastSamplerTrace, Path};
pub use sample_logits::{SampleLogitsTrace, sample_logits, trace_sample_logits};
pub use simple_batch_sampler::{
    SimpleBatchTrace, simple_batch_sampler, trace_simple_batch_sampler,
};

/// A uniform of [0, 1) with 24 bits.
fn uniform(rng: &mut Option<StdRng>) -> f32 {
    match rng {
        Some(rng) => rng.random(),
        None => rand::random(),
    }
}

/// The first index of the largest value; a NaN is never the largest.
fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    let mut largest = f32::NEG_INFINITY;
    for (index, &value) in values.iter().enumerate() {
        if value > largest {
            largest = value;
            best = index;
        }
    }
    best
}

/// The indices of a row in descending order of its values, equal ones in ascending order.
fn descending(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

/// exp(x - max) over its sum, which is taken in the order given.
fn softmax(values: &[f32]) -> Vec<f32> {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = values.iter().map(|x| (x - max).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}
