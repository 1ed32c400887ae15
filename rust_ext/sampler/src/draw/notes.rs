//! Memory of draws.

use super::contenders::Contender;
use super::race::Race;
use crate::simd::mersenne::Output;

/// What a draw notes, in memory used again from draw to draw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) race: Race,
    /// Of each survivor: its output, and what its p / q cannot exceed, but for rounding.
    pub(crate) outputs: Vec<Output>,
    pub(crate) limits: Vec<f32>,
    pub(crate) contenders: Vec<Contender>,
}
