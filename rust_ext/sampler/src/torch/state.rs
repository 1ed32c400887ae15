//! The state of `torch.Generator("cpu")`, in torch's form.

use std::fmt;

/// Length of `torch.Generator("cpu").get_state()`, in bytes.
pub const STATE_BYTES: usize = 5056;

/// Why a generator refused a state; the generator is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The state does not have `torch`'s length.
    Length {
        /// Length of the state given, in bytes.
        given: usize,
    },
    /// The position in the state is impossible.
    Position {
        /// Outputs left before the next twist, plus one.
        left: i32,
        /// Index of the next output.
        next: u64,
        /// The flag that says that the state is seeded.
        seeded: i32,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { given } => write!(
                f,
                "state has {given} bytes: torch.Generator(\"cpu\").get_state() has {STATE_BYTES}"
            ),
            Self::Position { left, next, seeded } => write!(
                f,
                "state is not a valid mt19937 state: left = {left}, next = {next}, seeded = {seeded}"
            ),
        }
    }
}

impl std::error::Error for StateError {}
