//! The draw: the race of p / q.

pub(crate) mod multinomial;
