//! The value of every stage, for one call.

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
