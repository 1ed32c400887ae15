//! Token samplers that give `PyTorch`'s CPU tokens for `PyTorch`'s seeds, bit for bit.
//!
//! Two samplers are here: [`sample_logits`] (temperature, softmax, top-k, top-p, renormalise,
//! draw) and [`simple_batch_sampler`] (argmax of scaled logits plus uniform noise). Both replay
//! what `torch` computes in float32 on a CPU: the order of every summation, the polynomial of
//! every exponential, the order of an unstable sort where it shows, and the stream of
//! `torch.Generator("cpu")`.
//!
//! ```
//! use torch_exact_sampler::{Generator, Logits, Replay, SampleParameters, sample_logits};
//!
//! let logits = [0.1_f32, 2.0, -1.0, 0.5];
//! let mut generator = Generator::new(42);
//! let tokens = sample_logits(
//!     Logits::row(&logits),
//!     &SampleParameters { top_k: 2, ..SampleParameters::default() },
//!     Replay::default(),
//!     &mut generator,
//! )?;
//! assert_eq!(tokens.len(), 1);
//! # Ok::<(), torch_exact_sampler::SampleError>(())
//! ```
//!
//! # Which torch
//!
//! torch's own bits depend on the CPU dispatch level it runs at and, for one long row, on its
//! thread count. Both are arguments here ([`Replay`]), and any level's bits are computed on any
//! machine: lanes are an order of summation, not a hardware feature.
//!
//! # Without allocation
//!
//! [`Sampler`] holds the workspace; after the first call on a row length it allocates nothing.
//!
//! # In parallel
//!
//! With the feature `rayon`, rows of a batch of four or more are shared between the threads of the
//! current pool; the tokens are the same for any number of threads.
//!
//! # Values are public API
//!
//! The tokens for a given seed never change within a major version.

// From the lowest to the highest: a file imports files of its own folder or of lower ones.

#[cfg(feature = "planted-faults")]
mod fault;
mod planted;

mod error;
mod logits;
mod trace;
mod watch;

mod simd;

mod torch;

mod parameters;
mod rows;

mod stages;

mod draw;

mod fast;

#[cfg(feature = "rayon")]
mod batch;

#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod pipeline;
mod presets;
mod sample_logits;
mod simple_batch_sampler;
#[cfg(feature = "specimens")]
pub mod specimens;

pub mod plain_stages;
#[cfg(feature = "planted-faults")]
mod planted_calls;

pub use error::{Offence, SampleError};
#[cfg(feature = "planted-faults")]
pub use fault::{Fault, Shipped};
pub use logits::{HalfLogits, Logits};
pub use parameters::{Replay, SampleParameters, ZeroTemperature};
pub use pipeline::{
    GenerateOptions, History, Pipeline, PipelineTrace, PipelineWorkspace, Step, StepError,
};
#[cfg(feature = "planted-faults")]
#[doc(hidden)]
pub use planted_calls::{MISSED, PlantedCall};
pub use presets::{GLOBAL, PRESETS, Preset, SEMANTIC};
pub use sample_logits::{Sampler, draw, sample_logits, trace_sample_logits};
pub use simple_batch_sampler::{
    NoiseOrder, SimpleBatchParameters, simple_batch_sampler, trace_simple_batch_sampler,
};
pub use torch::capability::Capability;
pub use torch::generator::Generator;
pub use torch::state::{STATE_BYTES, StateError};
pub use trace::{SampleLogitsTrace, SimpleBatchTrace};

/// The listing of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
