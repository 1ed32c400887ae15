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
        check_shape(values.len(), rows, vocab)?;
        Ok(Self { values, rows, vocab })
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

/// Logits of a batch in half precision, `[rows, vocab]`, row-major.
///
/// torch computes in f32 with what they are widened to, and so does [`Sampler::sample_half`], which
/// widens them as it reads them.
///
/// [`Sampler::sample_half`]: crate::Sampler::sample_half
#[derive(Debug, Clone, Copy)]
pub struct HalfLogits<'a> {
    bits: &'a [u16],
    is_brain: bool,
    rows: usize,
    vocab: usize,
}

impl<'a> HalfLogits<'a> {
    /// A batch of bf16, each of which is the upper half of an f32.
    ///
    /// # Errors
    ///
    /// [`SampleError::Shape`] where `bits` does not hold `rows * vocab` logits.
    pub fn bf16(bits: &'a [u16], rows: usize, vocab: usize) -> Result<Self, SampleError> {
        Self::new(bits, true, rows, vocab)
    }

    /// A batch of IEEE's binary16.
    ///
    /// # Errors
    ///
    /// [`SampleError::Shape`] where `bits` does not hold `rows * vocab` logits.
    pub fn f16(bits: &'a [u16], rows: usize, vocab: usize) -> Result<Self, SampleError> {
        Self::new(bits, false, rows, vocab)
    }

    fn new(
        bits: &'a [u16],
        is_brain: bool,
        rows: usize,
        vocab: usize,
    ) -> Result<Self, SampleError> {
        check_shape(bits.len(), rows, vocab)?;
        Ok(Self { bits, is_brain, rows, vocab })
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

    pub(crate) fn bits(self) -> &'a [u16] {
        self.bits
    }

    pub(crate) fn is_brain(self) -> bool {
        self.is_brain
    }
}

fn check_shape(values: usize, rows: usize, vocab: usize) -> Result<(), SampleError> {
    if rows.checked_mul(vocab) == Some(values) {
        Ok(())
    } else {
        Err(SampleError::Shape { values, rows, vocab })
    }
}
