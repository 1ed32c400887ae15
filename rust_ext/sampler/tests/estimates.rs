//! One draw is decided from estimates where these leave no doubt; the first of two never is.

#![allow(clippy::unwrap_used)] // A test fails by panicking.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Words, and what torch rounds.

use std::num::NonZeroUsize;

use torch_exact_sampler::{Capability, Generator, Logits, Replay, SampleParameters, Sampler};

const ROWS: u32 = 20_000;
const SEED: u64 = 5;

/// Rows of many kinds: even, skewed, steep, in descending order, tied, and as bf16 has them.
fn fill(row: &mut [f32], random: &mut Generator) {
    let (kind, spread) = (random.next_u32() % 7, (random.next_f32() * 5.0).exp() * 0.3);
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
            5 => -(1e-6 + u).ln() * (1.0 + spread * 0.1),
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
            top_k: one_of(&[0, 0, 1, 5, 20, 31, 70, 300, 1000], &mut random),
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

/// The word of a generator's state that gives an output.
fn untempered(output: u32) -> u32 {
    let mut y = output ^ output >> 18;
    y ^= y << 15 & 0xEFC6_0000;
    let lower = (0..5).fold(y, |x, _| y ^ x << 7 & 0x9D2C_5680);
    (0..3).fold(lower, |x, _| lower ^ x >> 11)
}

/// A generator whose output for each of some tokens gives a uniform, of which the bits are given.
fn with_uniforms(seed: u64, uniforms: &[(usize, u64)]) -> Generator {
    let mut generator = Generator::new(seed);
    generator.next_u32();
    let mut state = generator.state();
    for &(token, bits) in uniforms {
        // The upper bits of both words are not used, or hardly: a word may not be zero.
        let words = [(bits >> 32 | 1 << 31) as u32, bits as u32 | 1];
        for (word, at) in words.into_iter().zip(1 + 2 * token..) {
            state[24 + 8 * at..][..4].copy_from_slice(&untempered(word).to_le_bytes());
        }
    }
    generator.set_state(&state).unwrap();
    generator
}

/// The best token that estimates tell of is hardly better than what those have that they leave out:
/// one of these is better, by less than the error of an estimate.
fn what_is_not_listed_may_win() {
    const OUTPUT: u64 = 1 << 32;
    let mut random = Generator::new(9);
    for number in 0..2000 {
        let mut row = vec![-30.0; 2048];
        // Estimates are relative to the largest logit of a sample, which token 23 is not among. The
        // second time, the light token's is too small, and the heavy one's too large.
        let (heavy, units) = [(7, 64_u32), (23, 58)][number as usize % 2];
        let light = 200;
        // A uniform of so many times 2^-21, which is what estimates look at, and its exponential.
        let q = -(-(f64::from(units) / 2_097_152.0)).ln_1p();
        row[heavy] = random.next_f32();
        let ratio = (1.0 + 2e-5 * f64::from(random.next_f32())) / 8.0;
        let share = ratio * (1.0 + 4e-5 * f64::from(random.next_f32()));
        row[light] = (f64::from(row[heavy]) + (share * q).ln()) as f32;
        let uniform = -(-1.0 / ratio).exp_m1();
        let bits = (uniform * 53_f64.exp2()) as u64;
        let mut generator =
            with_uniforms(number, &[(heavy, bits), (light, u64::from(units) * OUTPUT)]);
        let parameters = SampleParameters { top_p: 0.0, ..SampleParameters::default() };
        once_is_the_first_of_two(&row, &parameters, &mut generator);
    }
}

/// Two tokens that no sample looks at are further above it than an estimate reaches.
fn what_is_far_above_is_told_apart() {
    let mut random = Generator::new(9);
    for number in 0..50 {
        let mut row = vec![0.0; 5003];
        (row[5002], row[5001]) = (160.0, 160.0 - 3.0 * random.next_f32());
        let parameters = SampleParameters { top_p: 0.0, ..SampleParameters::default() };
        once_is_the_first_of_two(&row, &parameters, &mut Generator::new(number));
    }
}

fn once_is_the_first_of_two(row: &[f32], parameters: &SampleParameters, generator: &mut Generator) {
    let replay = Replay { capability: Capability::Avx2, threads: NonZeroUsize::MIN };
    let (mut sampler, mut token, mut tokens) = (Sampler::new(), [0], [0; 2]);
    let logits = Logits::row(row);
    // Estimates decide from the second row of a length on.
    sampler.sample(logits, parameters, replay, &mut generator.clone(), &mut token).unwrap();
    sampler.sample(logits, parameters, replay, &mut generator.clone(), &mut token).unwrap();
    sampler.draw(row, parameters, replay, generator, &mut tokens).unwrap();
    assert_eq!(token[0], tokens[0], "{parameters:?}");
}

#[test]
fn estimates_know_what_they_do_not_tell() {
    what_is_not_listed_may_win();
    what_is_far_above_is_told_apart();
}

/// As [`estimates_know_what_they_do_not_tell`]: instruction sets estimate differently.
#[cfg(feature = "internals")]
#[test]
fn estimates_of_every_kernel_do() {
    use torch_exact_sampler::internals::{Kernel, force};

    for kernel in Kernel::ALL {
        if force(Some(kernel)) {
            estimates_know_what_they_do_not_tell();
        }
    }
    assert!(force(None));
}
