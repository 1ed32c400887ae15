//! Stamps the extension with what it was built from, so that a stale one can be told.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// What the extension's code depends on, relative to the repository; `sampler_parity.build.extension`
/// hashes the same.
const SOURCES: [&str; 12] = [
    "Cargo.lock",
    "Cargo.toml",
    "rust_ext/Cargo.toml",
    "rust_ext/build.rs",
    "rust_ext/float-mode/Cargo.toml",
    "rust_ext/float-mode/src",
    "rust_ext/sampler/Cargo.toml",
    "rust_ext/sampler/src",
    "rust_ext/src",
    "rust_ext/tensor-memory/Cargo.toml",
    "rust_ext/tensor-memory/build.rs",
    "rust_ext/tensor-memory/src",
];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
        collect(&root, Path::new(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        let name = file.to_string_lossy().replace('\\', "/");
        hash.update(format!("{name}\0"));
        hash.update(Sha256::digest(fs::read(root.join(file))?));
    }
    let mut hex = String::new();
    for byte in hash.finalize() {
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    println!("cargo::rustc-env=PARITY_SOURCE_HASH={hex}");

    let variable = |name| env::var(name).unwrap_or_default();
    println!("cargo::rustc-env=PARITY_PROFILE={}", variable("PROFILE"));
    println!("cargo::rustc-env=PARITY_TARGET={}", variable("TARGET"));
    let version = Command::new(variable("RUSTC")).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout);
    println!("cargo::rustc-env=PARITY_RUSTC={}", version.trim());
    Ok(())
}

fn collect(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let full = root.join(path);
    if full.is_dir() {
        for entry in fs::read_dir(full)? {
            collect(root, &path.join(entry?.file_name()), files)?;
        }
    } else if full.exists() {
        files.push(path.to_owned());
    }
    Ok(())
}
