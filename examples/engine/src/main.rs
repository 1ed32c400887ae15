//! A TTS engine in miniature that records itself: a global phase, a tag, a semantic phase.
//!
//! ```sh
//! cargo run --release --package example-engine -- --record rust.calls
//! ```
//!
//! It is the engine of `engine.py`, with the same logits and the same tokens for the same seed; and
//! it can make the mistakes that real engines made (`--fault NAME`, as often as wanted).

mod engine;
mod fault;
mod model;

use std::error::Error;
use std::path::PathBuf;

use sampler_recorder::{Forcing, Header, Keep, Recorder};

use crate::engine::{Engine, Scope, Settings};
use crate::fault::Faults;
use crate::model::Weights;

/// What the command line says.
struct Arguments {
    record: PathBuf,
    force: Option<PathBuf>,
    keep: Keep,
    generations: u64,
    settings: Settings,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { record, force, keep, generations, settings } = arguments()?;
    let header = Header::new("tts-rust").about("seed", settings.seed.to_string());
    let mut recorder = Recorder::create(record, header).keep(keep);
    if let Some(other) = force {
        recorder = recorder.forced_by(Forcing::open(other)?);
    }
    let weights = Weights::new(7);
    let mut engine = Engine::new(&recorder, &settings, &weights);
    for number in 0..generations {
        let tokens = engine.generate(number)?;
        let last = tokens.last().copied().unwrap_or(-1);
        println!("generation {number}: {} tokens, the last {last}", tokens.len());
    }
    println!("{}", recorder.finish());
    Ok(())
}

/// Reads the command line: every option takes a value.
fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let settings = Settings {
        seed: 42,
        semantic: 200,
        pace: 32,
        scope: Scope::Generation,
        faults: Faults::default(),
    };
    let record = "rust.calls".into();
    let mut read = Arguments { record, force: None, keep: Keep::Whole, generations: 1, settings };
    let settings = &mut read.settings;
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or_else(|| format!("{option} is given no value"))?;
        match option.as_str() {
            "--record" => read.record = value.into(),
            "--force" => read.force = Some(value.into()),
            "--keep" => read.keep = keep(&value)?,
            "--generations" => read.generations = value.parse()?,
            "--seed" => settings.seed = value.parse()?,
            "--semantic" => settings.semantic = value.parse()?,
            "--pace" => settings.pace = power_of_two(&value)?,
            "--scope" => settings.scope = scope(&value)?,
            "--fault" => settings.faults.plant(&value)?,
            _ => return Err(format!("there is no option {option}").into()),
        }
    }
    Ok(read)
}

fn keep(text: &str) -> Result<Keep, Box<dyn Error>> {
    match text.strip_prefix("top:") {
        Some(count) => Ok(Keep::Top(count.parse()?)),
        None if text == "whole" => Ok(Keep::Whole),
        None if text == "digest" => Ok(Keep::Digest),
        None => Err(format!("--keep {text} is none of whole, top:N, digest").into()),
    }
}

/// A number that can divide without rounding.
fn power_of_two(text: &str) -> Result<u16, Box<dyn Error>> {
    let number: u16 = text.parse()?;
    if number.is_power_of_two() { Ok(number) } else { Err("--pace is no power of two".into()) }
}

fn scope(text: &str) -> Result<Scope, Box<dyn Error>> {
    match text {
        "generation" => Ok(Scope::Generation),
        "phase" => Ok(Scope::Phase),
        _ => Err(format!("--scope {text} is neither generation nor phase").into()),
    }
}
