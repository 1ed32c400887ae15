//! `simple_batch_sampler`, which a review had ticked off as consistent with Python.

use rand::rngs::StdRng;

use super::common::{argmax, uniform};

/// What the steps of one [`simple_batch_sampler`] call made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SimpleBatchTrace {
    /// `[V]`, logits / temperature.
    pub scaled_logits: Vec<f32>,
    /// `[V]`, with the noise added.
    pub noised_logits: Vec<f32>,
    /// The largest one's index.
    pub token: usize,
}

/// Takes the argmax of a copy of `logits`, scaled and noised.
///
/// Its faults: it divides by the temperature, where the reference multiplies by the reciprocal; a
/// temperature that is not positive is let through unscaled, where the reference refuses it; the
/// logits are not changed in place; the noise is another generator's.
///
/// Left open and chosen here: the forbidden token is masked with -inf first, one beyond the
/// vocabulary is nobody; the noise is a uniform of [0, 1) times `noise`; of equal largest logits
/// the first is taken, and never a NaN.
pub fn simple_batch_sampler(
    logits: &[f32],
    temperature: f32,
    noise: f32,
    forbid_token: Option<usize>,
    rng: &mut Option<StdRng>,
) -> usize {
    run(logits, temperature, noise, forbid_token, rng, None)
}

/// [`simple_batch_sampler`], keeping what its steps made.
pub fn trace_simple_batch_sampler(
    logits: &[f32],
    temperature: f32,
    noise: f32,
    forbid_token: Option<usize>,
    rng: &mut Option<StdRng>,
) -> SimpleBatchTrace {
    let mut trace = SimpleBatchTrace::default();
    trace.token = run(logits, temperature, noise, forbid_token, rng, Some(&mut trace));
    trace
}

fn run(
    logits: &[f32],
    temperature: f32,
    noise: f32,
    forbid_token: Option<usize>,
    rng: &mut Option<StdRng>,
    mut trace: Option<&mut SimpleBatchTrace>,
) -> usize {
    let mut logits = logits.to_vec();
    if let Some(forbidden) = forbid_token.and_then(|token| logits.get_mut(token)) {
        *forbidden = f32::NEG_INFINITY;
    }
    if temperature != 1.0 && temperature > 0.0 {
        for x in &mut logits {
            *x /= temperature;
        }
    }
    if let Some(trace) = &mut trace {
        trace.scaled_logits.clone_from(&logits);
    }
    if noise > 0.0 {
        for x in &mut logits {
            *x += uniform(rng) * noise;
        }
    }
    if let Some(trace) = trace {
        trace.noised_logits.clone_from(&logits);
    }
    argmax(&logits)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn values_are_stable() {
        let logits: Vec<f32> = (0_u8..32).map(|i| f32::from(i % 8) * 0.25).collect();
        let mut rng = Some(StdRng::seed_from_u64(7));
        let tokens: Vec<usize> =
            (0..8).map(|_| simple_batch_sampler(&logits, 0.7, 2.0, None, &mut rng)).collect();
        assert_eq!(tokens, [31, 23, 23, 31, 7, 6, 15, 7]);
    }

    #[test]
    fn divides_by_the_temperature() {
        let trace = trace_simple_batch_sampler(&[7.0, 5.0], 3.0, 0.0, None, &mut None);
        // 7 * (1 / 3 in f32) is one ulp away.
        assert_eq!(trace.scaled_logits[0], 7.0 / 3.0);
        assert_ne!(trace.scaled_logits[0], 7.0 * (1.0_f32 / 3.0));
    }

    #[test]
    fn a_temperature_that_is_not_positive_is_let_through() {
        for temperature in [0.0, -2.0, f32::NAN] {
            let trace = trace_simple_batch_sampler(&[1.0, 3.0], temperature, 0.0, None, &mut None);
            assert_eq!(trace.scaled_logits, [1.0, 3.0]);
            assert_eq!(trace.token, 1);
        }
    }

    #[test]
    fn the_noise_is_below_its_bound_and_added() {
        let mut rng = Some(StdRng::seed_from_u64(1));
        let trace = trace_simple_batch_sampler(&[0.0; 64], 1.0, 0.5, None, &mut rng);
        assert!(trace.noised_logits.iter().all(|x| (0.0..0.5).contains(x)));
        assert!(trace.noised_logits.iter().any(|x| *x != trace.noised_logits[0]));
    }

    #[test]
    fn the_forbidden_token_is_masked() {
        let trace = trace_simple_batch_sampler(&[9.0, 1.0, 2.0], 1.0, 0.0, Some(0), &mut None);
        assert_eq!(trace.scaled_logits[0], f32::NEG_INFINITY);
        assert_eq!(trace.token, 2);
        assert_eq!(simple_batch_sampler(&[9.0, 1.0], 1.0, 0.0, Some(2), &mut None), 0);
    }

    #[test]
    fn odd_rows_do_not_panic() {
        assert_eq!(simple_batch_sampler(&[], 0.5, 1.0, Some(0), &mut None), 0);
        assert_eq!(simple_batch_sampler(&[f32::NAN, -1.0], 1.0, 0.0, None, &mut None), 1);
    }
}
