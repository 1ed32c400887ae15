//! What replays torch: its arithmetic, its sort and its generator.

pub(crate) mod capability;
pub(crate) mod exp;
pub(crate) mod exponential;
pub(crate) mod generator;
pub(crate) mod log;
pub(crate) mod measure;
pub(crate) mod partition;
pub(crate) mod sort;
pub(crate) mod state;
pub(crate) mod sums;
pub(crate) mod vml;
