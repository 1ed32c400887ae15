//! No error ends the engine: recording stops, and says why.

#![allow(clippy::panic, clippy::unwrap_used)] // A test fails by panicking.

use std::sync::Arc;
use std::{fs, thread};

use sampler_recorder::{
    Call, Dtype, Ending, Forcing, Header, LONGEST_LINE, Logits, Record, Recorder, Records,
};
use tempfile::tempdir;

/// An engine that makes three calls; the tokens that it goes on with.
fn engine(recorder: &Recorder) -> Vec<u32> {
    let go_on = |token: u32| {
        let logits = Logits::row(&[0.0, 1.0]);
        let mut call = recorder.call(Call { phase: "global", logits, ..Call::default() });
        call.state_after(b"state");
        let token = call.returned(token);
        recorder.fed(0, &[token]);
        token
    };
    (0..3).map(go_on).collect()
}

/// Runs `fault` between two engines; why recording stopped, and the last record of the file.
fn stopped_by(fault: impl FnOnce(&Recorder)) -> String {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.calls");
    let recorder = Recorder::create(&path, Header::new("engine"));
    engine(&recorder);
    fault(&recorder);
    assert_eq!(engine(&recorder), [0, 1, 2]);
    let outcome = recorder.finish();
    assert_eq!(outcome.calls, 3);
    let why = outcome.stopped.unwrap();
    let mut records = Records::open(&path).unwrap();
    let last = records.by_ref().map(Result::unwrap).last();
    let Some(Record::End(end)) = last else { panic!("{last:?}") };
    assert_eq!((end.calls, &end.stopped), (3, &why));
    assert_eq!(records.ending(), Some(Ending::Closed));
    why
}

fn call_on(recorder: &Recorder, logits: Logits<'_>) {
    recorder.call(Call { sampler: "sample", logits, ..Call::default() }).returned(0);
}

#[test]
fn a_folder_that_is_missing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("missing").join("a.calls");
    let recorder = Recorder::create(&path, Header::new("engine"));
    assert_eq!(engine(&recorder), [0, 1, 2]);
    let outcome = recorder.finish();
    assert_eq!(outcome.calls, 0);
    let why = outcome.stopped.as_deref().unwrap();
    assert!(why.contains("missing") && why.contains("No such file"), "{why}");
    assert!(outcome.to_string().contains("0 calls recorded; recording stopped: "), "{outcome}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let recorder = Recorder::create("/dev/full", Header::new("engine"));
    assert_eq!(engine(&recorder), [0, 1, 2]);
    let outcome = recorder.finish();
    assert_eq!(outcome.calls, 0);
    let why = outcome.stopped.unwrap();
    assert!(why.starts_with("the file cannot be written: No space left on device"), "{why}");
}

#[test]
fn logits_that_make_no_rows() {
    let why = stopped_by(|recorder| call_on(recorder, Logits::rows(&[0.0; 5], 2)));
    assert!(why.starts_with("sample at ") && why.contains("stopping.rs:"), "{why}");
    assert!(why.ends_with(": 5 logits do not make 2 rows"), "{why}");
    let why = stopped_by(|recorder| call_on(recorder, Logits::rows(&[], usize::MAX)));
    assert!(why.contains(": 0 logits do not make 18446744073709551615 rows"), "{why}");
    let why = stopped_by(|recorder| call_on(recorder, Logits::rows(&[0.0], 0)));
    assert!(why.ends_with(": 1 logits do not make 0 rows"), "{why}");
}

#[test]
fn bytes_that_are_no_logits() {
    let why = stopped_by(|recorder| call_on(recorder, Logits::bytes(Dtype::BF16, b"abc", None)));
    assert!(why.ends_with(": 3 bytes are no whole number of BF16"), "{why}");
    let why = stopped_by(|recorder| call_on(recorder, Logits::bytes(Dtype::I64, &[0; 8], None)));
    assert!(why.ends_with(": I64 is no dtype of logits"), "{why}");
}

#[test]
fn tokens_that_are_none() {
    let batch = Logits::rows(&[0.0; 4], 4);
    let why = stopped_by(|recorder| {
        let call = recorder.call(Call { logits: batch, ..Call::default() });
        assert_eq!(call.returned_all(&[1, 2]), [1, 2]);
    });
    assert_eq!(why, "call 3 of generation 0: 2 tokens were returned for 4 rows");
    let why = stopped_by(|recorder| {
        assert_eq!(recorder.call(Call::default()).returned(u64::MAX), u64::MAX);
    });
    assert_eq!(why, "call 3 of generation 0: a token does not fit into 64 bits");
    let why = stopped_by(|recorder| recorder.fed(0, &[u64::MAX]));
    assert_eq!(why, "a token that was fed does not fit into 64 bits");
}

#[test]
fn a_line_that_is_too_long() {
    let why = stopped_by(|recorder| {
        recorder.call(Call::default()).failed("Error", "x".repeat(LONGEST_LINE));
    });
    assert!(why.starts_with("a call has a line of 1048"), "{why}");
}

#[test]
fn sizes_beyond_reason() {
    let folder = tempdir().unwrap();
    let recorder = Recorder::create(folder.path().join("a.calls"), Header::new("engine"));
    let call = Call {
        generation: u64::MAX,
        slice: Some(std::ops::Range { start: usize::MAX, end: 0 }),
        vocabulary: Some(usize::MAX),
        ..Call::default()
    };
    recorder.call(call).returned(i64::MIN);
    recorder.fed(u64::MAX, &[i64::MIN, i64::MAX]);
    recorder.fed::<u8>(3, &[]);
    assert_eq!((recorder.finish().calls, recorder.finish().stopped), (1, None));
}

#[test]
fn many_threads() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.calls");
    let recorder = Arc::new(Recorder::create(&path, Header::new("engine")));
    let engines = (0_u16..8).map(|generation| {
        let recorder = Arc::clone(&recorder);
        thread::spawn(move || {
            for token in 0..200_u16 {
                let logits = [f32::from(generation), f32::from(token)];
                let logits = Logits::row(&logits);
                let generation = u64::from(generation) % 4;
                recorder.call(Call { generation, logits, ..Call::default() }).returned(token);
                recorder.fed(generation, &[token]);
            }
        })
    });
    engines.collect::<Vec<_>>().into_iter().for_each(|engine| engine.join().unwrap());
    assert_eq!(recorder.finish().calls, 1_600);
    let mut next = [0; 4];
    let mut fed = 0;
    let mut records = Records::open(&path).unwrap();
    for record in records.by_ref() {
        match record.unwrap() {
            Record::Call(call) => {
                let generation = usize::try_from(call.line.generation).unwrap();
                assert_eq!(call.line.call, next[generation]);
                next[generation] += 1;
                let token = f64::from(u16::try_from(call.line.token[0]).unwrap());
                assert_eq!(call.tensors["logits"].to_f64()[1], token);
            }
            Record::Fed(_) => fed += 1,
            _ => {}
        }
    }
    assert_eq!((next, fed, records.ending()), ([400; 4], 1_600, Some(Ending::Closed)));
}

#[test]
fn what_follows_the_end_is_not_recorded() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.calls");
    let recorder = Recorder::create(&path, Header::new("engine"));
    let open = recorder.call(Call::default());
    let outcome = recorder.finish();
    let size = fs::metadata(&path).unwrap().len();
    open.returned(0);
    engine(&recorder);
    assert_eq!(recorder.finish(), outcome);
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
}

#[test]
fn an_engine_stays_forced_when_recording_stops() {
    let folder = tempdir().unwrap();
    let other = folder.path().join("other.calls");
    let recorder = Recorder::create(&other, Header::new("other"));
    for token in [7, 8, 9] {
        let logits = Logits::row(&[0.0]);
        recorder.call(Call { phase: "global", logits, ..Call::default() }).returned(token);
    }
    recorder.finish();
    let missing = folder.path().join("missing").join("a.calls");
    let recorder =
        Recorder::create(missing, Header::new("engine")).forced_by(Forcing::open(&other).unwrap());
    assert_eq!(engine(&recorder), [7, 8, 9]);
    assert!(recorder.finish().stopped.is_some());
}
