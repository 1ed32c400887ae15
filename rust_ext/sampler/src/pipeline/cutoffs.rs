//! Min-p, epsilon and eta: steps that remove what is less probable than something.

use super::mask::remove_where_below;
use crate::stages::softmax::{row_max, softmax};
use crate::torch::capability::Capability;
use crate::torch::sums::{Sharing, row_sum};
use crate::torch::vml::{self, Between, rounded};

/// Memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    probs: Vec<f32>,
    logits: Vec<f32>,
    terms: Vec<f32>,
}

/// Removes what is less probable than `share` times the most probable.
pub(crate) fn min_p(
    scores: &mut [f32],
    share: f64,
    capability: Capability,
    Workspace { probs, .. }: &mut Workspace,
) {
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    let share = share as f32;
    probs.resize(scores.len(), 0.0);
    if softmax(scores, probs, capability) {
        // No maximum is less than a share of itself: transformers need not keep it by force.
        remove_where_below(scores, probs, share * row_max(probs), f32::INFINITY);
    }
}

/// Removes what is less probable than `epsilon`, but for the largest scores.
pub(crate) fn epsilon_cutoff(
    scores: &mut [f32],
    epsilon: f64,
    capability: Capability,
    Workspace { probs, .. }: &mut Workspace,
) {
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    let epsilon = epsilon as f32;
    probs.resize(scores.len(), 0.0);
    if softmax(scores, probs, capability) {
        let max = row_max(scores);
        remove_where_below(scores, probs, epsilon, max);
    }
}

/// Removes what is less probable than min(eta, sqrt(eta) * exp(-entropy)), but for the largest scores.
/// No score is NaN.
///
/// Returns whether torch is certain to remove the same: its `exp`, `log` and `sqrt` may be either of
/// two floats. It is looked at where `ask` says so; else the answer is `true`.
pub(crate) fn eta_cutoff(
    scores: &mut [f32],
    eta: f64,
    capability: Capability,
    sharing: Sharing,
    ask: bool,
    workspace: &mut Workspace,
) -> bool {
    /// Sums that are tried.
    const MOST: usize = 64;
    #[allow(clippy::cast_possible_truncation)] // It is a tensor of f32.
    let eta = eta as f32;
    let max = row_max(scores);
    workspace.probs.resize(scores.len(), 0.0);
    if eta.is_nan() || !softmax(scores, &mut workspace.probs, capability) {
        return true;
    }
    let root = f64::from(eta).sqrt();
    let sum = workspace.sum_of_exponentials(scores, max, sharing, vml::exp);
    let entropy =
        workspace.entropy(scores, rounded(f64::from(sum).ln()) + max, capability, sharing);
    let least = eta.min(rounded(root) * rounded(f64::from(-entropy).exp()));
    let mut certain = true;
    if ask {
        let low = workspace.sum_of_exponentials(scores, max, sharing, vml::exp_low);
        let high = workspace.sum_of_exponentials(scores, max, sharing, vml::exp_high);
        let mut log = Between::around(f64::from(low).ln()).low;
        let highest = Between::around(f64::from(high).ln()).high;
        let root = Between::around(root);
        let mut tried = 0;
        while certain && log <= highest {
            let entropy = workspace.entropy(scores, log + max, capability, sharing);
            let share = Between::around(f64::from(-entropy).exp());
            let (low, high) = (eta.min(root.low * share.low), eta.min(root.high * share.high));
            let doubtful = |p: f32| (p < least) != (p < low) || (p < least) != (p < high);
            let mut rest = workspace.probs.iter().zip(&*scores);
            certain = tried < MOST && !rest.any(|(p, score)| *score < max && doubtful(*p));
            log = log.next_up();
            tried += 1;
        }
    }
    remove_where_below(scores, &workspace.probs, least, max);
    certain
}

impl Workspace {
    /// As `logsumexp` adds up exponentials, which are written by `exp`.
    fn sum_of_exponentials(
        &mut self,
        scores: &[f32],
        max: f32,
        sharing: Sharing,
        exp: impl Fn(&[f32], &mut [f32]),
    ) -> f32 {
        let Self { logits, terms, .. } = self;
        logits.clear();
        logits.extend(scores.iter().map(|score| score - max));
        terms.resize(scores.len(), 0.0);
        exp(logits, terms);
        row_sum(terms, sharing)
    }

    /// The entropy of `torch.distributions.Categorical(logits=scores)`, whose `logsumexp` is given.
    fn entropy(
        &mut self,
        scores: &[f32],
        log_sum: f32,
        capability: Capability,
        sharing: Sharing,
    ) -> f32 {
        let Self { logits, terms, .. } = self;
        logits.clear();
        logits.extend(scores.iter().map(|score| score - log_sum));
        terms.resize(scores.len(), 0.0);
        softmax(logits, terms, capability);
        for (term, logit) in terms.iter_mut().zip(logits) {
            *term *= logit.max(f32::MIN);
        }
        -row_sum(terms, sharing)
    }
}
