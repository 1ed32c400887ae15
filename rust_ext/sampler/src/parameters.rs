//! What a caller says of a call of `sample_logits`, but for its logits.

use std::num::NonZeroUsize;

use crate::torch::capability::Capability;

/// What a temperature of zero does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroTemperature {
    /// What the reference does: the probabilities are NaN, and the draw refuses them.
    #[default]
    Raise,
    /// What its author meant: the first index of the largest logit; the generator is left alone.
    Argmax,
}

/// The parameters of [`sample_logits`](crate::sample_logits); the default is the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleParameters {
    /// Divisor of the logits.
    pub temperature: f64,
    /// Nucleus mass, of the probabilities as top-k left them; off when not > 0.
    pub top_p: f64,
    /// Tokens below the `top_k`-th largest probability are dropped, ties at it stay; off when
    /// not > 0.
    pub top_k: i64,
    /// What `temperature == 0` does.
    pub zero_temperature: ZeroTemperature,
}

impl SampleParameters {
    /// The nucleus mass; a temperature of zero switches the stage off.
    pub(crate) fn nucleus_mass(&self) -> f64 {
        if self.temperature == 0.0 { 0.0 } else { self.top_p }
    }

    /// How many tokens top-k keeps, but for ties; `None` where it is off.
    pub(crate) fn kept(&self) -> Option<usize> {
        usize::try_from(self.top_k).ok().filter(|k| *k > 0)
    }
}

impl Default for SampleParameters {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 0.85,
            top_k: 0,
            zero_temperature: ZeroTemperature::default(),
        }
    }
}

/// Which torch is replayed: its bits depend on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Replay {
    /// torch's CPU dispatch level.
    pub capability: Capability,
    /// torch's thread count, `torch.get_num_threads()`. It shows in one place: the
    /// renormalisation sum of a batch of one row with more than 32,768 tokens.
    pub threads: NonZeroUsize,
}

impl Default for Replay {
    /// The level that torch would choose here, with one thread.
    fn default() -> Self {
        Self { capability: Capability::of_torch_here(), threads: NonZeroUsize::MIN }
    }
}
