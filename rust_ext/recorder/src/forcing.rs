//! The tokens of another recording, to continue with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::reader::{Ending, ReadError, Record, Records};
use crate::turns::{OF_LOGITS, Turns, mark};

/// The tokens that another engine went on with, by generation, phase and turn.
///
/// A turn is a call, or several that draw again from the same logits, with nothing fed to the model
/// in between: an engine that refuses tokens more often than the other stays beside it.
///
/// With it an engine that has parted from the other stays comparable at every later call: its
/// sampler returns what it returns, and the engine goes on with the other's token.
#[derive(Debug, Clone)]
pub struct Forcing {
    file: PathBuf,
    ending: Option<Ending>,
    phases: HashMap<u64, HashMap<String, HashMap<u64, Vec<i64>>>>,
}

impl Forcing {
    /// Reads the tokens of a recording; of one that was cut off, those before the cut.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the file cannot be read or is broken.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let file = path.as_ref().to_owned();
        let mut records = Records::open(&file)?;
        let mut phases: HashMap<u64, HashMap<String, HashMap<u64, Vec<i64>>>> = HashMap::new();
        let mut turns: HashMap<u64, Turns> = HashMap::new();
        for record in records.by_ref() {
            let call = match record? {
                Record::Call(call) => call,
                Record::Fed(fed) => {
                    turns.entry(fed.generation).or_default().fed();
                    continue;
                }
                Record::End(_) => continue,
            };
            let tokens = call.line.went_on_with().to_vec();
            let generation = call.line.generation;
            let kept = OF_LOGITS.iter().filter_map(|name| call.tensors.get(*name));
            let logits = mark(&call.line.digest, kept.map(|tensor| tensor.bytes.as_slice()));
            let turn = turns.entry(generation).or_default().next(&call.line.phase, Some(logits));
            let phase = phases.entry(generation).or_default().entry(call.line.phase).or_default();
            phase.insert(turn, tokens);
        }
        Ok(Self { file, ending: records.ending(), phases })
    }

    /// The tokens that the other engine went on with at this turn of a phase, one a row; none where
    /// it has no such turn, or where its call failed.
    #[must_use]
    pub fn tokens(&self, generation: u64, phase: &str, turn: u64) -> &[i64] {
        let turns = self.phases.get(&generation).and_then(|phases| phases.get(phase));
        turns.and_then(|turns| turns.get(&turn)).map_or(&[], Vec::as_slice)
    }

    /// Says that a call could not be forced.
    pub(crate) fn lacks(&self, generation: u64, phase: &str, turn: u64) -> String {
        let cut = if self.ending == Some(Ending::CutOff) { ", which was cut off," } else { "" };
        format!(
            "{}{cut} has no token to continue with at call {turn} of phase {phase}, generation \
             {generation}",
            self.file.display()
        )
    }
}
