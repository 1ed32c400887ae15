//! The stages of `sample_logits`, each by itself, on any values: what one stage makes of numbers
//! that another sampler computed.
//!
//! Every function takes `[rows, vocab]`, row-major, and gives values of the same shape.

use std::cmp::Ordering;

use crate::error::{Offence, SampleError};
use crate::logits::Logits;
use crate::parameters::Replay;
use crate::rows::{MOST_TOKENS, to_token};
use crate::stages;
use crate::torch::capability::Capability;
use crate::torch::exponential::exponential;
use crate::torch::generator::Generator;
use crate::torch::sums::Sharing;

/// `torch.softmax(scores, -1)`.
#[must_use]
pub fn softmax(scores: Logits<'_>, capability: Capability) -> Vec<f32> {
    let mut probs = vec![0.0; scores.values().len()];
    let rows = probs.chunks_exact_mut(scores.vocab().max(1));
    for (row, out) in scores.each_row().zip(rows) {
        if !stages::softmax::softmax(row, out, capability) {
            out.fill(f32::NAN);
        }
    }
    probs
}

/// Marks what is not below the `top_k`-th largest of its row: `!(probs < torch.topk(probs, k)[-1])`.
/// Where `top_k` is not > 0, everything.
///
/// # Errors
///
/// [`SampleError::TopKOutOfRange`].
pub fn top_k_mask(probs: Logits<'_>, top_k: i64) -> Result<Vec<bool>, SampleError> {
    let Ok(k @ 1..) = usize::try_from(top_k) else {
        return Ok(vec![true; probs.values().len()]);
    };
    let vocab = probs.vocab();
    if k > vocab {
        return Err(SampleError::TopKOutOfRange { top_k, vocab });
    }
    let mut kept = Vec::with_capacity(probs.values().len());
    for row in probs.each_row() {
        // torch takes NaN, of whatever sign, for the largest.
        let comparable: Vec<f32> =
            row.iter().map(|p| if p.is_nan() { f32::NAN } else { *p }).collect();
        let threshold = stages::top_k::kth_largest(&comparable, k);
        kept.extend(row.iter().map(|p| p.partial_cmp(&threshold) != Some(Ordering::Less)));
    }
    Ok(kept)
}

/// Marks what comes before the cumulative sum, in descending order, has exceeded `top_p`: the token
/// that crosses it is among them. Where `top_p` is not > 0, everything.
#[must_use]
pub fn top_p_mask(probs: Logits<'_>, top_p: f64) -> Vec<bool> {
    let mut kept = vec![true; probs.values().len()];
    if top_p.is_nan() || top_p <= 0.0 {
        return kept;
    }
    #[allow(clippy::cast_possible_truncation)] // torch compares in f32.
    let top_p = top_p as f32;
    let masks = kept.chunks_exact_mut(probs.vocab().max(1));
    for (row, mask) in probs.each_row().zip(masks) {
        // NaN comes first in torch's order, and no sum is then larger than anything.
        if row.iter().any(|p| p.is_nan()) {
            continue;
        }
        let mut sum = 0.0;
        let mut crossed = false;
        for entry in stages::top_p::sorted(row) {
            mask[entry.index as usize] = !crossed;
            sum += f64::from(entry.key);
            crossed = stages::top_p::crosses(sum, top_p);
        }
    }
    kept
}

/// Divides each row by its sum: `probs / probs.sum(-1, keepdim=True)`.
#[must_use]
pub fn renormalize(probs: Logits<'_>, replay: Replay) -> Vec<f32> {
    let mut shares = probs.values().to_vec();
    let Replay { capability, threads } = replay;
    let sharing = Sharing { alone: probs.rows() == 1, threads, capability };
    for row in shares.chunks_exact_mut(probs.vocab().max(1)) {
        // The sum of a stage counts NaN, which no sampler hands over, as zero.
        if row.iter().any(|p| p.is_nan()) {
            row.fill(f32::NAN);
        } else {
            stages::renormalize::renormalize(row, sharing);
        }
    }
    shares
}

/// `torch.multinomial(probs, 1)`: one token a row.
///
/// # Errors
///
/// [`SampleError::InvalidProbabilities`] where one is NaN, infinite or negative, or a row's are all
/// zero; [`SampleError::NothingToDraw`], [`SampleError::TooManyTokens`]. The generator is then as it
/// was.
pub fn multinomial(probs: Logits<'_>, generator: &mut Generator) -> Result<Vec<i64>, SampleError> {
    let vocab = probs.vocab();
    if vocab == 0 {
        return Err(SampleError::NothingToDraw);
    }
    if vocab > MOST_TOKENS {
        return Err(SampleError::TooManyTokens { vocab });
    }
    for (row, values) in probs.each_row().enumerate() {
        let unfit = values.iter().position(|p| !(*p >= 0.0 && *p < f32::INFINITY));
        if let Some(token) = unfit {
            let value = values[token];
            return Err(SampleError::InvalidProbabilities(Offence::Probability {
                row,
                token,
                value,
            }));
        }
    }
    if let Some(row) = probs.each_row().position(|values| values.iter().all(|p| *p == 0.0)) {
        return Err(SampleError::InvalidProbabilities(Offence::NoMass { row }));
    }
    Ok(probs
        .each_row()
        .map(|row| to_token(stages::multinomial::multinomial(row, generator)))
        .collect())
}

/// `torch.empty(values.len()).exponential_()`: what `torch.multinomial` divides probabilities by.
pub fn exponentials(values: &mut [f32], generator: &mut Generator) {
    values.fill_with(|| exponential(generator.next_f64()));
}

/// `torch.empty(values.len(), dtype=torch.float64).uniform_()`.
pub fn uniforms(values: &mut [f64], generator: &mut Generator) {
    values.fill_with(|| generator.next_f64());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::SampleParameters;
    use crate::sample_logits::trace_sample_logits;

    /// Logits of several shapes, with ties and infinities.
    fn logits(seed: u64, count: usize) -> Vec<f32> {
        let mut generator = Generator::new(seed);
        (0..count)
            .map(|place| match place % 11 {
                3 => f32::NEG_INFINITY,
                5 | 7 => 1.5,
                _ => 8.0 * generator.next_f32() - 4.0,
            })
            .collect()
    }

    #[test]
    fn the_stages_one_by_one_are_the_sampler() -> Result<(), SampleError> {
        for (seed, (rows, vocab)) in (0..).zip([(1, 1), (3, 17), (2, 300), (1, 40_000), (5, 64)]) {
            let values = logits(seed, rows * vocab);
            let batch = Logits::new(&values, rows, vocab)?;
            for (top_k, top_p) in [(0, 0.0), (1, 0.9), (vocab.min(40), 0.0), (0, 0.7)] {
                let parameters = SampleParameters {
                    top_k: i64::try_from(top_k).unwrap_or(0),
                    top_p,
                    ..SampleParameters::default()
                };
                let replay = Replay::default();
                let (mut one, mut other) = (Generator::new(seed), Generator::new(seed));
                let trace = trace_sample_logits(batch, &parameters, replay, &mut one)?;
                let probs = softmax(batch, replay.capability);
                assert_eq!(probs, trace.probs);
                let first = top_k_mask(Logits::new(&probs, rows, vocab)?, parameters.top_k)?;
                assert_eq!(first, trace.top_k_mask);
                let left = masked(&probs, &first);
                let second = top_p_mask(Logits::new(&left, rows, vocab)?, top_p);
                assert_eq!(second, trace.top_p_mask);
                let left = masked(&left, &second);
                let shares = renormalize(Logits::new(&left, rows, vocab)?, replay);
                assert_eq!(shares, trace.renormalized);
                let token = multinomial(Logits::new(&shares, rows, vocab)?, &mut other)?;
                assert_eq!(token, trace.token);
                assert_eq!(one.state(), other.state());
            }
        }
        Ok(())
    }

    fn masked(probs: &[f32], kept: &[bool]) -> Vec<f32> {
        probs.iter().zip(kept).map(|(p, kept)| if *kept { *p } else { 0.0 }).collect()
    }

    #[test]
    fn what_no_sampler_computes_is_taken_as_torch_takes_it() -> Result<(), SampleError> {
        // torch 2.15, by hand: NaN is the largest, and a sum with it exceeds nothing.
        let odd = [0.5, -f32::NAN, 0.25, f32::INFINITY];
        assert_eq!(top_k_mask(Logits::row(&odd), 1)?, [true; 4]);
        assert_eq!(top_k_mask(Logits::row(&odd), 2)?, [false, true, false, true]);
        assert_eq!(top_p_mask(Logits::row(&odd), 0.1), [true; 4]);
        // The sum falls below top_p again.
        let falling = [0.9, -0.5, 0.2];
        assert_eq!(top_p_mask(Logits::row(&falling), 0.8), [true, false, false]);
        let twice = [0.9, 0.2, -0.5, -0.6];
        assert_eq!(top_p_mask(Logits::row(&twice), 0.8), [true, false, false, true]);
        Ok(())
    }

    #[test]
    fn a_draw_refuses_what_is_no_distribution() {
        let mut generator = Generator::new(0);
        let before = generator.state();
        for (values, said) in [
            ([0.5, f32::NAN], "probs[0, 1] = NaN"),
            ([-0.5, 1.0], "probs[0, 0] = -0.5"),
            ([0.5, f32::INFINITY], "probs[0, 1] = inf"),
            ([0.0, -0.0], "every probability of row 0 is zero"),
        ] {
            let refused = multinomial(Logits::row(&values), &mut generator);
            assert!(refused.is_err_and(|error| error.to_string().contains(said)), "{said}");
        }
        assert_eq!(multinomial(Logits::row(&[]), &mut generator), Err(SampleError::NothingToDraw));
        let few = top_k_mask(Logits::row(&[0.5, 0.5]), 3);
        assert_eq!(few, Err(SampleError::TopKOutOfRange { top_k: 3, vocab: 2 }));
        assert_eq!(before, generator.state());
    }
}
