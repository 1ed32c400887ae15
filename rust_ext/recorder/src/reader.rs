//! Reads recordings: every whole record, and how the file ends.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::{error, fmt};

use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

use crate::logits::{size, widen};
use crate::record::{
    CALL, CallLine, DIGEST, END, End, Envelope, FED, Fed, HEADER, Header, LONGEST_LINE, TOP,
    VERSION, WHOLE,
};

/// The records of a recording, one after the other.
///
/// After the last whole record the iterator ends, and [`Records::ending`] says how the file does.
/// After an error it ends as well: what stands behind broken bytes cannot be told.
#[derive(Debug)]
pub struct Records<R> {
    input: R,
    file: PathBuf,
    /// Where the record in hand begins, and where it ends.
    at: u64,
    after: u64,
    broken: bool,
    header: Header,
    ending: Option<Ending>,
    end_seen: bool,
    skipped: u64,
    /// How many calls each generation has had.
    made: HashMap<u64, u64>,
}

/// A record after the header.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// A call of a sampler.
    Call(Box<RecordedCall>),
    /// Tokens that were handed to the model.
    Fed(Fed),
    /// The recording was closed.
    End(End),
}

/// A call with its tensors.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RecordedCall {
    /// Everything but the tensors.
    pub line: CallLine,
    /// The tensors by name, as `docs/recordings.md` lists them.
    pub tensors: BTreeMap<String, Tensor>,
}

/// A tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its dtype.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, little endian.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// The values of a float tensor, each widened exactly; nothing for other dtypes.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        widen(self.dtype, &self.bytes)
    }

    /// The values of an i64 tensor; nothing for other dtypes.
    #[must_use]
    pub fn to_i64(&self) -> Vec<i64> {
        let chunks = if self.dtype == Dtype::I64 { self.bytes.as_chunks().0 } else { &[] };
        chunks.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
    }
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With the record `end`.
    Closed,
    /// With a whole record, but without `end`: the engine still runs, or was ended.
    Open,
    /// In the middle of a record, whose bytes are left out.
    CutOff,
}

/// Why a recording could not be read.
#[derive(Debug)]
pub struct ReadError {
    /// The file; empty where the recording did not come from one.
    pub file: PathBuf,
    /// The byte at which the record in question begins.
    pub at: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a recording.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The file cannot be read.
    Io(io::Error),
    /// The file ends before its header is whole.
    NoHeader,
    /// The header's version is not [`VERSION`]; this is its JSON.
    Version(String),
    /// A record is not as the form demands.
    Record(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}: ", self.file.display())?;
        }
        match &self.fault {
            Fault::Io(error) => write!(f, "{error}"),
            Fault::NoHeader => write!(f, "the file ends before its header is whole"),
            Fault::Version(version) => write!(
                f,
                "the recording is of version {version}, and only version {VERSION} can be read"
            ),
            Fault::Record(why) => write!(f, "the record at byte {}: {why}", self.at),
        }
    }
}

impl error::Error for ReadError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        if let Fault::Io(error) = &self.fault { Some(error) } else { None }
    }
}

impl Records<BufReader<File>> {
    /// Opens a recording and reads its header.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the file cannot be read, ends within its header, is of another version,
    /// or is no recording.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let file = path.as_ref().to_owned();
        match File::open(&file) {
            Ok(opened) => Self::from(BufReader::with_capacity(1 << 16, opened), file),
            Err(error) => Err(ReadError { file, at: 0, fault: Fault::Io(error) }),
        }
    }
}

impl<R: BufRead> Records<R> {
    /// Reads a recording's header; what follows it is read record by record.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the input cannot be read, ends within its header, is of another
    /// version, or is no recording.
    pub fn new(input: R) -> Result<Self, ReadError> {
        Self::from(input, PathBuf::new())
    }

    fn from(input: R, file: PathBuf) -> Result<Self, ReadError> {
        let header = Header::default();
        let (ending, end_seen) = (None, false);
        let (at, after, broken, skipped, made) = (0, 0, false, 0, HashMap::new());
        let mut records =
            Self { input, file, at, after, broken, header, ending, end_seen, skipped, made };
        match records.read_header() {
            Ok(header) => Ok(Self { header, ..records }),
            Err(fault) => Err(ReadError { file: records.file, at: 0, fault }),
        }
    }

    /// Who recorded.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the file ends; `None` before its end was reached, and after an error.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// How many records of an unknown kind were skipped so far.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn read_header(&mut self) -> Result<Header, Fault> {
        let Some(Raw { line, envelope, .. }) = self.read_record()? else {
            return Err(Fault::NoHeader);
        };
        if envelope.record != HEADER {
            return Err(broken(format!("a header comes first, not a {:?}", envelope.record)));
        }
        if envelope.version.as_u64() != Some(VERSION) {
            return Err(Fault::Version(envelope.version.to_string()));
        }
        parse(&line)
    }

    /// Reads the next record that is of a known kind.
    fn read_known(&mut self) -> Result<Option<Record>, Fault> {
        while let Some(Raw { line, envelope, tensors }) = self.read_record()? {
            if self.end_seen {
                return Err(broken(format!("a {:?} follows the end", envelope.record)));
            }
            return Ok(Some(match envelope.record.as_str() {
                CALL => {
                    let call = recorded_call(parse(&line)?, &tensors)?;
                    self.count(&call.line).map_err(broken)?;
                    Record::Call(Box::new(call))
                }
                FED => Record::Fed(parse(&line)?),
                END => {
                    self.end_seen = true;
                    let (end, made): (End, u64) = (parse(&line)?, self.made.values().sum());
                    if end.calls != made {
                        let calls = end.calls;
                        let why = format!("it speaks of {calls} calls, and {made} precede it");
                        return Err(broken(why));
                    }
                    Record::End(end)
                }
                HEADER => return Err(broken("a second header".to_owned())),
                _ => {
                    self.skipped += 1;
                    continue;
                }
            }));
        }
        Ok(None)
    }

    /// Counts a call, whose number has to be the next one of its generation.
    fn count(&mut self, line: &CallLine) -> Result<(), String> {
        let (call, generation) = (line.call, line.generation);
        let next = self.made.entry(generation).or_default();
        if call != *next {
            return Err(format!(
                "it is call {call} of generation {generation}, where call {next} comes next"
            ));
        }
        *next += 1;
        Ok(())
    }

    /// Reads a line and its bytes; where the file ends before they do, says how it ends.
    fn read_record(&mut self) -> Result<Option<Raw>, Fault> {
        self.at = self.after;
        let mut line = Vec::new();
        let longest = LONGEST_LINE as u64 + 1;
        self.input.by_ref().take(longest).read_until(b'\n', &mut line).map_err(Fault::Io)?;
        if line.is_empty() {
            self.ending = Some(if self.end_seen { Ending::Closed } else { Ending::Open });
            return Ok(None);
        }
        self.after += line.len() as u64;
        if line.pop_if(|last| *last == b'\n').is_none() {
            if line.len() > LONGEST_LINE {
                return Err(broken(format!("its line is longer than {LONGEST_LINE} bytes")));
            }
            if self.end_seen {
                return Err(broken("bytes follow the end".to_owned()));
            }
            self.ending = Some(Ending::CutOff);
            return Ok(None);
        }
        let envelope: Envelope = parse(&line)?;
        // The buffer grows with what is there, not with what the line claims.
        let mut tensors = Vec::new();
        self.input.by_ref().take(envelope.bytes).read_to_end(&mut tensors).map_err(Fault::Io)?;
        self.after += tensors.len() as u64;
        if (tensors.len() as u64) < envelope.bytes {
            self.ending = Some(Ending::CutOff);
            return Ok(None);
        }
        Ok(Some(Raw { line, envelope, tensors }))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.ending.is_some() {
            return None;
        }
        let read = self.read_known().transpose()?;
        Some(read.map_err(|fault| {
            self.broken = true;
            ReadError { file: self.file.clone(), at: self.at, fault }
        }))
    }
}

impl RecordedCall {
    /// Looks whether the line and the tensors fit each other.
    fn check(&self) -> Result<(), String> {
        let line = &self.line;
        let [.., vocabulary] = line.shape[..] else {
            return Err("its shape has no dimension".to_owned());
        };
        if line.shape.len() > 2 {
            return Err(format!("its shape {:?} has more than two dimensions", line.shape));
        }
        if size(line.dtype).is_none() {
            return Err(format!("{} is no dtype of logits", line.dtype));
        }
        let rows = line.rows();
        let tokens = if line.error.is_some() { 0 } else { rows };
        if line.token.len() != tokens {
            return Err(format!("it has {} tokens instead of {tokens}", line.token.len()));
        }
        if line.continued.as_ref().is_some_and(|continued| continued.len() != rows) {
            return Err(format!("it was continued by other than {rows} tokens"));
        }
        match line.keep.as_str() {
            WHOLE => self.demand("logits", line.dtype, &line.shape)?,
            TOP => {
                let most = self.tensors.get("tokens").and_then(|tensor| tensor.shape.last());
                let most = most.copied().unwrap_or(0);
                if most > vocabulary {
                    return Err(format!("it keeps {most} of {vocabulary} logits"));
                }
                self.demand("tokens", Dtype::I64, &[rows, most])?;
                self.demand("logits", line.dtype, &[rows, most])?;
                self.demand("rest", Dtype::F64, &[rows])?;
            }
            DIGEST => {
                let digits = line.digest.bytes().filter(u8::is_ascii_hexdigit).count();
                if (digits, line.digest.len()) != (64, 64) {
                    return Err(format!("its digest {:?} is no SHA-256", line.digest));
                }
            }
            other => return Err(format!("it keeps {other:?} of its logits: not known")),
        }
        self.allow("history", &[Dtype::I64])?;
        self.allow("state_before", &[Dtype::U8])?;
        self.allow("state_after", &[Dtype::U8])?;
        self.allow("drawn", &[Dtype::F64, Dtype::F32])
    }

    fn demand(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<(), String> {
        match self.tensors.get(name) {
            None => Err(format!("it lacks the tensor {name}")),
            Some(tensor) if tensor.dtype != dtype || tensor.shape != shape => Err(format!(
                "its tensor {name} is {} {:?} instead of {dtype} {shape:?}",
                tensor.dtype, tensor.shape
            )),
            Some(_) => Ok(()),
        }
    }

    fn allow(&self, name: &str, dtypes: &[Dtype]) -> Result<(), String> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape.len() != 1 || !dtypes.contains(&tensor.dtype) => {
                Err(format!("its tensor {name} is {} {:?}", tensor.dtype, tensor.shape))
            }
            _ => Ok(()),
        }
    }
}

/// A record whose fields and tensors have not been looked at.
struct Raw {
    line: Vec<u8>,
    envelope: Envelope,
    tensors: Vec<u8>,
}

fn broken(why: String) -> Fault {
    Fault::Record(why)
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Fault> {
    let text = str::from_utf8(line).map_err(|error| broken(format!("its line: {error}")))?;
    serde_json::from_str(text).map_err(|error| broken(format!("its line: {error}")))
}

fn recorded_call(line: CallLine, bytes: &[u8]) -> Result<RecordedCall, Fault> {
    let mut tensors = BTreeMap::new();
    if !bytes.is_empty() {
        let read = SafeTensors::deserialize(bytes)
            .map_err(|error| broken(format!("its tensors: {error}")))?;
        for (name, view) in read.iter() {
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            tensors.insert(name.to_owned(), Tensor { dtype, shape, bytes: view.data().to_vec() });
        }
    }
    let call = RecordedCall { line, tensors };
    call.check().map_err(broken)?;
    Ok(call)
}
