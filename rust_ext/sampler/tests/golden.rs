//! The port against traces recorded from torch: every stage, token and generator state, at every
//! capability, without Python.

#![allow(clippy::panic, clippy::unwrap_used)] // A test fails by panicking.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use torch_exact_sampler::{
    Capability, Generator, Logits, NoiseOrder, Replay, SampleParameters, Sampler,
    SimpleBatchParameters, ZeroTemperature, draw, simple_batch_sampler, trace_sample_logits,
    trace_simple_batch_sampler,
};

#[derive(Deserialize)]
struct Golden {
    id: String,
    case: Case,
    logits: Source,
}

#[derive(Deserialize)]
struct Case {
    parameters: Parameters,
    shape: [usize; 2],
    seed: u64,
    threads: NonZeroUsize,
    draws: usize,
}

#[derive(Deserialize)]
#[serde(tag = "sampler")]
enum Parameters {
    #[serde(rename = "sample_logits")]
    SampleLogits { temperature: Number, top_p: Number, top_k: i64 },
    #[serde(rename = "simple_batch_sampler")]
    SimpleBatch { noise: Number, temp: Number },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    Tensor { tensor: String },
    Rows { rows: Vec<usize>, vocab: usize, bf16: bool },
}

/// A number; JSON has no way to write NaN or infinity.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Named(Named),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Named {
    Inf,
    Nan,
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        match number {
            Number::Finite(value) => value,
            Number::Named(Named::Inf) => f64::INFINITY,
            Number::Named(Named::Nan) => f64::NAN,
        }
    }
}

fn fixture(path: &str) -> Vec<u8> {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path);
    fs::read(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn token_bytes(tokens: &[i64]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

fn mask_bytes(mask: &[bool]) -> Vec<u8> {
    mask.iter().map(|keep| u8::from(*keep)).collect()
}

/// The recorded traces of one capability, counting what is compared with them.
struct Recorded<'a> {
    tensors: SafeTensors<'a>,
    compared: BTreeSet<String>,
}

impl Recorded<'_> {
    /// Compares the bytes of a stage, or their digest where only that was recorded.
    fn expect(&mut self, id: &str, stage: &str, actual: &[u8]) {
        let name = format!("{id}.{stage}");
        if let Ok(expected) = self.tensors.tensor(&name) {
            let size = match expected.dtype() {
                Dtype::F32 => 4,
                Dtype::I64 => 8,
                _ => 1,
            };
            assert_eq!(expected.data().len(), actual.len(), "{name}: length");
            let mut pairs = expected.data().chunks(size).zip(actual.chunks(size)).enumerate();
            if let Some((at, (wanted, got))) = pairs.find(|(_, (wanted, got))| wanted != got) {
                panic!("{name}[{at}]: torch has {wanted:02x?}, the port {got:02x?}");
            }
            self.compared.insert(name);
        } else {
            let name = format!("{name}.sha256");
            let expected =
                self.tensors.tensor(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(expected.data(), &Sha256::digest(actual)[..], "{name}");
            self.compared.insert(name);
        }
    }
}

struct Inputs<'a> {
    synthetic: SafeTensors<'a>,
    real: Vec<f32>,
    real_vocab: usize,
}

impl Inputs<'_> {
    fn logits(&self, source: &Source) -> Vec<f32> {
        match source {
            Source::Tensor { tensor } => floats(
                self.synthetic
                    .tensor(tensor)
                    .unwrap_or_else(|error| panic!("{tensor}: {error}"))
                    .data(),
            ),
            Source::Rows { rows, vocab, bf16 } => rows
                .iter()
                .flat_map(|row| &self.real[row * self.real_vocab..][..*vocab])
                .map(|&x| if *bf16 { half::bf16::from_f32(x).to_f32() } else { x })
                .collect(),
        }
    }
}

/// Tokens of successive calls, each `[B]`, as `[B, draws]`.
fn columns(calls: &[Vec<i64>], rows: usize) -> Vec<i64> {
    (0..rows).flat_map(|row| calls.iter().map(move |call| call[row])).collect()
}

fn sample(
    Golden { id, case, .. }: &Golden,
    parameters: &SampleParameters,
    logits: &[f32],
    capability: Capability,
    recorded: &mut Recorded<'_>,
) {
    let &Case { shape: [batch, vocab], seed, threads, draws, .. } = case;
    let batched = Logits::new(logits, batch, vocab).unwrap();
    let replay = Replay { capability, threads };
    let mut generator = Generator::new(seed);
    let trace = trace_sample_logits(batched, parameters, replay, &mut generator).unwrap();
    recorded.expect(id, "scaled_logits", &float_bytes(&trace.scaled_logits));
    recorded.expect(id, "probs", &float_bytes(&trace.probs));
    recorded.expect(id, "top_k_mask", &mask_bytes(&trace.top_k_mask));
    recorded.expect(id, "top_p_mask", &mask_bytes(&trace.top_p_mask));
    recorded.expect(id, "renormalized", &float_bytes(&trace.renormalized));

    let mut calls = vec![trace.token];
    let mut sampler = Sampler::new();
    for _ in 1..draws {
        let mut tokens = vec![0; batch];
        sampler.sample(batched, parameters, replay, &mut generator, &mut tokens).unwrap();
        calls.push(tokens);
    }
    recorded.expect(id, "token", &token_bytes(&columns(&calls, batch)));
    recorded.expect(id, "state", &generator.state());

    if batch == 1 {
        let mut generator = Generator::new(seed);
        let mut tokens = vec![0; draws];
        draw(logits, parameters, replay, &mut generator, &mut tokens).unwrap();
        recorded.expect(id, "token", &token_bytes(&tokens));
        recorded.expect(id, "state", &generator.state());
    }
}

fn simple(
    Golden { id, case, .. }: &Golden,
    parameters: &SimpleBatchParameters,
    logits: &mut [f32],
    recorded: &mut Recorded<'_>,
) {
    let &Case { shape: [batch, vocab], seed, draws, .. } = case;
    let mut generator = Generator::new(seed);
    let trace =
        trace_simple_batch_sampler(logits, vocab, parameters, &mut generator, batch).unwrap();
    recorded.expect(id, "scaled_logits", &float_bytes(&trace.scaled_logits));
    recorded.expect(id, "noised_logits", &float_bytes(&trace.noised_logits));
    let mut calls = vec![trace.token];
    for _ in 1..draws {
        let mut tokens = vec![0; batch];
        simple_batch_sampler(logits, vocab, parameters, &mut generator, &mut tokens).unwrap();
        calls.push(tokens);
    }
    recorded.expect(id, "token", &token_bytes(&columns(&calls, batch)));
    recorded.expect(id, "logits_after", &float_bytes(logits));
    recorded.expect(id, "state", &generator.state());
}

fn agrees_with_torch(capability: Capability) {
    agrees_with_recorded(capability, "golden", capability.name());
}

/// Compares the port with what was recorded of a folder's cases under some name.
fn agrees_with_recorded(capability: Capability, folder: &str, recorded: &str) {
    let file = |name: &str| fixture(&format!("{folder}/{name}"));
    let cases: Vec<Golden> = serde_json::from_slice(&file("cases.json")).unwrap();
    let synthetic = file("cases.safetensors");
    let real = fixture("smollm2/logits.safetensors");
    let real = SafeTensors::deserialize(&real).unwrap();
    let real = real.tensor("logits").unwrap();
    let inputs = Inputs {
        synthetic: SafeTensors::deserialize(&synthetic).unwrap(),
        real: floats(real.data()),
        real_vocab: real.shape()[1],
    };
    let golden = file(&format!("{recorded}.safetensors"));
    let mut recorded =
        Recorded { tensors: SafeTensors::deserialize(&golden).unwrap(), compared: BTreeSet::new() };
    for golden in &cases {
        let mut logits = inputs.logits(&golden.logits);
        match golden.case.parameters {
            Parameters::SampleLogits { temperature, top_p, top_k } => {
                let parameters = SampleParameters {
                    temperature: temperature.into(),
                    top_p: top_p.into(),
                    top_k,
                    zero_temperature: ZeroTemperature::Raise,
                };
                sample(golden, &parameters, &logits, capability, &mut recorded);
            }
            Parameters::SimpleBatch { noise, temp } => {
                let parameters = SimpleBatchParameters {
                    noise: noise.into(),
                    temp: temp.into(),
                    forbid_token: None,
                    order: NoiseOrder::RowMajor,
                };
                simple(golden, &parameters, &mut logits, &mut recorded);
            }
        }
    }
    let mut expected: Vec<_> = recorded.tensors.names();
    expected.sort_unstable();
    assert!(!expected.is_empty());
    assert_eq!(recorded.compared.iter().collect::<Vec<_>>(), expected, "recorded = compared");
    assert!(cases.len() == if folder == "golden" { 92 } else { 42 });
}

#[test]
fn default_agrees_with_torch() {
    agrees_with_torch(Capability::Default);
}

#[test]
fn avx2_agrees_with_torch() {
    agrees_with_torch(Capability::Avx2);
}

#[test]
fn avx512_agrees_with_torch() {
    agrees_with_torch(Capability::Avx512);
}

#[test]
fn neon_agrees_with_torch() {
    agrees_with_torch(Capability::Neon);
}

/// torch names another level on Arm with SVE and vectors of 128 bits; it was recorded to compute the
/// bits of `neon`.
#[test]
fn sve128_is_neon() {
    agrees_with_recorded(Capability::Neon, "golden", "sve128");
}

/// Rows whose lengths tell Arm's rules apart.
#[test]
fn what_was_recorded_on_arm_alone_agrees() {
    for (capability, recorded) in
        [(Capability::Neon, "neon"), (Capability::Neon, "sve128"), (Capability::Sve256, "sve256")]
    {
        agrees_with_recorded(capability, "arm", recorded);
    }
}

#[test]
fn sve256_agrees_with_torch() {
    agrees_with_torch(Capability::Sve256);
}

/// One corpus, one oracle, every instruction set: the emulated lanes are not the hardware's.
#[cfg(all(feature = "internals", target_arch = "x86_64"))]
#[test]
fn every_kernel_agrees_with_torch() {
    use torch_exact_sampler::internals::{Kernel, force};

    let mut forced = Vec::new();
    for kernel in [Kernel::Portable, Kernel::Avx2, Kernel::Avx512] {
        if force(Some(kernel)) {
            Capability::ALL.into_iter().for_each(agrees_with_torch);
            forced.push(kernel);
        }
    }
    assert!(force(None));
    assert!(forced.contains(&Kernel::Portable));
    assert!(!is_x86_feature_detected!("avx2") || forced.contains(&Kernel::Avx2));
    assert!(!is_x86_feature_detected!("avx512vl") || forced.contains(&Kernel::Avx512));
}
