//! A case's file, read.

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::{fmt, fs};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use torch_exact_sampler::{
    Generator, NoiseOrder, NoiseParameters, Replay, SampleParameters, ZeroTemperature,
};

const SCHEMA: &str = "2";

/// A case, and what the reference made of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) parameters: Parameters,
    /// `[B, V]`, `[V]`, or for the simple sampler any leading dimensions.
    pub(crate) shape: Vec<usize>,
    pub(crate) logits: Vec<f32>,
    pub(crate) seed: u64,
    /// How many successive calls are made with one generator.
    pub(crate) draws: usize,
    /// How many 32-bit outputs the generator has given before.
    pub(crate) advance: u64,
    /// The generator as the first call finds it; where its state was kept, `seed` and `advance` only
    /// say where it came from.
    pub(crate) generator: Generator,
    pub(crate) replay: Replay,
    pub(crate) reference: Outcome,
}

#[derive(Debug, Clone)]
pub(crate) enum Parameters {
    SampleLogits(SampleParameters),
    SimpleBatch(NoiseParameters),
}

/// What a case's calls made, and what they left behind.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// How many calls gave tokens; the next one, if any was to come, was refused.
    pub(crate) calls: usize,
    /// In order: the first call's stages, `token`, `input`, `generator`.
    pub(crate) stages: Vec<Stage>,
}

#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

#[derive(Debug, Clone)]
pub(crate) enum Values {
    F32(Vec<f32>),
    Mask(Vec<bool>),
    Tokens(Vec<i64>),
    Bytes(Vec<u8>),
}

/// The metadata's `case`.
#[derive(Deserialize)]
struct Note {
    parameters: NoteParameters,
    seed: u64,
    draws: usize,
    advance: u64,
    threads: NonZeroUsize,
    capability: String,
}

#[derive(Deserialize)]
#[serde(tag = "sampler")]
enum NoteParameters {
    #[serde(rename = "sample_logits")]
    SampleLogits { temperature: Number, top_p: Number, top_k: i64, zero_temperature: Zero },
    #[serde(rename = "simple_batch_sampler")]
    SimpleBatch { noise: Number, temp: Number, forbid_token: Option<usize> },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Zero {
    Raise,
    Argmax,
}

/// A number, or the name of one that JSON cannot write.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Named(String),
}

/// Reads a case.
///
/// # Errors
///
/// What is wrong with the file.
pub(crate) fn read(path: &Path) -> Result<Case, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let schema = metadata.get("schema").map(String::as_str);
    if schema != Some(SCHEMA) {
        let schema = schema.unwrap_or("none");
        return Err(format!("it has schema {schema}, and this version reads {SCHEMA}").into());
    }
    let note = metadata.get("case").ok_or("its metadata have no case")?;
    let note: Note = serde_json::from_str(note)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let parameters = parameters(&note.parameters)?;
    let logits = tensors.tensor("logits")?;
    let shape = logits.shape().to_vec();
    let reference = reference(&tensors, parameters.stages(), &shape, note.draws)?;
    Ok(Case {
        logits: match values(logits.dtype(), logits.data()) {
            Some(Values::F32(logits)) => logits,
            _ => return Err(format!("logits are {:?}, not F32", logits.dtype()).into()),
        },
        parameters,
        shape,
        seed: note.seed,
        draws: note.draws,
        advance: note.advance,
        generator: generator(&note, &tensors)?,
        replay: Replay { capability: note.capability.parse()?, threads: note.threads },
        reference,
    })
}

impl Parameters {
    /// The stages of a call before its token, in order.
    fn stages(&self) -> &'static [&'static str] {
        match self {
            Self::SampleLogits(_) => {
                &["scaled_logits", "probs", "top_k_mask", "top_p_mask", "renormalized"]
            }
            Self::SimpleBatch(_) => &["scaled_logits", "noised_logits"],
        }
    }
}

impl Case {
    /// Rows and tokens a row, where the logits have a dimension.
    pub(crate) fn rows_and_vocab(&self) -> Option<(usize, usize)> {
        rows_and_vocab(&self.shape)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, seed, draws, advance, replay, .. } = self;
        let Replay { capability, threads } = replay;
        match self.parameters {
            Parameters::SampleLogits(parameters) => write!(f, "sample_logits, {parameters:?}")?,
            Parameters::SimpleBatch(parameters) => {
                write!(f, "simple_batch_sampler, {parameters:?}")?;
            }
        }
        write!(
            f,
            ", shape {shape:?}, seed {seed}, {draws} draws, advance {advance}, \
             capability {capability}, {threads} threads"
        )
    }
}

fn rows_and_vocab(shape: &[usize]) -> Option<(usize, usize)> {
    shape.split_last().map(|(&vocab, leading)| (leading.iter().product(), vocab))
}

fn parameters(note: &NoteParameters) -> Result<Parameters, Box<dyn Error>> {
    Ok(match *note {
        NoteParameters::SampleLogits {
            ref temperature,
            ref top_p,
            top_k,
            ref zero_temperature,
        } => Parameters::SampleLogits(SampleParameters {
            temperature: number("temperature", temperature)?,
            top_p: number("top_p", top_p)?,
            top_k,
            zero_temperature: match zero_temperature {
                Zero::Raise => ZeroTemperature::Raise,
                Zero::Argmax => ZeroTemperature::Argmax,
            },
        }),
        NoteParameters::SimpleBatch { ref noise, ref temp, forbid_token } => {
            Parameters::SimpleBatch(NoiseParameters {
                noise: number("noise", noise)?,
                temp: number("temp", temp)?,
                forbid_token,
                order: NoiseOrder::RowMajor,
            })
        }
    })
}

fn generator(note: &Note, tensors: &SafeTensors<'_>) -> Result<Generator, Box<dyn Error>> {
    let mut generator = Generator::new(note.seed);
    if let Ok(state) = tensors.tensor("state") {
        generator.set_state(state.data())?;
    } else {
        for _ in 0..note.advance {
            generator.next_u32();
        }
    }
    Ok(generator)
}

fn number(parameter: &str, number: &Number) -> Result<f64, String> {
    match number {
        Number::Finite(value) => Ok(*value),
        Number::Named(name) => {
            name.parse().map_err(|error| format!("{parameter} = {name}: {error}"))
        }
    }
}

fn reference(
    tensors: &SafeTensors<'_>,
    stages: &[&'static str],
    shape: &[usize],
    draws: usize,
) -> Result<Outcome, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut calls = 0;
    if let Ok(token) = tensors.tensor("reference.token") {
        for &name in stages {
            found.push(stage(tensors, name, Dtype::F32, shape)?);
        }
        let rows = rows_and_vocab(shape).map_or(0, |(rows, _)| rows);
        calls = token.shape().last().copied().unwrap_or(0);
        if calls > draws {
            return Err(format!("it has tokens of {calls} calls, and {draws} draws").into());
        }
        found.push(stage(tensors, "token", Dtype::I64, &[rows, calls])?);
    }
    found.push(stage(tensors, "input", Dtype::F32, shape)?);
    found.push(stage(tensors, "generator", Dtype::U8, &[torch_exact_sampler::STATE_BYTES])?);
    Ok(Outcome { calls, stages: found })
}

fn stage(
    tensors: &SafeTensors<'_>,
    name: &'static str,
    dtype: Dtype,
    shape: &[usize],
) -> Result<Stage, Box<dyn Error>> {
    let dtype = if name.ends_with("_mask") { Dtype::BOOL } else { dtype };
    let tensor = tensors.tensor(&format!("reference.{name}"))?;
    if tensor.dtype() != dtype || tensor.shape() != shape {
        let (dtype_found, shape_found) = (tensor.dtype(), tensor.shape());
        return Err(format!(
            "reference.{name} is {dtype_found:?} {shape_found:?}, not {dtype:?} {shape:?}"
        )
        .into());
    }
    let values = values(dtype, tensor.data()).ok_or("a stage has another type")?;
    Ok(Stage { name, shape: shape.to_vec(), values })
}

/// Little-endian values; `None` where a case has no values of that type.
fn values(dtype: Dtype, data: &[u8]) -> Option<Values> {
    Some(match dtype {
        Dtype::F32 => {
            Values::F32(data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        Dtype::I64 => Values::Tokens(
            data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        ),
        Dtype::BOOL => Values::Mask(data.iter().map(|byte| *byte != 0).collect()),
        Dtype::U8 => Values::Bytes(data.to_vec()),
        _ => return None,
    })
}
