//! An engine goes on with another recording's tokens.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::path::{Path, PathBuf};

use sampler_recorder::{Call, Forcing, Header, Logits, Record, Recorder, Records};
use tempfile::{TempDir, tempdir};

/// Makes a call for each token, `count` in each phase; what the engine goes on with.
fn engine(recorder: &Recorder, phases: &[(&str, &[i64])]) -> Vec<i64> {
    let calls = phases.iter().flat_map(|(phase, own)| own.iter().map(move |token| (phase, token)));
    let went_on = calls.map(|(phase, token)| {
        let logits = Logits::row(&[0.0; 4]);
        recorder.call(Call { phase, logits, ..Call::default() }).returned(*token)
    });
    went_on.collect()
}

fn other(folder: &TempDir, phases: &[(&str, &[i64])]) -> PathBuf {
    let path = folder.path().join("other.calls");
    engine(&Recorder::create(&path, Header::new("other")), phases);
    path
}

/// Each call's own token and what it was continued with.
fn tokens(path: &Path) -> Vec<(i64, Option<i64>)> {
    let calls = Records::open(path).unwrap().filter_map(|record| match record.unwrap() {
        Record::Call(call) => {
            Some((call.line.token[0], call.line.continued.map(|tokens| tokens[0])))
        }
        _ => None,
    });
    calls.collect()
}

#[test]
fn the_others_tokens() {
    let folder = tempdir().unwrap();
    let other = other(&folder, &[("global", &[1, 2]), ("semantic", &[3])]);
    let path = folder.path().join("forced.calls");
    let forcing = Forcing::open(&other).unwrap();
    let recorder = Recorder::create(&path, Header::new("engine")).forced_by(forcing);
    assert_eq!(engine(&recorder, &[("global", &[0, 2]), ("semantic", &[0])]), [1, 2, 3]);
    assert_eq!(recorder.finish().unforced, None);
    assert_eq!(tokens(&path), [(0, Some(1)), (2, Some(2)), (0, Some(3))]);

    // Who is forced by a forced recording gets what that engine went on with.
    let forcing = Forcing::open(&path).unwrap();
    let third = folder.path().join("third.calls");
    let recorder = Recorder::create(third, Header::new("third")).forced_by(forcing);
    assert_eq!(engine(&recorder, &[("global", &[9, 9]), ("semantic", &[9])]), [1, 2, 3]);
}

/// Draws from the same logits, again where `again` says so, and feeds what it goes on with.
fn refusing(recorder: &Recorder, again: &[bool]) -> Vec<i64> {
    let mut went_on = Vec::new();
    recorder.fed(0, &[100]);
    for (step, &again) in (0_u8..).zip(again) {
        let values = [f32::from(step); 4];
        let draw = |own: i64| {
            let logits = Logits::row(&values);
            recorder.call(Call { phase: "semantic", logits, ..Call::default() }).returned(own)
        };
        let mut token = draw(10 * i64::from(step));
        if again {
            token = draw(10 * i64::from(step) + 1);
        }
        recorder.fed(0, &[token]);
        went_on.push(token);
    }
    went_on
}

#[test]
fn draws_that_are_made_again() {
    let folder = tempdir().unwrap();
    let other = folder.path().join("other.calls");
    let theirs =
        refusing(&Recorder::create(&other, Header::new("other")), &[false, true, false, false]);
    assert_eq!(theirs, [0, 11, 20, 30]);
    let forcing = Forcing::open(&other).unwrap();
    let path = folder.path().join("forced.calls");
    let recorder = Recorder::create(&path, Header::new("engine")).forced_by(forcing);
    assert_eq!(refusing(&recorder, &[false, false, true, false]), theirs);
    assert_eq!(recorder.finish().unforced, None);
    let continued: Vec<_> = tokens(&path).iter().map(|(_, token)| token.unwrap()).collect();
    assert_eq!(continued, [0, 11, 20, 20, 30]);
}

#[test]
fn calls_that_the_other_lacks() {
    let folder = tempdir().unwrap();
    let other = other(&folder, &[("global", &[1, 2])]);
    let path = folder.path().join("forced.calls");
    let forcing = Forcing::open(&other).unwrap();
    let recorder = Recorder::create(&path, Header::new("engine")).forced_by(forcing);
    // One phase is named otherwise from its second call on, and the other engine ends there.
    assert_eq!(engine(&recorder, &[("global", &[0]), ("semantic", &[5, 6])]), [1, 5, 6]);
    let outcome = recorder.finish();
    let lacks = "has no token to continue with at call 0 of phase semantic, generation 0";
    let told = format!("{} {lacks}, and so at 2 calls in all", other.display());
    assert_eq!((outcome.unforced, outcome.stopped), (Some(told), None));
    assert_eq!(tokens(&path), [(0, Some(1)), (5, None), (6, None)]);
}

#[test]
fn tokens_that_do_not_fit() {
    let folder = tempdir().unwrap();
    let other = other(&folder, &[("global", &[-1, 300])]);
    let path = folder.path().join("forced.calls");
    let forcing = Forcing::open(&other).unwrap();
    let recorder = Recorder::create(&path, Header::new("engine")).forced_by(forcing);
    for own in [5_u8, 6] {
        let logits = Logits::row(&[0.0; 4]);
        let call = recorder.call(Call { phase: "global", logits, ..Call::default() });
        assert_eq!(call.returned(own), own);
    }
    assert!(recorder.finish().unforced.is_some());
    assert_eq!(tokens(&path), [(5, None), (6, None)]);
}

#[test]
fn a_call_of_other_rows_or_one_that_failed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("other.calls");
    let recorder = Recorder::create(&path, Header::new("other"));
    recorder.call(Call::default()).failed("Error", "");
    recorder
        .call(Call { logits: Logits::rows(&[0.0; 2], 2), ..Call::default() })
        .returned_all(&[1, 2]);
    recorder
        .call(Call { logits: Logits::rows(&[0.0; 2], 2), ..Call::default() })
        .returned_all(&[3, 4]);
    recorder.finish();
    let forcing = Forcing::open(&path).unwrap();
    let recorder = Recorder::create(folder.path().join("forced.calls"), Header::new("engine"));
    let recorder = recorder.forced_by(forcing);
    assert_eq!(recorder.call(Call::default()).returned(7), 7);
    assert_eq!(recorder.call(Call::default()).returned(8), 8);
    let batch = Logits::rows(&[0.0; 2], 2);
    assert_eq!(
        recorder.call(Call { logits: batch, ..Call::default() }).returned_all(&[0, 0]),
        [3, 4]
    );
    assert!(recorder.finish().unforced.unwrap().ends_with("in all"));
}

#[test]
fn a_recording_that_was_cut_off() {
    let folder = tempdir().unwrap();
    let other = other(&folder, &[("global", &[1, 2])]);
    let bytes = std::fs::read(&other).unwrap();
    // The last record is the end, and before it is the second call.
    let end = bytes.windows(2).rposition(|pair| pair == b"{\"").unwrap();
    std::fs::write(&other, &bytes[..end - 1]).unwrap();
    let forcing = Forcing::open(&other).unwrap();
    assert_eq!(
        (forcing.tokens(0, "global", 0), forcing.tokens(0, "global", 1)),
        (&[1][..], &[][..])
    );
    let recorder = Recorder::create(folder.path().join("forced.calls"), Header::new("engine"));
    let recorder = recorder.forced_by(forcing);
    assert_eq!(engine(&recorder, &[("global", &[0, 5])]), [1, 5]);
    let told = recorder.finish().unforced.unwrap();
    assert!(told.contains("other.calls, which was cut off, has no token"), "{told}");
}

#[test]
fn files_that_force_nobody() {
    let folder = tempdir().unwrap();
    let error = Forcing::open(folder.path().join("none.calls")).unwrap_err().to_string();
    assert!(error.contains("none.calls: No such file"), "{error}");
    let other = other(&folder, &[("global", &[1])]);
    let bytes = std::fs::read(&other).unwrap();
    let call = bytes.windows(16).position(|words| words == b"{\"record\":\"call\"").unwrap();
    let end = bytes.windows(15).position(|words| words == b"{\"record\":\"end\"").unwrap();
    let twice = [&bytes[..end], &bytes[call..]].concat();
    std::fs::write(&other, twice).unwrap();
    let error = Forcing::open(&other).unwrap_err().to_string();
    let why =
        format!("the record at byte {end}: it is call 0 of generation 0, where call 1 comes next");
    assert!(error.ends_with(&why), "{error}");
}
