//! Rows of a batch in parallel.
//!
//! A row's draw begins where the one before it ended in the stream, so draws are made in order, by
//! one thread. What comes before a draw needs no generator: while some rows are drawn from, the
//! next are prepared, by whichever threads are free. The bits do not depend on how many there are.

use rayon::prelude::*;

use crate::sample_logits::{Place, Sampler, to_token};
use crate::{Generator, Logits, Replay, SampleError, SampleParameters};

/// A smaller batch is not worth the threads' time.
const ROWS: usize = 4;
const TOKENS: usize = 65_536;
/// Tokens that are prepared at once: less is done before the threads have met.
const WAVE: usize = 262_144;

/// Whether a batch is to be shared between threads.
pub(crate) fn is_worth_while(logits: Logits<'_>) -> bool {
    logits.rows() >= ROWS && logits.values().len() >= TOKENS && rayon::current_num_threads() > 1
}

/// One row's workspace, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    sampler: Sampler,
    prepared: Result<(), SampleError>,
}

/// Draws one token a row; the first row that is refused decides the error, and the generator is
/// then wherever the draws before it left it.
pub(crate) fn sample(
    workers: &mut Vec<Worker>,
    logits: Logits<'_>,
    parameters: &SampleParameters,
    replay: Replay,
    generator: &mut Generator,
    tokens: &mut [i64],
) -> Result<(), SampleError> {
    let vocab = logits.vocab();
    let width = (WAVE / vocab).min(logits.rows().div_ceil(2)).max(2 * rayon::current_num_threads());
    if workers.len() < 2 * width {
        workers.resize_with(2 * width, || Worker { sampler: Sampler::new(), prepared: Ok(()) });
    }
    let (mut ready, rest) = workers.split_at_mut(width);
    let mut next = &mut rest[..width];
    let prepare = |workers: &mut [Worker], first: usize| {
        let rows = logits.values()[(first * vocab).min(logits.values().len())..]
            .par_chunks_exact(vocab)
            .enumerate();
        workers.par_iter_mut().zip(rows).for_each(|(worker, (offset, row))| {
            let place = Place { row: first + offset, alone: false };
            worker.prepared = worker.sampler.prepare(row, place, parameters, replay);
        });
    };
    prepare(ready, 0);
    for (first, tokens) in (0..).step_by(width).zip(tokens.chunks_mut(width)) {
        let generator = &mut *generator;
        let (drawn, ()) = rayon::join(
            || {
                for (worker, token) in ready.iter().zip(tokens) {
                    worker.prepared?;
                    *token = to_token(worker.sampler.draw_one(vocab, generator));
                }
                Ok(())
            },
            || prepare(next, first + width),
        );
        drawn?;
        std::mem::swap(&mut ready, &mut next);
    }
    Ok(())
}
