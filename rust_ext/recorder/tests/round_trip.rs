//! What is written is read again, value for value.

#![allow(clippy::panic, clippy::unwrap_used)] // A test fails by panicking.

use std::fs;

use sampler_recorder::{
    Call, Dtype, Ending, Header, Keep, Logits, Parameter, Random, Record, RecordedCall, Recorder,
    Records,
};
use tempfile::tempdir;

/// Records what `engine` does, and reads it again.
fn recorded(keep: Keep, engine: impl FnOnce(&Recorder)) -> Vec<Record> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.calls");
    let recorder = Recorder::create(&path, Header::new("engine")).keep(keep);
    engine(&recorder);
    let outcome = recorder.finish();
    assert_eq!(outcome.stopped, None);
    let mut records = Records::open(&path).unwrap();
    let all: Vec<_> = records.by_ref().map(Result::unwrap).collect();
    assert_eq!((records.ending(), records.skipped()), (Some(Ending::Closed), 0));
    all
}

fn first_call(records: &[Record]) -> &RecordedCall {
    let call = records.iter().find_map(|record| match record {
        Record::Call(call) => Some(call),
        _ => None,
    });
    call.unwrap()
}

#[test]
fn a_call_with_everything() {
    let logits = [0.1_f32, -0.0, f32::NAN, f32::NEG_INFINITY];
    let (before, after) = ([1; 5_056], [2; 5_056]);
    let line = line!() + 2;
    let records = recorded(Keep::Whole, |recorder| {
        let mut call = recorder.call(Call {
            generation: 7,
            phase: "semantic",
            sampler: "sample_logits",
            parameters: &[("temperature", 0.1.into()), ("top_k", 80.into())],
            logits: Logits::row(&logits),
            slice: Some(0..4),
            vocabulary: Some(9),
            history: Some(&[3, -1]),
            random: Some(Random::torch(&before).generator(2).seed(u64::MAX)),
        });
        call.state_after(&after);
        call.drawn(&[0.1, 0.2]);
        assert_eq!(call.returned(3_u32), 3);
        recorder.fed(7, &[3 + 8_196]);
    });
    let call = first_call(&records);
    assert_eq!((call.line.generation, call.line.call, &*call.line.phase), (7, 0, "semantic"));
    assert_eq!(call.line.sampler, "sample_logits");
    assert_eq!(call.line.site, format!("{}:{line}", file!()));
    assert_eq!(call.line.parameters["temperature"], 0.1);
    assert_eq!(call.line.parameters["top_k"], 80);
    assert_eq!((&*call.line.shape, call.line.dtype), (&[4][..], Dtype::F32));
    assert_eq!((call.line.slice, call.line.vocabulary), (Some([0, 4]), Some(9)));
    assert_eq!((&*call.line.token, &call.line.continued), (&[3][..], &None));
    let random = call.line.random.as_ref().unwrap();
    assert_eq!((&*random.source, random.generator), ("torch", Some(2)));
    assert_eq!(random.seed.as_ref().unwrap().as_u64(), Some(u64::MAX));
    let bits: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    assert_eq!(call.tensors["logits"].bytes, bits);
    assert_eq!(call.tensors["history"].to_i64(), [3, -1]);
    assert_eq!(call.tensors["state_before"].bytes, before);
    assert_eq!(call.tensors["state_after"].bytes, after);
    assert_eq!(call.tensors["drawn"].to_f64(), [0.1, 0.2]);
    let Record::Fed(fed) = &records[1] else { panic!("{:?}", records[1]) };
    assert_eq!((fed.generation, fed.after, &*fed.tokens), (7, 0, &[8_199][..]));
    let Record::End(end) = &records[2] else { panic!("{:?}", records[2]) };
    assert_eq!((end.calls, &*end.stopped), (1, ""));
}

#[test]
fn the_header() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.calls");
    let header = Header::new("<b>tts\n\"rust\"</b>").engine_version("1.2").about("model", "0.4B");
    Recorder::create(&path, header.clone()).finish();
    let records = Records::open(&path).unwrap();
    assert_eq!(records.header(), &header);
    assert_eq!(header.writer, format!("sampler-recorder {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn parameters_of_every_kind() {
    let parameters: [(&str, Parameter); 9] = [
        ("nan", f64::NAN.into()),
        ("infinity", f64::INFINITY.into()),
        ("less", f32::NEG_INFINITY.into()),
        ("narrow", 0.95_f32.into()),
        ("awkward", 5e-324.into()),
        ("largest", u64::MAX.into()),
        ("text", "a\nb".into()),
        ("switch", true.into()),
        ("nothing", None::<f64>.into()),
    ];
    let records = recorded(Keep::Whole, |recorder| {
        let call = Call { parameters: &parameters, logits: Logits::row(&[0.0]), ..Call::default() };
        recorder.call(call).returned(0);
    });
    let read = &first_call(&records).line.parameters;
    assert_eq!(
        (&read["nan"], &read["infinity"], &read["less"]),
        (&"nan".into(), &"inf".into(), &"-inf".into())
    );
    assert_eq!(read["narrow"].as_f64(), Some(0.949_999_988_079_071));
    assert_eq!(read["awkward"].as_f64().map(f64::to_bits), Some(1));
    assert_eq!((&read["largest"], &read["text"]), (&u64::MAX.into(), &"a\nb".into()));
    assert_eq!((&read["switch"], &read["nothing"]), (&true.into(), &None::<f64>.into()));
}

#[test]
fn a_batch_and_other_dtypes() {
    // 1.0 and -2.0 in each dtype.
    let cases: [(Dtype, &[u8]); 4] = [
        (Dtype::F16, &[0x00, 0x3c, 0x00, 0xc0]),
        (Dtype::BF16, &[0x80, 0x3f, 0x00, 0xc0]),
        (Dtype::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]),
        (Dtype::F64, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0]),
    ];
    for (dtype, bytes) in cases {
        let records = recorded(Keep::Whole, |recorder| {
            let logits = Logits::bytes(dtype, bytes, Some(2));
            let call = recorder.call(Call { logits, ..Call::default() });
            assert_eq!(call.returned_all(&[0_i64, 5]), [0, 5]);
        });
        let call = first_call(&records);
        assert_eq!((&*call.line.shape, call.line.dtype), (&[2, 1][..], dtype));
        assert_eq!(call.tensors["logits"].to_f64(), [1.0, -2.0]);
        // A token beyond the vocabulary is what the engine did: it is recorded.
        assert_eq!(call.line.token, [0, 5]);
    }
}

#[test]
fn the_largest_logits_and_the_mass_of_the_others() {
    let nan = f32::NAN;
    let low = f32::NEG_INFINITY;
    // Equal logits, the two zeros among them, stand in the order of their tokens; NaN comes first.
    let logits = [0.0, 1.0, -0.0, 1.0, low, 0.0, nan, -5.0, 1.0, 0.0, low, low];
    let records = recorded(Keep::Top(3), |recorder| {
        let logits = Logits::rows(&logits, 2);
        recorder.call(Call { logits, ..Call::default() }).returned_all(&[1, 0]);
    });
    let call = first_call(&records);
    assert_eq!((&*call.line.keep, &*call.line.shape), ("top", &[2, 6][..]));
    assert_eq!(call.tensors["tokens"].to_i64(), [1, 3, 0, 0, 2, 3]);
    assert_eq!(call.tensors["logits"].shape, [2, 3]);
    let kept = call.tensors["logits"].to_f64();
    assert!(kept[3].is_nan());
    assert_eq!((&kept[..3], &kept[4..]), (&[1.0, 1.0, 0.0][..], &[1.0, 0.0][..]));
    // The others: 0, -inf, 0 in one row; -5, -inf, -inf in the other.
    assert_eq!(call.tensors["rest"].to_f64(), [2_f64.ln(), -5.0]);
}

#[test]
fn top_of_odd_rows() {
    // Logits, how many are kept, the tokens, the logarithm of the others' mass.
    let low = f64::NEG_INFINITY;
    let cases: [(&[f64], usize, &[i64], f64); 8] = [
        (&[1.0, 2.0], usize::MAX, &[1, 0], low),
        (&[1.0, 2.0], 2, &[1, 0], low),
        (&[], 5, &[], low),
        (&[3.0], 0, &[], 3.0),
        (&[low, low, low], 1, &[0], low),
        (&[f64::INFINITY, f64::INFINITY], 1, &[0], f64::INFINITY),
        (&[1e300, 1e300, -1e300], 1, &[0], 1e300),
        (&[-1.0, f64::NAN, f64::NAN], 1, &[1], f64::NAN),
    ];
    for (logits, most, tokens, rest) in cases {
        let records = recorded(Keep::Top(most), |recorder| {
            let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
            let logits = Logits::bytes(Dtype::F64, &bytes, None);
            recorder.call(Call { logits, ..Call::default() }).returned(0);
        });
        let call = first_call(&records);
        assert_eq!(call.tensors["tokens"].to_i64(), tokens, "{logits:?}");
        let read = call.tensors["rest"].to_f64();
        assert_eq!(read[0].to_bits(), rest.to_bits(), "{logits:?}: {read:?}");
    }
}

#[test]
fn a_digest() {
    let records = recorded(Keep::Digest, |recorder| {
        let f32_bytes = u32::from_le_bytes(*b"abcd");
        let logits = [f32::from_bits(f32_bytes)];
        recorder.call(Call { logits: Logits::row(&logits), ..Call::default() }).returned(0);
        let logits = Logits::bytes(Dtype::F16, b"abcd", None);
        recorder.call(Call { logits, ..Call::default() }).returned(0);
    });
    // sha256sum of "abcd"
    let digest = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589";
    for record in &records[..2] {
        let Record::Call(call) = record else { panic!("{record:?}") };
        assert_eq!((&*call.line.digest, call.tensors.len()), (digest, 0));
    }
}

#[test]
fn generations_are_numbered_apart() {
    let records = recorded(Keep::Digest, |recorder| {
        recorder.fed(1, &[8_194]);
        for generation in [0, 1, 1, 0, 1] {
            recorder.call(Call { generation, ..Call::default() }).returned(0);
            recorder.fed(generation, &[0]);
        }
    });
    let numbers = records.iter().filter_map(|record| match record {
        Record::Call(call) => Some((call.line.generation, call.line.call)),
        _ => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [(0, 0), (1, 0), (1, 1), (0, 1), (1, 2)]);
    let after = records.iter().filter_map(|record| match record {
        Record::Fed(fed) => Some((fed.generation, fed.after)),
        _ => None,
    });
    assert_eq!(after.collect::<Vec<_>>(), [(1, -1), (0, 0), (1, 0), (1, 1), (0, 1), (1, 2)]);
}

#[test]
fn calls_that_fail_or_are_left() {
    let records = recorded(Keep::Whole, |recorder| {
        let logits = Logits::rows(&[0.0, 0.0], 2);
        recorder.call(Call { logits, ..Call::default() }).failed("SampleError", "no token");
        drop(recorder.call(Call { logits, ..Call::default() }));
        std::thread::scope(|scope| {
            let left = scope.spawn(|| {
                let _open = recorder.call(Call { logits, ..Call::default() });
                panic!("meant to panic");
            });
            left.join().unwrap_err();
        });
        recorder.call(Call { logits, ..Call::default() }).returned_all(&[0, 0]);
    });
    let read = records.iter().filter_map(|record| match record {
        Record::Call(call) => Some((call.line.error.as_ref(), call.line.token.len())),
        _ => None,
    });
    let read: Vec<_> = read.map(|(error, n)| (error.map(|error| &*error.kind), n)).collect();
    assert_eq!(
        read,
        [(Some("SampleError"), 0), (Some("abandoned"), 0), (Some("panic"), 0), (None, 2)]
    );
}

#[test]
fn a_prompt_of_any_length() {
    let prompt: Vec<i64> = (0..200_000).map(|token| i64::MIN + token).collect();
    let records = recorded(Keep::Whole, |recorder| recorder.fed(0, &prompt));
    let read = records.iter().filter_map(|record| match record {
        Record::Fed(fed) => Some(&fed.tokens),
        _ => None,
    });
    assert_eq!(read.flatten().copied().collect::<Vec<_>>(), prompt);
}

#[test]
fn a_file_that_is_there_is_written_over() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.calls");
    fs::write(&path, vec![b'x'; 10_000]).unwrap();
    drop(Recorder::create(&path, Header::new("engine")));
    let mut records = Records::open(&path).unwrap();
    assert!(matches!(records.next(), Some(Ok(Record::End(_)))));
    assert!(records.next().is_none());
}
