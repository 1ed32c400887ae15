//! How wide a vector is, and the instruction set that every processor has.

/// Lanes of a vector, whatever registers hold it.
pub(crate) const LANES: usize = 16;

/// Without any instruction set of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;
