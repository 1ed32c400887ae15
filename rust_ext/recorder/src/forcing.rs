//! The tokens of another recording, to continue with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::reader::{Ending, ReadError, Record, Records};

/// The tokens that another engine went on with, by generation, phase and call.
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
        for record in records.by_ref() {
            let Record::Call(call) = record? else { continue };
            let tokens = call.line.went_on_with().to_vec();
            let (generation, number) = (call.line.generation, call.line.call);
            let phase = phases.entry(generation).or_default().entry(call.line.phase).or_default();
            phase.insert(number, tokens);
        }
        Ok(Self { file, ending: records.ending(), phases })
    }

    /// The tokens that the other engine went on with at this call, one a row; none where it has no
    /// such call, or where that call failed.
    #[must_use]
    pub fn tokens(&self, generation: u64, phase: &str, call: u64) -> &[i64] {
        let calls = self.phases.get(&generation).and_then(|phases| phases.get(phase));
        calls.and_then(|calls| calls.get(&call)).map_or(&[], Vec::as_slice)
    }

    /// Says that a call could not be forced.
    pub(crate) fn lacks(&self, generation: u64, phase: &str, call: u64) -> String {
        let cut = if self.ending == Some(Ending::CutOff) { ", which was cut off," } else { "" };
        format!(
            "{}{cut} has no token to continue with at call {call} of generation {generation}, \
             phase {phase}",
            self.file.display()
        )
    }
}
