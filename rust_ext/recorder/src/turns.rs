//! Which turn of its phase a call belongs to.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The turns of one generation, as its calls come.
///
/// A turn is one call, or several that draw again from the same logits, with nothing fed to the
/// model in between: of all but the last the engine has refused the token.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    begun: HashMap<String, u64>,
    phase: String,
    logits: Option<u64>,
    /// Whether the model is known to have been fed anything before the latest call.
    told: bool,
    /// Whether it was fed anything after it.
    fed: bool,
}

impl Turns {
    /// Notes that the model was fed something.
    pub(crate) fn fed(&mut self) {
        self.fed = true;
    }

    /// Gives the number of the turn, within its phase, that the next call belongs to. `logits` tell
    /// the call's logits from others; a call of which they are not known begins a turn.
    pub(crate) fn next(&mut self, phase: &str, logits: Option<u64>) -> u64 {
        let same = logits.is_some() && logits == self.logits && phase == self.phase;
        let again = self.told && !self.fed && same;
        let begun = self.begun.entry(phase.to_owned()).or_default();
        if !again {
            *begun += 1;
            self.told |= self.fed;
        }
        let number = *begun - 1;
        phase.clone_into(&mut self.phase);
        self.logits = logits;
        self.fed = false;
        number
    }
}

/// What tells logits from others: a hash of what a recording keeps of them.
pub(crate) fn mark<'a>(digest: &str, tensors: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    digest.hash(&mut hasher);
    for bytes in tensors {
        bytes.hash(&mut hasher);
    }
    hasher.finish()
}

/// The tensors that hold what is kept of the logits.
pub(crate) const OF_LOGITS: [&str; 3] = ["logits", "tokens", "rest"];
