//! What can be wrong with an input, as values.

use std::fmt;

/// Why a sampler refused its input.
///
/// The variants follow the reference's own refusals; each message names the argument and its
/// value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SampleError {
    /// The logits have no tokens, and a largest or first one was looked for.
    EmptyVocabulary,
    /// The logits have no tokens, and one was to be drawn (top-p being off).
    NothingToDraw,
    /// `top_k` exceeds the vocabulary.
    TopKOutOfRange {
        /// The argument.
        top_k: i64,
        /// Tokens a row.
        vocab: usize,
    },
    /// The probabilities would be NaN, infinite or negative.
    InvalidProbabilities(Offence),
    /// More tokens a row than `torch.multinomial` takes (2^24).
    TooManyTokens {
        /// Tokens a row.
        vocab: usize,
    },
    /// The simple sampler's temperature is not greater than zero.
    TemperatureNotPositive {
        /// The argument.
        temp: f64,
    },
    /// The noise is negative, NaN, infinite or beyond f32.
    NoiseOutOfRange {
        /// The argument.
        noise: f64,
    },
    /// The forbidden token is not in the vocabulary.
    ForbiddenTokenOutOfRange {
        /// The argument.
        token: usize,
        /// Tokens a row.
        vocab: usize,
    },
    /// What [`Sampler::interrupt_when`](crate::Sampler::interrupt_when) was given said so.
    Interrupted,
    /// There is no memory for what is to be returned.
    OutOfMemory {
        /// Rows of logits.
        rows: usize,
        /// Tokens a row.
        vocab: usize,
    },
    /// A step reads the history, and there is none.
    NoHistory,
    /// The number of earlier tokens is not rows times length.
    HistoryShape {
        /// Number of tokens given.
        tokens: usize,
        /// Rows asked for.
        rows: usize,
        /// Tokens a row asked for.
        length: usize,
    },
    /// The history has another number of rows than the logits.
    HistoryRows {
        /// Rows of the history.
        history: usize,
        /// Rows of logits.
        rows: usize,
    },
    /// A token of the history is negative.
    NegativeToken {
        /// Its row.
        row: usize,
        /// Its place in the row.
        place: usize,
        /// Its value.
        token: i64,
    },
    /// The output's length is not the number of rows.
    OutputLength {
        /// Length of the output given.
        given: usize,
        /// Rows of logits.
        rows: usize,
    },
    /// The number of logits is not rows times vocabulary.
    Shape {
        /// Number of logits given.
        values: usize,
        /// Rows asked for.
        rows: usize,
        /// Tokens a row asked for.
        vocab: usize,
    },
}

/// What makes a row's probabilities invalid.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Offence {
    /// The temperature alone does it.
    Temperature(f64),
    /// One logit is NaN or infinite on the large side, before or after scaling.
    Logit {
        /// Its row.
        row: usize,
        /// Its token.
        token: usize,
        /// Its value.
        value: f32,
        /// The temperature it was divided by.
        temperature: f64,
    },
    /// What the steps of a pipeline made of one logit is NaN or infinite on the large side.
    Score {
        /// Its row.
        row: usize,
        /// Its token.
        token: usize,
        /// The logit.
        value: f32,
        /// What became of it.
        score: f32,
    },
    /// Every logit of the row is infinite on the small side, so that no token is possible.
    NoToken {
        /// The row.
        row: usize,
    },
    /// A probability that was handed over is NaN, infinite or negative.
    Probability {
        /// Its row.
        row: usize,
        /// Its token.
        token: usize,
        /// Its value.
        value: f32,
    },
    /// Every probability of the row that was handed over is zero.
    NoMass {
        /// The row.
        row: usize,
    },
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::EmptyVocabulary | Self::NothingToDraw => {
                write!(f, "logits have V = 0 tokens a row: there is none to choose")
            }
            Self::TopKOutOfRange { top_k, vocab } => {
                write!(f, "top_k = {top_k} is out of range: logits have V = {vocab} tokens a row")
            }
            Self::InvalidProbabilities(offence) => {
                write!(f, "the probabilities contain inf, nan or an element < 0: ")?;
                match offence {
                    Offence::Temperature(t) if t == 0.0 => write!(
                        f,
                        "temperature = {t} divides by zero (zero_temperature = \"argmax\" gives the largest logit)"
                    ),
                    Offence::Temperature(t) => write!(f, "temperature = {t}"),
                    Offence::Logit { row, token, value, temperature } => {
                        write!(f, "logits[{row}, {token}] = {value} at temperature = {temperature}")
                    }
                    Offence::Score { row, token, value, score } => {
                        write!(f, "logits[{row}, {token}] = {value} has a score of {score}")
                    }
                    Offence::NoToken { row } => {
                        write!(f, "every token of row {row} of logits is masked with -inf")
                    }
                    Offence::Probability { row, token, value } => {
                        write!(f, "probs[{row}, {token}] = {value}")
                    }
                    Offence::NoMass { row } => {
                        write!(f, "every probability of row {row} is zero")
                    }
                }
            }
            Self::TooManyTokens { vocab } => {
                write!(
                    f,
                    "logits have V = {vocab} tokens a row: more than 2^24 cannot be drawn from"
                )
            }
            Self::TemperatureNotPositive { temp } => {
                write!(f, "temp = {temp} must be > 0: use noise = 0 for greedy decoding")
            }
            Self::NoiseOutOfRange { noise } => {
                write!(f, "noise = {noise} must be within [0, {:e}]", f32::MAX)
            }
            Self::ForbiddenTokenOutOfRange { token, vocab } => write!(
                f,
                "forbid_token = {token} is out of range: logits have V = {vocab} tokens a row"
            ),
            Self::Interrupted => write!(f, "the call was interrupted"),
            Self::OutOfMemory { rows, vocab } => {
                write!(f, "there is no memory for the stages of {rows} rows of {vocab} tokens")
            }
            Self::NoHistory => {
                write!(f, "history = None: a repetition_penalty is of the tokens that came before")
            }
            Self::HistoryShape { tokens, rows, length } => {
                write!(f, "history holds {tokens} tokens: {rows} rows of {length} were asked for")
            }
            Self::HistoryRows { history, rows } => {
                write!(f, "history has {history} rows: logits have {rows}")
            }
            Self::NegativeToken { row, place, token } => {
                write!(f, "history[{row}, {place}] = {token} is negative")
            }
            Self::OutputLength { given, rows } => {
                write!(f, "tokens has length {given}: logits have {rows} rows")
            }
            Self::Shape { values, rows, vocab } => {
                write!(
                    f,
                    "logits hold {values} values: {rows} rows of {vocab} tokens were asked for"
                )
            }
        }
    }
}

impl std::error::Error for SampleError {}
