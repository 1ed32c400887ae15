//! Whatever a file holds, its whole records are read, or an error says what is wrong and where.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::io::Cursor;

use sampler_recorder::{
    Call, Dtype, Ending, Fault, Header, Keep, LONGEST_LINE, Logits, Random, ReadError, Record,
    Recorder, Records,
};
use tempfile::tempdir;

/// A small recording with calls of every kind, and where its records end.
fn small() -> (Vec<u8>, Vec<usize>) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.calls");
    let mut ends = Vec::new();
    let recorder = Recorder::create(&path, Header::new("engine"));
    let mut record_ends = || {
        let length = std::fs::metadata(&path).unwrap().len();
        ends.push(usize::try_from(length).unwrap());
    };
    record_ends();
    let random = Some(Random::torch(b"state\n"));
    let logits = Logits::row(&[0.0, 1.0, f32::NAN]);
    recorder.call(Call { logits, random, ..Call::default() }).returned(1);
    record_ends();
    recorder.fed(0, &[1]);
    record_ends();
    let recorder = recorder.keep(Keep::Top(1));
    recorder.call(Call { logits, ..Call::default() }).failed("Error", "\n{\"record\":\"end\"}");
    record_ends();
    let recorder = recorder.keep(Keep::Digest);
    let logits = Logits::bytes(Dtype::BF16, b"\n\n{}", Some(2));
    recorder.call(Call { generation: 1, logits, ..Call::default() }).returned_all(&[1, 0]);
    record_ends();
    recorder.finish();
    record_ends();
    (std::fs::read(&path).unwrap(), ends)
}

/// Every whole record, how the file ends, and the error where there is one.
fn read(bytes: &[u8]) -> Result<(Vec<Record>, Ending), ReadError> {
    let mut records = Records::new(Cursor::new(bytes))?;
    let mut all = Vec::new();
    for record in records.by_ref() {
        all.push(record?);
    }
    Ok((all, records.ending().unwrap()))
}

fn why(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

const HEADER: &str = "{\"record\":\"header\",\"version\":1,\"engine\":\"e\"}\n";

/// What is wrong with a record that follows a header.
fn why_record(line: &str, tensors: &[u8]) -> String {
    let why = why(&[HEADER.as_bytes(), line.as_bytes(), b"\n", tensors].concat());
    let begin = format!("the record at byte {}: ", HEADER.len());
    why.strip_prefix(&begin).unwrap_or(&why).to_owned()
}

#[test]
fn cut_anywhere() {
    let (bytes, ends) = small();
    let (whole, ending) = read(&bytes).unwrap();
    assert_eq!((whole.len(), ending, ends.len()), (5, Ending::Closed, 6));
    for cut in 0..bytes.len() {
        let before = ends.iter().filter(|&&end| end <= cut).count();
        if before == 0 {
            let error = read(&bytes[..cut]).unwrap_err();
            assert!(matches!(error.fault, Fault::NoHeader), "{cut}: {error}");
            continue;
        }
        let (records, ending) = read(&bytes[..cut]).unwrap();
        // Tensors are compared as bytes: their NaN is equal to itself.
        assert_eq!(records, whole[..before - 1], "{cut}");
        let expected = if ends.contains(&cut) { Ending::Open } else { Ending::CutOff };
        assert_eq!(ending, expected, "{cut}");
    }
}

#[test]
fn any_byte_changed() {
    let (bytes, ends) = small();
    for at in 0..bytes.len() {
        for byte in [b'\n', b'"', b'9', b'}', 0, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x80] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            let Ok(mut records) = Records::new(Cursor::new(&bytes)) else { continue };
            // The records before the byte are read as if nothing had happened.
            let before = ends.iter().filter(|&&end| end <= at).count().saturating_sub(1);
            for number in 0..before {
                assert!(matches!(records.next(), Some(Ok(_))), "{at} {number}");
            }
            let errors = records.by_ref().filter(Result::is_err).count();
            assert!(errors <= 1 && (errors == 1) == records.ending().is_none(), "{at}");
        }
    }
}

#[test]
fn no_recording_at_all() {
    assert_eq!(why(b""), "the file ends before its header is whole");
    assert!(why(b"\n").starts_with("the record at byte 0: its line: EOF"), "{}", why(b"\n"));
    assert!(why(b"\xff\n").contains("invalid utf-8"));
    assert!(why(b"[1]\n").starts_with("the record at byte 0: its line: "));
    let deep = "[".repeat(100_000) + "\n";
    assert!(why(deep.as_bytes()).starts_with("the record at byte 0: its line: "));
    assert_eq!(
        why(b"{\"record\":\"end\",\"calls\":0}\n"),
        "the record at byte 0: a header comes first, not a \"end\""
    );
    let endless = vec![b' '; LONGEST_LINE + 1];
    assert!(why(&endless).ends_with("its line is longer than 1048576 bytes"));
    assert_eq!(why(&endless[1..]), "the file ends before its header is whole");
}

#[test]
fn versions() {
    for (version, shown) in [("2", "2"), ("0", "0"), ("\"1\"", "\"1\""), ("1.5", "1.5")] {
        let line = format!("{{\"record\":\"header\",\"version\":{version},\"other\":[]}}\n");
        let error = read(line.as_bytes()).unwrap_err();
        assert!(matches!(&error.fault, Fault::Version(found) if found == shown), "{error}");
    }
    assert_eq!(
        why(b"{\"record\":\"header\",\"engine\":\"e\"}\n"),
        "the recording is of version null, and only version 1 can be read"
    );
}

#[test]
fn the_order_of_records() {
    let end = "{\"record\":\"end\",\"calls\":0}\n";
    let fed = "{\"record\":\"fed\",\"generation\":0,\"after\":-1,\"tokens\":[]}\n";
    let error = |rest: &[&str]| why((HEADER.to_owned() + &rest.concat()).as_bytes());
    assert!(error(&[HEADER]).ends_with("a second header"));
    assert!(error(&[end, fed]).ends_with("a \"fed\" follows the end"));
    assert!(error(&[end, end]).ends_with("a \"end\" follows the end"));
    assert!(error(&[end, "x"]).ends_with("bytes follow the end"));
}

#[test]
fn unknown_records_and_fields() {
    let unknown = "{\"record\":\"photo\",\"bytes\":4}\n\n\n{}";
    let fed = "{\"new\":{},\"record\":\"fed\",\"generation\":0,\"after\":-1,\"tokens\":[]}\n";
    let file = HEADER.to_owned() + unknown + fed + unknown;
    let mut records = Records::new(Cursor::new(file)).unwrap();
    assert!(matches!(records.next(), Some(Ok(Record::Fed(_)))));
    assert!(records.next().is_none());
    assert_eq!((records.skipped(), records.ending()), (2, Some(Ending::Open)));
}

#[test]
fn sizes_that_lie() {
    let call = |shape: &str, more: &str| {
        format!(
            "{{\"record\":\"call\",\"generation\":0,\"phase\":\"\",\"call\":0,\"sampler\":\"\",\
             \"shape\":{shape},\"dtype\":\"F32\",\"token\":[0],{more}}}"
        )
    };
    // The bytes are not there: the file was cut off, however many were promised.
    for bytes in ["10", "9223372036854775808", "18446744073709551615"] {
        let line = call("[1]", &format!("\"bytes\":{bytes}"));
        let file = [HEADER, &line, "\n", "123456789"].concat();
        let (records, ending) = read(file.as_bytes()).unwrap();
        assert_eq!((records.len(), ending), (0, Ending::CutOff));
    }
    for bytes in ["-1", "1e3", "18446744073709551616", "\"4\""] {
        let why = why_record(&call("[1]", &format!("\"bytes\":{bytes}")), b"");
        assert!(why.starts_with("its line: invalid"), "{why}");
    }
    // The safetensors lie: about their header, a shape, an offset.
    let tensors = |header: &str, data: &[u8]| {
        let length = u64::try_from(header.len()).unwrap();
        [&length.to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let tensor = |shape: &str, end: usize| {
        let header = format!(
            "{{\"logits\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}"
        );
        tensors(&header, &[0; 4])
    };
    let lies = [
        u64::MAX.to_le_bytes().to_vec(),
        b"123".to_vec(),
        tensors("{", b""),
        tensor("[2]", 4),
        tensor("[4611686018427387904,4]", 4),
        tensor("[1]", 5),
        tensor("[0]", 0),
    ];
    for lie in lies {
        let line = call("[1]", &format!("\"bytes\":{}", lie.len()));
        let why = why_record(&line, &lie);
        assert!(why.starts_with("its tensors: "), "{why}");
    }
    // The line lies about the tensors.
    let honest = tensor("[1]", 4);
    let bytes = format!("\"bytes\":{}", honest.len());
    let cases = [
        ("[1]", "\"keep\":\"whole\"", "it lacks the tensor logits"),
        ("[]", &bytes, "its shape has no dimension"),
        ("[1,1,1]", &bytes, "its shape [1, 1, 1] has more than two dimensions"),
        ("[2]", &bytes, "its tensor logits is F32 [1] instead of F32 [2]"),
        ("[2,1]", &bytes, "it has 1 tokens instead of 2"),
        ("[18446744073709551615,1]", &bytes, "it has 1 tokens instead of 18446744073709551615"),
    ];
    for (shape, more, expected) in cases {
        let tensors = if more == bytes { &honest[..] } else { b"" };
        assert_eq!(why_record(&call(shape, more), tensors), expected);
    }
    let cases = [
        ("\"keep\":\"all\"", "it keeps \"all\" of its logits: not known"),
        ("\"keep\":\"top\"", "it lacks the tensor tokens"),
        ("\"keep\":\"digest\",\"digest\":\"ab\"", "its digest \"ab\" is no SHA-256"),
        ("\"continued\":[0,0]", "it was continued by other than 1 tokens"),
        ("\"error\":{\"kind\":\"\",\"message\":\"\"}", "it has 1 tokens instead of 0"),
    ];
    for (more, expected) in cases {
        let line = call("[1]", &format!("{bytes},{more}"));
        assert_eq!(why_record(&line, &honest), expected);
    }
    let integers = call("[1]", &bytes).replace("\"F32\"", "\"I32\"");
    assert_eq!(why_record(&integers, &honest), "I32 is no dtype of logits");
}
