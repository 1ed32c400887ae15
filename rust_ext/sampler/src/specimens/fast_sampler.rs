//! `FastSampler`, which was meant to be `sample_logits` with fast paths.

use rand::rngs::StdRng;

use super::common::{argmax, descending, softmax, uniform};

/// The parameters of [`FastSampler::optimized_sample`]; the default is the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FastSamplerConfig {
    /// Divisor of the logits.
    pub temperature: f32,
    /// Nucleus mass of the renormalised top-k; 1 and more is off.
    pub top_p: f32,
    /// How many logits stay; 0 is off.
    pub top_k: usize,
    /// A token that is not drawn; the fast paths do not look at it.
    pub forbid_token: Option<usize>,
    /// The largest probability above which its token is taken outright.
    pub greedy_threshold: f32,
}

impl Default for FastSamplerConfig {
    fn default() -> Self {
        Self { temperature: 1.0, top_p: 0.85, top_k: 0, forbid_token: None, greedy_threshold: 0.7 }
    }
}

/// How a call came to its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Path {
    /// The largest logit: the temperature is below 0.1, or `top_k` is 1.
    GreedyParameters,
    /// The largest logit: it is more than two temperatures above the next.
    GreedyGap,
    /// The largest logit: its probability exceeds the threshold.
    GreedyPeak,
    /// A draw.
    #[default]
    Sampled,
}

impl Path {
    /// The path's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GreedyParameters => "greedy_parameters",
            Self::GreedyGap => "greedy_gap",
            Self::GreedyPeak => "greedy_peak",
            Self::Sampled => "sampled",
        }
    }
}

/// What one [`FastSampler::optimized_sample`] call made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FastSamplerTrace {
    /// `[V]`, the distribution that the token was drawn from; one-hot on a fast path.
    pub renormalized: Vec<f32>,
    /// Which path was taken.
    pub path: Path,
    /// The token.
    pub token: usize,
}

/// A token that may be drawn, and its probability.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: usize,
    probability: f32,
}

/// A sampler that keeps its candidates' memory from call to call.
#[derive(Debug, Clone, Default)]
pub struct FastSampler {
    candidates: Vec<Candidate>,
}

impl FastSampler {
    /// A sampler without candidates.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws a token, or takes the largest logit where a fast path says so.
    ///
    /// Its faults: three fast paths that draw nothing where the reference draws, and that may
    /// give the forbidden token; exactly `top_k` logits stay, ties cut by the sort's order; the
    /// nucleus is measured on what top-k left, renormalised; it ends where the sum reaches `top_p`
    /// and not where it exceeds it; `top_p` = 0 is greedy; the draw is an inverse CDF from another
    /// generator.
    ///
    /// Left open and chosen here: the sort is stable; the gap is one of raw logits; the
    /// largest probability is that of the whole row at the temperature; the softmax divides the
    /// logits by the temperature; the nucleus is off where `top_p` >= 1; the uniform must be less
    /// than the cumulative sum; where it never is, the last candidate is taken, and token 0 where
    /// there is none.
    pub fn optimized_sample(
        &mut self,
        logits: &[f32],
        config: &FastSamplerConfig,
        rng: &mut Option<StdRng>,
    ) -> usize {
        self.run(logits, config, rng, None)
    }

    /// [`optimized_sample`](Self::optimized_sample), keeping what it made.
    pub fn trace_optimized_sample(
        &mut self,
        logits: &[f32],
        config: &FastSamplerConfig,
        rng: &mut Option<StdRng>,
    ) -> FastSamplerTrace {
        let mut trace = FastSamplerTrace::default();
        trace.token = self.run(logits, config, rng, Some(&mut trace));
        trace
    }

    fn run(
        &mut self,
        logits: &[f32],
        config: &FastSamplerConfig,
        rng: &mut Option<StdRng>,
        trace: Option<&mut FastSamplerTrace>,
    ) -> usize {
        self.candidates.clear();
        let path = fast_path(logits, config).unwrap_or(Path::Sampled);
        let token = if path == Path::Sampled {
            self.keep(logits, config);
            draw(&self.candidates, uniform(rng))
        } else {
            let token = argmax(logits);
            self.candidates.push(Candidate { token, probability: 1.0 });
            token
        };
        if let Some(trace) = trace {
            trace.path = path;
            trace.renormalized.resize(logits.len(), 0.0);
            for &Candidate { token, probability } in &self.candidates {
                if let Some(slot) = trace.renormalized.get_mut(token) {
                    *slot = probability;
                }
            }
        }
        token
    }

    /// Finds the candidates and their renormalised probabilities.
    fn keep(&mut self, logits: &[f32], config: &FastSamplerConfig) {
        let mut order = descending(logits);
        order.retain(|&token| config.forbid_token != Some(token));
        if config.top_k > 0 {
            order.truncate(config.top_k);
        }
        let kept: Vec<f32> =
            order.iter().map(|&token| logits[token] / config.temperature).collect();
        let tokens = order.iter().zip(softmax(&kept));
        self.candidates
            .extend(tokens.map(|(&token, probability)| Candidate { token, probability }));

        if config.top_p < 1.0 {
            let mut sum = 0.0;
            let crossing = self.candidates.iter().position(|candidate| {
                sum += candidate.probability;
                sum >= config.top_p
            });
            if let Some(crossing) = crossing {
                self.candidates.truncate(crossing + 1);
            }
        }
        let sum: f32 = self.candidates.iter().map(|candidate| candidate.probability).sum();
        for candidate in &mut self.candidates {
            candidate.probability /= sum;
        }
    }
}

fn fast_path(logits: &[f32], config: &FastSamplerConfig) -> Option<Path> {
    let &FastSamplerConfig { temperature, top_k, greedy_threshold, .. } = config;
    if temperature < 0.1 || top_k == 1 {
        return Some(Path::GreedyParameters);
    }
    let [mut first, mut second] = [f32::NEG_INFINITY; 2];
    for &x in logits {
        if x > first {
            [first, second] = [x, first];
        } else if x > second {
            second = x;
        }
    }
    if logits.len() > 1 && first - second > 2.0 * temperature {
        return Some(Path::GreedyGap);
    }
    let sum: f32 = logits.iter().map(|x| ((x - first) / temperature).exp()).sum();
    (1.0 / sum > greedy_threshold).then_some(Path::GreedyPeak)
}

/// The first candidate whose cumulative sum exceeds the uniform.
fn draw(candidates: &[Candidate], uniform: f32) -> usize {
    let mut sum = 0.0;
    let drawn = candidates.iter().find(|candidate| {
        sum += candidate.probability;
        uniform < sum
    });
    drawn.or(candidates.last()).map_or(0, |candidate| candidate.token)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const OFF: FastSamplerConfig = FastSamplerConfig {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        forbid_token: None,
        greedy_threshold: 0.7,
    };

    fn trace(logits: &[f32], config: FastSamplerConfig) -> FastSamplerTrace {
        let mut rng = Some(StdRng::seed_from_u64(3));
        FastSampler::new().trace_optimized_sample(logits, &config, &mut rng)
    }

    #[test]
    fn values_are_stable() {
        let logits: Vec<f32> = (0_u8..32).map(|i| f32::from(i % 8) * 0.25).collect();
        let mut rng = Some(StdRng::seed_from_u64(7));
        let mut sampler = FastSampler::new();
        let config = FastSamplerConfig { top_p: 0.95, top_k: 20, ..OFF };
        let tokens: Vec<usize> =
            (0..8).map(|_| sampler.optimized_sample(&logits, &config, &mut rng)).collect();
        assert_eq!(tokens, [14, 7, 15, 31, 7, 15, 13, 30]);
    }

    #[test]
    fn low_temperatures_and_top_1_are_greedy() {
        let logits = [1.0, 1.0, 0.9];
        for config in
            [FastSamplerConfig { temperature: 0.09, ..OFF }, FastSamplerConfig { top_k: 1, ..OFF }]
        {
            let trace = trace(&logits, config);
            assert_eq!((trace.path, trace.token), (Path::GreedyParameters, 0));
            assert_eq!(trace.renormalized, [1.0, 0.0, 0.0]);
        }
        assert_eq!(
            trace(&logits, FastSamplerConfig { temperature: 0.1, ..OFF }).path,
            Path::Sampled
        );
    }

    #[test]
    fn a_gap_of_more_than_two_temperatures_is_greedy() {
        // Thirty-one tokens at the second place: the largest has e^2.5 / (e^2.5 + 31) = 0.28.
        let mut logits = [0.0; 32];
        logits[5] = 2.5;
        let found = trace(&logits, OFF);
        assert_eq!((found.path, found.token), (Path::GreedyGap, 5));
        logits[5] = 2.0;
        assert_eq!(trace(&logits, OFF).path, Path::Sampled);
        let hot = FastSamplerConfig { temperature: 1.25, ..OFF };
        logits[5] = 2.5;
        assert_eq!(trace(&logits, hot).path, Path::Sampled);
    }

    #[test]
    fn a_peak_above_the_threshold_is_greedy() {
        // e^1.5 / (e^1.5 + 1) = 0.82.
        let found = trace(&[0.0, 1.5], OFF);
        assert_eq!((found.path, found.token), (Path::GreedyPeak, 1));
        assert_eq!(
            trace(&[0.0, 1.5], FastSamplerConfig { greedy_threshold: 0.9, ..OFF }).path,
            Path::Sampled
        );
    }

    #[test]
    fn the_fast_paths_may_give_the_forbidden_token() {
        let forbidden = FastSamplerConfig { forbid_token: Some(0), ..OFF };
        assert_eq!(trace(&[9.0, 1.0, 2.0], forbidden).token, 0);
        let drawn = trace(&[1.0, 1.0, 1.0], forbidden);
        assert_eq!(drawn.renormalized, [0.0, 0.5, 0.5]);
    }

    #[test]
    fn exactly_k_stay_at_a_tie() {
        let found = trace(&[1.0, 1.0, 1.0, 1.0], FastSamplerConfig { top_k: 2, ..OFF });
        assert_eq!(found.renormalized, [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn the_nucleus_is_measured_on_the_renormalised_top_k() {
        // Eight equal logits, four of them kept: 1/4 each, so that half of them reach 0.5. Of the
        // un-renormalised 1/8 each, none of the four would go.
        let config = FastSamplerConfig { top_k: 4, top_p: 0.5, ..OFF };
        let found = trace(&[0.0; 8], config);
        assert_eq!(found.renormalized, [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_nucleus_ends_where_the_sum_reaches_top_p() {
        // After two of 1/4 the sum is 0.5 exactly: the reference would keep a third.
        let found = trace(&[0.0; 4], FastSamplerConfig { top_p: 0.5, ..OFF });
        assert_eq!(found.renormalized, [0.5, 0.5, 0.0, 0.0]);
        let none = trace(&[0.0; 4], FastSamplerConfig { top_p: 0.0, ..OFF });
        assert_eq!(none.renormalized, [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_draw_inverts_the_cumulative_sum() {
        let candidates = [(7, 0.25), (2, 0.5), (4, 0.25)]
            .map(|(token, probability)| Candidate { token, probability });
        let drawn = [0.0, 0.249, 0.25, 0.749, 0.75, 1.0].map(|u| draw(&candidates, u));
        assert_eq!(drawn, [7, 7, 2, 2, 4, 4]);
    }

    #[test]
    fn odd_rows_do_not_panic() {
        assert_eq!(trace(&[], OFF).token, 0);
        assert_eq!(trace(&[1.0], FastSamplerConfig { forbid_token: Some(0), ..OFF }).token, 0);
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(trace(&[odd, odd, odd], OFF).token < 3);
            assert!(trace(&[odd, 0.0, odd], FastSamplerConfig { top_k: 9, ..OFF }).token < 3);
        }
    }
}
