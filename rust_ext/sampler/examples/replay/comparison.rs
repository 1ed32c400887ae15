//! The port's calls of a case, and where they first differ from the reference's.

use std::fmt;

use torch_exact_sampler::{
    Generator, Logits, NoiseParameters, SampleError, SampleLogitsTrace, SampleParameters, Sampler,
    SimpleBatchTrace, simple_batch_sampler, trace_sample_logits, trace_simple_batch_sampler,
};

use crate::case_file::{Case, Outcome, Parameters, Stage, Values};

/// A line a stage: its name, and how the sides differ if they do.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) lines: Vec<(&'static str, Option<String>)>,
}

impl Report {
    /// Whether no bit differs.
    pub(crate) fn equal(&self) -> bool {
        self.lines.iter().all(|(_, difference)| difference.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stage, difference) in &self.lines {
            writeln!(f, "  {stage:14} {}", difference.as_deref().unwrap_or("equal"))?;
        }
        Ok(())
    }
}

/// Makes the case's calls, up to the one that the reference refused, and compares.
pub(crate) fn replay(case: &Case) -> Report {
    let reference = &case.reference;
    let calls = case.draws.min(reference.calls.saturating_add(1));
    let (port, refusal) = run(case, calls);
    let mut lines = vec![("error", error(reference.calls, case.draws, &port, refusal.as_deref()))];
    for expected in &reference.stages {
        let made = port.stages.iter().find(|stage| stage.name == expected.name);
        let difference = match made {
            Some(made) => difference(expected, made),
            None => Some("the port made none".to_owned()),
        };
        lines.push((expected.name, difference));
    }
    Report { lines }
}

fn error(calls: usize, draws: usize, port: &Outcome, refusal: Option<&str>) -> Option<String> {
    let reference = (calls < draws).then(|| format!("refuses call {calls}"));
    let refused = refusal.map(|message| format!("refuses call {}: {message}", port.calls));
    if reference.is_some() == refused.is_some() && calls == port.calls {
        return None;
    }
    let words = |side: Option<String>| side.unwrap_or_else(|| "refuses no call".to_owned());
    Some(format!("the reference {}, the port {}", words(reference), words(refused)))
}

/// The sampler's memory, and what a case's calls act on.
struct Port<'a> {
    case: &'a Case,
    logits: Vec<f32>,
    generator: Generator,
    sampler: Sampler,
    stages: Vec<Stage>,
}

/// Makes `calls` calls, or fewer and says why.
fn run(case: &Case, calls: usize) -> (Outcome, Option<String>) {
    let mut port = Port {
        case,
        logits: case.logits.clone(),
        generator: case.generator.clone(),
        sampler: Sampler::new(),
        stages: Vec::new(),
    };
    let mut tokens = Vec::new();
    let mut refusal = None;
    for call in 0..calls {
        match port.call(call == 0) {
            Ok(drawn) => tokens.push(drawn),
            Err(message) => {
                refusal = Some(message);
                break;
            }
        }
    }
    let Port { logits, generator, mut stages, .. } = port;
    if let Some(first) = tokens.first() {
        // One column a call.
        let rows = first.len();
        let columns = (0..rows).flat_map(|row| tokens.iter().map(move |call| call[row])).collect();
        stages.push(Stage {
            name: "token",
            shape: vec![rows, tokens.len()],
            values: Values::Tokens(columns),
        });
    }
    stages.push(Stage { name: "input", shape: case.shape.clone(), values: Values::F32(logits) });
    let state = generator.state().to_vec();
    stages.push(Stage {
        name: "generator",
        shape: vec![state.len()],
        values: Values::Bytes(state),
    });
    (Outcome { calls: tokens.len(), stages }, refusal)
}

impl Port<'_> {
    /// Makes one call; the first one is traced.
    fn call(&mut self, traced: bool) -> Result<Vec<i64>, String> {
        let (rows, vocab) = self.case.rows_and_vocab().ok_or("logits have no dimension")?;
        let called = match &self.case.parameters {
            Parameters::SampleLogits(parameters) => {
                // What the Python binding refuses: the pure crate knows rows, and no dimensions.
                let top_p_is_on = parameters.top_p > 0.0 && parameters.temperature != 0.0;
                if !matches!((self.case.shape.len(), top_p_is_on), (2, _) | (1, false)) {
                    return Err(format!("logits have shape {:?}, not [B, V]", self.case.shape));
                }
                self.sample_logits(parameters, rows, vocab, traced)
            }
            Parameters::SimpleBatch(parameters) => {
                self.simple_batch_sampler(parameters, rows, vocab, traced)
            }
        };
        called.map_err(|error| error.to_string())
    }

    fn sample_logits(
        &mut self,
        parameters: &SampleParameters,
        rows: usize,
        vocab: usize,
        traced: bool,
    ) -> Result<Vec<i64>, SampleError> {
        let logits = Logits::new(&self.logits, rows, vocab)?;
        let replay = self.case.replay;
        if !traced {
            let mut tokens = vec![0; rows];
            let generator = &mut self.generator;
            self.sampler.sample(logits, parameters, replay, generator, &mut tokens)?;
            return Ok(tokens);
        }
        let SampleLogitsTrace { scaled_logits, probs, top_k_mask, top_p_mask, renormalized, token } =
            trace_sample_logits(logits, parameters, replay, &mut self.generator)?;
        self.keep([
            ("scaled_logits", Values::F32(scaled_logits)),
            ("probs", Values::F32(probs)),
            ("top_k_mask", Values::Mask(top_k_mask)),
            ("top_p_mask", Values::Mask(top_p_mask)),
            ("renormalized", Values::F32(renormalized)),
        ]);
        Ok(token)
    }

    fn simple_batch_sampler(
        &mut self,
        parameters: &NoiseParameters,
        rows: usize,
        vocab: usize,
        traced: bool,
    ) -> Result<Vec<i64>, SampleError> {
        let Self { logits, generator, .. } = self;
        if !traced {
            let mut tokens = vec![0; rows];
            simple_batch_sampler(logits, vocab, parameters, generator, &mut tokens)?;
            return Ok(tokens);
        }
        let SimpleBatchTrace { scaled_logits, noised_logits, token } =
            trace_simple_batch_sampler(logits, vocab, parameters, generator, rows)?;
        self.keep([
            ("scaled_logits", Values::F32(scaled_logits)),
            ("noised_logits", Values::F32(noised_logits)),
        ]);
        Ok(token)
    }

    /// Keeps stages that have the logits' shape.
    fn keep<const N: usize>(&mut self, stages: [(&'static str, Values); N]) {
        let shape = &self.case.shape;
        self.stages.extend(stages.map(|(name, values)| Stage {
            name,
            shape: shape.clone(),
            values,
        }));
    }
}

/// Where two stages differ first, bit for bit.
fn difference(reference: &Stage, port: &Stage) -> Option<String> {
    if reference.shape != port.shape {
        return Some(format!(
            "differs: the reference has shape {:?}, the port {:?}",
            reference.shape, port.shape
        ));
    }
    let (at, ours, theirs) = match (&reference.values, &port.values) {
        (Values::F32(ours), Values::F32(theirs)) => {
            first(ours, theirs, f32::to_bits, |x| format!("{x:e} (0x{:08x})", x.to_bits()))
        }
        (Values::Mask(ours), Values::Mask(theirs)) => first(ours, theirs, |x| x, |x| x.to_string()),
        (Values::Tokens(ours), Values::Tokens(theirs)) => {
            first(ours, theirs, |x| x, |x| x.to_string())
        }
        (Values::Bytes(ours), Values::Bytes(theirs)) => {
            first(ours, theirs, |x| x, |x| format!("0x{x:02x}"))
        }
        _ => return Some("differs in type".to_owned()),
    }?;
    let mut index = Vec::new();
    let mut rest = at;
    for &length in port.shape.iter().rev() {
        index.insert(0, rest % length);
        rest /= length;
    }
    Some(format!("differs at {index:?}: reference {ours}, port {theirs}"))
}

/// The first position whose bits differ, with both values in words.
fn first<T: Copy, B: PartialEq>(
    ours: &[T],
    theirs: &[T],
    bits: impl Fn(T) -> B,
    words: impl Fn(T) -> String,
) -> Option<(usize, String, String)> {
    let mut pairs = ours.iter().zip(theirs).enumerate();
    let (at, (&ours, &theirs)) = pairs.find(|(_, (a, b))| bits(**a) != bits(**b))?;
    Some((at, words(ours), words(theirs)))
}
