//! One row after the other through the steps.

use super::step::Step;
use super::{cutoffs, mask, penalty, top_p, typical};
use crate::draw::crowd::Crowd;
use crate::draw::multinomial::{Possible, multinomial};
use crate::draw::notes::Notes;
use crate::draw::race::SMALLEST;
use crate::error::{Offence, SampleError};
use crate::fast::estimate::{Estimates, Limits};
use crate::fast::keep::Gathered;
use crate::fast::narrow::are_at_least;
use crate::fast::survivors::{Survivors, list_at_least};
use crate::fast::top_k;
use crate::simd::format::Single;
use crate::stages::scale::divide_in_place;
use crate::stages::softmax::{multiply_by, row_max, softmax};
use crate::torch::capability::{Arithmetic, Capability};
use crate::torch::exp::{exp_and_sum, halves, in_order};
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
    /// Whether the last step was one of cutoffs, which has exponentials of what it left.
    has_exponentials: bool,
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

/// Fewer tokens than one in this many are listed.
const MANY: usize = 32;

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
        let limits = Limits { temperature, top_p: 0.0, top_k: None, capability: row.capability };
        self.estimates.draw::<Single>(row.logits, limits, generator).map(|drawn| drawn.token)
    }

    pub(super) fn start(&mut self, row: Row<'_>) {
        self.has_exponentials = false;
        self.scores.clear();
        self.scores.extend_from_slice(row.logits);
    }

    /// Takes a step. Returns whether torch is certain to remove the same, if `ask` says so.
    pub(super) fn step(&mut self, step: Step, row: Row<'_>, ask: bool) -> bool {
        let Row { history, capability, sharing, .. } = row;
        let Self { scores, .. } = self;
        self.has_exponentials = false;
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
            Step::MinP(share) => {
                self.has_exponentials =
                    cutoffs::min_p(scores, share, capability, &mut self.cutoffs);
            }
            Step::EpsilonCutoff(least) => {
                self.has_exponentials =
                    cutoffs::epsilon_cutoff(scores, least, capability, &mut self.cutoffs);
            }
            Step::TypicalP(mass) => {
                let workspace = &mut self.typical;
                return typical::typical(scores, mass, capability, sharing, ask, workspace);
            }
            Step::EtaCutoff(eta) => {
                let workspace = &mut self.cutoffs;
                let certain = cutoffs::eta_cutoff(scores, eta, capability, sharing, ask, workspace);
                self.has_exponentials = certain.is_some();
                return certain.unwrap_or(true);
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
        if self.has_exponentials {
            self.cutoffs.softmax_of_left(&self.scores, &mut self.probs, row.capability);
            return Ok(&self.probs);
        }
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

    /// Draws from what the steps leave: [`finish`](Self::finish) and [`draw`](Self::draw), without a
    /// softmax of the whole row where few tokens are left.
    pub(super) fn finish_and_draw(
        &mut self,
        row: Row<'_>,
        generator: &mut Generator,
    ) -> Result<usize, SampleError> {
        if let Some(drawn) = self.draw_from_few(row.capability, generator) {
            return Ok(drawn);
        }
        self.finish(row)?;
        Ok(self.draw(generator))
    }

    /// `None`, and the generator is as it was, where many tokens are left, or one without probability,
    /// or where a score is no number.
    fn draw_from_few(
        &mut self,
        capability: Capability,
        generator: &mut Generator,
    ) -> Option<usize> {
        let Self { scores, probs, survivors, notes, .. } = self;
        let vocab = scores.len();
        if are_at_least(scores, f32::MIN, vocab.div_ceil(MANY)) || mask::has_nan(scores) {
            return None;
        }
        list_at_least(scores, f32::MIN, survivors);
        // A last block that is not whole is filled up with zeros.
        survivors.retain(|token, _| (token as usize) < vocab);
        let possible = survivors.possible();
        if possible.tokens.is_empty() {
            return None;
        }
        probs.resize(possible.tokens.len(), 0.0);
        let max = row_max(possible.probabilities);
        exp_and_sum(possible.probabilities, max, probs, capability);
        let sum = sum_in_lanes(possible.tokens, probs, capability);
        multiply_by(probs, 1.0 / sum);
        #[allow(clippy::neg_cmp_op_on_partial_ord)] // A NaN is none either.
        if probs.iter().any(|p| !(*p > 0.0)) {
            return None;
        }
        let possible = Possible { probabilities: probs, ..possible };
        multinomial(possible, vocab, || Some(1.0), generator, notes)
    }

    /// Draws from these probabilities: `torch.multinomial` divides them by no sum.
    pub(super) fn draw(&mut self, generator: &mut Generator) -> usize {
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

/// The sum of a softmax's exponentials, of which all but those of `tokens`, which ascend, are zero; of a
/// row that is no shorter than its lanes.
fn sum_in_lanes(tokens: &[u32], exponentials: &[f32], capability: Capability) -> f32 {
    fn lanes<const LANES: usize>(tokens: &[u32], exponentials: &[f32]) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        for (token, e) in tokens.iter().zip(exponentials) {
            lanes[*token as usize % LANES] += e;
        }
        lanes
    }
    match capability.arithmetic() {
        Arithmetic::Default => in_order(lanes::<8>(tokens, exponentials)),
        Arithmetic::Avx2 => halves(lanes::<8>(tokens, exponentials)),
        Arithmetic::Avx512 => halves(lanes::<16>(tokens, exponentials)),
        Arithmetic::Neon => halves(lanes::<4>(tokens, exponentials)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few tokens of a row have the probabilities, and so the draws, that the whole row gives.
    #[test]
    fn few_are_drawn_from_as_all() {
        let mut random = Generator::new(6);
        let mut drawn = 0;
        for vocab in [1, 7, 16, 32, 33, 40, 47, 48, 65, 1000, 1003, 4097] {
            for share in [0.0, 0.001, 0.004, 0.02, 0.02, 0.5] {
                for capability in Capability::ALL {
                    let kept = |random: &mut Generator| random.next_f32() < share;
                    let score = |random: &mut Generator| random.next_f32() * 20.0;
                    let mut scores: Vec<f32> =
                        (0..vocab)
                            .map(|_| {
                                if kept(&mut random) {
                                    score(&mut random)
                                } else {
                                    f32::NEG_INFINITY
                                }
                            })
                            .collect();
                    if random.next_f32() < 0.9 {
                        scores[random.next_u32() as usize % vocab] = 10.0;
                    }
                    let mut workspace = PipelineWorkspace { scores, ..Default::default() };
                    let logits = workspace.scores.clone();
                    let sharing = Sharing::default();
                    let row = Row { logits: &logits, history: &[], number: 0, capability, sharing };
                    let mut few = random.clone();
                    let mut all = random.clone();
                    if let Some(token) = workspace.draw_from_few(capability, &mut few) {
                        let listed = workspace.probs.clone();
                        assert!(workspace.finish(row).is_ok());
                        let whole = workspace.probs.iter().copied().filter(|p| *p > 0.0);
                        assert_eq!(listed, whole.collect::<Vec<_>>());
                        assert_eq!(token, workspace.draw(&mut all));
                        assert!(few == all);
                        drawn += 1;
                    }
                    assert!(few == all, "untouched where nothing is drawn");
                }
            }
        }
        assert!(drawn > 50);
    }
}
