//! `torch.multinomial` for one draw, from a list of the tokens that are possible.

use super::notes::Notes;
use super::race::SLACK;
use crate::planted::planted;
use crate::simd::kernel;
use crate::simd::lanes::LANES as BLOCK;
use crate::simd::mersenne::Output;
use crate::simd::wide::{Wide, folded};
use crate::torch::generator::{Generator, UPPER_RANGE, uniform};

/// Every token of a row whose probability is not zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Possible<'a> {
    /// Ascending.
    pub(crate) tokens: &'a [u32],
    /// Of each token, before renormalisation.
    pub(crate) probabilities: &'a [f32],
    /// How many tokens there is room for, of this row or another: what a draw notes of each has as
    /// much, so that nothing grows from row to row.
    pub(crate) room: usize,
}

/// Draws one token of a row of `vocab`; `sum` gives the sum of its probabilities. The generator
/// advances by `vocab` 64-bit outputs.
///
/// `None` if the draw needs the sum and `sum` gives none.
pub(crate) fn multinomial(
    Possible { tokens, probabilities, room }: Possible<'_>,
    vocab: usize,
    sum: impl FnOnce() -> Option<f32>,
    generator: &mut Generator,
    Notes { race, outputs, limits, .. }: &mut Notes,
) -> Option<usize> {
    outputs.resize(room, [0; 2]);
    limits.resize(room, 0.0);
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
    let bound = if planted!(ListFavourite) { f32::INFINITY } else { bound };
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
        if planted!(ListWord) {
            generator.next_u32();
        }
        if tokens.get(count).is_some_and(|token| *token as usize == position) {
            noted[count] = output;
            count += 1;
        } else if uniform(output) == 0.0 && !planted!(ListZero) {
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
        let half = if planted!(ListLimit) { 1.0 } else { 0.5 };
        probabilities[lane] / (u + u * u * half)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::crowd::Crowd;
    use crate::draw::race::SMALLEST;
    use crate::stages::multinomial as plain;
    use crate::torch::exponential::exponential;
    use crate::torch::generator::tests::{monotonous, repeating};
    use crate::torch::state::STATE_BYTES;

    /// A row before renormalisation, and the tokens of it that are possible.
    struct Row {
        probs: Vec<f32>,
        sum: f32,
        tokens: Vec<u32>,
        probabilities: Vec<f32>,
    }

    impl Row {
        fn new(probs: Vec<f32>, sum: f32) -> Self {
            let possible = || (0..).zip(probs.iter().copied()).filter(|(_, p)| *p > 0.0);
            let (tokens, probabilities) = possible().unzip();
            Self { probs, sum, tokens, probabilities }
        }

        fn possible(&self) -> Possible<'_> {
            let Self { tokens, probabilities, .. } = self;
            Possible { tokens, probabilities, room: tokens.len() }
        }

        /// The definition's token: of probabilities as torch has them when it draws.
        fn plainly(&self, generator: &mut Generator) -> usize {
            let divided: Vec<f32> = self.probs.iter().map(|p| p / self.sum).collect();
            plain::multinomial(&divided, generator)
        }

        fn drawn(&self, generator: &mut Generator, notes: &mut Notes) -> Option<usize> {
            multinomial(self.possible(), self.probs.len(), || Some(self.sum), generator, notes)
        }
    }

    #[test]
    fn is_the_plain_draw_wherever_the_generator_stands() {
        let mut generator = Generator::new(9);
        let mut notes = Notes::default();
        for vocab in [1, 2, 17, 311, 312, 313, 1000, 8193] {
            for share in [0.01, 0.3, 1.0] {
                let probs = (0..vocab)
                    .map(|_| (generator.next_f32(), generator.next_f32() < share))
                    .map(|(p, kept)| if kept { p } else { 0.0 })
                    .collect();
                let row = Row::new(probs, 0.3 + generator.next_f32());
                for odd in [false, true, false, true] {
                    if odd {
                        generator.next_u32();
                    }
                    let mut plain = generator.clone();
                    let expected = row.plainly(&mut plain);
                    assert_eq!(row.drawn(&mut generator, &mut notes), Some(expected));
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
                    let left = probs.iter().map(|p| if *p >= least { *p } else { 0.0 }).collect();
                    let row = Row::new(left, sum);
                    // Of a mass that is too high, no token may reach its share.
                    let mass = [1.0, 1e9][usize::from(power == 8)]
                        * row.probs.iter().map(|p| f64::from(*p)).sum::<f64>();
                    let crowd = Crowd { least, mass };
                    for _ in 0..20 {
                        let mut plain = generator.clone();
                        let expected = row.plainly(&mut plain);
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

    #[test]
    fn zeros_among_the_words_change_nothing() {
        let mut probs = vec![0.0; 1000];
        for token in [3, 5, 700] {
            probs[token] = 0.3;
        }
        let row = Row::new(probs, 1.0);
        let mut notes = Notes::default();
        let mut zeros = 0;
        for first_zero in [1, 2, 7, 201, 523] {
            let mut state = unread(1);
            // Each word of the state takes eight bytes, from byte 24 on.
            let start = 24 + 8 * first_zero;
            state[start..start + 100 * 8].fill(0);
            let mut generator = Generator::new(0);
            assert_eq!(generator.set_state(&state), Ok(()));
            for _ in 0..3 {
                let mut plain = generator.clone();
                let crowded = generator.clone();
                let expected = row.plainly(&mut plain);
                zeros += u32::from(row.probs[expected] == 0.0);
                assert_eq!(row.drawn(&mut generator, &mut notes), Some(expected));
                assert!(generator == plain);
                for least in [0.0, 0.2] {
                    let mut crowded = crowded.clone();
                    let crowd = Crowd { least, mass: 0.9 };
                    let sum = || Some(1.0);
                    let token = crowd.multinomial(&row.probs, sum, &mut crowded, &mut notes);
                    assert_eq!(token, Some(expected));
                    assert!(crowded == plain);
                }
            }
        }
        assert_eq!(zeros, 5, "a token without probability wins by a uniform of zero");
    }

    /// Where the exponential is zero, the quotient is infinite: torch's largest, where none is NaN.
    #[test]
    fn a_token_with_probability_wins_by_a_uniform_of_zero() {
        const TOKEN: usize = 100;
        let row = Row::new(vec![1e-3; 1000], 1.0);
        let mut state = unread(1);
        state[24 + 8 * (1 + 2 * TOKEN)..][..16].fill(0);
        let mut generator = Generator::new(0);
        assert_eq!(generator.set_state(&state), Ok(()));
        assert_eq!(row.plainly(&mut generator.clone()), TOKEN);
        let mut notes = Notes::default();
        assert_eq!(row.drawn(&mut generator.clone(), &mut notes), Some(TOKEN));
        let crowd = Crowd { least: 0.0, mass: 1.0 };
        let token = crowd.multinomial(&row.probs, || Some(1.0), &mut generator, &mut notes);
        assert_eq!(token, Some(TOKEN));
    }

    /// A state of which the next word is the second: those of a new generator are twisted first.
    fn unread(seed: u64) -> [u8; STATE_BYTES] {
        let mut state = Generator::new(seed).state();
        state[8..12].copy_from_slice(&624_i32.to_le_bytes());
        state[16] = 1;
        state
    }

    #[test]
    fn no_ratio_exceeds_its_limit() {
        let mut generator = Generator::new(7);
        for length in [1_u16, 16, 1000, 5003] {
            let probabilities: Vec<f32> = (0..length).map(|_| generator.next_f32()).collect();
            let outputs: Vec<Output> = (0..length).map(|_| generator.next_output()).collect();
            let mut limits = vec![0.0; probabilities.len()];
            let highest = note_limits(&probabilities, &outputs, &mut limits);
            assert_eq!(highest, limits.iter().copied().fold(0.0, f32::max));
            for ((p, output), limit) in probabilities.iter().zip(&outputs).zip(&limits) {
                let ratio = f64::from(*p) / f64::from(exponential(uniform(*output)));
                assert!(ratio * SLACK <= f64::from(*limit), "{ratio} {limit}");
            }
        }
    }

    /// Who has nearly all the mass has so large a q that another token wins, whose p / q is no such
    /// share of the mass as contenders are listed from.
    #[test]
    fn a_crowd_is_looked_at_again_where_no_ratio_is_large() {
        const LIKELY: usize = 7;
        let mut probs = vec![2e-5; 1000];
        probs[LIKELY] = 0.9;
        let row = Row::new(probs, 1.0);
        let mut notes = Notes::default();
        let mut lost = 0;
        for seed in 0..300 {
            let mut state = unread(seed);
            // Words whose outputs are ones but for the last bit.
            for (word, at) in [0x12DD_9BB3_u32, 0x02FF_DF7A].into_iter().zip(1 + 2 * LIKELY..) {
                state[24 + 8 * at..][..4].copy_from_slice(&word.to_le_bytes());
            }
            let mut generator = Generator::new(0);
            assert_eq!(generator.set_state(&state), Ok(()));
            let mut plain = generator.clone();
            let expected = row.plainly(&mut plain);
            lost += u32::from(expected != LIKELY);
            let crowd = Crowd { least: 0.0, mass: 0.9 };
            let token = crowd.multinomial(&row.probs, || Some(1.0), &mut generator, &mut notes);
            assert_eq!(token, Some(expected));
            assert!(generator == plain);
        }
        assert!(lost > 30, "another token won {lost} times");
    }

    /// Where every q is the same, the rounding of p / sum decides, and then the order.
    #[test]
    fn the_sum_decides_between_close_ones() {
        const VOCAB: usize = 300;
        let mut notes = Notes::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut random = Generator::new(5);
        // Others are 2^-32, so small that it is its exponential, and 2^-21, whose upper bits are all.
        let generators = [monotonous(), repeating(0x1026_00C8), repeating(0x1022_44C9)];
        for round in 0..500 {
            let same = &generators[round % 3];
            let sum = 0.3 + random.next_f32();
            let highest = 0.2 + random.next_f32() / 2.0;
            let close = |_| f32::from_bits(highest.to_bits() - random.next_u32() % 4);
            let row = Row::new((0..VOCAB).map(close).collect(), sum);
            let expected = row.plainly(&mut same.clone());
            let mut asked = 0;
            let asked_for = || {
                asked += 1;
                Some(sum)
            };
            let token =
                multinomial(row.possible(), VOCAB, asked_for, &mut same.clone(), &mut notes);
            assert_eq!((token, asked), (Some(expected), 1));
            let crowd = Crowd { least: 0.1, mass: 100.0 };
            let token = crowd.multinomial(&row.probs, || Some(sum), &mut same.clone(), &mut notes);
            assert_eq!(token, Some(expected));
            let token = multinomial(row.possible(), VOCAB, || None, &mut same.clone(), &mut notes);
            assert_eq!(token, None, "without the sum, none is drawn");
            seen.insert(row.probs[expected] < highest);
        }
        assert_eq!(seen.len(), 2, "the largest p wins, or by rounding an earlier one");
    }
}
