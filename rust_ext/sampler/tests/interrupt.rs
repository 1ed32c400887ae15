//! A long call ends where it is told to, and leaves the generator as it was.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use torch_exact_sampler::{
    Generator, Logits, Replay, SampleError, SampleParameters, Sampler, ZeroTemperature,
};

const VOCAB: usize = 1 << 16;
/// Logits that may be passed between two questions.
const STEP: usize = 1 << 20;
/// Rows, or tokens: as many as four questions take, and a few more.
const ROWS: usize = 4 * STEP / VOCAB + 3;

/// How many questions are answered with no; the one after them ends the call.
static PATIENCE: AtomicUsize = AtomicUsize::new(0);

fn interrupted() -> bool {
    PATIENCE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
}

#[test]
fn a_long_call_asks_and_ends() {
    let mut random = Generator::new(1);
    let logits: Vec<f32> = (0..ROWS * VOCAB).map(|_| random.next_f32() * 12.0).collect();
    let mut tokens = vec![0; ROWS];
    // Shortlists and estimates, with helpers and without.
    for (top_k, threads) in [(40, 1), (40, 3), (0, 1), (0, 3)] {
        let parameters = SampleParameters { top_k, ..SampleParameters::default() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for call in ["sample", "trace", "draw"] {
            for patience in 0..=4 {
                let mut sampler = Sampler::new();
                sampler.interrupt_when(Some(interrupted));
                PATIENCE.store(patience, Ordering::Relaxed);
                let mut generator = Generator::new(7);
                let replay = Replay::default();
                let batch = Logits::new(&logits, ROWS, VOCAB).unwrap();
                let result = pool.install(|| match call {
                    "sample" => {
                        sampler.sample(batch, &parameters, replay, &mut generator, &mut tokens)
                    }
                    "trace" => {
                        sampler.trace(batch, &parameters, replay, &mut generator).map(|_| ())
                    }
                    _ => {
                        let row = &logits[..VOCAB];
                        sampler.draw(row, &parameters, replay, &mut generator, &mut tokens)
                    }
                });
                if patience < 4 {
                    assert_eq!(result, Err(SampleError::Interrupted), "{call} {patience}");
                    assert!(generator == Generator::new(7), "{call} {patience}");
                } else {
                    assert_eq!(result, Ok(()), "{call}");
                    assert_eq!(PATIENCE.load(Ordering::Relaxed), 0, "{call}: asked four times");
                }
            }
        }
    }
}

#[test]
fn what_no_memory_can_hold_is_refused() {
    let (rows, vocab) = (usize::MAX / 8, 0);
    let nothing = Logits::new(&[], rows, vocab).unwrap();
    for zero_temperature in [ZeroTemperature::Raise, ZeroTemperature::Argmax] {
        let parameters =
            SampleParameters { temperature: 0.0, zero_temperature, ..SampleParameters::default() };
        let mut generator = Generator::new(7);
        let replay = Replay { threads: NonZeroUsize::MAX, ..Replay::default() };
        let traced = Sampler::new().trace(nothing, &parameters, replay, &mut generator);
        assert!(traced.is_err());
        let drawn =
            torch_exact_sampler::sample_logits(nothing, &parameters, replay, &mut generator);
        assert!(drawn.is_err());
    }
    let traced = torch_exact_sampler::trace_simple_batch_sampler(
        &mut [],
        vocab,
        &torch_exact_sampler::SimpleBatchParameters::default(),
        &mut Generator::new(7),
        rows,
    );
    assert_eq!(traced, Err(SampleError::OutOfMemory { rows, vocab }));
}
