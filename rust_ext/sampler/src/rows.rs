//! The rows of a batch.

use crate::error::{Offence, SampleError};
use crate::logits::Logits;
use crate::parameters::{Replay, SampleParameters};
use crate::torch::sums::Sharing;

/// The most categories that `torch.multinomial` takes: those that f32 can count.
pub(crate) const MOST_TOKENS: usize = 1 << 24;

/// The rows of a batch, and what is to be done with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) logits: Logits<'a>,
    pub(crate) parameters: &'a SampleParameters,
    pub(crate) replay: Replay,
}

impl<'a> Rows<'a> {
    pub(crate) fn row(&self, number: usize) -> Row<'a> {
        let &Self { logits, parameters, replay } = self;
        let (vocab, alone) = (logits.vocab(), logits.rows() == 1);
        let logits = &logits.values()[number * vocab..][..vocab];
        Row { logits, number, alone, parameters, replay }
    }
}

/// A row, and what is to be done with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) logits: &'a [f32],
    /// Its number in the batch.
    pub(crate) number: usize,
    /// Whether the batch has no other row.
    pub(crate) alone: bool,
    pub(crate) parameters: &'a SampleParameters,
    pub(crate) replay: Replay,
}

impl Row<'_> {
    /// How torch shares the row's renormalisation sum.
    pub(crate) fn sharing(self) -> Sharing {
        let Replay { capability, threads } = self.replay;
        Sharing { alone: self.alone, threads, capability }
    }

    /// What made the softmax NaN.
    pub(crate) fn invalid(self, scaled: &[f32]) -> SampleError {
        let Self { logits, number: row, parameters, .. } = self;
        let temperature = parameters.temperature;
        SampleError::InvalidProbabilities(if temperature == 0.0 || temperature.is_nan() {
            Offence::Temperature(temperature)
        } else {
            scaled.iter().position(|x| x.is_nan() || *x == f32::INFINITY).map_or(
                Offence::NoToken { row },
                |token| Offence::Logit { row, token, value: logits[token], temperature },
            )
        })
    }
}

/// A token as torch gives it.
pub(crate) fn to_token(index: usize) -> i64 {
    // A slice has at most isize::MAX elements.
    i64::try_from(index).unwrap_or(i64::MAX)
}
