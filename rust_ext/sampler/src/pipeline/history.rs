//! The tokens that came before.

use crate::error::SampleError;

/// Earlier tokens of a batch, `[rows, length]`, row-major: what a repetition penalty is of.
///
/// A token that is not less than the vocabulary is ignored, as transformers ignores it: so can the
/// places be filled that are padding.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    tokens: &'a [i64],
    rows: usize,
    length: usize,
}

impl<'a> History<'a> {
    /// The earlier tokens of `rows` rows, `length` of each.
    ///
    /// # Errors
    ///
    /// [`SampleError::HistoryShape`] where `tokens` does not hold `rows * length` of them.
    pub fn new(tokens: &'a [i64], rows: usize, length: usize) -> Result<Self, SampleError> {
        if rows.checked_mul(length) == Some(tokens.len()) {
            Ok(Self { tokens, rows, length })
        } else {
            Err(SampleError::HistoryShape { tokens: tokens.len(), rows, length })
        }
    }

    /// The earlier tokens of one row.
    #[must_use]
    pub fn row(tokens: &'a [i64]) -> Self {
        Self { tokens, rows: 1, length: tokens.len() }
    }

    /// Number of rows, B.
    #[must_use]
    pub fn rows(self) -> usize {
        self.rows
    }

    /// The tokens of one row.
    pub(crate) fn of(self, row: usize) -> &'a [i64] {
        &self.tokens[row * self.length..][..self.length]
    }

    /// What torch refuses.
    pub(crate) fn check(self) -> Result<(), SampleError> {
        match self.tokens.iter().position(|token| *token < 0) {
            None => Ok(()),
            Some(at) => Err(SampleError::NegativeToken {
                row: at / self.length,
                place: at % self.length,
                token: self.tokens[at],
            }),
        }
    }
}
