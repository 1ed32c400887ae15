//! The draw: the race of p / q.

pub(crate) mod contenders;
pub(crate) mod crowd;
pub(crate) mod multinomial;
pub(crate) mod notes;
pub(crate) mod race;
