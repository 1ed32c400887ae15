//! What a long call looks at now and then: whether it is to go on.

use crate::error::SampleError;

/// Logits that are drawn from, or prepared, between two looks: some milliseconds at most, and a tenth
/// of a second for a trace.
const STEP: usize = 1 << 20;

/// Counts the logits that a call has passed, and asks after every [`STEP`] of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    interrupted: Option<fn() -> bool>,
    passed: usize,
}

impl Watch {
    pub(crate) fn new(interrupted: Option<fn() -> bool>) -> Self {
        Self { interrupted, passed: 0 }
    }

    /// Whether a call may be interrupted that passes so many logits in all.
    pub(crate) fn may_interrupt(self, logits: usize) -> bool {
        self.interrupted.is_some() && logits >= STEP
    }

    /// Passes some logits.
    #[inline]
    pub(crate) fn pass(&mut self, logits: usize) -> Result<(), SampleError> {
        self.passed += logits;
        if self.passed < STEP {
            return Ok(());
        }
        self.passed = 0;
        match self.interrupted {
            Some(interrupted) if interrupted() => Err(SampleError::Interrupted),
            _ => Ok(()),
        }
    }
}
