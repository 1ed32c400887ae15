//! One row after the other through the steps.

use super::step::Step;
use super::{cutoffs, mask, penalty, top_p, typical};
use crate::draw::crowd::Crowd;
use crate::draw::multinomial::multinomial;
use crate::draw::notes::Notes;
use crate::draw::race::SMALLEST;
use crate::error::{Offence, SampleError};
use crate::fast::estimate::Estimates;
use crate::fast::keep::Gathered;
use crate::fast::narrow::are_at_least;
use crate::fast::survivors::{Survivors, list_at_least};
use crate::fast::top_k;
use crate::stages::scale::divide_in_place;
use crate::stages::softmax::softmax;
use crate::torch::capability::Capability;
use crate::torch::generator::Generator;
use crate::torch::sums::Sharing;

/// Memory of [`Pipeline`](super::Pipeline) calls: once it has grown to the row length, nothing is
/// allocated. Any pipeline may use it.
#[derive(Debug, Clone, Default)]
pub struct PipelineWorkspace {
    scores: Vec<f32>,
    before: Vec<f32>,
    gathered: Gathered,
    top_p: top_p::Workspace,
    typical: typical::Workspace,
    cutoffs: cutoffs::Workspace,
    probs: Vec<f32>,
    survivors: Survivors,
    notes: Notes,
    estimates: Estimates,
    pub(super) interrupted: Option<fn() -> bool>,
}

/// A row, and which torch is replayed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) logits: &'a [f32],
    pub(super) history: &'a [i64],
    pub(super) number: usize,
    pub(super) capability: Capability,
    pub(super) sharing: Sharing,
}

impl PipelineWorkspace {
    /// A workspace without memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has long calls ask `interrupted`, every few milliseconds, on the calling thread. Where it
    /// answers `true`, they end with [`SampleError::Interrupted`], and the generator is as it was.
    pub fn interrupt_when(&mut self, interrupted: Option<fn() -> bool>) {
        self.interrupted = interrupted;
    }

    /// Draws from a row whose steps remove nothing, where estimates leave no doubt.
    pub(super) fn draw_estimated(
        &mut self,
        steps: &[Step],
        row: Row<'_>,
        generator: &mut Generator,
    ) -> Option<usize> {
        let temperature = match *steps {
            [] => 1.0,
            [Step::Temperature(temperature)] => temperature,
            _ => return None,
        };
        if !Estimates::suit(row.logits.len(), temperature, 0.0) {
            return None;
        }
        self.estimates.grow(row.logits.len());
        self.estimates.draw(row.logits, temperature, 0.0, generator)
    }

    pub(super) fn start(&mut self, row: Row<'_>) {
        self.scores.clear();
        self.scores.extend_from_slice(row.logits);
    }

    /// Takes a step. Returns whether torch is certain to remove the same, if `ask` says so.
    pub(super) fn step(&mut self, step: Step, row: Row<'_>, ask: bool) -> bool {
        let Row { history, capability, sharing, .. } = row;
        let Self { scores, .. } = self;
        match step {
            Step::RepetitionPenalty(penalty) => {
                penalty::penalize(scores, history, penalty, &mut self.before);
            }
            Step::Temperature(temperature) => divide_in_place(scores, temperature),
            Step::TopK(k) => {
                let k = k.min(scores.len());
                let least = top_k::threshold(scores, k, &mut self.gathered);
                mask::remove_below(scores, least);
            }
            Step::TopP(mass) => top_p::top_p(scores, mass, capability, &mut self.top_p),
            Step::MinP(share) => cutoffs::min_p(scores, share, capability, &mut self.cutoffs),
            Step::EpsilonCutoff(least) => {
                cutoffs::epsilon_cutoff(scores, least, capability, &mut self.cutoffs);
            }
            Step::TypicalP(mass) => {
                let workspace = &mut self.typical;
                return typical::typical(scores, mass, capability, sharing, ask, workspace);
            }
            Step::EtaCutoff(eta) => {
                let workspace = &mut self.cutoffs;
                return cutoffs::eta_cutoff(scores, eta, capability, sharing, ask, workspace);
            }
        }
        true
    }

    pub(super) fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The probabilities that the steps leave.
    pub(super) fn finish(&mut self, row: Row<'_>) -> Result<&[f32], SampleError> {
        self.probs.resize(self.scores.len(), 0.0);
        if softmax(&self.scores, &mut self.probs, row.capability) {
            return Ok(&self.probs);
        }
        let number = row.number;
        let wrong = self.scores.iter().position(|x| x.is_nan() || *x == f32::INFINITY);
        let offence = wrong.map_or(Offence::NoToken { row: number }, |token| Offence::Score {
            row: number,
            token,
            value: row.logits[token],
            score: self.scores[token],
        });
        Err(SampleError::InvalidProbabilities(offence))
    }

    /// Draws from these probabilities: `torch.multinomial` divides them by no sum.
    pub(super) fn draw(&mut self, generator: &mut Generator) -> usize {
        /// Fewer survivors than one in this many are listed.
        const MANY: usize = 32;
        let Self { probs, survivors, notes, .. } = self;
        let sum = || Some(1.0);
        let drawn = if are_at_least(probs, SMALLEST, probs.len().div_ceil(MANY)) {
            Crowd { least: 0.0, mass: 1.0 }.multinomial(probs, sum, generator, notes)
        } else {
            list_at_least(probs, SMALLEST, survivors);
            multinomial(survivors.possible(), probs.len(), sum, generator, notes)
        };
        // `None` would mean that there is no sum.
        drawn.unwrap_or(0)
    }
}
