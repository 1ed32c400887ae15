//! What gives the token of the stages sooner: each shortcut beside its proof.

pub(crate) mod estimate;
pub(crate) mod few;
pub(crate) mod keep;
pub(crate) mod masks;
pub(crate) mod narrow;
pub(crate) mod peaks;
pub(crate) mod shortlist;
pub(crate) mod survivors;
pub(crate) mod top_k;
pub(crate) mod top_p;
