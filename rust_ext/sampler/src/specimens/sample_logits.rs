//! The later `sample_logits`, whose report said "fully consistent with Python".

use rand::rngs::StdRng;

use super::common::{descending, softmax, uniform};

/// What one [`sample_logits`] call made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleLogitsTrace {
    /// `[V]`, the distribution that the token was drawn from.
    pub renormalized: Vec<f32>,
    /// The token.
    pub token: usize,
}

/// Draws a token by another Python function of the same name.
///
/// Its faults: the temperature comes last, as a power; exactly `top_k` tokens stay, ties cut by
/// the sort's order; the nucleus ends where the sum reaches `top_p`; `top_p` = 0 is greedy; tokens
/// as probable as the last of the nucleus are given or robbed of what makes the sum `top_p`; the
/// draw is an f32 inverse CDF that can take a token of probability zero.
///
/// Left open and chosen here: the sort is stable; `top_k` is off at 0; top-p is off from 1; where
/// the sum never reaches `top_p`, the cutoff is the least probability that top-k left; no mass is
/// moved where `top_p` is not positive; the power is taken where the temperature is not 1, whatever
/// it is, and renormalised; where the walk ends without a token, it is the last of the vocabulary.
pub fn sample_logits(
    logits: &[f32],
    temperature: f32,
    top_p: f32,
    top_k: usize,
    rng: &mut Option<StdRng>,
) -> usize {
    run(logits, temperature, top_p, top_k, rng, None)
}

/// [`sample_logits`], keeping what it made.
pub fn trace_sample_logits(
    logits: &[f32],
    temperature: f32,
    top_p: f32,
    top_k: usize,
    rng: &mut Option<StdRng>,
) -> SampleLogitsTrace {
    let mut trace = SampleLogitsTrace::default();
    trace.token = run(logits, temperature, top_p, top_k, rng, Some(&mut trace));
    trace
}

fn run(
    logits: &[f32],
    temperature: f32,
    top_p: f32,
    top_k: usize,
    rng: &mut Option<StdRng>,
    trace: Option<&mut SampleLogitsTrace>,
) -> usize {
    let mut probs = softmax(logits);
    let mut order = descending(&probs);
    if top_k > 0 && top_k < order.len() {
        for token in order.drain(top_k..) {
            probs[token] = 0.0;
        }
    }
    if top_p < 1.0 {
        keep_nucleus(&mut probs, &order, top_p);
    }
    if temperature != 1.0 {
        for p in &mut probs {
            *p = p.powf(1.0 / temperature);
        }
    }
    let sum: f32 = probs.iter().sum();
    for p in &mut probs {
        *p /= sum;
    }
    let token = walk(&probs, uniform(rng));
    if let Some(trace) = trace {
        trace.renormalized = probs;
    }
    token
}

/// Top-p with adjustment; `order` lists what top-k left, most probable first.
fn keep_nucleus(probs: &mut [f32], order: &[usize], top_p: f32) {
    let mut cumulative = 0.0;
    let crossing = order.iter().find(|token| {
        cumulative += probs[**token];
        cumulative >= top_p
    });
    let Some(&last) = crossing.or(order.last()) else {
        return;
    };
    let cutoff = probs[last];
    for p in &mut *probs {
        if *p < cutoff {
            *p = 0.0;
        }
    }
    if top_p > 0.0 {
        let missing = top_p - probs.iter().sum::<f32>();
        #[allow(clippy::cast_precision_loss)] // As it was found.
        let tied = probs.iter().filter(|p| **p == cutoff).count() as f32;
        for p in probs.iter_mut().filter(|p| **p == cutoff) {
            *p += missing / tied;
        }
    }
}

/// The first token whose cumulative sum is not less than the uniform.
fn walk(probs: &[f32], uniform: f32) -> usize {
    let mut cumulative = 0.0;
    let drawn = probs.iter().position(|p| {
        cumulative += p;
        uniform <= cumulative
    });
    drawn.unwrap_or(probs.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn renormalized(logits: &[f32], temperature: f32, top_p: f32, top_k: usize) -> Vec<f32> {
        let mut rng = Some(StdRng::seed_from_u64(3));
        trace_sample_logits(logits, temperature, top_p, top_k, &mut rng).renormalized
    }

    /// Logits whose probabilities are as these weights, all of them exact.
    fn logits(weights: [f32; 4]) -> [f32; 4] {
        weights.map(f32::ln)
    }

    #[test]
    fn values_are_stable() {
        let logits: Vec<f32> = (0_u8..32).map(|i| f32::from(i % 8) * 0.25).collect();
        let mut rng = Some(StdRng::seed_from_u64(7));
        let tokens: Vec<usize> =
            (0..8).map(|_| sample_logits(&logits, 0.8, 0.95, 20, &mut rng)).collect();
        assert_eq!(tokens, [14, 3, 6, 11, 4, 6, 22, 19]);
    }

    #[test]
    fn exactly_k_stay_at_a_tie() {
        assert_eq!(renormalized(&[0.0; 4], 1.0, 1.0, 3)[3], 0.0);
        assert_eq!(renormalized(&[0.0; 4], 1.0, 1.0, 2), [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn the_nucleus_ends_where_the_sum_reaches_top_p() {
        let mut probs = [0.5, 0.25, 0.125, 0.125];
        keep_nucleus(&mut probs, &[0, 1, 2, 3], 0.75);
        // The sum is 0.75 at the second; the reference would keep the third.
        assert_eq!(probs, [0.5, 0.25, 0.0, 0.0]);
    }

    #[test]
    fn tokens_at_the_cutoff_make_the_sum_top_p() {
        // Crossing at the third, whose equal stays: a sum of 1, of which 1/8 is too much.
        let mut probs = [0.5, 0.25, 0.125, 0.125];
        keep_nucleus(&mut probs, &[0, 1, 2, 3], 0.875);
        assert_eq!(probs, [0.5, 0.25, 0.0625, 0.0625]);
        // And what top-k left is less than top_p: its last token is given the rest.
        let mut probs = [0.5, 0.25, 0.0, 0.0];
        keep_nucleus(&mut probs, &[0, 1], 0.875);
        assert_eq!(probs, [0.5, 0.375, 0.0, 0.0]);
    }

    #[test]
    fn top_p_zero_is_greedy() {
        let mut probs = [0.25, 0.5, 0.125, 0.125];
        keep_nucleus(&mut probs, &[1, 0, 2, 3], 0.0);
        assert_eq!(probs, [0.0, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn top_p_comes_before_the_temperature() {
        // At temperature 0.5 the first token alone has 16/22 of the mass; before it, 1/2, so that
        // top-p = 0.6 keeps the second as well, with 0.1.
        let found = renormalized(&logits([4.0, 2.0, 1.0, 1.0]), 0.5, 0.6, 0);
        let (first, second) = (0.5_f32.powi(2), 0.1_f32.powi(2));
        assert!((found[0] - first / (first + second)).abs() < 1e-6);
        assert!((found[1] - second / (first + second)).abs() < 1e-6);
        assert_eq!(found[2..], [0.0, 0.0]);
    }

    #[test]
    fn a_token_of_probability_zero_can_be_drawn() {
        assert_eq!(walk(&[0.0, 1.0], 0.0), 0);
        assert_eq!(walk(&[0.25, 0.25, 0.5], 0.25), 0);
        assert_eq!(walk(&[0.25, 0.25, 0.25, 0.0], 0.9), 3);
    }

    #[test]
    fn odd_rows_do_not_panic() {
        let mut rng = Some(StdRng::seed_from_u64(0));
        assert_eq!(sample_logits(&[], 1.0, 0.9, 5, &mut rng), 0);
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for temperature in [0.0, -1.0, f32::NAN, 0.5] {
                assert!(sample_logits(&[odd; 3], temperature, 0.5, 2, &mut rng) < 3);
                assert!(sample_logits(&[odd, 0.0], temperature, odd, 2, &mut rng) < 2);
            }
        }
    }
}
