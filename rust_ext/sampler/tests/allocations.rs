//! A sampler that has seen a row length allocates nothing on the next one.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::num::NonZeroUsize;

use torch_exact_sampler::{
    Capability, Generator, History, Logits, Pipeline, PipelineWorkspace, Replay, SampleParameters,
    Sampler, SimpleBatchParameters, Step, simple_batch_sampler,
};

const VOCAB: usize = 40_000;
const ROWS: usize = 2;

fn logits(levels: f32) -> Vec<f32> {
    let mut generator = Generator::new(1);
    (0..ROWS * VOCAB).map(|_| (generator.next_f32() * levels).floor() * 8.0 / levels).collect()
}

fn allocations(logits: &[f32], parameters: SampleParameters, rows: usize) -> u64 {
    let threads = NonZeroUsize::new(2).unwrap();
    let logits = Logits::new(&logits[..rows * VOCAB], rows, VOCAB).unwrap();
    let mut sampler = Sampler::new();
    let mut tokens = [0; ROWS];
    let mut calls = 0;
    for capability in Capability::ALL {
        let replay = Replay { capability, threads };
        let mut generator = Generator::new(1);
        let mut call = || {
            sampler
                .sample(logits, &parameters, replay, &mut generator, &mut tokens[..rows])
                .unwrap();
        };
        call();
        calls += allocation_counter::measure(call).count_total;
    }
    calls
}

#[test]
fn steady_state_allocates_nothing() {
    // Many levels, and few: the latter tie at the nucleus' edge, where the sort is replayed.
    for levels in [1e6, 20.0] {
        let logits = logits(levels);
        for (temperature, top_p, top_k) in
            [(1.0, 0.95, 80), (0.7, 0.9, 200), (0.8, 0.95, 0), (1.0, 0.0, 0), (1.3, 0.5, 30_000)]
        {
            let parameters = SampleParameters { temperature, top_p, top_k, ..Default::default() };
            for rows in 1..=ROWS {
                assert_eq!(allocations(&logits, parameters, rows), 0, "{levels} {parameters:?}");
            }
        }
    }
}

#[test]
fn steady_state_of_a_pipeline_allocates_nothing() {
    let steps = [
        Step::RepetitionPenalty(1.1),
        Step::Temperature(0.9),
        Step::TypicalP(0.9),
        Step::TopP(0.9),
        Step::TopK(50),
        Step::MinP(0.01),
        Step::EpsilonCutoff(1e-4),
        Step::EtaCutoff(1e-4),
    ];
    let history: Vec<i64> = (0..100).collect();
    // Many levels, and few: the latter tie at every edge, where the sort is replayed.
    for levels in [1e6, 20.0] {
        let logits = logits(levels);
        let logits = Logits::new(&logits, ROWS, VOCAB).unwrap();
        let history = History::new(&history, ROWS, 50).unwrap();
        let alone = steps.iter().map(|step| vec![*step]);
        for steps in alone.chain([vec![], steps.to_vec()]) {
            let pipeline = Pipeline::new(steps.clone()).unwrap();
            let mut workspace = PipelineWorkspace::new();
            let mut generator = Generator::new(1);
            let mut tokens = [0; ROWS];
            let mut call = || {
                let (workspace, tokens) = (&mut workspace, &mut tokens);
                let generator = &mut generator;
                pipeline
                    .sample(logits, Some(history), Replay::default(), generator, workspace, tokens)
                    .unwrap();
            };
            call();
            assert_eq!(allocation_counter::measure(call).count_total, 0, "{levels} {steps:?}");
        }
    }
}

/// However many tokens survive in it.
#[test]
fn another_row_allocates_nothing() {
    const OTHERS: usize = 40;
    let mut generator = Generator::new(3);
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for row in 0..=OTHERS {
        #[allow(clippy::cast_precision_loss)] // A few rows, from flat to steep.
        let spread = 6.0 + 20.0 * (row % 8) as f32;
        rows.push((0..VOCAB).map(|_| generator.next_f32() * spread).collect());
    }
    for (top_p, top_k) in [(0.95, 80), (0.0, 50), (0.85, 0), (0.0, 0), (0.0, 1000), (0.3, 200)] {
        let parameters = SampleParameters { top_p, top_k, ..SampleParameters::default() };
        let replay = Replay { capability: Capability::Avx512, threads: NonZeroUsize::MIN };
        let (mut sampler, mut tokens) = (Sampler::new(), [0]);
        let mut draw = |row: &[f32]| {
            sampler
                .sample(Logits::row(row), &parameters, replay, &mut generator, &mut tokens)
                .unwrap();
        };
        for row in &rows[..8] {
            draw(row);
        }
        let counted = allocation_counter::measure(|| rows[8..].iter().for_each(|row| draw(row)));
        assert_eq!(counted.count_total, 0, "{parameters:?}");
    }
}

#[test]
fn the_first_call_does_allocate() {
    let logits = logits(1e6);
    let counted = allocation_counter::measure(|| {
        let replay = Replay { capability: Capability::Avx2, threads: NonZeroUsize::MIN };
        let mut tokens = [0];
        Sampler::new()
            .sample(
                Logits::row(&logits),
                &SampleParameters::default(),
                replay,
                &mut Generator::new(1),
                &mut tokens,
            )
            .unwrap();
    });
    assert!(counted.count_total > 0, "otherwise the test above would prove nothing");
}

#[test]
fn the_simple_sampler_allocates_nothing() {
    let mut logits = logits(1e6);
    let (mut generator, mut tokens) = (Generator::new(1), [0; ROWS]);
    let counted = allocation_counter::measure(|| {
        let parameters = SimpleBatchParameters { temp: 0.7, ..SimpleBatchParameters::default() };
        simple_batch_sampler(&mut logits, VOCAB, &parameters, &mut generator, &mut tokens).unwrap();
    });
    assert_eq!(counted.count_total, 0);
}
