//! The samplers beside their floor: one pass of exponentials and the twists of the generator.

#![allow(missing_docs, clippy::unwrap_used)] // Criterion's macros; a benchmark fails by panicking.

#[path = "../../sampler/examples/gaussian/mod.rs"]
mod gaussian;

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gaussian::gaussian;
use torch_exact_sampler::{
    Capability, Generator, Logits, Replay, SampleParameters, Sampler, SimpleBatchParameters,
    internals, simple_batch_sampler,
};

/// Vocabulary, `top_k` and `top_p`.
const WORKLOADS: [(usize, i64, f64); 6] = [
    (4096, 20, 0.95),
    (8193, 80, 0.95),
    (32_000, 50, 0.9),
    (65_536, 0, 0.85),
    (128_256, 50, 0.9),
    (151_936, 50, 0.95),
];

const REPLAY: Replay = Replay { capability: Capability::Avx512, threads: NonZeroUsize::MIN };

fn benches(criterion: &mut Criterion) {
    for (vocab, top_k, top_p) in WORKLOADS {
        let mut group = criterion.benchmark_group(format!("V={vocab} k={top_k} p={top_p}"));
        let mut logits = gaussian(vocab);
        let mut generator = Generator::new(1);
        let parameters = SampleParameters { top_p, top_k, ..SampleParameters::default() };
        let mut token = [0];
        group.bench_function("floor", |bencher| {
            bencher.iter(|| {
                internals::skip(&mut generator, vocab);
                internals::exp_sum(black_box(&logits), 10.0, REPLAY.capability)
            });
        });
        group.bench_function("twists", |bencher| {
            bencher.iter(|| internals::skip(&mut generator, vocab));
        });
        let mut sampler = Sampler::new();
        group.bench_function("sample", |bencher| {
            bencher.iter(|| {
                let row = Logits::row(black_box(&logits));
                sampler.sample(row, &parameters, REPLAY, &mut generator, &mut token).unwrap();
            });
        });
        let mut tokens = [0; 256];
        group.bench_with_input(BenchmarkId::new("draw", tokens.len()), &(), |bencher, ()| {
            bencher.iter(|| {
                sampler.draw(&logits, &parameters, REPLAY, &mut generator, &mut tokens).unwrap();
            });
        });
        group.bench_function("simple_batch_sampler", |bencher| {
            bencher.iter(|| {
                let parameters = SimpleBatchParameters::default();
                simple_batch_sampler(&mut logits, vocab, &parameters, &mut generator, &mut token)
                    .unwrap();
            });
        });
        group.finish();
    }
}

criterion_group!(samplers, benches);
criterion_main!(samplers);
