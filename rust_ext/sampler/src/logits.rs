//! A batch of logits.

use crate::error::SampleError;

/// Logits of a batch, `[rows, vocab]`, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    values: &'a [f32],
    rows: usize,
    vocab: usize,
}

impl<'a> Logits<'a> {
    /// A batch of `rows` rows of `vocab` logits each.
    ///
    /// # Errors
    ///
    /// [`SampleError::Shape`] where `values` does not hold `rows * vocab` logits.
    pub fn new(values: &'a [f32], rows: usize, vocab: usize) -> Result<Self, SampleError> {
        if rows.checked_mul(vocab) == Some(values.len()) {
            Ok(Self { values, rows, vocab })
        } else {
            Err(SampleError::Shape { values: values.len(), rows, vocab })
        }
    }

    /// A batch of one row.
    #[must_use]
    pub fn row(values: &'a [f32]) -> Self {
        Self { values, rows: 1, vocab: values.len() }
    }

    /// Number of rows, B.
    #[must_use]
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Tokens a row, V.
    #[must_use]
    pub fn vocab(self) -> usize {
        self.vocab
    }

    /// Every logit, row-major.
    #[must_use]
    pub fn values(self) -> &'a [f32] {
        self.values
    }

    pub(crate) fn each_row(self) -> impl Iterator<Item = &'a [f32]> {
        // `chunks_exact` rejects zero; an empty vocabulary was refused before.
        self.values.chunks_exact(self.vocab.max(1))
    }
}
