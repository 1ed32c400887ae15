//! What a token is drawn from: every stage of `sample_logits` before the draw, in order.

use super::renormalize::renormalize;
use super::scale::divide;
use super::softmax::softmax;
use super::top_k::top_k;
use super::top_p::top_p;
use crate::error::SampleError;
use crate::rows::Row;
use crate::trace::SampleLogitsTrace;

/// The renormalised probabilities of a row, whose earlier stages are appended to `trace`.
pub(crate) fn distribution(
    row: Row<'_>,
    trace: Option<&mut SampleLogitsTrace>,
) -> Result<Vec<f32>, SampleError> {
    let Row { logits, parameters, replay, .. } = row;
    let mut scaled = logits.to_vec();
    if parameters.temperature != 1.0 {
        divide(logits, parameters.temperature, &mut scaled);
    }
    let mut probs = vec![0.0; logits.len()];
    if !softmax(&scaled, &mut probs, replay.capability) {
        return Err(row.invalid(&scaled));
    }
    let unmasked = trace.is_some().then(|| probs.clone());
    let among_largest = top_k(&mut probs, parameters.top_k);
    let in_nucleus = top_p(&mut probs, parameters.nucleus_mass());
    renormalize(&mut probs, row.sharing());
    if let (Some(trace), Some(unmasked)) = (trace, unmasked) {
        trace.scaled_logits.extend(scaled);
        trace.probs.extend(unmasked);
        trace.top_k_mask.extend(among_largest);
        trace.top_p_mask.extend(in_nucleus);
    }
    Ok(probs)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stages::multinomial::multinomial;
    use crate::torch::generator::Generator;

    /// The token of the stages.
    pub(crate) fn exact_token(row: Row<'_>, generator: &mut Generator) -> usize {
        distribution(row, None).map_or(usize::MAX, |probs| multinomial(&probs, generator))
    }
}
