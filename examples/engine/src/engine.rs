//! The loop around the model: a global phase, a tag, a semantic phase. It is the loop of
//! `engine.py`, with a place for every fault.

use std::error::Error;
use std::ops::Range;

use sampler_recorder::{Call, Logits, Parameter, Random, Recorder};
use torch_exact_sampler::{
    GLOBAL, Generator, Preset, Replay, SEMANTIC, SampleError, SampleParameters, Sampler,
    SimpleBatchParameters, simple_batch_sampler,
};

use crate::fault::{self, Fault, Faults};
use crate::model::{END, Model, VOCABULARY, Weights};

/// What is spoken: a prompt of text, which is fed before the first phase.
const TEXT: &[i64] = &[2, 3, 5, 7, 11, 13];
const TAGS: Range<usize> = 8_193..8_196;
/// The code that is never drawn: its logit is masked in both phases.
const PADDING: usize = 0;
/// Codes below this one are silent.
const SILENT: i64 = 1_024;

/// How a phase of the loop goes.
struct Phase {
    /// The sampler's parameters, the slice, the longest run and the token that ends it.
    preset: Preset,
    /// The token that is fed before the phase's first call.
    tag: i64,
    /// What is added to a token before it is fed back.
    offset: i64,
    /// What is added to the seed where each phase has a generator of its own.
    seed: u64,
}

const PHASES: [Phase; 2] = [
    Phase { preset: GLOBAL, tag: 8_195, offset: 8_196, seed: 100 },
    Phase { preset: SEMANTIC, tag: 8_194, offset: 0, seed: 200 },
];

/// What a generator serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Generation,
    Phase,
}

/// What the engine is told.
pub(crate) struct Settings {
    /// Of the first generation; the next one has the next seed.
    pub(crate) seed: u64,
    /// The most semantic calls.
    pub(crate) semantic: usize,
    pub(crate) pace: u16,
    pub(crate) scope: Scope,
    pub(crate) faults: Faults,
}

/// A generator, and its number among all that were made.
struct Numbered {
    generator: Generator,
    number: u64,
}

pub(crate) struct Engine<'a> {
    recorder: &'a Recorder,
    settings: &'a Settings,
    weights: &'a Weights,
    sampler: Sampler,
    generators: u64,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(
        recorder: &'a Recorder,
        settings: &'a Settings,
        weights: &'a Weights,
    ) -> Self {
        Self { recorder, settings, weights, sampler: Sampler::new(), generators: 0 }
    }

    /// The tokens of a generation, the end included where it is drawn.
    pub(crate) fn generate(&mut self, generation: u64) -> Result<Vec<i64>, Box<dyn Error>> {
        let &Settings { scope, semantic, faults: planted, .. } = self.settings;
        let seed = self.settings.seed + generation;
        let mut model = Model::new(self.weights, self.settings.pace);
        self.feed(generation, &mut model, TEXT)?;
        let mut random = self.generator(match scope {
            Scope::Generation => seed,
            Scope::Phase => seed + PHASES[0].seed,
        });
        let mut tokens = Vec::new();
        for phase in &PHASES {
            let is_semantic = phase.preset == SEMANTIC;
            let faults = if is_semantic { planted } else { Faults::default() };
            let most = if is_semantic { semantic } else { phase.preset.max_tokens };
            let anew = scope == Scope::Phase && !faults.has(Fault::SharedGenerator);
            if is_semantic && (anew || faults.has(Fault::ReseededEachPhase)) {
                random = self.generator(seed + phase.seed);
            }
            let mut logits = self.logits(&model);
            self.feed(generation, &mut model, &[phase.tag])?;
            if !faults.has(Fault::LateStart) {
                logits = self.logits(&model);
            }
            for number in 1..=most {
                if faults.has(Fault::ReseededEachCall) {
                    random = self.generator(seed);
                }
                let token = self.call(generation, &phase.preset, faults, &logits, &mut random)?;
                tokens.push(token);
                let end = phase.preset.stop_token;
                let is_end = end.is_some_and(|end| usize::try_from(token) == Ok(end));
                if is_end && !faults.has(Fault::StopRule) {
                    break;
                }
                let offset = if planted.has(Fault::FeedbackOffset) { 0 } else { phase.offset };
                self.feed(generation, &mut model, &[token + offset])?;
                // stale-logits: a step of the model that was made ahead, and is not made again.
                if !(faults.has(Fault::StaleLogits) && number.is_multiple_of(8)) {
                    logits = self.logits(&model);
                }
                // foreign-draw: the vocoder, run every 16 codes, takes its noise from here.
                if faults.has(Fault::ForeignDraw) && number.is_multiple_of(16) {
                    random.generator.next_f32();
                }
            }
        }
        Ok(tokens)
    }

    /// One call of a sampler, recorded: gives the token to go on with.
    fn call(
        &mut self,
        generation: u64,
        preset: &Preset,
        faults: Faults,
        logits: &[f32],
        Numbered { generator, number }: &mut Numbered,
    ) -> Result<i64, Box<dyn Error>> {
        let passed = passed(preset, faults, logits);
        let state = generator.state();
        let random = Random::torch(&state).generator(*number).seed(generator.initial_seed());
        let call = Call {
            generation,
            phase: preset.name,
            logits: Logits::rows(&passed, 1),
            slice: Some(0..passed.len()),
            vocabulary: Some(VOCABULARY),
            random: Some(random),
            ..Call::default()
        };
        let (mut call, token) = if faults.has(Fault::WrongSampler) {
            let noisy = SimpleBatchParameters::default();
            let parameters = &[("noise", noisy.noise.into()), ("temp", noisy.temp.into())];
            let sampler = "simple_batch_sampler";
            let call = self.recorder.call(Call { sampler, parameters, ..call });
            (call, drawn(faults, || noisy_argmax(passed.clone(), &noisy, generator)))
        } else {
            // wrong-parameters: the phases are swapped.
            let swapped = faults.has(Fault::WrongParameters);
            let nucleus = if swapped { GLOBAL.parameters } else { preset.parameters };
            let parameters = &named(&nucleus);
            let call = self.recorder.call(Call { sampler: "sample_logits", parameters, ..call });
            let sampler = &mut self.sampler;
            (call, drawn(faults, || sample_logits(sampler, faults, &passed, &nucleus, generator)))
        };
        call.state_after(&generator.state());
        match token {
            Ok(token) => Ok(call.returned(token)),
            Err(error) => {
                call.failed("SampleError", error.to_string());
                Err(error.into())
            }
        }
    }

    fn logits(&self, model: &Model<'_>) -> Vec<f32> {
        let mut logits = model.logits();
        if self.settings.faults.has(Fault::Model) {
            fault::rescale(&mut logits);
        }
        logits
    }

    fn feed(
        &self,
        generation: u64,
        model: &mut Model<'_>,
        tokens: &[i64],
    ) -> Result<(), Box<dyn Error>> {
        self.recorder.fed(generation, tokens);
        tokens.iter().try_for_each(|&token| model.feed(token))
    }

    fn generator(&mut self, seed: u64) -> Numbered {
        let number = self.generators;
        self.generators += 1;
        Numbered { generator: Generator::new(seed), number }
    }
}

/// The logits that a phase passes to its sampler: a slice of the model's, with its masks.
fn passed(preset: &Preset, faults: Faults, logits: &[f32]) -> Vec<f32> {
    let mut end = preset.vocab;
    if faults.has(Fault::ShortSlice) {
        end -= 1;
    }
    if faults.has(Fault::LongSlice) {
        end = VOCABULARY;
    }
    let mut passed = logits[..end].to_vec();
    if faults.has(Fault::HalfLogits) {
        fault::round_to_bf16(&mut passed);
    }
    if !faults.has(Fault::MaskMissing) {
        passed[PADDING] = f32::NEG_INFINITY;
    }
    let tags = passed.get_mut(TAGS).into_iter().flatten();
    tags.for_each(|logit| *logit = f32::NEG_INFINITY);
    if faults.has(Fault::MaskExtra)
        && let Some(logit) = passed.get_mut(END)
    {
        *logit = f32::NEG_INFINITY;
    }
    passed
}

/// A token; extra-draw: a silent one is refused, once, and drawn again.
fn drawn(
    faults: Faults,
    mut draw: impl FnMut() -> Result<i64, SampleError>,
) -> Result<i64, SampleError> {
    let token = draw()?;
    if faults.has(Fault::ExtraDraw) && token < SILENT { draw() } else { Ok(token) }
}

fn sample_logits(
    sampler: &mut Sampler,
    faults: Faults,
    logits: &[f32],
    parameters: &SampleParameters,
    generator: &mut Generator,
) -> Result<i64, SampleError> {
    if faults.has(Fault::NotRenormalised) {
        let uniform = generator.next_f32();
        return Ok(fault::walk_without_renormalising(logits, parameters, uniform));
    }
    let mut token = [0];
    let row = torch_exact_sampler::Logits::row(logits);
    sampler.sample(row, parameters, Replay::default(), generator, &mut token)?;
    Ok(token[0])
}

fn noisy_argmax(
    mut logits: Vec<f32>,
    parameters: &SimpleBatchParameters,
    generator: &mut Generator,
) -> Result<i64, SampleError> {
    let (mut token, vocab) = ([0], logits.len());
    simple_batch_sampler(&mut logits, vocab, parameters, generator, &mut token)?;
    Ok(token[0])
}

/// The parameters of `sample_logits` by name, as its reference has them.
fn named(parameters: &SampleParameters) -> [(&'static str, Parameter); 4] {
    [
        ("temperature", parameters.temperature.into()),
        ("top_p", parameters.top_p.into()),
        ("top_k", parameters.top_k.into()),
        ("zero_temperature", "raise".into()),
    ]
}
