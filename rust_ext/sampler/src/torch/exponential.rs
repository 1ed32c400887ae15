//! `torch.multinomial` for one draw: the largest of p / q, each q a draw of Exp(1).

use super::generator::{Generator, UPPER_RANGE, uniform};
use crate::planted;
use crate::simd::kernel;
use crate::simd::mersenne::Output;
use crate::simd::wide::{Wide, folded};
use crate::stages::keep::{BLOCK, SMALLEST};
use crate::stages::survivors::Survivors;

/// `exponential_(1)` from one uniform: -log1p(-u) in f64, rounded to f32.
///
/// The logarithm is the C library's, which is the one that torch calls.
pub(crate) fn exponential(uniform: f64) -> f32 {
    let logarithm = if planted!(DrawLog) { uniform.ln() } else { (-uniform).ln_1p() };
    #[allow(clippy::cast_possible_truncation)] // torch rounds to f32 here.
    let q = -logarithm as f32;
    q
}

/// Those tokens that may win a draw, with the largest p / q.
///
/// Every p is before renormalisation: the division by their sum cannot be seen in who wins, but
/// where two are as good as each other to within its rounding.
#[derive(Debug, Clone, Default)]
struct Race {
    entrants: Vec<Entrant>,
    largest: f64,
    /// 0 / 0, where the uniform of an impossible token is exactly zero: NaN is torch's maximum.
    not_a_number: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Entrant {
    token: usize,
    p: f32,
    q: f32,
}

impl Entrant {
    fn ratio(self) -> f64 {
        f64::from(self.p) / f64::from(self.q)
    }
}

/// Room for some roundings to f32, each of at most 2^-24: of q, and of torch's two divisions.
const SLACK: f64 = 1.0 - 1.0 / 1_048_576.0;

impl Race {
    fn start(&mut self) {
        self.entrants.clear();
        self.entrants.reserve(ENOUGH);
        self.largest = -1.0;
        self.not_a_number = None;
    }

    fn enter(&mut self, token: usize, p: f32, uniform: f64) {
        // -log1p(-u) >= u, so that p / q <= p / u: most tokens cannot win, and need no logarithm.
        if f64::from(p) <= self.largest * uniform * SLACK {
            return;
        }
        let entrant = Entrant { token, p, q: exponential(uniform) };
        self.largest = self.largest.max(entrant.ratio());
        self.entrants.push(entrant);
    }

    /// A token without probability, and the next uniform.
    fn enter_impossible(&mut self, token: usize, uniform: f64) {
        if uniform == 0.0 {
            self.not_a_number.get_or_insert(token);
        }
    }

    /// The token that torch draws; `sum` gives the sum of all probabilities. `None` where it is needed
    /// and does not.
    fn winner(&self, sum: impl FnOnce() -> Option<f32>) -> Option<usize> {
        if let Some(zero) = self.not_a_number {
            return Some(zero);
        }
        let near = self.largest * SLACK;
        let mut close = self.entrants.iter().filter(|entrant| entrant.ratio() >= near);
        let Some(first) = close.next() else {
            return Some(0);
        };
        let mut others = close.peekable();
        if others.peek().is_none() {
            return Some(first.token);
        }
        let sum = sum()?;
        let ratio = |entrant: &Entrant| entrant.p / sum / entrant.q;
        let (mut best, mut largest) = (first.token, ratio(first));
        for entrant in others {
            let ratio = ratio(entrant);
            // Of equal ones, the first token wins.
            if ratio > largest || (ratio == largest && entrant.token < best) {
                (best, largest) = (entrant.token, ratio);
            }
        }
        Some(best)
    }
}

/// What a draw notes, in memory used again from draw to draw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    race: Race,
    /// Of each survivor: its output, and what its p / q cannot exceed, but for rounding.
    outputs: Vec<Output>,
    limits: Vec<f32>,
    contenders: Vec<Contender>,
}

/// Draws one token of a row of `vocab`; `survivors` hold every probability that is not zero, before
/// renormalisation, and `sum` gives their sum. The generator advances by `vocab` 64-bit outputs.
///
/// `None` where `sum` is needed, and gives nothing.
pub(crate) fn multinomial(
    survivors: &Survivors,
    vocab: usize,
    sum: impl FnOnce() -> Option<f32>,
    generator: &mut Generator,
    Notes { race, outputs, limits, .. }: &mut Notes,
) -> Option<usize> {
    let (tokens, probabilities) = (survivors.tokens(), survivors.probabilities());
    outputs.resize(survivors.room(), [0; 2]);
    limits.resize(survivors.room(), 0.0);
    let (outputs, limits) = (&mut outputs[..tokens.len()], &mut limits[..tokens.len()]);
    if let Some(zero) = note_outputs(tokens, vocab, generator, outputs) {
        return Some(zero);
    }
    // The most likely winner comes first, so that few others need a logarithm.
    let highest = note_limits(probabilities, outputs, limits);
    let Some(favourite) = next_at_least(limits, 0, highest) else {
        return Some(0);
    };
    race.start();
    race.enter(tokens[favourite] as usize, probabilities[favourite], uniform(outputs[favourite]));
    #[allow(clippy::cast_possible_truncation)] // A bound.
    let bound = (race.largest * SLACK) as f32;
    let mut at = 0;
    while let Some(contender) = next_at_least(limits, at, bound) {
        if contender != favourite {
            let token = tokens[contender] as usize;
            race.enter(token, probabilities[contender], uniform(outputs[contender]));
        }
        at = contender + 1;
    }
    race.winner(sum)
}

/// Notes the outputs of `tokens`, which ascend, among the next `vocab`. Returns the first other
/// token whose uniform is exactly zero, if there is one: 0 / 0 is NaN, and torch's maximum.
fn note_outputs(
    tokens: &[u32],
    vocab: usize,
    generator: &mut Generator,
    noted: &mut [Output],
) -> Option<usize> {
    let mut zero = None;
    let mut count = 0;
    let mut position = 0;
    while position < vocab {
        if let Some(outputs) = generator.outputs(vocab - position) {
            let slots = tokens[count..].iter().zip(&mut noted[count..]);
            for (token, noted) in slots {
                let Some(output) = outputs.get(*token as usize - position) else {
                    break;
                };
                *noted = *output;
                count += 1;
            }
            position += outputs.len();
            continue;
        }
        let output = generator.next_output();
        if tokens.get(count).is_some_and(|token| *token as usize == position) {
            noted[count] = output;
            count += 1;
        } else if uniform(output) == 0.0 {
            zero.get_or_insert(position);
        }
        position += 1;
    }
    zero
}

kernel! {
    /// Notes what each p / q cannot exceed, and returns the largest: -log1p(-u) is at least
    /// u + u^2 / 2, and u at least its upper bits.
    fn note_limits<'a>(
        wide; probabilities: &'a [f32], outputs: &'a [Output], limits: &'a mut [f32],
    ) -> f32 {
        let (blocks, tail) = limits.as_chunks_mut::<BLOCK>();
        let (p, last_p) = probabilities.as_chunks();
        let (words, last_words) = outputs.as_chunks();
        let mut highest = wide.splat(0.0);
        for (limits, (p, outputs)) in blocks.iter_mut().zip(p.iter().zip(words)) {
            *limits = limits_of(wide, p, outputs);
            highest = wide.max(wide.load(limits), highest);
        }
        let mut padded = ([0.0; BLOCK], [[u32::MAX; 2]; BLOCK]);
        padded.0[..tail.len()].copy_from_slice(last_p);
        padded.1[..tail.len()].copy_from_slice(last_words);
        let last = limits_of(wide, &padded.0, &padded.1);
        tail.copy_from_slice(&last[..tail.len()]);
        highest = wide.max(wide.load(&last), highest);
        folded(wide.store(highest), |a: f32, b| if b > a { b } else { a })
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn limits_of<W: Wide>(
    wide: W,
    probabilities: &[f32; BLOCK],
    outputs: &[Output; BLOCK],
) -> [f32; BLOCK] {
    let upper = wide.upper_bits(outputs);
    std::array::from_fn(|lane| {
        #[allow(clippy::cast_possible_truncation)] // A power of two.
        let u = upper[lane] * (1.0 / UPPER_RANGE) as f32;
        probabilities[lane] / (u + u * u * 0.5)
    })
}

kernel! {
    /// The first place, of those from `start` on, whose value is at least `least`.
    fn next_at_least<'a>(wide; values: &'a [f32], start: usize, least: f32) -> Option<usize> {
        let leasts = wide.splat(least);
        let (blocks, tail) = values.as_chunks::<BLOCK>();
        for (at, block) in blocks.iter().enumerate().skip(start / BLOCK) {
            let lanes = wide.at_least(wide.load(block), leasts);
            let before = start.saturating_sub(at * BLOCK);
            let lanes = u64::from(lanes) >> before << before;
            if lanes != 0 {
                return Some(at * BLOCK + lanes.trailing_zeros() as usize);
            }
        }
        let first = start.max(values.len() - tail.len());
        values[first.min(values.len())..].iter().position(|x| *x >= least).map(|at| first + at)
    }
}

/// A token that may win a draw, and its uniform.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) token: usize,
    pub(crate) uniform: f64,
}

/// How many tokens are expected to reach the bound on p / u that contenders are listed from. Where
/// none does, which has a probability of exp(-8), it was too high.
pub(crate) const EXPECTED: f64 = 8.0;

/// More tokens than are listed as contenders or enter a race, but for bad luck.
pub(crate) const ENOUGH: usize = 256;

/// Lists those tokens whose weight is at least `bound` times their uniform, but for rounding, and
/// those whose uniform is zero. The generator advances by one 64-bit output a token.
pub(crate) fn list_contenders(
    weights: &[f32],
    bound: f64,
    generator: &mut Generator,
    list: &mut Vec<Contender>,
) {
    list.clear();
    list.reserve(ENOUGH);
    // Uniforms are compared by their upper bits, as integers; the roundings are within 2^-20.
    #[allow(clippy::cast_possible_truncation)] // A bound.
    let bound = (bound * (SLACK / UPPER_RANGE)) as f32;
    // No multiple of a normal number is rounded as denormal ones are.
    let bound = if bound.is_normal() { bound } else { 0.0 };
    list_from(weights, bound, generator, list);
}

kernel! {
    fn list_from<'a>(
        wide;
        weights: &'a [f32],
        bound: f32,
        generator: &'a mut Generator,
        list: &'a mut Vec<Contender>,
    ) -> () {
        let mut position = 0;
        while position < weights.len() {
            if let Some(outputs) = generator.outputs_in(wide, weights.len() - position) {
                let weights = &weights[position..position + outputs.len()];
                list_some(wide, weights, outputs, bound, position, list);
                position += outputs.len();
            } else {
                let output = generator.next_output();
                list_some(wide, &weights[position..=position], &[output], bound, position, list);
                position += 1;
            }
        }
    }
}

/// Tokens that are looked at between two branches, one a bit.
const SIDE: usize = u64::BITS as usize;

/// Lists contenders of tokens that begin with number `first`.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn list_some<W: Wide>(
    wide: W,
    weights: &[f32],
    outputs: &[Output],
    bound: f32,
    first: usize,
    list: &mut Vec<Contender>,
) {
    let bounds = wide.splat(bound);
    let (sides, rest) = weights.as_chunks::<SIDE>();
    let (side_outputs, rest_outputs) = outputs.as_chunks::<SIDE>();
    for (at, (weights, outputs)) in sides.iter().zip(side_outputs).enumerate() {
        let reaching = reach(wide, weights, outputs, bounds);
        if reaching != 0 {
            note(reaching, outputs, first + at * SIDE, list);
        }
    }
    if rest.is_empty() {
        return;
    }
    if let (Some(last), Some(last_outputs)) = (weights.last_chunk(), outputs.last_chunk()) {
        // It overlaps the one before it.
        let seen = SIDE - rest.len();
        let reaching = reach(wide, last, last_outputs, bounds) >> seen << seen;
        if reaching != 0 {
            note(reaching, last_outputs, first + weights.len() - SIDE, list);
        }
    } else {
        // What is not a number reaches nothing.
        let mut padded = ([f32::NAN; SIDE], [[0; 2]; SIDE]);
        padded.0[..rest.len()].copy_from_slice(rest);
        padded.1[..rest.len()].copy_from_slice(rest_outputs);
        note(reach(wide, &padded.0, &padded.1, bounds), &padded.1, first, list);
    }
}

#[cold]
#[inline(never)]
fn note(mut reaching: u64, outputs: &[Output; SIDE], first: usize, list: &mut Vec<Contender>) {
    while reaching != 0 {
        let at = reaching.trailing_zeros() as usize;
        list.push(Contender { token: first + at, uniform: uniform(outputs[at]) });
        reaching &= reaching - 1;
    }
}

/// One bit a token: whether it is a contender.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn reach<W: Wide>(
    wide: W,
    weights: &[f32; SIDE],
    outputs: &[Output; SIDE],
    bounds: W::Floats,
) -> u64 {
    let (blocks, outputs) = (weights.as_chunks().0, outputs.as_chunks().0);
    let mut reaching = 0;
    for (at, (block, outputs)) in (0..).step_by(BLOCK).zip(blocks.iter().zip(outputs)) {
        let upper = wide.load(&wide.upper_bits(outputs));
        let lanes = wide.at_least(wide.load(block), wide.mul(upper, bounds));
        reaching |= u64::from(lanes) << at;
    }
    reaching
}

/// What is to be drawn from where most tokens of a row survive, or many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// What is less than this counts as zero.
    pub(crate) least: f32,
    /// What the rest adds up to, roughly.
    pub(crate) mass: f64,
}

impl Crowd {
    /// [`multinomial`] of a row, before the division by the sum.
    pub(crate) fn multinomial(
        self,
        probs: &[f32],
        sum: impl FnOnce() -> Option<f32>,
        generator: &mut Generator,
        Notes { race, contenders, .. }: &mut Notes,
    ) -> Option<usize> {
        let Self { least, mass } = self;
        let least = least.max(SMALLEST);
        let start = generator.clone();
        let mut bound = mass / EXPECTED;
        loop {
            list_contenders(probs, bound, generator, contenders);
            race.start();
            for &Contender { token, uniform } in &*contenders {
                if probs[token] >= least {
                    race.enter(token, probs[token], uniform);
                } else {
                    race.enter_impossible(token, uniform);
                }
            }
            // Whatever is as good to within rounding was listed as well.
            if bound == 0.0 || race.largest * SLACK > bound {
                return race.winner(sum);
            }
            generator.clone_from(&start);
            let lower = bound > f64::from(SMALLEST) && bound.is_finite();
            bound = if lower { bound / 1024.0 } else { 0.0 };
        }
    }
}

/// [`multinomial`], taking each uniform in turn.
pub(crate) fn plain_multinomial(
    survivors: &Survivors,
    vocab: usize,
    generator: &mut Generator,
) -> usize {
    let mut best = 0;
    let mut largest = -1.0_f32;
    // 0 / 0, where the uniform of an impossible token is exactly zero: NaN is torch's maximum.
    let mut not_a_number = None;
    let mut position = 0;
    for (token, probability) in survivors.iter() {
        let token = token as usize;
        if let Some(zero) = generator.skip_f64(token - position) {
            not_a_number.get_or_insert(position + zero);
        }
        position = token + 1;
        let uniform = generator.next_f64();
        // p / q <= p / u: most tokens cannot win, and need no logarithm.
        if !planted!(DrawLog) && f64::from(probability) <= f64::from(largest) * uniform * SLACK {
            continue;
        }
        let ratio = probability / exponential(uniform);
        if ratio > largest || (planted!(ArgmaxLastWins) && ratio >= largest) {
            largest = ratio;
            best = token;
        }
    }
    if let Some(zero) = generator.skip_f64(vocab - position) {
        not_a_number.get_or_insert(position + zero);
    }
    not_a_number.unwrap_or(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::generator::tests::monotonous;

    /// As torch has them when it draws.
    fn renormalized(survivors: &Survivors, sum: f32) -> Survivors {
        survivors.iter().map(|(token, p)| (token, p / sum)).collect()
    }

    #[test]
    fn is_the_plain_draw_wherever_the_generator_stands() {
        let mut generator = Generator::new(9);
        let mut notes = Notes::default();
        for vocab in [1, 2, 17, 311, 312, 313, 1000, 8193] {
            for share in [0.01, 0.3, 1.0] {
                let survivors: Survivors = (0..vocab)
                    .map(|token| (token, generator.next_f32(), generator.next_f32() < share))
                    .filter_map(|(token, p, kept)| kept.then_some((token, p)))
                    .collect();
                let sum = 0.3 + generator.next_f32();
                let divided = renormalized(&survivors, sum);
                for odd in [false, true, false, true] {
                    if odd {
                        generator.next_u32();
                    }
                    let mut plain = generator.clone();
                    let vocab = vocab as usize;
                    let expected = plain_multinomial(&divided, vocab, &mut plain);
                    let token =
                        multinomial(&survivors, vocab, || Some(sum), &mut generator, &mut notes);
                    assert_eq!(token, Some(expected));
                    assert!(generator == plain);
                }
            }
        }
    }

    #[test]
    fn a_crowd_is_the_list_of_its_tokens() {
        let mut generator = Generator::new(11);
        let mut notes = Notes::default();
        for vocab in [1, 15, 16, 300, 8193] {
            for power in [1, 8, 40] {
                let probs: Vec<f32> =
                    (0..vocab).map(|_| generator.next_f32().powi(power)).collect();
                for least in [0.0, SMALLEST, 1e-30, 1e-3] {
                    let sum = 0.3 + generator.next_f32();
                    let survivors: Survivors = (0..)
                        .zip(&probs)
                        .filter(|(_, p)| **p >= least.max(SMALLEST))
                        .map(|(token, p)| (token, p / sum))
                        .collect();
                    // Of a mass that is too high, no token may reach its share.
                    let mass = [1.0, 1e9][usize::from(power == 8)]
                        * survivors.iter().map(|(_, p)| f64::from(p * sum)).sum::<f64>();
                    let crowd = Crowd { least, mass };
                    for _ in 0..20 {
                        let mut plain = generator.clone();
                        let expected = plain_multinomial(&survivors, vocab, &mut plain);
                        let token =
                            crowd.multinomial(&probs, || Some(sum), &mut generator, &mut notes);
                        assert_eq!(token, Some(expected));
                        assert!(generator == plain);
                        generator.next_u32();
                    }
                }
            }
        }
    }

    /// What another thread writes to the logits meanwhile can make any mass: the draw ends.
    #[test]
    fn a_crowd_of_any_mass_is_drawn_from() {
        let mut generator = Generator::new(12);
        for p in [0.0, 1.0, f32::INFINITY, f32::NAN] {
            for mass in [0.0, f64::MAX, f64::INFINITY, f64::NAN, -1.0] {
                let crowd = Crowd { least: 0.0, mass };
                let mut notes = Notes::default();
                let mut after = generator.clone();
                after.skip_f64(500);
                let token = crowd.multinomial(&[p; 500], || Some(1.0), &mut generator, &mut notes);
                assert!(token.is_some_and(|token| token < 500), "{p} {mass}");
                assert!(generator == after, "{p} {mass}");
            }
        }
    }

    #[test]
    fn zeros_among_the_words_change_nothing() {
        let survivors: Survivors = [3, 5, 700].map(|token| (token, 0.3)).into_iter().collect();
        let mut notes = Notes::default();
        let mut state = Generator::new(1).state();
        for first_zero in [0, 1, 6, 200] {
            // Each word of the state takes eight bytes, from byte 24 on.
            let start = 24 + 8 * first_zero;
            state[start..start + 100 * 8].fill(0);
            let mut generator = Generator::new(0);
            assert_eq!(generator.set_state(&state), Ok(()));
            for _ in 0..3 {
                let mut plain = generator.clone();
                let crowded = generator.clone();
                let expected = plain_multinomial(&survivors, 1000, &mut plain);
                let token = multinomial(&survivors, 1000, || Some(1.0), &mut generator, &mut notes);
                assert_eq!(token, Some(expected));
                assert!(generator == plain);
                let mut probs = vec![0.0; 1000];
                for (token, probability) in survivors.iter() {
                    probs[token as usize] = probability;
                }
                for least in [0.0, 0.2] {
                    let mut crowded = crowded.clone();
                    let crowd = Crowd { least, mass: 0.9 };
                    let token = crowd.multinomial(&probs, || Some(1.0), &mut crowded, &mut notes);
                    assert_eq!(token, Some(expected));
                    assert!(crowded == plain);
                }
            }
        }
    }

    /// Where every q is the same, the rounding of p / sum decides, and then the order.
    #[test]
    fn the_sum_decides_between_close_ones() {
        const VOCAB: u32 = 300;
        let mut notes = Notes::default();
        let same = monotonous();
        let mut seen = std::collections::BTreeSet::new();
        let mut random = Generator::new(5);
        for _ in 0..500 {
            let sum = 0.3 + random.next_f32();
            let highest = 0.2 + random.next_f32() / 2.0;
            let survivors: Survivors = (0..VOCAB)
                .map(|token| (token, f32::from_bits(highest.to_bits() - random.next_u32() % 4)))
                .collect();
            let divided = renormalized(&survivors, sum);
            let mut plain = same.clone();
            let expected = plain_multinomial(&divided, VOCAB as usize, &mut plain);
            let mut asked = 0;
            let token = multinomial(
                &survivors,
                VOCAB as usize,
                || {
                    asked += 1;
                    Some(sum)
                },
                &mut same.clone(),
                &mut notes,
            );
            assert_eq!((token, asked), (Some(expected), 1));
            let probs = survivors.probabilities();
            let crowd = Crowd { least: 0.1, mass: 100.0 };
            let token = crowd.multinomial(probs, || Some(sum), &mut same.clone(), &mut notes);
            assert_eq!(token, Some(expected));
            let token =
                multinomial(&survivors, VOCAB as usize, || None, &mut same.clone(), &mut notes);
            assert_eq!(token, None, "without the sum, none is drawn");
            seen.insert(probs[expected] < highest);
        }
        assert_eq!(seen.len(), 2, "the largest p wins, or by rounding an earlier one");
    }
}
