//! `torch.multinomial` for one draw: the largest of p / q, each q a draw of Exp(1).

use super::generator::{Generator, Output, UPPER_RANGE, uniform, upper_bits};
use crate::planted;
use crate::simd::kernel;
use crate::simd::wide::{Wide, folded};
use crate::stages::keep::{BLOCK, SMALLEST};
use crate::stages::survivors::Survivors;

/// `exponential_(1)` from one uniform: -log1p(-u) in f64, rounded to f32.
///
/// The logarithm is the C library's, which is the one that torch calls.
fn exponential(uniform: f64) -> f32 {
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
        /// More than enter, since each mostly is the best so far.
        const ENOUGH: usize = 256;
        self.entrants.clear();
        self.entrants.reserve(ENOUGH);
        self.largest = -1.0;
        self.not_a_number = None;
    }

    /// A token whose probability is at most this times the upper bits of its uniform cannot win.
    fn bound(&self) -> f64 {
        self.largest * (SLACK / UPPER_RANGE)
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

    /// The token that torch draws; `sum` gives the sum of all probabilities.
    fn winner(&self, sum: impl FnOnce() -> f32) -> usize {
        if let Some(zero) = self.not_a_number {
            return zero;
        }
        let near = self.largest * SLACK;
        let mut close = self.entrants.iter().filter(|entrant| entrant.ratio() >= near);
        let Some(first) = close.next() else {
            return 0;
        };
        let mut others = close.peekable();
        if others.peek().is_none() {
            return first.token;
        }
        let sum = sum();
        let ratio = |entrant: &Entrant| entrant.p / sum / entrant.q;
        let (mut best, mut largest) = (first.token, ratio(first));
        for entrant in others {
            let ratio = ratio(entrant);
            // Of equal ones, the first token wins.
            if ratio > largest || (ratio == largest && entrant.token < best) {
                (best, largest) = (entrant.token, ratio);
            }
        }
        best
    }
}

/// What a draw notes, in memory used again from draw to draw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    race: Race,
    /// Of each survivor: its output, and what its p / q cannot exceed, but for rounding.
    outputs: Vec<Output>,
    limits: Vec<f32>,
}

/// Draws one token of a row of `vocab`; `survivors` hold every probability that is not zero, before
/// renormalisation, and `sum` gives their sum. The generator advances by `vocab` 64-bit outputs.
pub(crate) fn multinomial(
    survivors: &Survivors,
    vocab: usize,
    sum: impl FnOnce() -> f32,
    generator: &mut Generator,
    Notes { race, outputs, limits }: &mut Notes,
) -> usize {
    let (tokens, probabilities) = (survivors.tokens(), survivors.probabilities());
    outputs.resize(survivors.room(), [0; 2]);
    limits.resize(survivors.room(), 0.0);
    let (outputs, limits) = (&mut outputs[..tokens.len()], &mut limits[..tokens.len()]);
    if let Some(zero) = note_outputs(tokens, vocab, generator, outputs) {
        return zero;
    }
    // The most likely winner comes first, so that few others need a logarithm.
    let highest = note_limits(probabilities, outputs, limits);
    let Some(favourite) = next_at_least(limits, 0, highest) else {
        return 0;
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
            *limits = limits_of(p, outputs);
            highest = wide.max(wide.load(limits), highest);
        }
        let mut padded = ([0.0; BLOCK], [[u32::MAX; 2]; BLOCK]);
        padded.0[..tail.len()].copy_from_slice(last_p);
        padded.1[..tail.len()].copy_from_slice(last_words);
        let last = limits_of(&padded.0, &padded.1);
        tail.copy_from_slice(&last[..tail.len()]);
        highest = wide.max(wide.load(&last), highest);
        folded(wide.store(highest), |a: f32, b| if b > a { b } else { a })
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn limits_of(probabilities: &[f32; BLOCK], outputs: &[Output; BLOCK]) -> [f32; BLOCK] {
    std::array::from_fn(|lane| {
        #[allow(clippy::cast_possible_truncation)] // A power of two.
        let u = upper_bits(outputs[lane]) * (1.0 / UPPER_RANGE) as f32;
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

/// A row in which most tokens survive, or many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd<'a> {
    /// Before the division by their sum.
    pub(crate) probs: &'a [f32],
    /// What is less than this counts as zero.
    pub(crate) least: f32,
}

impl Crowd<'_> {
    /// What is less cannot win, but by a uniform of zero: some token's p is at least 2^-24 and its
    /// q at most 37, while u is at least 2^-53. And bounds in f32 hold for the rest.
    pub(crate) const LEAST: f32 = 1e-30;

    /// [`multinomial`] of the row.
    pub(crate) fn multinomial(
        &self,
        sum: impl FnOnce() -> f32,
        generator: &mut Generator,
        Notes { race, .. }: &mut Notes,
    ) -> usize {
        let &Self { probs, least } = self;
        let likely = least.max(Self::LEAST);
        race.start();
        let mut position = 0;
        while position < probs.len() {
            let Some(outputs) = generator.outputs(probs.len() - position) else {
                let uniform = generator.next_f64();
                if probs[position] >= least.max(SMALLEST) {
                    race.enter(position, probs[position], uniform);
                } else {
                    race.enter_impossible(position, uniform);
                }
                position += 1;
                continue;
            };
            let here = &probs[position..position + outputs.len()];
            let mut at = 0;
            while at < here.len() {
                // The words of 21 bits are compared as integers; the roundings are within 2^-20.
                #[allow(clippy::cast_possible_truncation)] // A bound.
                let bound = (race.bound() * SLACK) as f32;
                at += contender(&here[at..], &outputs[at..], bound);
                let end = here.len().min(at + BLOCK);
                for at in at..end {
                    if here[at] >= likely && here[at] > upper_bits(outputs[at]) * bound {
                        race.enter(position + at, here[at], uniform(outputs[at]));
                    }
                }
                at = end;
            }
            position += outputs.len();
        }
        race.winner(sum)
    }
}

kernel! {
    /// Where the first block begins that holds a token whose p / u may exceed `bound` times 2^21;
    /// the length if there is none.
    fn contender<'a>(wide; probs: &'a [f32], outputs: &'a [Output], bound: f32) -> usize {
        /// Blocks that are looked at between two branches.
        const SIDE: usize = 4;
        let bounds = wide.splat(bound);
        let (blocks, tail) = probs.as_chunks();
        let (words, _) = outputs.as_chunks();
        let (sides, rest) = blocks.as_chunks::<SIDE>();
        let (side_words, rest_words) = words[..blocks.len()].as_chunks::<SIDE>();
        for (at, (blocks, words)) in sides.iter().zip(side_words).enumerate() {
            let contending: [_; SIDE] =
                std::array::from_fn(|i| contends(wide, &blocks[i], &words[i], bounds));
            if contending.iter().fold(0, |any, lanes| any | lanes) != 0 {
                let first = contending.iter().position(|lanes| *lanes != 0).unwrap_or(0);
                return (at * SIDE + first) * BLOCK;
            }
        }
        for (at, (block, words)) in rest.iter().zip(rest_words).enumerate() {
            if contends(wide, block, words, bounds) != 0 {
                return (sides.len() * SIDE + at) * BLOCK;
            }
        }
        // The last block overlaps the one before it: to look twice at a token changes nothing.
        match (probs.last_chunk(), outputs.last_chunk()) {
            (Some(block), Some(outputs)) if !tail.is_empty() => {
                probs.len() - if contends(wide, block, outputs, bounds) == 0 { 0 } else { BLOCK }
            }
            _ => probs.len() - tail.len(),
        }
    }
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn contends<W: Wide>(
    wide: W,
    probs: &[f32; BLOCK],
    outputs: &[Output; BLOCK],
    bounds: W::Floats,
) -> u32 {
    let mut upper = [0.0; BLOCK];
    for (upper, output) in upper.iter_mut().zip(outputs) {
        *upper = upper_bits(*output);
    }
    wide.greater(wide.load(probs), wide.mul(wide.load(&upper), bounds))
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
                    let token = multinomial(&survivors, vocab, || sum, &mut generator, &mut notes);
                    assert_eq!(token, expected);
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
                for least in [0.0, SMALLEST, Crowd::LEAST, 1e-3] {
                    let sum = 0.3 + generator.next_f32();
                    let survivors: Survivors = (0..)
                        .zip(&probs)
                        .filter(|(_, p)| **p >= least.max(SMALLEST))
                        .map(|(token, p)| (token, p / sum))
                        .collect();
                    let crowd = Crowd { probs: &probs, least };
                    for _ in 0..20 {
                        let mut plain = generator.clone();
                        let expected = plain_multinomial(&survivors, vocab, &mut plain);
                        let token = crowd.multinomial(|| sum, &mut generator, &mut notes);
                        assert_eq!(token, expected);
                        assert!(generator == plain);
                        generator.next_u32();
                    }
                }
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
                let token = multinomial(&survivors, 1000, || 1.0, &mut generator, &mut notes);
                assert_eq!(token, expected);
                assert!(generator == plain);
                let mut probs = vec![0.0; 1000];
                for (token, probability) in survivors.iter() {
                    probs[token as usize] = probability;
                }
                for least in [0.0, 0.2] {
                    let mut crowded = crowded.clone();
                    let crowd = Crowd { probs: &probs, least };
                    let token = crowd.multinomial(|| 1.0, &mut crowded, &mut notes);
                    assert_eq!(token, expected);
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
        let mut state = Generator::new(1).state();
        // 624 words, each in eight bytes, from byte 24 on: all the same. The next is the second.
        for word in state[24..24 + 624 * 8].as_chunks_mut::<8>().0 {
            *word = 0x1234_5678_u64.to_le_bytes();
        }
        state[8..12].copy_from_slice(&624_i32.to_le_bytes());
        state[16] = 1;
        let mut same = Generator::new(0);
        assert_eq!(same.set_state(&state), Ok(()));
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
                    sum
                },
                &mut same.clone(),
                &mut notes,
            );
            assert_eq!((token, asked), (expected, 1));
            let probs = survivors.probabilities();
            let crowd = Crowd { probs, least: 0.1 };
            assert_eq!(crowd.multinomial(|| sum, &mut same.clone(), &mut notes), expected);
            seen.insert(survivors.probabilities()[token] < highest);
        }
        assert_eq!(seen.len(), 2, "the largest p wins, or by rounding an earlier one");
    }
}
