//! The conformance files: the reader makes of each what is recorded beside it.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::fs;
use std::path::{Path, PathBuf};

use sampler_recorder::{Dtype, Ending, Record, RecordedCall, Records, Tensor};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/recordings");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "calls")).collect()
}

/// What is recorded beside a file: a line a record.
fn expected(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path.with_extension("json")).unwrap();
    text.lines().map(|line| bare(serde_json::from_str(line).unwrap())).collect()
}

/// What the reader makes of a file: the header, all calls, all that was fed, and the ending.
fn read(path: &Path) -> Vec<Value> {
    let mut records = Records::open(path).unwrap();
    let (mut calls, mut fed) = (Vec::new(), Vec::new());
    for record in records.by_ref().map_while(Result::ok) {
        match record {
            Record::Call(call) => calls.push(json!({ "call": told(&call) })),
            Record::Fed(record) => fed.push(json!({ "fed": record })),
            _ => {}
        }
    }
    let ending = match records.ending() {
        Some(Ending::Closed) => "closed",
        Some(Ending::Open) => "open",
        Some(Ending::CutOff) => "cut",
        None => "damaged",
    };
    let header = json!({ "header": records.header() });
    let ending = json!({ "ending": ending, "skipped": records.skipped() });
    let all = [header].into_iter().chain(calls).chain(fed).chain([ending]);
    all.map(bare).collect()
}

fn told(call: &RecordedCall) -> Value {
    let mut told = serde_json::to_value(&call.line).unwrap();
    let tensors = call.tensors.iter().map(|(name, tensor)| (name.clone(), digest(tensor)));
    told["tensors"] = tensors.collect::<Map<_, _>>().into();
    told
}

/// A tensor's dtype as numpy names it, its shape, and the SHA-256 of its values; bf16 as f32.
fn digest(tensor: &Tensor) -> Value {
    let (dtype, bytes) = match tensor.dtype {
        Dtype::U8 => ("uint8", tensor.bytes.clone()),
        Dtype::I64 => ("int64", tensor.bytes.clone()),
        Dtype::F32 => ("float32", tensor.bytes.clone()),
        Dtype::F64 => ("float64", tensor.bytes.clone()),
        Dtype::BF16 => {
            let pairs = tensor.bytes.as_chunks().0;
            ("float32", pairs.iter().flat_map(|&[low, high]| [0, 0, low, high]).collect())
        }
        other => panic!("no conformance file has {other}"),
    };
    let hash =
        Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    json!({ "dtype": dtype, "shape": tensor.shape, "sha256": hash })
}

/// A record without what stands in the file only, and without what is not known.
fn bare(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let is_said = |name: &str, value: &Value| {
        !["record", "version", "bytes"].contains(&name) && !value.is_null() && value != ""
    };
    let fields = fields.into_iter().filter(|(name, value)| is_said(name, value));
    Value::Object(fields.map(|(name, value)| (name, bare(value))).collect())
}

#[test]
fn a_reader_makes_of_each_what_is_recorded() {
    let files = files();
    assert_eq!(files.len(), 12);
    for path in files {
        assert_eq!(read(&path), expected(&path), "{}", path.display());
    }
}

#[test]
fn a_reading_that_differs_is_seen() {
    let path = files().into_iter().find(|path| path.ends_with("whole.calls")).unwrap();
    let mut other = expected(&path);
    other[1]["call"]["tensors"]["logits"]["sha256"] = "".into();
    assert_ne!(read(&path), other);
}
