//! What top-k and top-p leave of a row, to be drawn from.

use super::narrow::{are_at_least, sum_at_least};
use super::survivors::{Survivors, list_at_least};
use super::top_p::Nucleus;
use crate::draw::crowd::Crowd;
use crate::draw::race::SMALLEST;
use crate::planted::planted;

/// What top-k and top-p leave of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks<'a> {
    /// The top-k threshold.
    pub(crate) floor: f32,
    pub(crate) nucleus: Nucleus,
    /// Where the nucleus parts ties: which of them stay, ascending.
    pub(crate) kept_ties: &'a [u32],
}

impl Masks<'_> {
    /// What is less, both masks drop.
    fn least_kept(&self) -> f32 {
        match self.nucleus {
            Nucleus::All => self.floor,
            Nucleus::AtLeast(value) => self.floor.max(value),
            Nucleus::Split { tied } => tied,
        }
    }

    /// Drops those of the tied tokens that are not to stay.
    fn part_ties(&self, survivors: &mut Survivors) {
        if let Nucleus::Split { tied } = self.nucleus {
            let mut kept_ties = self.kept_ties.iter().peekable();
            survivors.retain(|token, probability| {
                probability != tied || kept_ties.next_if_eq(&&token).is_some()
            });
        }
    }

    /// Lists what is left of a row.
    pub(crate) fn list(&self, probs: &[f32], survivors: &mut Survivors) {
        // A zero survives no mask: it cannot be drawn.
        list_at_least(probs, self.least_kept().max(SMALLEST), survivors);
        self.part_ties(survivors);
    }

    /// [`list`](Self::list), of a row that is zero but for what is listed.
    pub(crate) fn take(&self, listed: &Survivors, survivors: &mut Survivors) {
        survivors.take_at_least(listed, self.least_kept());
        self.part_ties(survivors);
    }

    /// What is left, where that is much of a row and no tied tokens are parted.
    pub(crate) fn crowd(&self, probs: &[f32]) -> Option<Crowd> {
        /// Fewer survivors than one in this many are listed.
        const MANY: usize = 32;
        if let Nucleus::Split { .. } = self.nucleus {
            return None;
        }
        let least = if planted!(CrowdFloor) { self.floor } else { self.least_kept() };
        are_at_least(probs, least.max(SMALLEST), probs.len() / MANY)
            .then(|| Crowd { least, mass: sum_at_least(probs, least) })
    }
}
