//! Logits and parameters of any bits: a sampler draws a token of the vocabulary or refuses, a trace
//! draws the same, and what is refused leaves the generator as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use torch_exact_sampler::{
    Capability, Generator, Logits, Replay, SampleParameters, Sampler, SimpleBatchParameters,
    ZeroTemperature, simple_batch_sampler,
};

fn float(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(std::array::from_fn(|at| bytes[at]))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_at_checked(24) else { return };
    let values: Vec<f32> = rest.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
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
    let simple = SimpleBatchParameters {
        noise: float(&head[16..]),
        temp: float(&head[8..]),
        forbid_token: (head[6] > 0).then_some(usize::from(head[7])),
        ..SimpleBatchParameters::default()
    };
    let mut changed = values.to_vec();
    _ = simple_batch_sampler(&mut changed, vocab, &simple, &mut one, &mut tokens);
});
