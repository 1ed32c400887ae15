//! What an engine says of a call before it is made.

use std::ops::Range;

use serde_json::{Number, Value};

use crate::Logits;

/// A call of a sampler, as the engine is about to make it.
///
/// `generation`, `phase`, `sampler` and `logits` are needed; the rest is worth giving:
/// `..Call::default()` leaves it open.
#[derive(Debug, Clone, Default)]
pub struct Call<'a> {
    /// Number of the request, from 0. Calls of several generations may be interleaved.
    pub generation: u64,
    /// The phase's name, such as `global` or `semantic`.
    pub phase: &'a str,
    /// Name of the function that is called.
    pub sampler: &'a str,
    /// Every parameter by name, as the sampler gets it.
    pub parameters: &'a [(&'a str, Parameter)],
    /// The logits as passed. They are copied, so that the sampler may change them in place.
    pub logits: Logits<'a>,
    /// Which of the model's logits were passed.
    pub slice: Option<Range<usize>>,
    /// How many logits the model gave.
    pub vocabulary: Option<usize>,
    /// The tokens that the sampler looks back on, where it takes a history.
    pub history: Option<&'a [i64]>,
    /// Where the draw's random numbers come from.
    pub random: Option<Random<'a>>,
}

/// How much of the logits a recording keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    #[default]
    Whole,
    /// The largest of each row, so many, and the logarithm of the sum of `exp` of the others.
    Top(usize),
    /// Only their SHA-256.
    Digest,
}

/// A parameter's value: a number, text, true, false or null.
///
/// An f32 is kept as the number that it is: `0.95_f32` is 0.949999988079071, not 0.95. NaN and the
/// infinities, which JSON lacks, become the text `nan`, `inf` or `-inf`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter(pub(crate) Value);

impl From<f64> for Parameter {
    fn from(value: f64) -> Self {
        let text = match value {
            f64::INFINITY => "inf",
            f64::NEG_INFINITY => "-inf",
            _ => "nan",
        };
        Self(Number::from_f64(value).map_or_else(|| Value::from(text), Value::Number))
    }
}

impl From<f32> for Parameter {
    fn from(value: f32) -> Self {
        f64::from(value).into()
    }
}

impl<T: Into<Parameter>> From<Option<T>> for Parameter {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self(Value::Null), Into::into)
    }
}

macro_rules! parameter_from {
    ($($kind:ty)*) => {$(
        impl From<$kind> for Parameter {
            fn from(value: $kind) -> Self {
                Self(Value::from(value))
            }
        }
    )*};
}
parameter_from!(bool i8 i16 i32 i64 isize u8 u16 u32 u64 usize &str String);

/// Where a draw's random numbers come from.
#[derive(Debug, Clone, Copy)]
pub struct Random<'a> {
    pub(crate) source: &'a str,
    pub(crate) generator: Option<u64>,
    pub(crate) seed: Option<u64>,
    pub(crate) state: Option<&'a [u8]>,
}

impl<'a> Random<'a> {
    /// A source by its name: one that `docs/recordings.md` knows, such as `f32-walk`, or another.
    #[must_use]
    pub fn new(source: &'a str) -> Self {
        Self { source, generator: None, seed: None, state: None }
    }

    /// `torch.Generator("cpu")`, or a replay of it, with its state on entry: the 5,056 bytes of
    /// `get_state()`.
    #[must_use]
    pub fn torch(state: &'a [u8]) -> Self {
        Self::new("torch").state(state)
    }

    /// Sets the generator's state on entry, in the source's own form.
    #[must_use]
    pub fn state(self, state: &'a [u8]) -> Self {
        Self { state: Some(state), ..self }
    }

    /// Numbers the generator object: one that is made anew for each call has another number each
    /// time.
    #[must_use]
    pub fn generator(self, number: u64) -> Self {
        Self { generator: Some(number), ..self }
    }

    /// Sets the seed that the generator was made from.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }
}
