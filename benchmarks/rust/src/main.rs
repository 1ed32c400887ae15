//! The sampler beside its floor and beside candle's: each in turn, round by round, in one process.
//!
//! `sampler-benchmarks ROUNDS MILLISECONDS DRAWS` prints JSON: for every workload the microseconds
//! a token of each side, one number a round. A side is timed for so many milliseconds a round;
//! `DRAWS` rounds are of 1,000,000 tokens from one row.

mod sides;
mod timing;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde::Serialize;
use sides::{Workload, long_draw, row};
use torch_exact_sampler::{GLOBAL, Preset, Replay, SEMANTIC};

/// Microseconds a token of each side, one number a round.
type Rounds = BTreeMap<&'static str, Vec<f64>>;

/// What a workload took.
#[derive(Serialize)]
struct Measured {
    workload: Workload,
    /// How many tokens of one row a call of `draw` gives.
    drawn: u32,
    rounds: Rounds,
}

/// What is printed.
#[derive(Serialize)]
struct Output {
    capability: String,
    measured: Vec<Measured>,
}

const DRAWN: u32 = 256;
const MANY: u32 = 1_000_000;

const fn of_preset(preset: Preset) -> Workload {
    let parameters = preset.parameters;
    Workload { vocab: preset.vocab, top_k: parameters.top_k, top_p: parameters.top_p }
}

const WORKLOADS: [Workload; 7] = [
    of_preset(GLOBAL),
    of_preset(SEMANTIC),
    Workload { vocab: 32_000, top_k: 50, top_p: 0.95 },
    Workload { vocab: 49_152, top_k: 50, top_p: 0.95 },
    Workload { vocab: 65_536, top_k: 0, top_p: 0.85 },
    Workload { vocab: 128_256, top_k: 50, top_p: 0.95 },
    Workload { vocab: 151_936, top_k: 50, top_p: 0.95 },
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().unwrap_or_default().parse::<u32>();
    let (rounds, milliseconds, draws) = (number()?, number()?, number()?);
    let slice = Duration::from_millis(milliseconds.into());

    let mut measured = Vec::new();
    for workload in WORKLOADS {
        let rounds = row(workload, DRAWN, rounds, slice)?;
        measured.push(Measured { workload, drawn: DRAWN, rounds });
    }
    let workload = of_preset(SEMANTIC);
    let rounds = long_draw(workload, MANY, draws)?;
    measured.push(Measured { workload, drawn: MANY, rounds });
    let capability = format!("{:?}", Replay::default().capability).to_lowercase();
    println!("{}", serde_json::to_string(&Output { capability, measured })?);
    Ok(())
}
