//! A real model through candle: reads a GGUF, draws by `torch-exact-sampler`, records itself.
//!
//! ```sh
//! real-engine --model FILE.gguf --prompt 504,2180,286 --calls 64 --record candle.calls
//! ```
//!
//! It is the loop of `engine.py`, which runs the same file through transformers.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use sampler_recorder::{Call, Forcing, Header, Logits, Random, Recorder};
use torch_exact_sampler::{Generator, Replay, SampleParameters, Sampler};

/// What the command line says.
struct Arguments {
    model: PathBuf,
    record: PathBuf,
    force: Option<PathBuf>,
    /// The tokens of each generation's prompt.
    prompts: Vec<Vec<u32>>,
    /// Of a generation: it always has so many.
    calls: usize,
    /// Of the first generation; the next one has the next seed.
    seed: u64,
    parameters: SampleParameters,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let mut recorder = Recorder::create(&arguments.record, Header::new("candle"));
    if let Some(other) = &arguments.force {
        recorder = recorder.forced_by(Forcing::open(other)?);
    }
    let mut model = load(&arguments.model)?;
    for (generation, prompt) in (0..).zip(&arguments.prompts) {
        generate(generation, prompt, &arguments, &mut model, &recorder)?;
    }
    println!("{}", recorder.finish());
    Ok(())
}

fn load(path: &Path) -> Result<ModelWeights, Box<dyn Error>> {
    let mut file = File::open(path)?;
    let content = gguf_file::Content::read(&mut file)?;
    Ok(ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
}

/// Feeds the prompt, then every token that was drawn but the last.
fn generate(
    generation: u64,
    prompt: &[u32],
    arguments: &Arguments,
    model: &mut ModelWeights,
    recorder: &Recorder,
) -> Result<(), Box<dyn Error>> {
    let &Arguments { calls, ref parameters, .. } = arguments;
    model.clear_kv_cache();
    let mut generator = Generator::new(arguments.seed + generation);
    let mut sampler = Sampler::new();
    let (mut fed, mut position) = (prompt.to_vec(), 0);
    for _ in 0..calls {
        recorder.fed(generation, &fed);
        let input = Tensor::new(fed.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
        let logits = model.forward(&input, position)?.squeeze(0)?.to_vec1::<f32>()?;
        position += fed.len();

        let state = generator.state();
        let random = Random::torch(&state).generator(generation).seed(generator.initial_seed());
        let mut call = recorder.call(Call {
            generation,
            phase: "text",
            sampler: "sample_logits",
            parameters: &[
                ("temperature", parameters.temperature.into()),
                ("top_p", parameters.top_p.into()),
                ("top_k", parameters.top_k.into()),
                ("zero_temperature", "raise".into()),
            ],
            logits: Logits::rows(&logits, 1),
            slice: Some(0..logits.len()),
            vocabulary: Some(logits.len()),
            random: Some(random),
            ..Call::default()
        });
        let (row, mut token) = (torch_exact_sampler::Logits::row(&logits), [0]);
        sampler.sample(row, parameters, Replay::default(), &mut generator, &mut token)?;
        call.state_after(&generator.state());
        let [token] = token;
        fed = vec![call.returned(token).try_into()?];
    }
    Ok(())
}

/// Reads the command line: every option takes a value.
fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let parameters = SampleParameters { top_p: 0.95, top_k: 50, ..SampleParameters::default() };
    let mut read = Arguments {
        model: PathBuf::new(),
        record: "candle.calls".into(),
        force: None,
        prompts: Vec::new(),
        calls: 64,
        seed: 42,
        parameters,
    };
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or_else(|| format!("{option} is given no value"))?;
        match option.as_str() {
            "--model" => read.model = value.into(),
            "--record" => read.record = value.into(),
            "--force" => read.force = Some(value.into()),
            "--prompt" => {
                read.prompts.push(value.split(',').map(str::parse).collect::<Result<_, _>>()?);
            }
            "--calls" => read.calls = value.parse()?,
            "--seed" => read.seed = value.parse()?,
            "--temperature" => read.parameters.temperature = value.parse()?,
            "--top-p" => read.parameters.top_p = value.parse()?,
            "--top-k" => read.parameters.top_k = value.parse()?,
            _ => return Err(format!("there is no option {option}").into()),
        }
    }
    Ok(read)
}
