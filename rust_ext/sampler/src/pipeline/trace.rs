//! What a pipeline made of a batch, step by step.

/// Every step of one [`Pipeline`](super::Pipeline) call, in order; all row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PipelineTrace {
    /// The scores after each step, `[B, V]`; -inf where a token is removed.
    pub scores: Vec<Vec<f32>>,
    /// `[B, V]`, the softmax of the last scores: what the token is drawn from.
    pub probs: Vec<f32>,
    /// `[B]`.
    pub token: Vec<i64>,
    /// `[B]`, false where torch may have removed other tokens of the row.
    ///
    /// torch's own `exp`, `log` and `sqrt`, which [`Step::TypicalP`](super::Step::TypicalP) and
    /// [`Step::EtaCutoff`](super::Step::EtaCutoff) take the entropy with, are closed (Intel's VML), and
    /// may be either float next to the exact one. A row is certain where that cannot be seen in what
    /// is removed. Other steps are certain of every row.
    pub certain: Vec<bool>,
}
