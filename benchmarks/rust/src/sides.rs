//! What is timed: the exponentials and the twists alone, the sampler, and candle's.

use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use serde::Serialize;
use torch_exact_sampler::{Generator, Logits, Replay, SampleParameters, Sampler, internals};

use crate::Rounds;
use crate::timing::{Failure, ROWS, microseconds};

/// Row length and parameters; the temperature is 1.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Workload {
    pub(crate) vocab: usize,
    /// 0 where the stage is off.
    pub(crate) top_k: i64,
    pub(crate) top_p: f64,
}

/// Does a side's work on one of the rows.
pub(crate) type Call<'a> = Box<dyn FnMut(usize) -> Result<(), Failure> + 'a>;

const SEED: u64 = 20_240_229;

/// Times every side on rows of one length, `draw` with `drawn` tokens a call.
pub(crate) fn row(
    workload: Workload,
    drawn: u32,
    rounds: u32,
    slice: Duration,
) -> Result<Rounds, Failure> {
    let Workload { vocab, top_k, top_p } = workload;
    let rows: Vec<Vec<f32>> = (0..).map(|seed| gaussian(vocab, seed)).take(ROWS).collect();
    let largest: Vec<f32> =
        rows.iter().map(|row| row.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect();
    let tensors = rows
        .iter()
        .map(|row| Tensor::from_slice(row, vocab, &Device::Cpu))
        .collect::<Result<Vec<_>, _>>()?;
    let parameters = SampleParameters { top_k, top_p, ..SampleParameters::default() };
    let replay = Replay::default();
    check_candle(workload, &rows, &tensors)?;

    let mut twisted = Generator::new(SEED);
    let (mut sampler, mut generator, mut token) = (Sampler::new(), Generator::new(SEED), [0]);
    let (mut drawer, mut source) = (Sampler::new(), Generator::new(SEED));
    let mut tokens = vec![0; drawn as usize];
    let mut candle = candle(workload)?;
    let mut sides: [(&str, u32, Call<'_>); 5] = [
        (
            "exponentials",
            1,
            Box::new(|row| {
                let logits = black_box(&rows[row]);
                black_box(internals::exp_sum(logits, largest[row], replay.capability));
                Ok(())
            }),
        ),
        (
            "twists",
            1,
            Box::new(|_| {
                internals::skip(&mut twisted, vocab);
                Ok(())
            }),
        ),
        (
            "sample",
            1,
            Box::new(|row| {
                let logits = Logits::row(black_box(&rows[row]));
                sampler.sample(logits, &parameters, replay, &mut generator, &mut token)?;
                Ok(())
            }),
        ),
        (
            "draw",
            drawn,
            Box::new(|row| {
                let logits = black_box(&rows[row]);
                drawer.draw(logits, &parameters, replay, &mut source, &mut tokens)?;
                Ok(())
            }),
        ),
        (
            "candle",
            1,
            Box::new(|row| {
                black_box(candle.sample(black_box(&tensors[row]))?);
                Ok(())
            }),
        ),
    ];
    let mut found = Rounds::new();
    for _ in 0..rounds {
        for (name, tokens, call) in &mut sides {
            let token = microseconds(call, slice)? / f64::from(*tokens);
            found.entry(name).or_default().push(token);
        }
    }
    Ok(found)
}

/// Times `drawn` tokens of one row in one call, beside the twists that they need.
pub(crate) fn long_draw(workload: Workload, drawn: u32, rounds: u32) -> Result<Rounds, Failure> {
    let Workload { vocab, top_k, top_p } = workload;
    let parameters = SampleParameters { top_k, top_p, ..SampleParameters::default() };
    let logits = gaussian(vocab, 0);
    let mut tokens = vec![0; drawn as usize];
    let (mut sampler, mut generator) = (Sampler::new(), Generator::new(SEED));
    let mut twisted = generator.clone();
    let mut found = Rounds::new();
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..drawn {
            internals::skip(&mut twisted, vocab);
        }
        let twists = start.elapsed();
        let start = Instant::now();
        sampler.draw(&logits, &parameters, Replay::default(), &mut generator, &mut tokens)?;
        let draw = start.elapsed();
        if generator.state() != twisted.state() {
            return Err("the draws did not take as many outputs as the twists".into());
        }
        for (name, time) in [("twists", twists), ("draw", draw)] {
            found.entry(name).or_default().push(time.as_secs_f64() * 1e6 / f64::from(drawn));
        }
    }
    Ok(found)
}

fn candle(Workload { top_k, top_p: p, .. }: Workload) -> Result<LogitsProcessor, Failure> {
    let temperature = 1.0;
    let sampling = match usize::try_from(top_k)? {
        0 => Sampling::TopP { p, temperature },
        k => Sampling::TopKThenTopP { k, p, temperature },
    };
    Ok(LogitsProcessor::from_sampling(SEED, sampling))
}

/// Sees that candle drops what its stages must drop, so that it is known to have done the work.
///
/// It keeps the `top_k` largest, and of them those before which less than `top_p` of the whole
/// mass lies.
fn check_candle(workload: Workload, rows: &[Vec<f32>], tensors: &[Tensor]) -> Result<(), Failure> {
    const TIMES: usize = 8;
    // Far more than f32 loses in a sum of probabilities.
    const ROUNDING: f64 = 1e-3;
    let mut candle = candle(workload)?;
    for (logits, tensor) in rows.iter().zip(tensors).cycle().take(TIMES * rows.len()) {
        let token = candle.sample(tensor)? as usize;
        let exponentials = logits.iter().map(|&x| f64::from(x).exp());
        let larger = logits.iter().filter(|x| **x > logits[token]);
        let rank = larger.clone().count();
        let before = larger.map(|&x| f64::from(x).exp()).sum::<f64>() / exponentials.sum::<f64>();
        let k = usize::try_from(workload.top_k)?;
        if (k > 0 && rank >= k) || before > workload.top_p + ROUNDING {
            return Err(format!("candle drew token {token}, which its stages drop").into());
        }
    }
    Ok(())
}

/// Gaussian logits of scale 2 (Box and Muller).
fn gaussian(count: usize, seed: u64) -> Vec<f32> {
    let mut generator = Generator::new(seed);
    (0..count)
        .map(|_| {
            let (radius, angle) = (1.0 - generator.next_f32(), generator.next_f32());
            2.0 * (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * angle).cos()
        })
        .collect()
}
