//! Logits and parameters of any bits: a sampler draws a token of the vocabulary or refuses, a trace
//! draws the same, and what is refused leaves the generator as it was. Half precision gives what the
//! same numbers give as f32.

#![no_main]

use half::{bf16, f16};
use libfuzzer_sys::fuzz_target;
use torch_exact_sampler::{
    Capability, Generator, HalfLogits, Logits, Replay, SampleParameters, Sampler,
    SimpleBatchParameters, ZeroTemperature, simple_batch_sampler,
};

fn float(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(std::array::from_fn(|at| bytes[at]))
}

fn half_precision(bytes: &[u8], seed: u64, parameters: &SampleParameters, replay: Replay) {
    let bits: Vec<u16> = bytes.as_chunks().0.iter().map(|&two| u16::from_le_bytes(two)).collect();
    let brain: Vec<f32> = bits.iter().map(|&bits| bf16::from_bits(bits).to_f32()).collect();
    let binary16: Vec<f32> = bits.iter().map(|&bits| f16::from_bits(bits).to_f32()).collect();
    let vocab = bits.len();
    for (half, widened) in
        [(HalfLogits::bf16(&bits, 1, vocab), &brain), (HalfLogits::f16(&bits, 1, vocab), &binary16)]
    {
        let (Ok(half), Ok(widened)) = (half, Logits::new(widened, 1, vocab)) else { return };
        let (mut one, mut other) = (Generator::new(seed), Generator::new(seed));
        let (mut token, mut expected) = ([0], [0]);
        let sampled = Sampler::new().sample_half(half, parameters, replay, &mut one, &mut token);
        let wide = Sampler::new().sample(widened, parameters, replay, &mut other, &mut expected);
        // Errors say which number was wrong, and NaN equals nothing.
        assert_eq!(format!("{sampled:?}"), format!("{wide:?}"));
        assert_eq!(token, expected);
        assert!(one == other, "the generators part");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_at_checked(24) else { return };
    let values: Vec<f32> =
        rest.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
    let rows = 1 + usize::from(head[0] & 1);
    let vocab = values.len() / rows;
    let values = &values[..rows * vocab];
    let Ok(logits) = Logits::new(values, rows, vocab) else { return };
    let zero = if head[1] & 1 == 0 { ZeroTemperature::Raise } else { ZeroTemperature::Argmax };
    let parameters = SampleParameters {
        temperature: if head[1] & 2 == 0 { 1.0 } else { float(&head[8..]) },
        top_p: float(&head[16..]),
        top_k: i64::from(i16::from_le_bytes([head[2], head[3]])),
        zero_temperature: zero,
    };
    let capability = Capability::ALL[usize::from(head[4]) % Capability::ALL.len()];
    let replay = Replay { capability, ..Replay::default() };
    let seed = u64::from(head[5]);
    let (mut one, mut other) = (Generator::new(seed), Generator::new(seed));
    let mut tokens = vec![0; rows];
    let sampled = Sampler::new().sample(logits, &parameters, replay, &mut one, &mut tokens);
    let traced = Sampler::new().trace(logits, &parameters, replay, &mut other);
    assert!(one == other, "the generators part");
    match (sampled, traced) {
        (Ok(()), Ok(trace)) => {
            assert_eq!(tokens, trace.token);
            assert!(tokens.iter().all(|&token| usize::try_from(token).is_ok_and(|t| t < vocab)));
        }
        (Err(one_error), Err(_)) => {
            assert!(one == Generator::new(seed), "{one_error} has moved the generator");
        }
        (sampled, traced) => panic!("{sampled:?}, and a trace gives {traced:?}"),
    }
    half_precision(rest, seed, &parameters, replay);
    let simple = SimpleBatchParameters {
        noise: float(&head[16..]),
        temp: float(&head[8..]),
        forbid_token: (head[6] > 0).then_some(usize::from(head[7])),
        ..SimpleBatchParameters::default()
    };
    let mut changed = values.to_vec();
    _ = simple_batch_sampler(&mut changed, vocab, &simple, &mut one, &mut tokens);
});
