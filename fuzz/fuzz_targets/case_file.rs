//! A case file of any bytes is read, or refused in words.

#![no_main]
#![allow(dead_code)] // What replays a case is not needed here.

use std::fs;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

#[path = "../../rust_ext/sampler/examples/replay/case_file.rs"]
mod case_file;

fuzz_target!(|bytes: &[u8]| {
    let path = PathBuf::from(format!("/dev/shm/sampler-fuzz-{}", std::process::id()));
    fs::write(&path, bytes).expect("memory takes the file");
    if let Err(error) = case_file::read(&path) {
        assert!(!error.to_string().is_empty());
    }
});
