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

#[cfg(feature = "rayon")]
mod batch;
mod error;
#[cfg(feature = "planted-faults")]
mod fault;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod logits;
mod presets;
mod sample_logits;
mod simd;
mod simple_batch_sampler;
#[cfg(feature = "specimens")]
pub mod specimens;
mod stages;
mod torch;
mod trace;
mod watch;

pub use error::{Offence, SampleError, StateError};
#[cfg(feature = "planted-faults")]
pub use fault::Fault;
pub use logits::Logits;
pub use presets::{GLOBAL, PRESETS, Preset, SEMANTIC};
pub use sample_logits::{
    Replay, SampleParameters, Sampler, ZeroTemperature, draw, sample_logits, trace_sample_logits,
};
pub use simple_batch_sampler::{
    NoiseOrder, NoiseParameters, simple_batch_sampler, trace_simple_batch_sampler,
};
pub use torch::capability::Capability;
pub use torch::generator::{Generator, STATE_BYTES};
pub use trace::{SampleLogitsTrace, SimpleBatchTrace};

/// Whether a planted fault, one of several, or any is switched on; always `false` in what users
/// ship.
#[cfg(not(feature = "planted-faults"))]
macro_rules! planted {
    () => {
        false
    };
    ($($fault:ident)|+) => {
        false
    };
}
#[cfg(feature = "planted-faults")]
macro_rules! planted {
    () => {
        $crate::fault::any_is_planted()
    };
    ($($fault:ident)|+) => {
        $($crate::fault::is_planted($crate::fault::Fault::$fault))||+
    };
}
pub(crate) use planted;
