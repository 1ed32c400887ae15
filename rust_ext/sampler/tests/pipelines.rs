//! A pipeline's steps and tokens are the same with every instruction set.

#![cfg(feature = "internals")]
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::num::NonZeroUsize;

use torch_exact_sampler::internals::{Kernel, force};
use torch_exact_sampler::{
    Capability, Generator, Logits, Pipeline, PipelineTrace, PipelineWorkspace, Replay, Step,
};

/// Rows with many ties, on a grid, partly masked, and with differences beyond the exponential's reach.
fn rows(length: usize) -> Vec<Vec<f32>> {
    let mut generator = Generator::new(31);
    let kinds: [fn(f32, f32) -> f32; 5] = [
        |x, y| (x + y) * 8.0 - 9.0,
        |x, _| (x * 40.0).floor() / 4.0 - 7.0,
        |x, y| if y < 0.6 { f32::NEG_INFINITY } else { x * 9.0 },
        |x, y| if y < 0.5 { x - 90.0 - 30.0 * y } else { x * 9.0 },
        |x, _| -6.0 - (x * 41_943.0).floor() / 4_194_304.0,
    ];
    let row = |kind: fn(f32, f32) -> f32| {
        let mut row: Vec<f32> =
            (0..length).map(|_| kind(generator.next_f32(), generator.next_f32())).collect();
        row[length / 2] = 1.0;
        row
    };
    kinds.map(row).into()
}

fn pipelines() -> Vec<Pipeline> {
    let steps = [
        Step::TopP(0.9),
        Step::MinP(0.01),
        Step::TypicalP(0.8),
        Step::EpsilonCutoff(1e-4),
        Step::EtaCutoff(1e-3),
        Step::TopK(200),
    ];
    let mut all: Vec<Vec<Step>> = steps.iter().map(|step| vec![*step]).collect();
    all.push(steps.to_vec());
    all.push(steps.into_iter().rev().collect());
    all.into_iter().map(|steps| Pipeline::new(steps).unwrap()).collect()
}

/// What all pipelines make of all rows, and the tokens that are drawn without a trace.
fn everything() -> Vec<(PipelineTrace, i64)> {
    let mut workspace = PipelineWorkspace::new();
    let mut found = Vec::new();
    for length in [7, 33, 1500, 5003] {
        for row in rows(length) {
            for pipeline in pipelines() {
                for capability in Capability::ALL {
                    let replay = Replay { capability, threads: NonZeroUsize::MIN };
                    let logits = Logits::row(&row);
                    let mut generator = Generator::new(5);
                    let traced = &mut generator.clone();
                    let trace =
                        pipeline.trace(logits, None, replay, traced, &mut workspace).unwrap();
                    let mut token = [0];
                    pipeline
                        .sample(logits, None, replay, &mut generator, &mut workspace, &mut token)
                        .unwrap();
                    assert_eq!(token[0], trace.token[0]);
                    assert!(generator == *traced);
                    found.push((trace, token[0]));
                }
            }
        }
    }
    found
}

#[test]
fn every_kernel_makes_the_same_of_a_row() {
    assert!(force(Some(Kernel::Portable)));
    let portable = everything();
    for kernel in Kernel::ALL {
        if force(Some(kernel)) {
            assert!(everything() == portable, "{kernel:?}");
        }
    }
    assert!(force(None));
}
