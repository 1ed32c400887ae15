//! The stages of `sample_logits`, each for one row.

pub(crate) mod estimate;
pub(crate) mod few;
pub(crate) mod keep;
pub(crate) mod narrow;
pub(crate) mod peaks;
pub(crate) mod renormalize;
pub(crate) mod scale;
pub(crate) mod shortlist;
pub(crate) mod softmax;
pub(crate) mod survivors;
pub(crate) mod top_k;
pub(crate) mod top_p;
