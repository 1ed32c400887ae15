//! The ports as they were found, faults and all.
//!
//! Specimens: they show that the parity gate catches what it is there for. Each has a traced form
//! that says what its own steps made. Do not sample with them; compiled only with the feature
//! `specimens`.
//!
//! Where the description of what was found leaves something open, the choice is in the item's
//! documentation. Common to all three: an empty row gives token 0, nothing panics, and where no
//! generator is given (`None`) the thread's own is used.

mod common;
mod fast_sampler;
mod sample_logits;
mod simple_batch_sampler;

pub use fast_sampler::{FastSampler, FastSamplerConfig, FastSamplerTrace, Path};
pub use sample_logits::{SampleLogitsTrace, sample_logits, trace_sample_logits};
pub use simple_batch_sampler::{
    SimpleBatchTrace, simple_batch_sampler, trace_simple_batch_sampler,
};
