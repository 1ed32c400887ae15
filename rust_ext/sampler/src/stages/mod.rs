//! The stages of `sample_logits`, each for one row.

pub(crate) mod keep;
pub(crate) mod renormalize;
pub(crate) mod scale;
pub(crate) mod softmax;
pub(crate) mod top_k;
pub(crate) mod top_p;
