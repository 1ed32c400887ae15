//! A draw from estimates, where bounds on their errors leave no doubt of what torch would draw.
//!
//! Only the ratios of the p / q decide the token. An estimate of each exponential, relative to any
//! maximum and by a short polynomial, nearly always tells which token's p / q is the largest,
//! whether enough mass lies below that token for the nucleus to keep it, and whether few enough
//! tokens are above it for top-k to. If the estimate does not tell, it decides nothing, and the exact
//! stages follow.

use super::exp_estimate::{FARTHEST, estimate, scale_of, suits, torch_error};
use super::narrow::count_at_least;
use crate::draw::contenders::{Contender, EXPECTED, list_contenders};
use crate::draw::race::ENOUGH;
use crate::planted::planted;
use crate::simd::format::Format;
use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::simd::wide::folded;
use crate::torch::capability::Capability;
use crate::torch::exponential::exponential;
use crate::torch::generator::Generator;

/// Twice the largest relative error of an estimate against torch's exponential, apart from a factor
/// that all estimates of a row share.
///
/// `exp2_estimate` is off by 2^-13 at most. Of the argument, in natural units and roundings of 2^-24:
/// torch's quotient by the temperature is off by [`FARTHEST`] + 80 of them, its difference by 80, and
/// ours by three times 80: 2^-13.5 together. What is further than 80 from the maximum is estimated to
/// be at most 2^-114 of a sum.
const ERROR: f64 = 1.0 / 2048.0;

/// Sums above this may hold an estimate that is out of its range.
const MOST: f64 = 1e30;

/// A nucleus of less mass is found first: else too many tokens would be drawn in vain.
const LEAST_MASS: f64 = 0.25;

/// A row with fewer tokens gains nothing from estimates.
const LONG: usize = 2048;

/// Tokens whose estimates are added up in f32, before it is looked whether they are enough.
const CHUNK: usize = 4096;

/// How many times as many contenders are listed, at most, where top-k leaves little of a row.
const MORE: f64 = 32.0;

/// Contenders for which there is room, but for bad luck.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A few hundred.
const ROOM: usize = ENOUGH + (2.0 * MORE * EXPECTED) as usize;

/// What the masks hold a row to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) temperature: f64,
    /// Off where not > 0.
    pub(crate) top_p: f64,
    /// Off where `None`.
    pub(crate) top_k: Option<usize>,
    pub(crate) capability: Capability,
}

/// A token that was drawn, and roughly its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) token: usize,
    pub(crate) share: f64,
}

/// Memory used again from row to row.
#[derive(Debug, Clone)]
pub(crate) struct Estimates {
    weights: Vec<f32>,
    contenders: Vec<Contender>,
    entrants: Vec<Entrant>,
    /// How many times as many contenders are listed; the next row is mostly like the one before it.
    more: f64,
}

impl Default for Estimates {
    fn default() -> Self {
        Self { weights: Vec::new(), contenders: Vec::new(), entrants: Vec::new(), more: 1.0 }
    }
}

/// A token that may win, with the estimate of its p / q.
#[derive(Debug, Clone, Copy)]
struct Entrant {
    token: usize,
    weight: f64,
    ratio: f64,
}

/// Whether a nucleus keeps a token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    Dropped,
    InDoubt,
}

impl Estimates {
    /// Whether estimates may decide a draw of a row.
    pub(crate) fn suit(vocab: usize, temperature: f64, top_p: f64) -> bool {
        let small = top_p > 0.0 && top_p < LEAST_MASS;
        vocab >= LONG && suits(temperature) && !small
    }

    /// Takes the memory that rows of some length need.
    pub(crate) fn grow(&mut self, vocab: usize) {
        self.weights.resize(vocab, 0.0);
        self.contenders.reserve(ROOM);
        self.entrants.reserve(ROOM);
    }

    /// Draws a token of a row as torch does.
    ///
    /// `None`, and the generator is as it was, where the estimates leave a doubt; so where the row
    /// is one that torch refuses.
    pub(crate) fn draw<F: Format>(
        &mut self,
        logits: &[F::Bits],
        Limits { temperature, top_p, top_k, capability }: Limits,
        generator: &mut Generator,
    ) -> Option<Drawn> {
        let Self { weights, contenders, entrants, more } = self;
        #[allow(clippy::cast_possible_truncation)] // torch rounds the temperature, and top_p.
        let (temperature, top_p) = (temperature as f32, top_p as f32);
        let top = largest_of_some::<F>(logits);
        let far =
            !planted!(EstimateFar) && temperature != 1.0 && (top / temperature).abs() > FARTHEST;
        if !top.is_finite() || far {
            return None;
        }
        let scale = scale_of(temperature);
        let scale = if planted!(EstimateBase) { scale * (1.0 + 1.0 / 256.0) } else { scale };
        weights.resize(logits.len(), 0.0);
        let sum = estimate::<F>(logits, top, scale, weights);
        if sum.is_nan() || sum > MOST {
            return None;
        }
        let share = if top_p > 0.0 { f64::from(top_p) } else { f64::INFINITY };
        let bound = sum * share.min(1.0) / (EXPECTED * *more);
        let start = generator.clone();
        list_contenders(weights, bound, generator, contenders);
        entrants.clear();
        entrants.extend(contenders.iter().map(|&Contender { token, uniform }| {
            let weight = f64::from(weights[token]);
            Entrant { token, weight, ratio: weight / f64::from(exponential(uniform)) }
        }));
        // Where a uniform is zero, even an impossible token wins.
        let zero = contenders.iter().any(|contender| contender.uniform == 0.0);
        let winner = if zero && !planted!(EstimateZero) {
            None
        } else {
            let held = Held { sum, share, top_k, capability };
            winner(weights, held, bound * (1.0 + 4.0 * ERROR), entrants)
        };
        if top_k.is_some() {
            *more = match winner {
                None => MORE.min(*more * 4.0),
                // One row in 70 then has too few.
                Some(_) => (*more * 0.98).max(1.0),
            };
        }
        if winner.is_none() && !planted!(EstimateRestart) {
            generator.clone_from(&start);
        }
        winner.map(|Entrant { token, weight, .. }| Drawn { token, share: weight / sum })
    }
}

/// How much a nucleus holds: a share of the sum of all weights, which torch takes at some level; and
/// how many tokens top-k does.
#[derive(Debug, Clone, Copy)]
struct Held {
    sum: f64,
    share: f64,
    top_k: Option<usize>,
    capability: Capability,
}

/// Who wins of the `entrants`, beside which no token has a p / q of more than `bound`.
fn winner(weights: &[f32], held: Held, bound: f64, entrants: &mut [Entrant]) -> Option<Entrant> {
    entrants.sort_unstable_by(|a, b| b.ratio.total_cmp(&a.ratio));
    let mut heaviest_dropped = 0.0;
    for (place, entrant) in entrants.iter().enumerate() {
        if entrant.ratio <= bound && !planted!(EstimateBound) {
            return None;
        }
        if entrant.weight <= heaviest_dropped {
            continue;
        }
        match fate(weights, held, entrant.weight) {
            Fate::Kept => {
                let near = entrant.ratio * (1.0 - 4.0 * ERROR);
                let next = entrants.get(place + 1);
                let clear = next.is_none_or(|next| next.ratio < near || planted!(EstimateNear));
                return clear.then_some(*entrant);
            }
            Fate::Dropped => heaviest_dropped = entrant.weight,
            Fate::InDoubt => return None,
        }
    }
    None
}

/// What becomes of a token of some weight.
///
/// The two masks keep a token each for itself: what top-k drops lies below every token that it keeps, and
/// is no part of what comes before one of these in descending order.
fn fate(weights: &[f32], held: Held, weight: f64) -> Fate {
    match held.top_k.map_or(Fate::Kept, |k| fate_of_top_k(weights, k, weight)) {
        Fate::Kept => fate_of_nucleus(weights, held, weight),
        other => other,
    }
}

/// It is kept where fewer than `k` tokens are more probable, and dropped where as many are.
fn fate_of_top_k(weights: &[f32], k: usize, weight: f64) -> Fate {
    #[allow(clippy::cast_possible_truncation)] // The levels are not that exact.
    let level = |factor: f64| (weight * factor) as f32;
    // The token itself is above the first level.
    if count_at_least(weights, level(1.0 - 4.0 * ERROR)) <= k || planted!(EstimateTopK) {
        return Fate::Kept;
    }
    if count_at_least(weights, level(1.0 + 4.0 * ERROR)) >= k {
        Fate::Dropped
    } else {
        Fate::InDoubt
    }
}

/// It is kept where what comes before it in descending order does not exceed what the nucleus holds.
fn fate_of_nucleus(weights: &[f32], held: Held, weight: f64) -> Fate {
    let Held { sum, share, capability, .. } = held;
    let margin = 4.0 * ERROR + 2.0 * torch_error(weights.len(), capability);
    let margin = if planted!(EstimateMargin) { 0.0 } else { margin };
    let share = if planted!(EstimateShare) { share * 0.99 } else { share };
    // Whatever may come before it, or tie with it, is above the first level.
    let below = sum - weight - share * sum * (1.0 - margin);
    if sum_below(weights, weight * (1.0 - 4.0 * ERROR), below) >= below {
        return Fate::Kept;
    }
    let not_above = sum - share * sum * (1.0 + margin);
    let level = weight * (1.0 + 4.0 * ERROR);
    if sum_below(weights, level, f64::INFINITY) <= not_above {
        Fate::Dropped
    } else {
        Fate::InDoubt
    }
}

/// The largest logit of a sample of the row; a NaN does not count.
fn largest_of_some<F: Format>(logits: &[F::Bits]) -> f32 {
    const SAMPLED: usize = 64;
    let (blocks, _) = logits.as_chunks::<LANES>();
    let sample = blocks.iter().step_by(blocks.len().div_ceil(SAMPLED).max(1));
    let lanes = sample.fold([f32::NEG_INFINITY; LANES], |mut lanes, block| {
        for (lane, bits) in lanes.iter_mut().zip(block) {
            let x = F::widened(*bits);
            *lane = if x > *lane { x } else { *lane };
        }
        lanes
    });
    folded(lanes, |a, b| if b > a { b } else { a })
}

/// The sum of the weights that are less than `level`, or of so many of them that it is `enough`.
fn sum_below(weights: &[f32], level: f64, enough: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation)] // The level is not that exact.
    let level = level as f32;
    let mut sum = 0.0;
    for chunk in weights.chunks(CHUNK) {
        if sum >= enough {
            break;
        }
        sum += sum_some_below(chunk, level);
    }
    sum
}

kernel! {
    fn sum_some_below<'a>(wide; weights: &'a [f32], level: f32) -> f64 {
        const SIDE: usize = 4;
        let levels = wide.splat(level);
        let mut sums = [wide.splat(0.0); SIDE];
        let (sides, rest) = weights.as_chunks::<{ SIDE * LANES }>();
        for side in sides {
            for (sum, block) in sums.iter_mut().zip(side.as_chunks().0) {
                *sum = wide.add_less(*sum, wide.load(block), levels);
            }
        }
        let mut total = wide.zeros();
        for sum in sums {
            total = wide.add_doubles(total, sum);
        }
        let rest = rest.iter().filter(|x| **x < level).map(|x| f64::from(*x)).sum::<f64>();
        wide.total(total) + rest
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::parameters::{Replay, SampleParameters};
    use crate::rows::Row;
    use crate::simd::format::Single;
    use crate::stages::distribution;

    const VOCAB: usize = 5003;

    fn limits(parameters: &SampleParameters, capability: Capability) -> Limits {
        let &SampleParameters { temperature, top_p, .. } = parameters;
        Limits { temperature, top_p, top_k: parameters.kept(), capability }
    }

    /// The token of the stages.
    fn exact_token(
        logits: &[f32],
        parameters: &SampleParameters,
        capability: Capability,
        generator: &mut Generator,
    ) -> usize {
        let replay = Replay { capability, threads: NonZeroUsize::MIN };
        let row = Row { logits, number: 0, alone: true, parameters, replay };
        distribution::tests::exact_token(row, generator)
    }

    /// Rows of many kinds: flat and steep, tied and not, with what cannot be drawn.
    fn row(kind: usize, generator: &mut Generator) -> Vec<f32> {
        let (spread, levels, offset) = [
            (0.0, 1.0, 0.0),
            (3.0, 1e7, 0.0),
            (12.0, 1e7, -700.0),
            (40.0, 1e7, 1e6),
            (12.0, 30.0, 0.0),
            (300.0, 1e7, 0.0),
            (1e5, 1e7, 0.0),
        ][kind % 7];
        let mut row: Vec<f32> = (0..VOCAB)
            .map(|_| (generator.next_f32() * levels).floor() * (spread / levels) + offset)
            .collect();
        match kind / 7 % 4 {
            1 => row[VOCAB / 2..].fill(f32::NEG_INFINITY),
            // One that is likely, where no sample looks.
            2 => row[VOCAB - 1] += 12.0,
            3 => row[VOCAB - 2] = 3e5,
            _ => {}
        }
        row
    }

    #[test]
    fn is_the_exact_draw_or_none() {
        let mut generator = Generator::new(8);
        let mut estimates = Estimates::default();
        let (mut decided, mut left) = (0, 0);
        for kind in 0..28 {
            let row = row(kind, &mut generator);
            for (top_p, top_k) in [0.0, 0.25, 0.5, 0.85, 0.999, 1.0, 2.0]
                .into_iter()
                .flat_map(|top_p| [0, 30, 1000].map(|top_k| (top_p, top_k)))
            {
                for temperature in [1.0, 0.7, 1.3] {
                    let parameters = SampleParameters {
                        temperature,
                        top_p,
                        top_k,
                        ..SampleParameters::default()
                    };
                    for capability in [
                        Capability::Default,
                        Capability::Avx2,
                        Capability::Avx512,
                        Capability::Neon,
                    ] {
                        let mut exact = generator.clone();
                        let expected = exact_token(&row, &parameters, capability, &mut exact);
                        let before = generator.clone();
                        let drawn = estimates.draw::<Single>(
                            &row,
                            limits(&parameters, capability),
                            &mut generator,
                        );
                        if let Some(Drawn { token, .. }) = drawn {
                            assert_eq!(token, expected, "{kind} {parameters:?}");
                            assert!(generator == exact);
                            decided += 1;
                        } else {
                            assert!(generator == before);
                            generator = exact;
                            left += 1;
                        }
                    }
                }
            }
        }
        // Nearly all that are left are rows that tie, lie far from zero, hold one far above all, or of
        // which top-k keeps hardly anything.
        assert!(left > 0 && 2 * decided > left, "{decided} were decided, {left} were not");
    }

    #[test]
    fn what_torch_refuses_is_not_decided() {
        let mut generator = Generator::new(8);
        let before = generator.clone();
        let limits = limits(&SampleParameters::default(), Capability::Avx2);
        let mut estimates = Estimates::default();
        for (token, value) in [(0, f32::NAN), (1, f32::INFINITY), (4999, f32::NAN)] {
            let mut row = row(1, &mut Generator::new(1));
            row[token] = value;
            assert_eq!(estimates.draw::<Single>(&row, limits, &mut generator), None);
        }
        let nothing = vec![f32::NEG_INFINITY; VOCAB];
        assert_eq!(estimates.draw::<Single>(&nothing, limits, &mut generator), None);
        assert!(generator == before);
    }

    /// 0 / 0 is torch's maximum: a token that the nucleus drops wins.
    #[test]
    fn a_uniform_of_zero_is_not_decided() {
        const TOKEN: usize = 50;
        let mut state = Generator::new(1).state();
        // Words from byte 24 on, each in eight bytes. The next one is the second.
        state[8..12].copy_from_slice(&624_i32.to_le_bytes());
        state[16] = 1;
        let word = 24 + 8 * (1 + 2 * TOKEN);
        let mut row = row(1, &mut Generator::new(1));
        row[TOKEN] = -5.0;
        for zero in [false, true] {
            if zero {
                state[word..word + 16].fill(0);
            }
            let mut generator = Generator::new(0);
            assert_eq!(generator.set_state(&state), Ok(()));
            let before = generator.clone();
            let parameters = SampleParameters { top_p: 0.5, ..SampleParameters::default() };
            let capability = Capability::Avx512;
            let exact = exact_token(&row, &parameters, capability, &mut generator.clone());
            assert_eq!(exact == TOKEN, zero);
            let limits = limits(&parameters, capability);
            let drawn = Estimates::default().draw::<Single>(&row, limits, &mut generator);
            assert_eq!(drawn.map(|drawn| drawn.token), (!zero).then_some(exact));
            assert_eq!(generator == before, zero);
        }
    }

    /// The weights are apart by more than their errors, or by less.
    #[test]
    fn a_token_near_the_kth_is_in_doubt() {
        let weights: Vec<f32> = (0..4000_u16).map(|place| 0.99_f32.powi(place.into())).collect();
        let near: Vec<f32> = (0..4000_u16).map(|place| 0.999_f32.powi(place.into())).collect();
        for k in [1, 7, 300, 3999] {
            for (place, expected) in
                [(k - 1, Fate::Kept), (k, Fate::Dropped), (0, Fate::Kept), (3999, Fate::Dropped)]
            {
                let weight = |weights: &[f32]| f64::from(weights[place]);
                assert_eq!(fate_of_top_k(&weights, k, weight(&weights)), expected, "{k} {place}");
                let doubt = place.abs_diff(k) <= 1;
                let expected = if doubt { Fate::InDoubt } else { expected };
                assert_eq!(fate_of_top_k(&near, k, weight(&near)), expected, "{k} {place}");
            }
        }
        // Of tied ones, all stay, or none; but one is as near to another.
        assert_eq!(fate_of_top_k(&[1.0; 10], 10, 1.0), Fate::Kept);
        assert_eq!(fate_of_top_k(&[1.0; 10], 9, 1.0), Fate::InDoubt);
        assert_eq!(fate_of_top_k(&[2.0, 2.0, 1.0], 2, 1.0), Fate::Dropped);
    }

    /// Weights of 3, 2 and then many of 1, in a nucleus that is crossed just here or there.
    #[test]
    fn a_token_near_the_cutoff_is_in_doubt() {
        let mut weights = vec![1.0; 4000];
        (weights[7], weights[9]) = (3.0, 2.0);
        let sum = 4003.0;
        let nucleus = |share| Held { sum, share, top_k: None, capability: Capability::Avx2 };
        for (weight, before) in [(2.0, 3.0), (3.0, 0.0)] {
            for (share, expected) in [
                (0.9 * before / sum, Fate::Dropped),
                (before / sum, Fate::InDoubt),
                (1.1 * before / sum, Fate::Kept),
            ] {
                // The first is always kept.
                let expected = if before == 0.0 { Fate::Kept } else { expected };
                assert_eq!(fate(&weights, nucleus(share), weight), expected, "{weight} {share}");
            }
        }
        // Of two that are nearly as heavy, either may come first.
        for near in [1.0 - ERROR, 1.0 + ERROR] {
            #[allow(clippy::cast_possible_truncation)] // Near.
            let near = (2.0 * near) as f32;
            let weights = [&[2.0, near][..], &vec![1.0; 3998]].concat();
            let sum = weights.iter().map(|x| f64::from(*x)).sum();
            let nucleus = Held { sum, ..nucleus(1.0 / sum) };
            assert_eq!(fate(&weights, nucleus, 2.0), Fate::InDoubt, "{near}");
        }
        // Of tied ones, torch's sort decides which stay.
        assert_eq!(fate(&weights, nucleus(0.5), 1.0), Fate::InDoubt);
        assert_eq!(fate(&weights, nucleus(1.0), 1.0), Fate::InDoubt);
        assert_eq!(fate(&weights, nucleus(1.1), 1.0), Fate::Kept);
    }

    #[test]
    fn long_rows_suit_with_a_nucleus_of_some_mass() {
        for (vocab, temperature, top_p, expected) in [
            (2048, 1.0, 0.0, true),
            (2047, 1.0, 0.0, false),
            (100_000, 1.0, 0.0, true),
            (2048, 1.0, -1.0, true),
            (2048, 1.0, f64::NAN, true),
            (2048, 1.0, 0.25, true),
            (2048, 1.0, 0.2499, false),
            (2048, 1.0, 1e-9, false),
            (2048, 1.0, 0.9, true),
            (2048, 1e-3, 0.9, true),
            (2048, 0.9e-3, 0.9, false),
            (2048, 999.0, 0.9, true),
            (2048, 1e3, 0.9, false),
            (2048, -1.0, 0.9, false),
        ] {
            let suits = Estimates::suit(vocab, temperature, top_p);
            assert_eq!(suits, expected, "{vocab} {temperature} {top_p}");
        }
    }

    /// Of few levels, so that weights are at it, in blocks and behind them.
    #[test]
    fn what_is_at_a_level_is_not_below_it() {
        let mut generator = Generator::new(3);
        for length in [1, 63, 64, 65, 100, CHUNK + 90] {
            let weights: Vec<f32> =
                (0..length).map(|_| (generator.next_f32() * 9.0).floor()).collect();
            for level in [0.0_f32, 1.0, 4.0, 9.0] {
                let below = weights.iter().filter(|x| **x < level);
                let expected: f64 = below.map(|x| f64::from(*x)).sum();
                let sum = sum_below(&weights, f64::from(level), f64::INFINITY);
                assert_eq!(sum, expected, "{length} {level}");
            }
        }
    }

    /// Of the estimate, torch's quotient, its difference, and the three roundings of ours.
    #[test]
    fn the_error_is_twice_what_it_consists_of() {
        let roundings = f64::from(FARTHEST) + 80.0 + 80.0 + 3.0 * 80.0;
        let largest = (-13.0_f64).exp2() + roundings * (-24.0_f64).exp2();
        assert!(ERROR >= 2.0 * largest && ERROR < 2.5 * largest, "{largest}");
    }

    /// A generator whose first uniform of some token is so small that the token wins, if it is kept.
    fn favouring(token: usize) -> Generator {
        let mut state = Generator::new(1).state();
        // As in `a_uniform_of_zero_is_not_decided`, but for the second word.
        state[8..12].copy_from_slice(&624_i32.to_le_bytes());
        state[16] = 1;
        let word = 24 + 8 * (1 + 2 * token);
        state[word..word + 8].fill(0);
        let mut generator = Generator::new(0);
        assert_eq!(generator.set_state(&state), Ok(()));
        generator
    }

    /// Two of the first tokens, or four, are in each lane of torch's sum, so that all else is rounded
    /// away: each has a larger share of that sum than of all that there is.
    #[test]
    fn what_torch_rounds_away_is_in_doubt() {
        const HEAVY: usize = 16;
        // So much more than the sum before a token may be that it is kept without doubt.
        let levels = [(Capability::Avx2, -24.0, 1.02), (Capability::Neon, -23.0, 1.05)];
        for (capability, power, enough) in levels {
            let mut row = vec![(0.99 * f32::exp2(power)).ln(); 1 << 20];
            for (token, logit) in (0_u8..).zip(&mut row[..HEAVY]) {
                *logit = -0.01 * f32::from(token);
            }
            let mut probs = vec![0.0; row.len()];
            assert!(crate::stages::softmax::softmax(&row, &mut probs, capability));
            for token in [9, 14] {
                let before: f64 = probs[..token].iter().map(|p| f64::from(*p)).sum();
                for (share, kept) in [(1.0 - 1e-6, false), (enough, true)] {
                    let top_p = before * share;
                    let parameters = SampleParameters { top_p, ..SampleParameters::default() };
                    let mut generator = favouring(token);
                    let exact = exact_token(&row, &parameters, capability, &mut generator.clone());
                    assert_eq!(exact == token, kept, "the nucleus keeps it or not");
                    let mut estimates = Estimates::default();
                    let limits = limits(&parameters, capability);
                    let drawn = estimates.draw::<Single>(&row, limits, &mut generator);
                    assert_eq!(drawn.map(|drawn| drawn.token), kept.then_some(token));
                }
            }
        }
    }

    /// Both are further above the sampled largest than an estimate reaches.
    #[test]
    fn tokens_far_above_the_sample_are_not_taken_for_equal() {
        let mut generator = Generator::new(5);
        let mut row = vec![0.0; VOCAB];
        let all = SampleParameters { top_p: 0.0, ..SampleParameters::default() };
        for gap in [1.0, 3.0, 9.0] {
            (row[VOCAB - 1], row[VOCAB - 2]) = (160.0, 160.0 - gap);
            for _ in 0..50 {
                let before = generator.clone();
                let limits = limits(&all, Capability::Neon);
                let drawn = Estimates::default().draw::<Single>(&row, limits, &mut generator);
                assert_eq!(drawn, None);
                assert!(generator == before);
                generator.next_u32();
            }
        }
    }

    #[test]
    fn two_that_are_close_are_not_decided() {
        let weights = [1.0; 100];
        let entrant = |token, ratio| Entrant { token, weight: 1.0, ratio };
        let (share, capability) = (f64::INFINITY, Capability::Avx2);
        let all = Held { sum: 100.0, share, top_k: None, capability };
        for (other, expected) in [(9.0, Some(3)), (9.99, None), (10.0, None)] {
            let mut entrants = [entrant(2, other), entrant(3, 10.0)];
            let winner = winner(&weights, all, 1.0, &mut entrants);
            assert_eq!(winner.map(|winner| winner.token), expected);
        }
        // Nor is one that what is not listed may exceed.
        let mut entrants = [entrant(3, 10.0)];
        assert!(winner(&weights, all, 10.0, &mut entrants).is_none());
    }
}
