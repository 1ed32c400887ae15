//! The recorder: what an engine calls.

use std::collections::HashMap;
use std::io::{self, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fmt, thread};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Number;

use crate::reader::Tensor;
use crate::record::{CALL, CallLine, FED, Failure, Fed, Header, RandomLine};
use crate::turns::{OF_LOGITS, Turns, mark};
use crate::writer::Writer;
use crate::{Call, Forcing, Keep};

/// Tokens a record of `fed` holds at most: its line stays below the longest one at any token.
const MOST_FED: usize = 1 << 15;

/// Records what an engine's samplers are called with and return.
///
/// It never ends the engine: at the first error recording stops, later calls cost next to nothing,
/// and [`Recorder::finish`] says why. It can be shared between threads.
///
/// Each record is handed to the operating system in one write as its call returns: an engine that
/// is killed loses nothing that had returned. No write is forced onto the disk (`fsync`).
pub struct Recorder {
    path: PathBuf,
    keep: Keep,
    forcing: Option<Forcing>,
    /// Whether anything can still be recorded: a look at it takes no lock.
    recording: AtomicBool,
    state: Mutex<State>,
}

struct State {
    writer: Writer,
    unforced: Unforced,
    /// Of each generation, where the recorder is forced.
    turns: HashMap<u64, Turns>,
    told: bool,
}

/// The calls at which the other recording had no token.
#[derive(Default)]
struct Unforced {
    calls: u64,
    first: String,
}

/// How a recording went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// How many calls were recorded.
    pub calls: u64,
    /// Why recording stopped before the engine did, if it did.
    pub stopped: Option<String>,
    /// Where the other recording had no token to continue with, if it lacked any.
    pub unforced: Option<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} calls recorded", self.path.display(), self.calls)?;
        if let Some(why) = &self.stopped {
            write!(f, "; recording stopped: {why}")?;
        }
        if let Some(why) = &self.unforced {
            write!(f, "; not forced: {why}")?;
        }
        Ok(())
    }
}

/// An integer that can be a token.
pub trait Token: Copy + TryInto<i64> + TryFrom<i64> {}

impl<T: Copy + TryInto<i64> + TryFrom<i64>> Token for T {}

impl Recorder {
    /// Begins a recording; a file that is there already is written over.
    ///
    /// This never fails: where the file cannot be opened, nothing is recorded, and
    /// [`Recorder::finish`] says so.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "a header is made where it is used")]
    pub fn create(path: impl AsRef<Path>, header: Header) -> Self {
        let path = path.as_ref().to_owned();
        let writer = Writer::create(&path, &header);
        Self::from(path, writer)
    }

    pub(crate) fn from(path: PathBuf, writer: Writer) -> Self {
        let recording = AtomicBool::new(writer.is_open());
        let state =
            State { writer, unforced: Unforced::default(), turns: HashMap::new(), told: false };
        let keep = Keep::Whole;
        Self { path, keep, forcing: None, recording, state: Mutex::new(state) }
    }

    /// Sets how much of the logits is kept.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Lets the engine continue with another recording's tokens: [`OpenCall::returned`] then gives
    /// those.
    ///
    /// Where the other recording has no such call, the engine goes on with its own token, and
    /// [`Recorder::finish`] says so. A recording that stops leaves the engine forced.
    #[must_use]
    pub fn forced_by(mut self, forcing: Forcing) -> Self {
        self.forcing = Some(forcing);
        self
    }

    /// Opens a call, just before the sampler is called; the place where this stands is the call's
    /// site.
    #[track_caller]
    pub fn call(&self, call: Call<'_>) -> OpenCall<'_> {
        let site = Location::caller();
        let Call { generation, phase, sampler, .. } = call;
        let entry = if self.is_recording() { Some(entry(call, self.keep, site)) } else { None };
        let entry = entry.and_then(|entry| match entry {
            Ok(entry) => Some(entry),
            Err(why) => {
                self.stop(&format!("{sampler} at {}:{}: {why}", site.file(), site.line()));
                None
            }
        });
        let phase = if self.forcing.is_some() { phase.to_owned() } else { String::new() };
        OpenCall { recorder: self, generation, phase, entry, returned: false }
    }

    /// Records what the engine hands to its model after the latest call of this generation.
    pub fn fed<T: Token>(&self, generation: u64, tokens: &[T]) {
        if !self.is_recording() {
            return;
        }
        let Some(tokens) = to_i64(tokens) else {
            return self.stop("a token that was fed does not fit into 64 bits");
        };
        let mut state = self.lock();
        if self.forcing.is_some() {
            state.turns.entry(generation).or_default().fed();
        }
        let made = state.writer.made(generation);
        let after = i64::try_from(made).map_or(i64::MAX, |made| made - 1);
        for tokens in tokens.chunks(MOST_FED) {
            state.writer.append(FED, &Fed { generation, after, tokens: tokens.to_vec() });
        }
        self.settle(&state);
    }

    /// Closes the recording and says how it went. What is called afterwards is not recorded.
    ///
    /// A recorder that is dropped is closed as well, and says on the standard error stream what
    /// went wrong.
    #[allow(clippy::must_use_candidate, reason = "who does not ask is not told")]
    pub fn finish(&self) -> Outcome {
        let mut state = self.lock();
        state.told = true;
        state.writer.close();
        self.settle(&state);
        let unforced = &state.unforced;
        Outcome {
            path: self.path.clone(),
            calls: state.writer.calls,
            stopped: state.writer.stopped.clone(),
            unforced: match unforced.calls {
                0 => None,
                1 => Some(unforced.first.clone()),
                more => Some(format!("{}, and so at {more} calls in all", unforced.first)),
            },
        }
    }

    fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    fn stop(&self, why: &str) {
        let mut state = self.lock();
        state.writer.stop(why.to_owned());
        self.settle(&state);
    }

    /// Lets every thread see, without the lock, whether the file is still open.
    fn settle(&self, state: &State) {
        self.recording.store(state.writer.is_open(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.lock().told {
            return;
        }
        let outcome = self.finish();
        if outcome.stopped.is_some() || outcome.unforced.is_some() {
            // Nothing is left to tell where the stream is closed.
            let _ = writeln!(io::stderr(), "{outcome}");
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is known of a call before it returns.
struct Entry {
    line: CallLine,
    tensors: Vec<(&'static str, Tensor)>,
}

fn entry(call: Call<'_>, keep: Keep, site: &Location<'_>) -> Result<Entry, String> {
    let kept = call.logits.keep(keep)?;
    let mut tensors = kept.tensors;
    if let Some(history) = call.history {
        let bytes = history.iter().flat_map(|token| token.to_le_bytes()).collect();
        tensors.push(("history", Tensor { dtype: Dtype::I64, shape: vec![history.len()], bytes }));
    }
    if let Some(state) = call.random.and_then(|random| random.state) {
        tensors.push(("state_before", bytes(state)));
    }
    let line = CallLine {
        generation: call.generation,
        phase: call.phase.to_owned(),
        call: 0, // Known when the call returns.
        site: format!("{}:{}", site.file(), site.line()),
        sampler: call.sampler.to_owned(),
        parameters: (call.parameters.iter())
            .map(|(name, value)| ((*name).to_owned(), value.0.clone()))
            .collect(),
        shape: kept.shape,
        dtype: kept.dtype,
        keep: kept.keep.to_owned(),
        slice: call.slice.map(|slice| [slice.start, slice.end]),
        vocabulary: call.vocabulary,
        digest: kept.digest,
        random: call.random.map(|random| RandomLine {
            source: random.source.to_owned(),
            generator: random.generator,
            seed: random.seed.map(Number::from),
        }),
        token: Vec::new(),
        continued: None,
        error: None,
    };
    Ok(Entry { line, tensors })
}

fn bytes(bytes: &[u8]) -> Tensor {
    Tensor { dtype: Dtype::U8, shape: vec![bytes.len()], bytes: bytes.to_vec() }
}

impl Entry {
    /// What tells the call's logits from others.
    fn mark(&self) -> u64 {
        let kept = self.tensors.iter().filter(|(name, _)| OF_LOGITS.contains(name));
        mark(&self.line.digest, kept.map(|(_, tensor)| tensor.bytes.as_slice()))
    }

    fn tensor_bytes(&self) -> Result<Vec<u8>, String> {
        let views = self.tensors.iter().map(|(name, tensor)| {
            TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)
                .map(|view| (*name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>();
        views
            .and_then(|views| safetensors::serialize(views, None))
            .map_err(|error| format!("its tensors: {error}"))
    }
}

/// A call that has not returned yet.
///
/// One that is dropped without a result is recorded as failed: the engine left it, or panicked.
pub struct OpenCall<'r> {
    recorder: &'r Recorder,
    generation: u64,
    /// Known where the recorder is forced.
    phase: String,
    entry: Option<Entry>,
    returned: bool,
}

impl OpenCall<'_> {
    /// Sets the generator's state on exit, in the source's own form.
    pub fn state_after(&mut self, state: &[u8]) {
        self.set("state_after", || bytes(state));
    }

    /// Sets the random values that the call has used, in order.
    pub fn drawn(&mut self, values: &[f64]) {
        self.set("drawn", || Tensor {
            dtype: Dtype::F64,
            shape: vec![values.len()],
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
    }

    /// Sets the random values that the call has used, in order, where they are of 32 bits.
    pub fn drawn_f32(&mut self, values: &[f32]) {
        self.set("drawn", || Tensor {
            dtype: Dtype::F32,
            shape: vec![values.len()],
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
    }

    fn set(&mut self, name: &'static str, tensor: impl FnOnce() -> Tensor) {
        if let Some(entry) = &mut self.entry {
            entry.tensors.retain(|(other, _)| *other != name);
            entry.tensors.push((name, tensor()));
        }
    }

    /// Records the token of a call on one row, and gives the token to go on with: this one, or the
    /// other recording's where the recorder is forced.
    pub fn returned<T: Token>(self, token: T) -> T {
        self.returned_all(&[token]).first().copied().unwrap_or(token)
    }

    /// Records the token of each row, and gives the tokens to go on with.
    pub fn returned_all<T: Token>(mut self, tokens: &[T]) -> Vec<T> {
        let own = to_i64(tokens).ok_or("a token does not fit into 64 bits");
        let forced = self.conclude(own, None, &|token| T::try_from(token).is_ok());
        let forced = forced.and_then(|tokens| {
            tokens.into_iter().map(|token| T::try_from(token).ok()).collect::<Option<Vec<T>>>()
        });
        forced.unwrap_or_else(|| tokens.to_vec())
    }

    /// Records that the call has failed: the error's class, such as `SampleError::Shape`, and its
    /// message.
    pub fn failed(mut self, kind: impl Into<String>, message: impl Into<String>) {
        self.fail(kind.into(), message.into());
    }

    fn fail(&mut self, kind: String, message: String) {
        let failure = Failure { kind, message };
        self.conclude(Ok(Vec::new()), Some(failure), &|_| false);
    }

    /// Writes the call down. The forced tokens are those of the other recording, where it has one
    /// for each row and each `fits` the engine's type.
    fn conclude(
        &mut self,
        token: Result<Vec<i64>, &str>,
        error: Option<Failure>,
        fits: &dyn Fn(i64) -> bool,
    ) -> Option<Vec<i64>> {
        self.returned = true;
        let recorder = self.recorder;
        let entry = self.entry.take();
        if entry.is_none() && recorder.forcing.is_none() {
            return None;
        }
        let rows = token.as_ref().map_or(0, Vec::len);
        let logits = entry.as_ref().filter(|_| recorder.forcing.is_some()).map(Entry::mark);
        // What is large is put together before the lock is taken.
        let entry = entry.map(|entry| {
            let (bytes, mut line) = (entry.tensor_bytes()?, entry.line);
            line.token = token?;
            line.error = error;
            let (tokens, rows) = (line.token.len(), line.rows());
            if line.error.is_none() && tokens != rows {
                return Err(format!("{tokens} tokens were returned for {rows} rows"));
            }
            Ok((line, bytes))
        });
        let mut state = recorder.lock();
        let number = state.writer.number(self.generation);
        let forced = recorder.forcing.as_ref().filter(|_| rows > 0).and_then(|forcing| {
            let turn = state.turns.entry(self.generation).or_default().next(&self.phase, logits);
            let tokens = forcing.tokens(self.generation, &self.phase, turn);
            if tokens.len() == rows && tokens.iter().all(|&token| fits(token)) {
                return Some(tokens.to_vec());
            }
            if state.unforced.calls == 0 {
                state.unforced.first = forcing.lacks(self.generation, &self.phase, turn);
            }
            state.unforced.calls += 1;
            None
        });
        match entry {
            Some(Ok((line, bytes))) => {
                let line = CallLine { call: number, continued: forced.clone(), ..line };
                state.writer.append_call(CALL, &line, &bytes);
            }
            Some(Err(why)) => {
                let generation = self.generation;
                state.writer.stop(format!("call {number} of generation {generation}: {why}"));
            }
            None => {}
        }
        recorder.settle(&state);
        forced
    }
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        if !self.returned {
            let kind = if thread::panicking() { "panic" } else { "abandoned" };
            self.fail(kind.to_owned(), "the engine left the call without a result".to_owned());
        }
    }
}

impl fmt::Debug for OpenCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = &self.generation;
        f.debug_struct("OpenCall").field("generation", generation).finish_non_exhaustive()
    }
}

fn to_i64<T: Token>(tokens: &[T]) -> Option<Vec<i64>> {
    tokens.iter().map(|&token| token.try_into().ok()).collect()
}
