//! The stages of `sample_logits`, each for one row.

pub(crate) mod scale;
pub(crate) mod softmax;
