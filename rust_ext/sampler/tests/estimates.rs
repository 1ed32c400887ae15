//! One draw is decided from estimates where these leave no doubt; the first of two never is.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::num::NonZeroUsize;

use torch_exact_sampler::{Capability, Generator, Logits, Replay, SampleParameters, Sampler};

const ROWS: u32 = 20_000;
const SEED: u64 = 5;

/// Rows of many kinds: even, skewed, in descending order, tied, and as bf16 has them.
fn fill(row: &mut [f32], random: &mut Generator) {
    let (kind, spread) = (random.next_u32() % 6, (random.next_f32() * 5.0).exp() * 0.3);
    let mut last = 0.0;
    for x in row {
        let u = random.next_f32();
        *x = match kind {
            0 => u * spread,
            1 => -(1e-6 + u).ln() * spread * 0.3,
            2 => {
                last -= spread * 0.01 * u;
                last
            }
            3 => (u * 200.0).floor() / 200.0 * spread,
            4 => (u - 0.5).powi(3) * spread * 8.0,
            _ => f32::from_bits((u * spread).to_bits() & 0xFFFF_0000),
        };
    }
}

fn one_of<T: Copy>(choices: &[T], random: &mut Generator) -> T {
    choices[random.next_u32() as usize % choices.len()]
}

#[test]
fn one_draw_is_the_first_of_two() {
    let (mut random, mut generator) = (Generator::new(SEED), Generator::new(SEED + 1));
    let (mut once, mut twice) = (Sampler::new(), Sampler::new());
    let mut logits = vec![0.0; 4096];
    for number in 0..ROWS {
        let row = &mut logits[..2048 + random.next_u32() as usize % 2000];
        fill(row, &mut random);
        let parameters = SampleParameters {
            temperature: one_of(&[1.0, 1.0, 0.7, 1.4], &mut random),
            top_p: one_of(&[0.0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0], &mut random),
            top_k: one_of(&[0, 0, 1, 5, 20, 31], &mut random),
            ..SampleParameters::default()
        };
        let capability = one_of(&Capability::ALL, &mut random);
        let replay = Replay { capability, threads: NonZeroUsize::MIN };
        let mut other = generator.clone();
        let (mut token, mut tokens) = ([0], [0; 2]);
        once.sample(Logits::row(row), &parameters, replay, &mut generator, &mut token).unwrap();
        twice.draw(row, &parameters, replay, &mut other, &mut tokens).unwrap();
        assert_eq!(token[0], tokens[0], "row {number} of seed {SEED}: {parameters:?} {replay:?}");
    }
}
