//! The steps of a pipeline, and what each refuses.

use std::fmt;

/// One processor of transformers' `generate`, with its parameter: scores in, scores out.
///
/// What a step removes gets a score of -inf. Each keeps at least one token (`min_tokens_to_keep = 1`,
/// which `generate` has without beams).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// `RepetitionPenaltyLogitsProcessor`: the score of a token of the history is divided by the
    /// penalty, or multiplied where it is negative; once, however often the token occurs.
    RepetitionPenalty(f64),
    /// `TemperatureLogitsWarper`: scores / temperature.
    Temperature(f64),
    /// `TopKLogitsWarper`: scores below the k-th largest are removed, ties at it stay.
    TopK(usize),
    /// `TopPLogitsWarper`: of the tokens in ascending order, those are removed up to which the
    /// probabilities add up to at most 1 - `top_p`.
    TopP(f64),
    /// `MinPLogitsWarper`: probabilities below `min_p` times the largest are removed.
    MinP(f64),
    /// `TypicalLogitsWarper`: the tokens whose surprise is nearest to the entropy stay, up to a mass.
    TypicalP(f64),
    /// `EpsilonLogitsWarper`: probabilities below epsilon are removed.
    EpsilonCutoff(f64),
    /// `EtaLogitsWarper`: probabilities below min(eta, sqrt(eta) * exp(-entropy)) are removed.
    EtaCutoff(f64),
}

impl Step {
    /// The step's parameter as `generate` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RepetitionPenalty(_) => "repetition_penalty",
            Self::Temperature(_) => "temperature",
            Self::TopK(_) => "top_k",
            Self::TopP(_) => "top_p",
            Self::MinP(_) => "min_p",
            Self::TypicalP(_) => "typical_p",
            Self::EpsilonCutoff(_) => "epsilon_cutoff",
            Self::EtaCutoff(_) => "eta_cutoff",
        }
    }

    /// The conditions of transformers' constructors, with what they say of a NaN.
    pub(crate) fn check(self) -> Result<(), StepError> {
        let taken = match self {
            Self::RepetitionPenalty(value) | Self::Temperature(value) => value > 0.0,
            Self::TopK(k) => k > 0,
            Self::TopP(mass) => (0.0..=1.0).contains(&mass) || mass.is_nan(),
            Self::MinP(share) => (0.0..=1.0).contains(&share),
            Self::TypicalP(mass) => mass > 0.0 && mass < 1.0,
            Self::EpsilonCutoff(least) | Self::EtaCutoff(least) => {
                (least > 0.0 && least < 1.0) || least.is_nan()
            }
        };
        if taken { Ok(()) } else { Err(StepError(self)) }
    }
}

/// A step whose parameter transformers refuses; the message names both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepError(pub Step);

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.name();
        match self.0 {
            Step::RepetitionPenalty(value) | Step::Temperature(value) => {
                write!(f, "{name} = {value} must be > 0")
            }
            Step::TopK(k) => write!(f, "{name} = {k} must be > 0"),
            Step::TopP(value) | Step::MinP(value) => {
                write!(f, "{name} = {value} must be within [0, 1]")
            }
            Step::TypicalP(value) | Step::EpsilonCutoff(value) | Step::EtaCutoff(value) => {
                write!(f, "{name} = {value} must be > 0 and < 1")
            }
        }
    }
}

impl std::error::Error for StepError {}
