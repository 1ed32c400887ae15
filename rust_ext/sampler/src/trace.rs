//! The value of every stage, for one call.

use std::collections::TryReserveError;

use crate::error::SampleError;

/// Every stage of one [`sample_logits`](crate::sample_logits) call, in order; all row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleLogitsTrace {
    /// `[B, V]`, logits / temperature.
    pub scaled_logits: Vec<f32>,
    /// `[B, V]`, the softmax.
    pub probs: Vec<f32>,
    /// `[B, V]`, true where top-k keeps the token (everywhere if the stage is off).
    pub top_k_mask: Vec<bool>,
    /// `[B, V]`, true where top-p keeps the token (everywhere if the stage is off).
    pub top_p_mask: Vec<bool>,
    /// `[B, V]`, the distribution that the token is drawn from.
    pub renormalized: Vec<f32>,
    /// `[B]`.
    pub token: Vec<i64>,
}

impl SampleLogitsTrace {
    /// Nothing yet, with memory for so many rows: a caller's logits may lie in no memory of their
    /// size, where they are one row many times.
    pub(crate) fn with_room(rows: usize, vocab: usize) -> Result<Self, SampleError> {
        let mut trace = Self::default();
        let Self { scaled_logits, probs, top_k_mask, top_p_mask, renormalized, token } = &mut trace;
        let size = rows.saturating_mul(vocab);
        reserve(scaled_logits, size)
            .and_then(|()| reserve(probs, size))
            .and_then(|()| reserve(top_k_mask, size))
            .and_then(|()| reserve(top_p_mask, size))
            .and_then(|()| reserve(renormalized, size))
            .and_then(|()| reserve(token, rows))
            .map_err(|_| SampleError::OutOfMemory { rows, vocab })?;
        Ok(trace)
    }
}

impl SimpleBatchTrace {
    /// As [`SampleLogitsTrace::with_room`].
    pub(crate) fn with_room(rows: usize, vocab: usize) -> Result<Self, SampleError> {
        let mut trace = Self::default();
        let Self { scaled_logits, noised_logits, token } = &mut trace;
        let size = rows.saturating_mul(vocab);
        reserve(scaled_logits, size)
            .and_then(|()| reserve(noised_logits, size))
            .and_then(|()| reserve(token, rows))
            .map_err(|_| SampleError::OutOfMemory { rows, vocab })?;
        Ok(trace)
    }
}

fn reserve<T>(values: &mut Vec<T>, count: usize) -> Result<(), TryReserveError> {
    values.try_reserve_exact(count)
}

/// Every stage of one [`simple_batch_sampler`](crate::simple_batch_sampler) call, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SimpleBatchTrace {
    /// `[B, V]`, logits * (1 / temp).
    pub scaled_logits: Vec<f32>,
    /// `[B, V]`, with U[0, noise) added.
    pub noised_logits: Vec<f32>,
    /// `[B]`.
    pub token: Vec<i64>,
}
