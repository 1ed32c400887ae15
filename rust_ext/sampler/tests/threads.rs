//! A batch in parallel gives what its rows give one by one, for any number of threads.

#![allow(clippy::unwrap_used)] // A test fails by panicking.
#![cfg(feature = "rayon")]

use std::num::NonZeroUsize;

use torch_exact_sampler::{
    Capability, Generator, Logits, Replay, SampleError, SampleParameters, Sampler,
    trace_sample_logits,
};

const VOCAB: usize = 4000;
const ROWS: usize = 21;

fn replay() -> Replay {
    Replay { capability: Capability::Avx2, threads: NonZeroUsize::MIN }
}

fn logits() -> Vec<f32> {
    let mut generator = Generator::new(1);
    (0..ROWS * VOCAB).map(|_| generator.next_f32() * 12.0).collect()
}

fn sample(
    logits: &[f32],
    parameters: &SampleParameters,
    threads: usize,
) -> (Result<Vec<i64>, SampleError>, Generator) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut generator = Generator::new(7);
    let mut tokens = vec![0; ROWS];
    let result = pool.install(|| {
        let logits = Logits::new(logits, ROWS, VOCAB).unwrap();
        Sampler::new().sample(logits, parameters, replay(), &mut generator, &mut tokens)
    });
    (result.map(|()| tokens), generator)
}

#[test]
fn the_tokens_are_those_of_one_thread() {
    let logits = logits();
    for (top_p, top_k) in [(0.95, 40), (0.8, 0), (0.2, 0), (0.0, 0)] {
        let parameters = SampleParameters { top_p, top_k, ..SampleParameters::default() };
        let mut generator = Generator::new(7);
        let batch = Logits::new(&logits, ROWS, VOCAB).unwrap();
        // A trace takes one row after the other.
        let trace = trace_sample_logits(batch, &parameters, replay(), &mut generator).unwrap();
        for threads in [1, 2, 3, 8] {
            let (tokens, after) = sample(&logits, &parameters, threads);
            assert_eq!(tokens.unwrap(), trace.token, "{threads} threads");
            assert!(after == generator, "{threads} threads");
        }
    }
}

/// What is left of one batch is not taken for the next one's.
#[test]
fn a_sampler_may_take_another_batch() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let (first, second) = (logits(), logits().into_iter().rev().collect::<Vec<_>>());
    for top_k in [40, 0] {
        let parameters = SampleParameters { top_k, ..SampleParameters::default() };
        let mut sampler = Sampler::new();
        for logits in [&first, &second, &first, &second] {
            let (expected, after) = sample(logits, &parameters, 1);
            let (mut generator, mut tokens) = (Generator::new(7), vec![0; ROWS]);
            let batch = Logits::new(logits, ROWS, VOCAB).unwrap();
            let call = || sampler.sample(batch, &parameters, replay(), &mut generator, &mut tokens);
            pool.install(call).unwrap();
            assert_eq!(tokens, expected.unwrap());
            assert!(generator == after);
        }
    }
}

#[test]
fn the_first_row_that_is_refused_decides() {
    for top_k in [40, 0] {
        let mut logits = logits();
        let parameters = SampleParameters { top_k, ..SampleParameters::default() };
        for row in [20, 13, 12, 0] {
            logits[row * VOCAB + 5] = f32::NAN;
            let (expected, before) = sample(&logits, &parameters, 1);
            assert!(before == Generator::new(7), "the generator is as it was");
            for threads in [2, 3, 8] {
                let (result, after) = sample(&logits, &parameters, threads);
                assert_eq!(format!("{result:?}"), format!("{expected:?}"), "{threads} threads");
                assert!(format!("{result:?}").contains(&format!("row: {row},")), "{result:?}");
                assert!(after == before, "{threads} threads");
            }
        }
    }
}
