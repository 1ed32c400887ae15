//! Logits in half precision give the token of what they are widened to.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::num::NonZeroUsize;

use half::{bf16, f16};
use torch_exact_sampler::{
    Capability, Generator, HalfLogits, Logits, Replay, SampleError, SampleParameters, Sampler,
    ZeroTemperature,
};

/// Samplers of half precision and of f32, which see the same rows.
#[derive(Default)]
struct Pair {
    half: Sampler,
    single: Sampler,
}

impl Pair {
    /// Samples bits of a format both ways, and compares tokens, errors and generators.
    fn compare(
        &mut self,
        bits: &[u16],
        is_brain: bool,
        rows: usize,
        parameters: &SampleParameters,
        generator: &mut Generator,
    ) -> Result<Vec<i64>, SampleError> {
        let vocab = bits.len() / rows.max(1);
        let replay = Replay { capability: Capability::Avx2, threads: NonZeroUsize::MIN };
        let widen = |bits: &u16| {
            if is_brain { bf16::from_bits(*bits).to_f32() } else { f16::from_bits(*bits).to_f32() }
        };
        let widened: Vec<f32> = bits.iter().map(widen).collect();
        let half = if is_brain { HalfLogits::bf16 } else { HalfLogits::f16 };
        let mut other = generator.clone();
        let (mut found, mut expected) = (vec![-1; rows], vec![-1; rows]);
        let half = half(bits, rows, vocab).unwrap();
        let outcome = self.half.sample_half(half, parameters, replay, generator, &mut found);
        let logits = Logits::new(&widened, rows, vocab).unwrap();
        let plain = self.single.sample(logits, parameters, replay, &mut other, &mut expected);
        // A NaN is an error that does not equal itself.
        assert_eq!(format!("{outcome:?}"), format!("{plain:?}"), "{parameters:?}");
        assert!(*generator == other, "{parameters:?}");
        outcome.map(|()| {
            assert_eq!(found, expected, "{parameters:?}");
            found
        })
    }
}

fn bits_of(x: f32, is_brain: bool) -> u16 {
    if is_brain { bf16::from_f32(x).to_bits() } else { f16::from_f32(x).to_bits() }
}

/// Flat and steep rows, as estimates, lists and the exact stages take them.
fn tokens_are_those_of_f32() {
    let (mut pair, mut random) = (Pair::default(), Generator::new(11));
    let mut generator = Generator::new(12);
    for round in 0..600_u16 {
        let is_brain = round % 2 == 0;
        let vocab = [100, 2500, 4099, 8193][usize::from(round / 2) % 4];
        let rows = if round % 5 == 0 { 3 } else { 1 };
        let spread = [0.5, 3.0, 12.0, 60.0][usize::from(round / 8) % 4];
        let bits: Vec<u16> = (0..rows * vocab)
            .map(|_| bits_of(-random.next_f32().max(1e-6).ln() * spread - 4.0, is_brain))
            .collect();
        let parameters = SampleParameters {
            temperature: [1.0, 0.7, 1.9][usize::from(round) % 3],
            top_p: [0.95, 0.0, 0.6][usize::from(round / 3) % 3],
            top_k: [0, 20, 90][usize::from(round / 9) % 3],
            ..SampleParameters::default()
        };
        pair.compare(&bits, is_brain, rows, &parameters, &mut generator).unwrap();
    }
}

#[test]
fn a_row_is_read_as_it_is_widened() {
    tokens_are_those_of_f32();
}

/// As [`a_row_is_read_as_it_is_widened`], with the kernels of each instruction set.
#[cfg(feature = "internals")]
#[test]
fn every_kernel_reads_it_so() {
    use torch_exact_sampler::internals::{Kernel, force};

    for kernel in Kernel::ALL {
        if force(Some(kernel)) {
            tokens_are_those_of_f32();
        }
    }
    assert!(force(None));
}

#[test]
fn what_is_refused_in_f32_is_refused() {
    let mut pair = Pair::default();
    let mut generator = Generator::new(1);
    for is_brain in [false, true] {
        let mut bits: Vec<u16> =
            (0..4000_u16).map(|at| bits_of(f32::from(at % 37), is_brain)).collect();
        let usual = SampleParameters::default();
        let too_many = SampleParameters { top_k: 4001, ..usual };
        let zero = SampleParameters { temperature: 0.0, ..usual };
        let argmax = SampleParameters { zero_temperature: ZeroTemperature::Argmax, ..zero };
        for top_k in [0, 20] {
            let parameters = SampleParameters { top_k, ..usual };
            // The first of a length grows the workspace.
            for _ in 0..3 {
                pair.compare(&bits, is_brain, 1, &parameters, &mut generator).unwrap();
            }
        }
        assert_eq!(pair.compare(&bits, is_brain, 1, &argmax, &mut generator), Ok(vec![36]));
        for refused in [too_many, zero] {
            assert!(pair.compare(&bits, is_brain, 1, &refused, &mut generator).is_err());
        }
        assert!(pair.compare(&[], is_brain, 1, &usual, &mut generator).is_err());
        assert!(pair.compare(&[], is_brain, 0, &usual, &mut generator).is_err());
        for value in [f32::NAN, f32::INFINITY] {
            bits[3998] = bits_of(value, is_brain);
            for top_k in [0, 20] {
                let parameters = SampleParameters { top_k, ..usual };
                assert!(pair.compare(&bits, is_brain, 1, &parameters, &mut generator).is_err());
            }
        }
        let half = if is_brain { HalfLogits::bf16 } else { HalfLogits::f16 };
        assert_eq!(
            half(&bits, 3, 1000).err(),
            Some(SampleError::Shape { values: 4000, rows: 3, vocab: 1000 })
        );
    }
}
