//! Min-p, epsilon and eta: steps that remove what is less probable than something.

use super::mask::{keep_where_left, remove_where_below};
use crate::simd::kernel;
use crate::stages::softmax::{exponentials, multiply_by, row_max};
use crate::torch::capability::Capability;
use crate::torch::exp::{exp_and_sum, sum_of};
use crate::torch::sums::{Sharing, row_sum};
use crate::torch::vml::{Between, Exponentials, rounded};

/// Memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    exponentials: Vec<f32>,
    logits: Vec<f32>,
    terms: Vec<f32>,
}

/// Removes what is less probable than `share` times the most probable. Returns `false` where there are
/// no probabilities.
pub(crate) fn min_p(
    scores: &mut [f32],
    share: f64,
    capability: Capability,
    workspace: &mut Workspace,
) -> bool {
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    let share = share as f32;
    let Some((_, reciprocal)) = workspace.take(scores, capability) else {
        return false;
    };
    let Workspace { exponentials, .. } = workspace;
    // The product with the largest is the largest product.
    let least = share * (row_max(exponentials) * reciprocal);
    // No maximum is less than a share of itself: transformers need not keep it by force.
    remove_where_below(scores, exponentials, reciprocal, least, f32::INFINITY);
    true
}

/// Removes what is less probable than `epsilon`, but for the largest scores. Returns `false` where there
/// are no probabilities.
pub(crate) fn epsilon_cutoff(
    scores: &mut [f32],
    epsilon: f64,
    capability: Capability,
    workspace: &mut Workspace,
) -> bool {
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    let epsilon = epsilon as f32;
    let Some((max, reciprocal)) = workspace.take(scores, capability) else {
        return false;
    };
    remove_where_below(scores, &workspace.exponentials, reciprocal, epsilon, max);
    true
}

/// Removes what is less probable than min(eta, sqrt(eta) * exp(-entropy)), but for the largest scores.
/// No score is NaN.
///
/// Returns whether torch is certain to remove the same: its `exp`, `log` and `sqrt` may be either of
/// two floats. It is looked at where `ask` says so; else the answer is `true`. `None` where there are no
/// probabilities.
pub(crate) fn eta_cutoff(
    scores: &mut [f32],
    eta: f64,
    capability: Capability,
    sharing: Sharing,
    ask: bool,
    workspace: &mut Workspace,
) -> Option<bool> {
    /// Sums that are tried.
    const MOST: usize = 64;
    #[allow(clippy::cast_possible_truncation)] // It is a tensor of f32.
    let eta = eta as f32;
    let (max, reciprocal) = workspace.take(scores, capability)?;
    if eta.is_nan() {
        return Some(true);
    }
    let root = f64::from(eta).sqrt();
    let mut sum = |taken| workspace.sum_of_exponentials(scores, max, sharing, taken);
    let log = rounded(f64::from(sum(Exponentials::Near)).ln());
    let range = ask.then(|| (sum(Exponentials::Low), sum(Exponentials::High)));
    let entropy = workspace.entropy(scores, max, log, capability, sharing);
    let least = eta.min(rounded(root) * rounded(f64::from(-entropy).exp()));
    let mut certain = true;
    if let Some((low, high)) = range {
        let mut log = Between::around(f64::from(low).ln()).low;
        let highest = Between::around(f64::from(high).ln()).high;
        let root = Between::around(root);
        let mut tried = 0;
        while certain && log <= highest {
            let entropy = workspace.entropy(scores, max, log, capability, sharing);
            let share = Between::around(f64::from(-entropy).exp());
            let (low, high) = (eta.min(root.low * share.low), eta.min(root.high * share.high));
            let doubtful = |p: f32| (p < least) != (p < low) || (p < least) != (p < high);
            let mut rest = workspace.exponentials.iter().zip(&*scores);
            certain =
                tried < MOST && !rest.any(|(e, score)| *score < max && doubtful(e * reciprocal));
            log = log.next_up();
            tried += 1;
        }
    }
    remove_where_below(scores, &workspace.exponentials, reciprocal, least, max);
    Some(certain)
}

impl Workspace {
    /// Takes the exponentials of a softmax; returns the largest score, and what the softmax multiplies
    /// them by. `None` where there are no probabilities.
    fn take(&mut self, scores: &[f32], capability: Capability) -> Option<(f32, f32)> {
        self.exponentials.resize(scores.len(), 0.0);
        exponentials(scores, &mut self.exponentials, capability)
    }

    /// Writes the softmax of the scores of which a step here removed some, but not the largest: it has
    /// the exponentials that the step took.
    pub(crate) fn softmax_of_left(
        &self,
        scores: &[f32],
        probs: &mut [f32],
        capability: Capability,
    ) {
        keep_where_left(scores, &self.exponentials, probs);
        let sum = sum_of(probs, capability);
        multiply_by(probs, 1.0 / sum);
    }

    /// As `logsumexp` adds up exponentials.
    fn sum_of_exponentials(
        &mut self,
        scores: &[f32],
        max: f32,
        sharing: Sharing,
        taken: Exponentials,
    ) -> f32 {
        self.terms.resize(scores.len(), 0.0);
        taken.write(scores, max, &mut self.terms);
        row_sum(&self.terms, sharing)
    }

    /// The entropy of `torch.distributions.Categorical(logits=scores)`, whose `logsumexp` is the
    /// largest score and a logarithm.
    fn entropy(
        &mut self,
        scores: &[f32],
        max: f32,
        log: f32,
        capability: Capability,
        sharing: Sharing,
    ) -> f32 {
        let Self { logits, terms, .. } = self;
        let log_sum = log + max;
        logits.resize(scores.len(), 0.0);
        subtract(scores, log_sum, logits);
        terms.resize(scores.len(), 0.0);
        // A subtraction is rounded, which changes no order.
        let sum = exp_and_sum(logits, max - log_sum, terms, capability);
        multiply(terms, 1.0 / sum, logits);
        -row_sum(terms, sharing)
    }
}

kernel! {
    fn subtract<'a>(scores: &'a [f32], log_sum: f32, out: &'a mut [f32]) -> () {
        for (score, out) in scores.iter().zip(out) {
            *out = score - log_sum;
        }
    }
}

kernel! {
    /// Makes probabilities of exponentials, and multiplies them by their logits.
    fn multiply<'a>(terms: &'a mut [f32], reciprocal: f32, logits: &'a [f32]) -> () {
        for (term, logit) in terms.iter_mut().zip(logits) {
            *term = *term * reciprocal * logit.max(f32::MIN);
        }
    }
}
