//! Every recorded case replays without Python, and a wrong one is told.
//!
//! The environment variable `PARITY_CASE` names more files, relative to the repository and separated
//! as in `PATH`.

#![allow(clippy::panic, clippy::unwrap_used)] // A test fails by panicking.

#[path = "../examples/replay/case_file.rs"]
mod case_file;
#[path = "../examples/replay/comparison.rs"]
mod comparison;

use std::fs;
use std::path::{Path, PathBuf};

use case_file::{Case, Values};
use comparison::replay;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn recorded() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(repository().join("fixtures/cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "fixtures/cases holds no case");
    files
}

fn read(file: &Path) -> Case {
    case_file::read(file)
        .unwrap_or_else(|reason| panic!("{} cannot be replayed: {reason}", file.display()))
}

fn differing(case: &Case) -> Vec<&'static str> {
    let lines = replay(case).lines.into_iter();
    lines.filter(|(_, difference)| difference.is_some()).map(|(stage, _)| stage).collect()
}

#[test]
fn every_case_replays() {
    let named = std::env::var_os("PARITY_CASE").unwrap_or_default();
    let named = std::env::split_paths(&named).filter(|file| !file.as_os_str().is_empty());
    for file in recorded().into_iter().chain(named.map(|file| repository().join(file))) {
        let case = read(&file);
        let report = replay(&case);
        assert!(report.equal(), "{}: {case}\n{report}", file.display());
    }
}

#[test]
fn a_flipped_bit_is_named_by_its_stage() {
    for file in recorded() {
        let case = read(&file);
        for at in 0..case.reference.stages.len() {
            let mut changed = case.clone();
            let stage = &mut changed.reference.stages[at];
            match &mut stage.values {
                Values::F32(values) => {
                    let last = values.last_mut().unwrap();
                    *last = f32::from_bits(last.to_bits() ^ 1);
                }
                Values::Mask(values) => values[0] = !values[0],
                Values::Tokens(values) => values[0] ^= 1,
                Values::Bytes(values) => values[5000] ^= 0x80,
            }
            assert_eq!(differing(&changed), [case.reference.stages[at].name], "{}", file.display());
        }
    }
}

#[test]
fn a_call_refused_or_not_is_told() {
    let (mut accepted, mut refused) = (0, 0);
    for file in recorded() {
        let mut case = read(&file);
        if case.reference.calls == case.draws {
            // As if the reference had refused the call after the last.
            case.draws += 1;
            accepted += 1;
        } else {
            case.reference.calls = case.draws;
            refused += 1;
        }
        assert_eq!(differing(&case)[0], "error", "{}", file.display());
    }
    assert!(accepted > 0 && refused > 0);
}
