//! Calls on which the faults that are planted in what users run show often.
//!
//! Two tokens whose p / q nearly tie, a sum near `top_p`, tied probabilities, a uniform of zero, rows of
//! a batch. Where that takes a certain uniform for a certain token, the generator's state is set: torch
//! takes it over as well. The port only tells what probabilities the logits give; what a call must give
//! is asked of torch, or of the port without the fault.

use std::num::NonZeroUsize;

use crate::fault::Fault;
use crate::logits::Logits;
use crate::parameters::{Replay, SampleParameters};
use crate::sample_logits::trace_sample_logits;
use crate::torch::capability::Capability;
use crate::torch::generator::Generator;
use crate::trace::SampleLogitsTrace;

/// How probable it may be, at most, that none of the stated calls shows a fault.
pub const MISSED: f64 = 1e-6;

/// Tokens of which the uniforms can be set: the outputs that a state holds after its first word.
const WITHIN: usize = 311;

/// A call, and how the generator stands before it.
#[derive(Debug, Clone)]
pub struct PlantedCall {
    /// The logits of all rows, row after row.
    pub logits: Vec<f32>,
    /// How many rows there are.
    pub rows: usize,
    /// The parameters.
    pub parameters: SampleParameters,
    /// The torch that the call replays: the probabilities that it was made from are those of its
    /// capability.
    pub replay: Replay,
    /// The generator before the call.
    pub generator: Generator,
    /// How many tokens are drawn of a row; one is a call of `sample`, more are one of `draw`.
    pub draws: usize,
    /// A row that the sampler must have seen before, with the same parameters.
    pub seen: Option<Vec<f32>>,
}

impl PlantedCall {
    /// How many calls are enough to miss the fault with a probability below [`MISSED`], and what is
    /// made for it in words; `None` for a fault of the stages, whose calls are the gate's cases.
    #[must_use]
    pub fn stated(fault: Fault) -> Option<(u32, &'static str)> {
        let judged = JUDGED.iter().find(|judged| judged.fault == fault)?;
        Some((judged.calls, judged.input))
    }

    /// Makes the call of that number, from 0 on, for a fault; `None` for a fault of the stages.
    ///
    /// The same number gives the same call. There are more than the stated ones, to measure how often
    /// the fault shows.
    #[must_use]
    pub fn numbered(fault: Fault, number: u32, capability: Capability) -> Option<Self> {
        let judged = JUDGED.iter().find(|judged| judged.fault == fault)?;
        let seed = u64::from(number);
        let mut random = Random { seed, generator: Generator::new(seed), capability };
        (judged.make)(&mut random)
    }

    fn new(logits: Vec<f32>, parameters: SampleParameters, random: &Random) -> Self {
        let mut generator = Generator::new(random.seed);
        generator.next_u32();
        let replay = Replay { capability: random.capability, threads: NonZeroUsize::MIN };
        Self { logits, rows: 1, parameters, replay, generator, draws: 1, seen: None }
    }

    fn trace(&self) -> Option<SampleLogitsTrace> {
        let mut generator = self.generator.clone();
        let row = Logits::row(&self.logits);
        trace_sample_logits(row, &self.parameters, self.replay, &mut generator).ok()
    }

    /// The probabilities, and what both masks keep.
    fn stages(&self) -> Option<(Vec<f32>, Vec<bool>)> {
        let SampleLogitsTrace { probs, top_k_mask, top_p_mask, .. } = self.trace()?;
        let kept = top_k_mask.iter().zip(&top_p_mask).map(|(k, p)| *k && *p).collect();
        Some((probs, kept))
    }

    /// The sum that the probabilities which are kept are divided by.
    fn sum(&self) -> Option<f32> {
        // A probability over its share of the sum is that sum, but for a rounding: of the floats that
        // are near, one gives every share.
        let (trace, (probs, kept)) = (self.trace()?, self.stages()?);
        let token = descending(&probs)[0];
        let about = probs[token] / trace.renormalized[token];
        let divides = |sum: &f32| {
            (0..probs.len())
                .filter(|token| kept[*token])
                .all(|token| (probs[token] / sum).to_bits() == trace.renormalized[token].to_bits())
        };
        (0..8).map(|n| f32::from_bits(about.to_bits() - 4 + n)).find(divides)
    }

    /// Has the row gone before itself, so that nothing is left to the first of its length.
    fn again(mut self) -> Self {
        self.seen = Some(self.logits.clone());
        self
    }

    /// Draws twice: the exact way, the first draw of which is compared with others here.
    fn twice(mut self) -> Self {
        self.draws = 2;
        self
    }

    /// Gives a token a uniform. It takes the place of the generator's own.
    fn set_uniform(&mut self, token: usize, uniform: f64) -> Option<()> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 53 bits.
        let bits = (uniform * 53_f64.exp2()) as u64;
        #[allow(clippy::cast_possible_truncation)] // Two halves.
        let (high, low) = ((bits >> 32) as u32, bits as u32);
        // The upper eleven bits of an output are not used: some of them keep the word from zero.
        self.set_words(token, [untempered(high | 0x8000_0000), untempered(low | 1)])
    }

    /// Sets the two words of a token's uniform; `None` for a token that is not [`WITHIN`].
    fn set_words(&mut self, token: usize, words: [u32; 2]) -> Option<()> {
        if token >= WITHIN {
            return None;
        }
        let mut state = self.generator.state();
        // From byte 24 on, each word takes eight; the next one is the second.
        for (word, at) in words.into_iter().zip(1 + 2 * token..) {
            state[24 + 8 * at..][..4].copy_from_slice(&word.to_le_bytes());
        }
        self.generator.set_state(&state).ok()
    }

    /// Makes a token win, if it is kept.
    fn favour(mut self, token: usize) -> Option<Self> {
        self.set_uniform(token, 1e-9)?;
        Some(self)
    }
}

/// The word of the state that gives an output.
fn untempered(mut y: u32) -> u32 {
    y ^= y >> 18;
    y ^= (y << 15) & 0xEFC6_0000;
    let mut x = y;
    for _ in 0..5 {
        x = y ^ ((x << 7) & 0x9D2C_5680);
    }
    let mut y = x;
    for _ in 0..3 {
        y = x ^ (y >> 11);
    }
    y
}

/// What a call is made from.
struct Random {
    /// The call's number, and the seed of its generator.
    seed: u64,
    /// Chooses logits, tokens and uniforms.
    generator: Generator,
    capability: Capability,
}

fn between(low: f32, high: f32, random: &mut Random) -> f32 {
    low + (high - low) * random.generator.next_f32()
}

fn below(count: usize, random: &mut Random) -> usize {
    random.generator.next_u32() as usize % count
}

/// Logits in the shape of a bell, from `-spread` to `spread`.
fn bell(count: usize, spread: f32, random: &mut Random) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let sum: f32 = (0..4).map(|_| random.generator.next_f32()).sum();
            (sum - 2.0) / 2.0 * spread
        })
        .collect()
}

fn parameters(temperature: f64, top_p: f64, top_k: i64) -> SampleParameters {
    SampleParameters { temperature, top_p, top_k, ..SampleParameters::default() }
}

/// The tokens in descending order of their probability.
fn descending(probs: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..probs.len()).collect();
    order.sort_by(|&a, &b| probs[b].total_cmp(&probs[a]));
    order
}

/// A token of those whose uniforms can be set.
fn some_token(wanted: impl Fn(usize) -> bool, random: &mut Random) -> Option<usize> {
    let tokens: Vec<usize> = (0..WITHIN).filter(|token| wanted(*token)).collect();
    (!tokens.is_empty()).then(|| tokens[below(tokens.len(), random)])
}

/// Two tokens beat all others; their p / q differ by up to a share of `apart`, and by no less than
/// a tenth of that.
fn near_tie(mut call: PlantedCall, apart: f64, random: &mut Random) -> Option<PlantedCall> {
    let (probs, _) = call.stages()?;
    let a = below(WITHIN / 2, random);
    let b = WITHIN / 2 + below(WITHIN / 2, random);
    let q = 1e-6 * f64::from(probs[a]);
    call.set_uniform(a, -(-q).exp_m1())?;
    let apart = apart * f64::from(between(0.1, 1.0, random));
    let apart = if random.generator.next_u32().is_multiple_of(2) { apart } else { -apart };
    let q = q * f64::from(probs[b]) / f64::from(probs[a]) * (1.0 + apart);
    call.set_uniform(b, -(-q).exp_m1())?;
    Some(call)
}

/// A token wins if the nucleus keeps it, to which what comes before it adds up to `top_p`, but for a
/// share of `apart` at most.
fn near_cutoff(
    mut call: PlantedCall,
    least: f64,
    most: f64,
    random: &mut Random,
) -> Option<PlantedCall> {
    call.parameters.top_p = 0.0;
    let (probs, _) = call.stages()?;
    let order = descending(&probs);
    let mut before = 0.0;
    for token in order {
        if before > 0.6 && token < WITHIN {
            let apart = least + (most - least) * f64::from(random.generator.next_f32());
            #[allow(clippy::cast_possible_truncation)] // As torch rounds it.
            let top_p = (before * (1.0 + apart)) as f32;
            call.parameters.top_p = f64::from(top_p);
            return call.favour(token);
        }
        before += f64::from(probs[token]);
    }
    None
}

/// Of four tokens that tie, the nucleus parts some from the others, one of which wins if it is kept.
fn parted_ties(random: &mut Random) -> Option<PlantedCall> {
    loop {
        let mut call = PlantedCall::new(bell(4096, 6.0, random), parameters(1.0, 0.0, 0), random);
        let tied = between(1.0, 2.0, random);
        for _ in 0..4 {
            let token = below(WITHIN, random);
            call.logits[token] = tied;
        }
        let (probs, _) = call.stages()?;
        let order = descending(&probs);
        let first = order.iter().position(|token| call.logits[*token] == tied)?;
        let before: f64 = order[..=first].iter().map(|token| f64::from(probs[*token])).sum();
        call.parameters.top_p = before + 0.5 * f64::from(probs[order[first]]);
        let (_, kept) = call.stages()?;
        let dropped = |token: usize| call.logits[token] == tied && !kept[token];
        if let Some(token) = some_token(dropped, random) {
            return call.favour(token).map(PlantedCall::again);
        }
    }
}

/// A token of the list wins; `wanted` tells of its place in descending order, whether it is kept, and
/// whether it is the last one that is. The nucleus holds `share` of what top-k leaves; all of it where
/// that is zero.
fn list(
    share: f64,
    random: &mut Random,
    wanted: impl Fn(usize, bool, bool) -> bool,
) -> Option<PlantedCall> {
    const K: u16 = 40;
    loop {
        let mut call =
            PlantedCall::new(bell(4096, 6.0, random), parameters(1.0, 0.0, K.into()), random);
        // The largest are among those whose uniforms can be set.
        for token in 0..WITHIN {
            call.logits[token] += 3.0;
        }
        let (probs, kept) = call.stages()?;
        let mass = |(p, kept): (&f32, &bool)| if *kept { f64::from(*p) } else { 0.0 };
        call.parameters.top_p = share * probs.iter().zip(&kept).map(mass).sum::<f64>();
        let (probs, kept) = call.stages()?;
        let order = descending(&probs);
        let last = order.iter().rposition(|token| kept[*token])?;
        let favoured = (0..=usize::from(K)).find(|place| {
            wanted(*place, kept[order[*place]], *place == last) && order[*place] < WITHIN
        });
        if let Some(place) = favoured {
            return call.favour(order[place]);
        }
    }
}

/// Of two tokens with one q, the later one has the larger p, but the division by the sum makes their
/// p / q the same, so that the earlier one wins; where `another` sum is given, only the division by
/// that one does not.
fn rounded_tie(random: &mut Random, another: Option<fn(&[f32]) -> f32>) -> Option<PlantedCall> {
    loop {
        let mut logits: Vec<f32> = bell(4096, 3.0, random).iter().map(|x| x - 12.0).collect();
        let largest = between(-0.9, -0.6, random);
        logits[WITHIN] = 0.0;
        let (first, second) = (below(100, random), 100 + below(100, random));
        (logits[first], logits[second]) = (largest.next_down(), largest);
        for x in &mut logits[200..230] {
            *x = between(-6.0, -1.0, random);
        }
        let mut call = PlantedCall::new(logits, parameters(1.0, 0.0, 60), random);
        let (probs, kept) = call.stages()?;
        let left: Vec<f32> =
            probs.iter().zip(&kept).map(|(p, kept)| if *kept { *p } else { 0.0 }).collect();
        let sum = call.sum()?;
        let other = another.map(|other| other(&left));
        for _ in 0..100 {
            let uniform = 1e-6 * (1.0 + f64::from(random.generator.next_f32()));
            #[allow(clippy::cast_possible_truncation)] // As torch rounds it.
            let q = -(-uniform).ln_1p() as f32;
            let ratio = |token: usize, sum: f32| probs[token] / sum / q;
            let ties = |sum| ratio(first, sum) == ratio(second, sum);
            if probs[first] < probs[second] && ties(sum) && other.is_none_or(|sum| !ties(sum)) {
                call.set_uniform(first, uniform)?;
                call.set_uniform(second, uniform)?;
                return Some(call);
            }
        }
    }
}

/// More tokens than k tie with the k-th largest: some by their logits, some by what is left of the
/// difference to the largest. One of the latter wins.
fn tied_differences(random: &mut Random) -> Option<PlantedCall> {
    let mut logits = vec![-9.0; 8192];
    logits[WITHIN] = 3.0;
    for _ in 0..170 {
        let token = WITHIN + 1 + below(8192 - WITHIN - 1, random);
        logits[token] = 0.001;
    }
    for x in &mut logits[..200] {
        *x = 0.001 - 2e-8;
    }
    let token = below(200, random);
    PlantedCall::new(logits, parameters(1.0, 0.0, 80), random).favour(token)
}

/// As many tokens as k have one exponential, and others the next float below: mostly or not, their
/// probabilities are the same. One of the others wins if it is kept.
fn tied_products(random: &mut Random) -> Option<PlantedCall> {
    let mut logits: Vec<f32> = bell(4096, 1.0, random).iter().map(|x| x - 12.0).collect();
    // The sum is such that floats are further from each other than before the multiplication.
    let largest = between(-0.9, -0.75, random);
    logits[WITHIN] = 0.0;
    for x in &mut logits[WITHIN + 1..WITHIN + 40] {
        *x = largest;
    }
    for x in &mut logits[..86] {
        *x = largest.next_down();
    }
    let token = below(86, random);
    PlantedCall::new(logits, parameters(1.0, 1.0, 40), random).favour(token).map(PlantedCall::again)
}

/// One token has nearly all the mass, and a uniform so close to one that its p / q is small: another
/// one has a larger one, but none that is large beside the sum.
fn unlisted_winner(random: &mut Random) -> Option<PlantedCall> {
    let mut logits: Vec<f32> = bell(4096, 1.0, random).iter().map(|x| x - 14.0).collect();
    let (heavy, light) = (below(100, random), 100 + below(100, random));
    logits[heavy] = 0.0;
    logits[light] = -6.0;
    let mut call = PlantedCall::new(logits, parameters(1.0, 0.0, 0), random);
    let (probs, _) = call.stages()?;
    call.set_uniform(heavy, 1.0 - 1e-6)?;
    call.set_uniform(light, f64::from(probs[light]) / 0.11)?;
    Some(call)
}

/// Two tokens of a list, of which `a` has some uniform and all else little mass; the p / q of `b` is
/// `ratio` times that of `a`.
fn duel(uniform: f64, ratio: f64, random: &mut Random) -> Option<PlantedCall> {
    let mut logits: Vec<f32> = bell(4096, 1.0, random).iter().map(|x| x - 14.0).collect();
    let (a, b) = (below(100, random), 100 + below(100, random));
    logits[a] = 0.0;
    logits[b] = -3.0;
    let mut call = PlantedCall::new(logits, parameters(1.0, 0.0, 40), random);
    let (probs, _) = call.stages()?;
    call.set_uniform(a, uniform)?;
    let q = -(-uniform).ln_1p() * f64::from(probs[b]) / f64::from(probs[a]) / ratio;
    call.set_uniform(b, -(-q).exp_m1())?;
    Some(call)
}

/// A uniform of zero, for a token that is not kept.
fn zero_uniform(mut call: PlantedCall, random: &mut Random) -> Option<PlantedCall> {
    let (_, kept) = call.stages()?;
    let token = some_token(|token| !kept[token], random)?;
    call.set_words(token, [0; 2])?;
    Some(call)
}

/// Where a guess of the cutoff looks, tokens are more likely than elsewhere. One that is dropped by
/// little wins if it is kept.
fn bad_guess(random: &mut Random) -> Option<PlantedCall> {
    loop {
        let mut logits = bell(4096, 6.0, random);
        for blocks in logits.chunks_mut(32) {
            blocks[..16].iter_mut().for_each(|x| *x += 0.7);
        }
        let call = PlantedCall::new(logits, parameters(1.0, 0.7, 0), random).twice();
        let (probs, kept) = call.stages()?;
        let order = descending(&probs);
        let last = order.iter().rposition(|token| kept[*token])?;
        if let Some(token) = order[last + 1..].iter().take(20).find(|token| **token < WITHIN) {
            return call.favour(*token);
        }
    }
}

/// The sum of what comes before a token is between two floats, but for less than the roundings of some
/// sums in f32; `top_p` is the lower one. The token wins if it is kept.
fn sum_between_floats(random: &mut Random) -> Option<PlantedCall> {
    loop {
        let mut call =
            PlantedCall::new(bell(4096, 12.0, random), parameters(1.0, 0.0, 0), random).twice();
        let (probs, _) = call.stages()?;
        let mut before = 0.0;
        for token in descending(&probs) {
            #[allow(clippy::cast_possible_truncation)] // As torch rounds it.
            let nearest = before as f32;
            let lower = if f64::from(nearest) > before { nearest.next_down() } else { nearest };
            let middle = f64::midpoint(f64::from(lower), f64::from(lower.next_up()));
            let near = (before - middle).abs() < 1e-9;
            if (0.5..0.98).contains(&before) && token < WITHIN && near {
                call.parameters.top_p = f64::from(lower);
                return call.favour(token);
            }
            before += f64::from(probs[token]);
        }
    }
}

/// A batch; every row has tokens of its own.
fn batch(top_k: i64, random: &mut Random) -> PlantedCall {
    let mut call =
        PlantedCall::new(bell(8 * 8200, 6.0, random), parameters(1.0, 0.9, top_k), random);
    call.rows = 8;
    call
}

/// The calls that a fault is judged by.
struct Judged {
    fault: Fault,
    /// What is made for it.
    input: &'static str,
    /// How many calls are enough.
    calls: u32,
    make: fn(&mut Random) -> Option<PlantedCall>,
}

/// A row, and what top-p is.
fn whole(top_p: f64, random: &mut Random) -> PlantedCall {
    let length = 4096 + 97 * below(3, random);
    PlantedCall::new(bell(length, 6.0, random), parameters(1.0, top_p, 0), random)
}

fn far(random: &mut Random) -> Option<PlantedCall> {
    let mut call = whole(0.0, random);
    call.parameters.temperature = 0.7;
    call.logits.iter_mut().for_each(|x| *x += 200_000.0);
    near_tie(call.again(), 2e-2, random)
}

/// Estimates of a row decide what top-k keeps, where that is more than a list is made for.
fn beyond_top_k(random: &mut Random) -> Option<PlantedCall> {
    let mut call = whole(0.0, random);
    call.parameters.top_k = 300;
    let (_, kept) = call.stages()?;
    let token = some_token(|token| !kept[token], random)?;
    call.favour(token).map(PlantedCall::again)
}

/// A row whose likely tokens are those whose uniforms can be set; top-k keeps most of their mass.
fn likely_list(random: &mut Random) -> PlantedCall {
    let mut logits = bell(4096, 6.0, random);
    logits[..WITHIN].iter_mut().for_each(|x| *x += 8.0);
    PlantedCall::new(logits, parameters(1.0, 0.0, 64), random)
}

/// The last token is likely; more tokens than k are listed without it.
fn likely_last(random: &mut Random) -> PlantedCall {
    let mut logits = bell(4096, 6.0, random);
    for blocks in logits.chunks_exact_mut(32) {
        // Their maximum is one of a bound's, and both of them reach it.
        blocks.copy_within(..16, 16);
    }
    logits.extend(bell(8, 6.0, random));
    logits.push(12.0);
    PlantedCall::new(logits, parameters(1.0, 0.9, 64), random)
}

fn dropped_winner(random: &mut Random) -> Option<PlantedCall> {
    let call = whole(0.8, random).twice();
    let (_, kept) = call.stages()?;
    let token = some_token(|token| !kept[token], random)?;
    call.favour(token)
}

fn late_winner(random: &mut Random) -> Option<PlantedCall> {
    let token = 256 + below(WITHIN - 256, random);
    whole(0.0, random).favour(token).map(PlantedCall::again)
}

const JUDGED: &[Judged] = &[
    Judged {
        fault: Fault::EstimateNear,
        input: "p / q of two tokens differ by less than 4e-5",
        calls: 60,
        make: |random| near_tie(whole(0.0, random).again(), 4e-5, random),
    },
    Judged {
        fault: Fault::EstimateMargin,
        input: "mass before a token differs from top_p by less than 2e-6",
        calls: 200,
        make: |random| near_cutoff(whole(0.0, random).again(), -2e-6, 2e-6, random),
    },
    Judged {
        fault: Fault::EstimateShare,
        input: "mass before a token is 0.4 to 0.8 % below top_p",
        calls: 20,
        make: |random| near_cutoff(whole(0.0, random).again(), 0.004, 0.008, random),
    },
    Judged {
        fault: Fault::EstimateBound,
        input: "a likely token has a small p / q",
        calls: 10,
        make: |random| unlisted_winner(random).map(PlantedCall::again),
    },
    Judged {
        fault: Fault::EstimateZero,
        input: "a uniform of zero for a token that is dropped",
        calls: 10,
        make: |random| zero_uniform(whole(0.5, random).again(), random),
    },
    Judged {
        fault: Fault::EstimateRestart,
        input: "mass before a token differs from top_p by less than 1e-4",
        calls: 10,
        make: |random| near_cutoff(whole(0.0, random).again(), -1e-4, 1e-4, random),
    },
    Judged {
        fault: Fault::EstimateFar,
        input: "logits of 200,000, p / q of two tokens differ by less than 2e-2",
        calls: 150,
        make: |random| far(random),
    },
    Judged {
        fault: Fault::EstimateBase,
        input: "p / q of two tokens differ by less than 1e-2",
        calls: 120,
        make: |random| near_tie(whole(0.0, random).again(), 1e-2, random),
    },
    Judged {
        fault: Fault::EstimateTopK,
        input: "a token beyond the k-th wins if it is kept",
        calls: 10,
        make: |random| beyond_top_k(random),
    },
    Judged {
        fault: Fault::ShortlistMargin,
        input: "tokens tie with the k-th largest by rounded differences only",
        calls: 10,
        make: |random| tied_differences(random),
    },
    Judged {
        fault: Fault::ShortlistClose,
        input: "tokens tie with the k-th largest by rounded products only",
        calls: 70,
        make: |random| tied_products(random),
    },
    Judged {
        fault: Fault::ShortlistTopP,
        input: "a nucleus in a list",
        calls: 10,
        make: |random| list(0.7, random, |place, kept, _| place < 40 && !kept),
    },
    Judged {
        fault: Fault::ShortlistError,
        input: "mass before a token of a list differs from top_p by less than 2e-6",
        calls: 200,
        make: |random| near_cutoff(likely_list(random), -2e-6, 2e-6, random),
    },
    Judged {
        fault: Fault::ListSure,
        input: "mass before a token of a list differs from top_p by less than 1e-4",
        calls: 60,
        make: |random| near_cutoff(likely_list(random), -1e-4, 1e-4, random),
    },
    Judged {
        fault: Fault::ShortlistFloor,
        input: "the token after the k-th wins if it is kept",
        calls: 10,
        make: |random| list(0.0, random, |place, _, _| place == 40),
    },
    Judged {
        fault: Fault::ListingLast,
        input: "the last token is likely",
        calls: 10,
        make: |random| Some(likely_last(random)),
    },
    Judged {
        fault: Fault::SurvivorsFloor,
        input: "the k-th token wins if it is kept",
        calls: 10,
        make: |random| Some(list(0.0, random, |place, _, _| place == 39)?.twice()),
    },
    Judged {
        fault: Fault::SparseSumOrder,
        input: "p / q tie by the rounding of the division by the sum",
        calls: 10,
        make: |random| rounded_tie(random, Some(|left| left.iter().sum())),
    },
    Judged {
        fault: Fault::ListSum,
        input: "p / q tie by the rounding of the division by the sum",
        calls: 20,
        make: |random| rounded_tie(random, None).map(PlantedCall::again),
    },
    Judged {
        fault: Fault::ListRestart,
        input: "p / q tie by the rounding of the division by the sum",
        calls: 10,
        make: |random| rounded_tie(random, None).map(PlantedCall::again),
    },
    Judged {
        fault: Fault::CutoffEarly,
        input: "the last token of the nucleus wins if it is kept",
        calls: 10,
        make: |random| Some(list(0.7, random, |_, _, last| last)?.twice()),
    },
    Judged {
        fault: Fault::SplitError,
        input: "mass before a token is within 1e-9 of the middle of two floats",
        calls: 90,
        make: |random| sum_between_floats(random),
    },
    Judged {
        fault: Fault::TiesStay,
        input: "the nucleus parts ties, one that it drops wins if it is kept",
        calls: 10,
        make: |random| parted_ties(random),
    },
    Judged {
        fault: Fault::OneTieMore,
        input: "the nucleus parts ties, one that it drops wins if it is kept",
        calls: 40,
        make: |random| parted_ties(random),
    },
    Judged {
        fault: Fault::GuessUnasked,
        input: "every second block of 16 tokens is likelier",
        calls: 90,
        make: |random| bad_guess(random),
    },
    Judged {
        fault: Fault::CrowdFloor,
        input: "a token that the nucleus drops wins if it is kept",
        calls: 10,
        make: |random| dropped_winner(random),
    },
    Judged {
        fault: Fault::RaceSlack,
        input: "p / q tie by the rounding of the division by the sum",
        calls: 10,
        make: |random| rounded_tie(random, None),
    },
    Judged {
        fault: Fault::RaceLast,
        input: "p / q tie by the rounding of the division by the sum",
        calls: 10,
        make: |random| rounded_tie(random, None),
    },
    Judged {
        fault: Fault::CrowdZero,
        input: "a uniform of zero for a token that is dropped",
        calls: 10,
        make: |random| zero_uniform(whole(0.8, random).twice(), random),
    },
    Judged {
        fault: Fault::CrowdBound,
        input: "a likely token has a small p / q",
        calls: 10,
        make: |random| unlisted_winner(random).map(PlantedCall::twice),
    },
    Judged {
        fault: Fault::ListZero,
        input: "a uniform of zero for a token that is dropped",
        calls: 10,
        make: |random| zero_uniform(list(0.0, random, |_, _, _| true)?, random),
    },
    Judged {
        fault: Fault::ListWord,
        input: "any list",
        calls: 10,
        make: |random| list(0.0, random, |_, _, _| true),
    },
    Judged {
        fault: Fault::ListFavourite,
        input: "the token with the largest bound on its p / q is second",
        calls: 10,
        make: |random| duel(0.9, 1.3, random),
    },
    Judged {
        fault: Fault::ListLimit,
        input: "the token with the largest bound on its p / q is first, closely",
        calls: 10,
        make: |random| duel(0.5, 0.96, random),
    },
    Judged {
        fault: Fault::ContendersShort,
        input: "any row",
        calls: 10,
        make: |random| Some(whole(0.9, random).again()),
    },
    Judged {
        fault: Fault::ContendersRest,
        input: "a token among the last outputs of a state wins",
        calls: 10,
        make: |random| late_winner(random),
    },
    Judged {
        fault: Fault::HandedGenerator,
        input: "a batch of 8 rows",
        calls: 10,
        make: |random| Some(batch(0, random)),
    },
    Judged {
        fault: Fault::HandedOutputs,
        input: "a batch of 8 rows",
        calls: 10,
        make: |random| Some(batch(0, random)),
    },
    Judged {
        fault: Fault::HandedToken,
        input: "a batch of 8 rows",
        calls: 10,
        make: |random| Some(batch(0, random)),
    },
    Judged {
        fault: Fault::AheadRow,
        input: "a batch of 8 rows",
        calls: 10,
        make: |random| Some(batch(50, random)),
    },
    Judged {
        fault: Fault::AheadLast,
        input: "a batch of 8 rows",
        calls: 10,
        make: |random| Some(batch(50, random)),
    },
];
