//! What gives the token of the stages sooner: each shortcut, with its proof beside its constants.

pub(crate) mod estimate;
pub(crate) mod exp_estimate;
pub(crate) mod few;
pub(crate) mod keep;
pub(crate) mod listing;
pub(crate) mod masks;
pub(crate) mod narrow;
pub(crate) mod peaks;
pub(crate) mod row_sampler;
pub(crate) mod shortlist;
pub(crate) mod softmax;
pub(crate) mod sparse_sum;
pub(crate) mod survivors;
pub(crate) mod top_k;
pub(crate) mod top_p;
