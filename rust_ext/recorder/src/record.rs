//! The lines of a recording, as `docs/recordings.md` defines them: one definition to write and to
//! read them by.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// The version of the form that is written here; no other one is read.
pub const VERSION: u64 = 1;

/// Bytes of a record's line, without its newline, at most: 1 MiB.
pub const LONGEST_LINE: usize = 1 << 20;

pub(crate) const HEADER: &str = "header";
pub(crate) const CALL: &str = "call";
pub(crate) const FED: &str = "fed";
pub(crate) const END: &str = "end";

pub(crate) const WHOLE: &str = "whole";
pub(crate) const TOP: &str = "top";
pub(crate) const DIGEST: &str = "digest";

/// Who recorded: the first record of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The engine's name.
    pub engine: String,
    /// The engine's version, in any form.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine_version: String,
    /// What wrote the file, with its version.
    #[serde(default)]
    pub writer: String,
    /// Anything else, text by name: model, commit, machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub about: BTreeMap<String, String>,
}

impl Header {
    /// The header of a recording of `engine`.
    #[must_use]
    pub fn new(engine: impl Into<String>) -> Self {
        let writer = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { engine: engine.into(), writer, ..Self::default() }
    }

    /// Sets the engine's version, in any form.
    #[must_use]
    pub fn engine_version(mut self, version: impl Into<String>) -> Self {
        self.engine_version = version.into();
        self
    }

    /// Adds anything else that tells one run from another: model, commit, machine.
    #[must_use]
    pub fn about(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.about.insert(name.into(), text.into());
        self
    }
}

/// One call of a sampler, without its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallLine {
    /// Number of the request, from 0.
    pub generation: u64,
    /// The phase's name, such as `global` or `semantic`.
    pub phase: String,
    /// Number of the call within its generation, from 0.
    pub call: u64,
    /// Where in the engine the call stands: `FILE:LINE`, and the function where it is known.
    #[serde(default)]
    pub site: String,
    /// Name of the function that is called.
    pub sampler: String,
    /// Every parameter by name; a number that JSON lacks is the text `nan`, `inf` or `-inf`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// Shape of the logits as passed: `[V]` or `[B, V]`.
    pub shape: Vec<usize>,
    /// Dtype of the logits as passed.
    pub dtype: Dtype,
    /// How much of the logits is kept: `whole`, `top` or `digest`.
    #[serde(default = "whole")]
    pub keep: String,
    /// First and last + 1 of the model's logits that were passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<[usize; 2]>,
    /// How many logits the model gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    /// SHA-256 of the logits' bytes in hexadecimal, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Where the draw's random numbers came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<RandomLine>,
    /// The token of each row; empty where the call failed.
    pub token: Vec<i64>,
    /// The tokens that the engine went on with instead, where it was forced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued: Option<Vec<i64>>,
    /// What the call raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl CallLine {
    /// Number of rows, B: 1 where the logits are `[V]`.
    #[must_use]
    pub fn rows(&self) -> usize {
        if let [rows, _] = self.shape[..] { rows } else { 1 }
    }

    /// The tokens that the engine went on with: the forced ones, or else its own.
    #[must_use]
    pub fn went_on_with(&self) -> &[i64] {
        self.continued.as_deref().unwrap_or(&self.token)
    }
}

fn whole() -> String {
    WHOLE.to_owned()
}

/// Where a draw's random numbers came from, without the generator's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RandomLine {
    /// `torch`, `numpy.RandomState`, `numpy.Generator`, `f32-walk` or any other name.
    pub source: String,
    /// Number of the generator object within the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<u64>,
    /// The seed that the generator was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Number>,
}

/// What a call raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The error's class, such as `RuntimeError` or `SampleError::EmptyVocabulary`.
    pub kind: String,
    /// Its message.
    pub message: String,
}

/// Tokens that the engine handed to its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fed {
    /// Number of the generation.
    pub generation: u64,
    /// Number of the call after which the tokens were fed; -1 where none came before.
    pub after: i64,
    /// The tokens, in order.
    pub tokens: Vec<i64>,
}

/// The last record of a recording that was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct End {
    /// How many calls were recorded.
    pub calls: u64,
    /// Why recording stopped before the engine did; empty where it did not.
    #[serde(default)]
    pub stopped: String,
}

/// A line as it is written: what the record is, its fields, and how many bytes follow.
#[derive(Serialize)]
pub(crate) struct Line<'a, T> {
    pub(crate) record: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    #[serde(flatten)]
    pub(crate) fields: &'a T,
    #[serde(skip_serializing_if = "nothing")]
    pub(crate) bytes: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn nothing(bytes: &usize) -> bool {
    *bytes == 0
}

/// What a reader looks at first: what the record is, and how many bytes follow.
#[derive(Deserialize)]
pub(crate) struct Envelope {
    pub(crate) record: String,
    #[serde(default)]
    pub(crate) version: Value,
    #[serde(default)]
    pub(crate) bytes: u64,
}
