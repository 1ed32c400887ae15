//! Replays cases in Rust alone: `cargo run --release --example replay -- FILE...`.
//!
//! A file is what `sampler_parity.cases.case_file` writes: a case, and what the reference made of it.
//! Prints a line a stage. Exit status: 0 everything is equal, bit for bit; 1 something differs;
//! 2 a file cannot be read.

mod case_file;
mod comparison;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        eprintln!("usage: replay FILE...");
        return ExitCode::from(2);
    }
    let mut status = 0;
    for file in files {
        status = status.max(match case_file::read(&file) {
            Ok(case) => {
                let report = comparison::replay(&case);
                println!("{}: {case}\n{report}", file.display());
                u8::from(!report.equal())
            }
            Err(reason) => {
                eprintln!("{} cannot be replayed: {reason}", file.display());
                2
            }
        });
    }
    ExitCode::from(status)
}
