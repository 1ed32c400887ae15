//! The parameters that the TTS stages pass to `sample_logits`, in one place.

use crate::parameters::{SampleParameters, ZeroTemperature};

/// The parameters of one TTS stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// The stage's name.
    pub name: &'static str,
    /// What the stage passes to [`sample_logits`](crate::sample_logits).
    pub parameters: SampleParameters,
    /// The stage samples from the first `vocab` logits.
    pub vocab: usize,
    /// The longest sequence the stage draws.
    pub max_tokens: usize,
    /// The token that ends the stage, or `None` where the length is fixed.
    pub stop_token: Option<usize>,
}

const fn parameters(top_k: i64) -> SampleParameters {
    SampleParameters {
        temperature: 1.0,
        top_p: 0.95,
        top_k,
        zero_temperature: ZeroTemperature::Raise,
    }
}

/// The speaker stage: 32 tokens over the first 4,096 logits.
pub const GLOBAL: Preset = Preset {
    name: "global",
    parameters: parameters(20),
    vocab: 4096,
    max_tokens: 32,
    stop_token: None,
};

/// The speech stage: up to 2,048 tokens over the first 8,193 logits; token 8,192 ends it.
pub const SEMANTIC: Preset = Preset {
    name: "semantic",
    parameters: parameters(80),
    vocab: 8193,
    max_tokens: 2048,
    stop_token: Some(8192),
};

/// Every preset, in the order the TTS runs them.
pub const PRESETS: [Preset; 2] = [GLOBAL, SEMANTIC];
