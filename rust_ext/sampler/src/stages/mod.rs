//! The definition: each stage of a sampler, plainly, over a whole row.
//!
//! Nothing here is fast, but for what draws share with it. [`distribution`] takes the stages of
//! `sample_logits` in order.

pub(crate) mod argmax;
pub(crate) mod distribution;
pub(crate) mod log_softmax;
pub(crate) mod multinomial;
pub(crate) mod renormalize;
pub(crate) mod scale;
pub(crate) mod softmax;
pub(crate) mod top_k;
pub(crate) mod top_p;
