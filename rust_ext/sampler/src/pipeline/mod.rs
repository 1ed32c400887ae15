//! The sampling of transformers' `generate`: steps that take scores to scores, a softmax, a draw.

mod ascending;
mod cutoffs;
mod history;
mod mask;
mod penalty;
mod step;
mod top_p;
mod trace;
mod typical;
mod workspace;

pub use history::History;
pub use step::{Step, StepError};
pub use trace::PipelineTrace;
pub use workspace::PipelineWorkspace;

use crate::error::SampleError;
use crate::logits::Logits;
use crate::parameters::Replay;
use crate::rows::{MOST_TOKENS, to_token};
use crate::torch::generator::Generator;
use crate::torch::sums::Sharing;
use crate::watch::Watch;
use workspace::Row;

/// Steps in the order in which they are taken; then the softmax, and `torch.multinomial(probs, 1)`.
///
/// The tokens are those of transformers' processors on a CPU, for the generator's seed.
///
/// ```
/// use torch_exact_sampler::{
///     GenerateOptions, Generator, History, Logits, Pipeline, PipelineWorkspace, Replay,
/// };
///
/// // model.generate(do_sample=True, temperature=0.7, top_p=0.9), whose own top_k is 50
/// let options = GenerateOptions { temperature: 0.7, top_p: 0.9, ..Default::default() };
/// let pipeline = Pipeline::transformers(&options)?;
/// let mut workspace = PipelineWorkspace::new();
/// let mut generator = Generator::new(42); // torch.manual_seed(42)
/// let (logits, history) = ([0.1_f32, 2.0, -1.0, 0.5], [3_i64]);
/// let mut token = [0];
/// pipeline.sample(
///     Logits::row(&logits),
///     Some(History::row(&history)),
///     Replay::default(),
///     &mut generator,
///     &mut workspace,
///     &mut token,
/// )?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    steps: Vec<Step>,
}

/// What `generate` is called with; the default is its own, which has a top-k of 50.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerateOptions {
    /// Off at 1.
    pub repetition_penalty: f64,
    /// Off at 1.
    pub temperature: f64,
    /// Off at 0.
    pub top_k: usize,
    /// Off at 1 and above.
    pub top_p: f64,
    /// Off where there is none.
    pub min_p: Option<f64>,
    /// Off at 1 and above.
    pub typical_p: f64,
    /// Off outside of 0 to 1.
    pub epsilon_cutoff: f64,
    /// Off outside of 0 to 1.
    pub eta_cutoff: f64,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: None,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
        }
    }
}

impl Pipeline {
    /// A pipeline of these steps.
    ///
    /// # Errors
    ///
    /// [`StepError`] of the first step whose parameter transformers' constructor refuses.
    pub fn new(steps: impl Into<Vec<Step>>) -> Result<Self, StepError> {
        let steps = steps.into();
        steps.iter().try_for_each(|step| step.check())?;
        Ok(Self { steps })
    }

    /// The steps of `model.generate(do_sample=True, ...)`, in its order (transformers 5).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn transformers(options: &GenerateOptions) -> Result<Self, StepError> {
        let &GenerateOptions { repetition_penalty, temperature, top_k, top_p, min_p, .. } = options;
        let &GenerateOptions { typical_p, epsilon_cutoff, eta_cutoff, .. } = options;
        let is_cutoff = |value: f64| value > 0.0 && value < 1.0;
        let steps = [
            (repetition_penalty != 1.0).then_some(Step::RepetitionPenalty(repetition_penalty)),
            (temperature != 1.0).then_some(Step::Temperature(temperature)),
            (top_k != 0).then_some(Step::TopK(top_k)),
            (top_p < 1.0).then_some(Step::TopP(top_p)),
            min_p.map(Step::MinP),
            (typical_p < 1.0).then_some(Step::TypicalP(typical_p)),
            is_cutoff(epsilon_cutoff).then_some(Step::EpsilonCutoff(epsilon_cutoff)),
            is_cutoff(eta_cutoff).then_some(Step::EtaCutoff(eta_cutoff)),
        ];
        Self::new(steps.into_iter().flatten().collect::<Vec<_>>())
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step reads the tokens that came before.
    #[must_use]
    pub fn reads_history(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::RepetitionPenalty(_)))
    }

    /// Draws one token a row into `tokens`. `history` may be `None` where no step reads it.
    ///
    /// # Errors
    ///
    /// As transformers and torch refuse: see [`SampleError`]. The generator is then as it was; what
    /// `tokens` holds is not specified.
    pub fn sample(
        &self,
        logits: Logits<'_>,
        history: Option<History<'_>>,
        replay: Replay,
        generator: &mut Generator,
        workspace: &mut PipelineWorkspace,
        tokens: &mut [i64],
    ) -> Result<(), SampleError> {
        if tokens.len() != logits.rows() {
            return Err(SampleError::OutputLength { given: tokens.len(), rows: logits.rows() });
        }
        let mut tokens = tokens.iter_mut();
        self.each_row(
            logits,
            history,
            replay,
            generator,
            workspace.interrupted,
            |row, generator| {
                let estimated = workspace.draw_estimated(&self.steps, row, generator);
                let drawn = if let Some(drawn) = estimated {
                    drawn
                } else {
                    workspace.start(row);
                    for &step in &self.steps {
                        workspace.step(step, row, false);
                    }
                    workspace.finish_and_draw(row, generator)?
                };
                if let Some(token) = tokens.next() {
                    *token = to_token(drawn);
                }
                Ok(())
            },
        )
    }

    /// [`sample`](Self::sample), keeping every step.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample), and [`SampleError::OutOfMemory`].
    pub fn trace(
        &self,
        logits: Logits<'_>,
        history: Option<History<'_>>,
        replay: Replay,
        generator: &mut Generator,
        workspace: &mut PipelineWorkspace,
    ) -> Result<PipelineTrace, SampleError> {
        let (rows, vocab) = (logits.rows(), logits.vocab());
        let room = || {
            let mut values = Vec::new();
            values
                .try_reserve_exact(rows.saturating_mul(vocab))
                .map_err(|_| SampleError::OutOfMemory { rows, vocab })?;
            Ok(values)
        };
        let scores = self.steps.iter().map(|_| room()).collect::<Result<_, _>>()?;
        let mut trace = PipelineTrace { scores, probs: room()?, ..PipelineTrace::default() };
        self.each_row(
            logits,
            history,
            replay,
            generator,
            workspace.interrupted,
            |row, generator| {
                workspace.start(row);
                let mut certain = true;
                for (&step, scores) in self.steps.iter().zip(&mut trace.scores) {
                    certain &= workspace.step(step, row, true);
                    scores.extend_from_slice(workspace.scores());
                }
                trace.probs.extend_from_slice(workspace.finish(row)?);
                trace.token.push(to_token(workspace.draw(generator)));
                trace.certain.push(certain);
                Ok(())
            },
        )?;
        Ok(trace)
    }

    /// Calls `run` for each row; after an error, the generator is as it was.
    fn each_row(
        &self,
        logits: Logits<'_>,
        history: Option<History<'_>>,
        replay: Replay,
        generator: &mut Generator,
        interrupted: Option<fn() -> bool>,
        mut run: impl FnMut(Row<'_>, &mut Generator) -> Result<(), SampleError>,
    ) -> Result<(), SampleError> {
        let (rows, vocab) = (logits.rows(), logits.vocab());
        self.check(logits, history)?;
        let history = history.filter(|_| self.reads_history());
        let before = (rows > 1).then(|| generator.clone());
        let Replay { capability, threads } = replay;
        let sharing = Sharing { alone: rows == 1, threads, capability };
        let mut watch = Watch::new(interrupted);
        let mut each = logits.each_row().enumerate();
        each.try_for_each(|(number, logits)| {
            let history = history.map_or(&[][..], |history| history.of(number));
            run(Row { logits, history, number, capability, sharing }, generator)?;
            // After the last row, there is nothing left to interrupt.
            if number + 1 < rows { watch.pass(vocab) } else { Ok(()) }
        })
        .inspect_err(|_| {
            if let Some(before) = before {
                *generator = before;
            }
        })
    }

    /// What is refused whatever the logits' values are.
    fn check(&self, logits: Logits<'_>, history: Option<History<'_>>) -> Result<(), SampleError> {
        let (rows, vocab) = (logits.rows(), logits.vocab());
        if vocab == 0 {
            return Err(SampleError::NothingToDraw);
        }
        if vocab > MOST_TOKENS {
            return Err(SampleError::TooManyTokens { vocab });
        }
        if !self.reads_history() {
            return Ok(());
        }
        let history = history.ok_or(SampleError::NoHistory)?;
        if history.rows() != rows {
            return Err(SampleError::HistoryRows { history: history.rows(), rows });
        }
        history.check()
    }
}
