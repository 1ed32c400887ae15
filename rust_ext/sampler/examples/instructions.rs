//! `instructions CALL TIMES` makes a call so many times, for callgrind to count
//! (`benchmarks/instructions.py`, whose `Call` is the JSON that is given here).
//!
//! One thread; the workspace is kept from call to call. Logits and generator have a fixed seed.

#[path = "gaussian/mod.rs"]
mod gaussian;

use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroUsize;

use gaussian::gaussian;
use serde::Deserialize;
use torch_exact_sampler::internals::{Kernel, estimates, exp_sum, force};
use torch_exact_sampler::{
    Generator, HalfLogits, Logits, Replay, SampleParameters, Sampler, SimpleBatchParameters,
    simple_batch_sampler, trace_sample_logits,
};

#[derive(Deserialize)]
struct Call {
    work: Work,
    kernel: String,
    capability: String,
}

#[derive(Deserialize)]
struct Work {
    function: String,
    vocab: usize,
    top_k: i64,
    top_p: f64,
    batch: usize,
    drawn: usize,
    logits: String,
    temperature: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let call: Call = serde_json::from_str(&arguments.next().ok_or("no call")?)?;
    let times: u32 = arguments.next().ok_or("no number of times")?.parse()?;
    let kernel = match call.kernel.as_str() {
        "portable" => Kernel::Portable,
        "avx2" => Kernel::Avx2,
        "avx512" => Kernel::Avx512,
        "neon" => Kernel::Neon,
        other => return Err(format!("there is no kernel {other}").into()),
    };
    if !force(Some(kernel)) {
        return Err(format!("the processor cannot run the kernel {}", call.kernel).into());
    }
    let capability = call.capability.parse()?;
    let replay = Replay { capability, threads: NonZeroUsize::MIN };

    let Work { vocab, top_k, top_p, batch, drawn, temperature, .. } = call.work;
    let parameters = SampleParameters { temperature, top_k, top_p, ..Default::default() };
    let mut logits = gaussian(batch * vocab);
    match call.work.logits.as_str() {
        "Gaussian" | "bf16 bits" | "f16 bits" => {}
        // Most of the mass is that of a few tokens.
        "peaked Gaussian" => logits.iter_mut().for_each(|logit| *logit *= 6.0),
        "bf16 Gaussian" => {
            for logit in &mut logits {
                *logit = f32::from_bits(logit.to_bits() & 0xffff_0000);
            }
            if !cutoff_splits_a_tie(&logits, &parameters, replay)? {
                return Err("no tokens are tied across the cutoff".into());
            }
        }
        other => return Err(format!("there are no logits {other}").into()),
    }

    let bits: Vec<u16> = match call.work.logits.as_str() {
        "bf16 bits" => logits.iter().map(|x| half::bf16::from_f32(*x).to_bits()).collect(),
        "f16 bits" => logits.iter().map(|x| half::f16::from_f32(*x).to_bits()).collect(),
        _ => Vec::new(),
    };
    let (mut sampler, mut generator) = (Sampler::new(), Generator::new(1));
    let mut tokens = vec![0; batch * drawn.max(1)];
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut estimated = vec![0.0; vocab];
    for _ in 0..times {
        let tokens = black_box(tokens.as_mut_slice());
        match call.work.function.as_str() {
            "sample_logits" if !bits.is_empty() => {
                let bits = black_box(bits.as_slice());
                let rows = match call.work.logits.as_str() {
                    "f16 bits" => HalfLogits::f16(bits, batch, vocab)?,
                    _ => HalfLogits::bf16(bits, batch, vocab)?,
                };
                sampler.sample_half(rows, &parameters, replay, &mut generator, tokens)?;
            }
            "sample_logits" => {
                let rows = Logits::new(black_box(&logits), batch, vocab)?;
                sampler.sample(rows, &parameters, replay, &mut generator, tokens)?;
            }
            "draw" => {
                let row = black_box(logits.as_slice());
                sampler.draw(row, &parameters, replay, &mut generator, tokens)?;
            }
            "simple_batch_sampler" => {
                // In place: the noise of every call stays in the logits.
                let rows = black_box(logits.as_mut_slice());
                let parameters = SimpleBatchParameters::default();
                simple_batch_sampler(rows, vocab, &parameters, &mut generator, tokens)?;
            }
            "exponentials" => {
                black_box(exp_sum(black_box(&logits), max, capability));
            }
            "estimates" => {
                black_box(estimates(black_box(&logits), max, black_box(&mut estimated)));
            }
            other => return Err(format!("there is no function {other}").into()),
        }
    }
    black_box(tokens);
    Ok(())
}

/// Whether top-p drops a token as probable as one that it keeps.
fn cutoff_splits_a_tie(
    logits: &[f32],
    parameters: &SampleParameters,
    replay: Replay,
) -> Result<bool, Box<dyn Error>> {
    let mut generator = Generator::new(1);
    let trace = trace_sample_logits(Logits::row(logits), parameters, replay, &mut generator)?;
    let of = |kept| {
        let pairs = trace.probs.iter().zip(&trace.top_p_mask);
        pairs.filter(move |pair| *pair.1 == kept).map(|pair| *pair.0)
    };
    let least_kept = of(true).fold(f32::INFINITY, f32::min);
    let most_dropped = of(false).fold(f32::NEG_INFINITY, f32::max);
    Ok(least_kept == most_dropped)
}
