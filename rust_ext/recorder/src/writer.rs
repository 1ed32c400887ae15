//! The file that records are appended to, until something goes wrong.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;

use crate::record::{CallLine, END, End, HEADER, Header, LONGEST_LINE, Line, VERSION};

/// What a recording is written to.
pub(crate) trait Sink: Write + Send {
    /// Takes back everything after the first `length` bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// A recording that is being written.
pub(crate) struct Writer {
    sink: Option<Box<dyn Sink>>,
    /// Length of the whole records that were written.
    length: u64,
    /// The record in hand: one write each, so that no cut loses two.
    buffer: Vec<u8>,
    /// How many calls each generation has had.
    made: HashMap<u64, u64>,
    pub(crate) calls: u64,
    pub(crate) stopped: Option<String>,
}

impl Writer {
    /// Begins a file; one that is there already is written over.
    pub(crate) fn create(path: &Path, header: &Header) -> Self {
        match File::create(path) {
            Ok(file) => Self::new(Some(Box::new(file)), header),
            Err(error) => {
                let mut writer = Self::new(None, header);
                writer.stop(format!("{}: {error}", path.display()));
                writer
            }
        }
    }

    pub(crate) fn new(sink: Option<Box<dyn Sink>>, header: &Header) -> Self {
        let (buffer, made) = (Vec::new(), HashMap::new());
        let mut writer = Self { sink, length: 0, buffer, made, calls: 0, stopped: None };
        writer.append_line(HEADER, Some(VERSION), header, &[]);
        writer
    }

    pub(crate) fn is_open(&self) -> bool {
        self.sink.is_some()
    }

    /// How many calls this generation has had.
    pub(crate) fn made(&self, generation: u64) -> u64 {
        self.made.get(&generation).copied().unwrap_or(0)
    }

    /// Counts a call, and gives its number within its generation.
    pub(crate) fn number(&mut self, generation: u64) -> u64 {
        let made = self.made.entry(generation).or_default();
        *made += 1;
        *made - 1
    }

    /// Appends a record; where that fails, recording stops.
    pub(crate) fn append<T: Serialize>(&mut self, record: &'static str, fields: &T) {
        self.append_line(record, None, fields, &[]);
    }

    /// Appends a call with its tensors; where that fails, recording stops.
    pub(crate) fn append_call(&mut self, record: &'static str, line: &CallLine, tensors: &[u8]) {
        self.append_line(record, None, line, tensors);
        self.calls += u64::from(self.is_open());
    }

    fn append_line<T: Serialize>(
        &mut self,
        record: &'static str,
        version: Option<u64>,
        fields: &T,
        tensors: &[u8],
    ) {
        let Some(sink) = &mut self.sink else { return };
        let line = Line { record, version, fields, bytes: tensors.len() };
        self.buffer.clear();
        let written = serde_json::to_writer(&mut self.buffer, &line);
        if let Err(error) = written {
            return self.stop(format!("a {record} cannot be written as JSON: {error}"));
        }
        if self.buffer.len() > LONGEST_LINE {
            let length = self.buffer.len();
            return self.stop(format!(
                "a {record} has a line of {length} bytes, and a line has at most {LONGEST_LINE}"
            ));
        }
        self.buffer.push(b'\n');
        self.buffer.extend(tensors);
        match sink.write_all(&self.buffer) {
            Ok(()) => self.length += self.buffer.len() as u64,
            Err(error) => {
                if sink.cut(self.length).is_err() {
                    self.sink = None; // Half a record stands there: nothing may follow it.
                }
                self.stop(format!("the file cannot be written: {error}"));
            }
        }
    }

    /// Ends the recording before its time; only the first reason counts.
    pub(crate) fn stop(&mut self, why: String) {
        if self.stopped.is_none() {
            self.stopped = Some(why);
            self.close();
        }
    }

    /// Writes the last record and lets go of the file.
    pub(crate) fn close(&mut self) {
        let end = End { calls: self.calls, stopped: self.stopped.clone().unwrap_or_default() };
        self.append(END, &end);
        self.sink = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::record::{FED, Fed};
    use crate::{Ending, Record, Records};

    /// A disk with little room, which may be such that nothing can be taken back.
    #[derive(Clone)]
    struct Disk {
        room: usize,
        can_cut: bool,
        bytes: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut held = self.bytes.lock().unwrap();
            let fitting = bytes.len().min(self.room - held.len());
            if fitting == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            held.extend(&bytes[..fitting]);
            Ok(fitting)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.can_cut {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.bytes.lock().unwrap().truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    /// Feeds a short prompt, then one that does not fit: what is read, and why recording stopped.
    fn on_a_disk(room: usize, can_cut: bool) -> (Vec<Record>, Option<Ending>, String) {
        let bytes = Arc::default();
        let disk = Disk { room, can_cut, bytes: Arc::clone(&bytes) };
        let mut writer = Writer::new(Some(Box::new(disk)), &Header::new("engine"));
        writer.append(FED, &Fed { generation: 0, after: -1, tokens: vec![1] });
        writer.append(FED, &Fed { generation: 0, after: -1, tokens: vec![2; 1_000] });
        writer.append(FED, &Fed { generation: 0, after: -1, tokens: vec![3] });
        assert!(!writer.is_open());
        writer.close();
        let why = writer.stopped.unwrap();
        assert!(why.starts_with("the file cannot be written: "), "{why}");
        let bytes = bytes.lock().unwrap();
        let mut records = Records::new(&bytes[..]).unwrap();
        let read = records.by_ref().map(Result::unwrap).collect();
        (read, records.ending(), why)
    }

    fn fed(record: &Record) -> &[i64] {
        if let Record::Fed(fed) = record { &fed.tokens } else { &[] }
    }

    #[test]
    fn a_disk_that_fills_up_holds_the_reason() {
        let (records, ending, why) = on_a_disk(1_000, true);
        assert_eq!((records.len(), fed(&records[0]), ending), (2, &[1][..], Some(Ending::Closed)));
        let Record::End(end) = &records[1] else { panic!("{records:?}") };
        assert_eq!((end.calls, &end.stopped), (0, &why));
    }

    #[test]
    fn nothing_follows_half_a_record() {
        let (records, ending, _) = on_a_disk(1_000, false);
        assert_eq!((records.len(), fed(&records[0]), ending), (1, &[1][..], Some(Ending::CutOff)));
    }

    #[test]
    fn a_disk_without_room_for_the_reason() {
        let room = 200; // The header and the short prompt take most of it.
        let (records, ending, _) = on_a_disk(room, true);
        assert_eq!((records.len(), fed(&records[0]), ending), (1, &[1][..], Some(Ending::Open)));
    }
}
