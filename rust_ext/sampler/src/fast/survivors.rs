//! Tokens that the masks leave, and their probabilities.

use super::keep::BLOCK;
use super::listing::Word;
use crate::draw::multinomial::Possible;
use crate::planted::planted;
use crate::simd::format::Format;
use crate::simd::kernel;
use crate::simd::wide::Wide;

/// Some tokens of a row, ascending, each with its probability; none of them is zero. There is room
/// behind them for whole blocks to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Survivors {
    tokens: Vec<u32>,
    probabilities: Vec<f32>,
    length: usize,
}

impl Survivors {
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens[..self.length]
    }

    pub(crate) fn probabilities(&self) -> &[f32] {
        &self.probabilities[..self.length]
    }

    pub(crate) fn probabilities_mut(&mut self) -> &mut [f32] {
        &mut self.probabilities[..self.length]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        self.tokens().iter().copied().zip(self.probabilities().iter().copied())
    }

    /// Whether a token is there with at least this probability.
    pub(crate) fn holds(&self, token: usize, least: f32) -> bool {
        let place = self.tokens().binary_search_by(|other| (*other as usize).cmp(&token));
        place.is_ok_and(|place| self.probabilities[place] >= least)
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// Makes room for as many more tokens.
    pub(crate) fn reserve(&mut self, count: usize) {
        let length = self.length + count + BLOCK;
        if self.tokens.len() < length {
            self.tokens.resize(length, 0);
            self.probabilities.resize(length, 0.0);
        }
    }

    /// Appends those tokens of a block that have a bit in `lanes`; the block's first token is
    /// `first`. There must be room.
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    pub(crate) fn append<W: Wide>(&mut self, wide: W, first: u32, x: W::Floats, lanes: u32) {
        let end = self.length + BLOCK;
        self.tokens[self.length..end].copy_from_slice(&wide.numbers(first, lanes));
        self.probabilities[self.length..end].copy_from_slice(&wide.gather(x, lanes));
        self.length += lanes.count_ones() as usize;
    }

    /// As a draw takes them.
    pub(crate) fn possible(&self) -> Possible<'_> {
        let (tokens, probabilities) = (self.tokens(), self.probabilities());
        Possible { tokens, probabilities, room: self.tokens.len() }
    }

    /// Takes those tokens that have a bit in one of some words, at most `most` in all, with their
    /// values.
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn take_lanes<F: Format>(&mut self, row: &[F::Bits], words: &[Word], most: usize) {
        /// There are seldom more in a word, and how many cannot be predicted: so many are written,
        /// and what should not have been is written over.
        const OFTEN: usize = 2;
        self.clear();
        self.reserve(most);
        let last = row.len() - 1;
        let (tokens, values) = (&mut self.tokens[..], &mut self.probabilities[..]);
        let mut length = 0;
        for &Word { first, mut lanes } in words {
            while lanes != 0 {
                let places = length..length + OFTEN;
                for (number, value) in tokens[places.clone()].iter_mut().zip(&mut values[places]) {
                    let token = first + lanes.trailing_zeros();
                    *number = token;
                    *value = F::widened(row[last.min(token as usize)]);
                    length += usize::from(lanes != 0);
                    lanes &= lanes.wrapping_sub(1);
                }
            }
        }
        self.length = length;
    }

    /// Takes those of the others whose probability is at least `least`.
    pub(crate) fn take_at_least(&mut self, others: &Self, least: f32) {
        self.clear();
        self.reserve(others.tokens.len());
        let length = compress(others, least, &mut self.tokens, &mut self.probabilities);
        self.length = length;
    }

    /// Keeps what `stays` says.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(u32, f32) -> bool) {
        let mut length = 0;
        for at in 0..self.length {
            let (token, probability) = (self.tokens[at], self.probabilities[at]);
            (self.tokens[length], self.probabilities[length]) = (token, probability);
            length += usize::from(stays(token, probability));
        }
        self.length = length;
    }
}

impl PartialEq for Survivors {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl FromIterator<(u32, f32)> for Survivors {
    fn from_iter<I: IntoIterator<Item = (u32, f32)>>(listed: I) -> Self {
        let (tokens, probabilities): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
        let length = tokens.len();
        Self { tokens, probabilities, length }
    }
}

kernel! {
    fn compress<'a>(
        wide;
        from: &'a Survivors,
        least: f32,
        tokens: &'a mut [u32],
        probabilities: &'a mut [f32],
    ) -> usize {
        let leasts = wide.splat(least);
        let (blocks, tail) = from.probabilities().as_chunks::<BLOCK>();
        let (numbers, last) = from.tokens().as_chunks::<BLOCK>();
        let mut length = 0;
        for (block, numbers) in blocks.iter().zip(numbers) {
            let x = wide.load(block);
            let mut lanes = wide.at_least(x, leasts);
            if planted!(SurvivorsFloor) {
                lanes = wide.greater(x, leasts);
            }
            let end = length + BLOCK;
            probabilities[length..end].copy_from_slice(&wide.gather(x, lanes));
            tokens[length..end].copy_from_slice(&wide.gather_numbers(numbers, lanes));
            length += lanes.count_ones() as usize;
        }
        for (token, &probability) in last.iter().zip(tail) {
            (tokens[length], probabilities[length]) = (*token, probability);
            length += usize::from(probability >= least);
        }
        length
    }
}

kernel! {
    /// The tokens of a row whose probability is at least `least`.
    pub(crate) fn list_at_least<'a>(
        wide; row: &'a [f32], least: f32, listed: &'a mut Survivors,
    ) -> () {
        listed.clear();
        listed.reserve(row.len());
        let leasts = wide.splat(least);
        let (blocks, tail) = row.as_chunks::<BLOCK>();
        let mut first = 0;
        for block in blocks {
            let x = wide.load(block);
            let lanes = wide.at_least(x, leasts);
            if lanes != 0 {
                listed.append(wide, first, x, lanes);
            }
            #[allow(clippy::cast_possible_truncation)] // A handful.
            let step = BLOCK as u32;
            first += step;
        }
        let mut last = [0.0; BLOCK];
        last[..tail.len()].copy_from_slice(tail);
        let x = wide.load(&last);
        listed.append(wide, first, x, wide.at_least(x, leasts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::race::SMALLEST;

    #[test]
    fn is_a_filter() {
        let mut generator = crate::torch::generator::Generator::new(2);
        let (mut listed, mut again) = (Survivors::default(), Survivors::default());
        for length in [0, 1, 15, 16, 17, 100, 1024] {
            let row: Vec<f32> = (0..length).map(|_| generator.next_f32()).collect();
            for least in [SMALLEST, 0.2, 0.5, 0.99, 1.0] {
                let expected: Survivors =
                    (0..).zip(row.iter().copied()).filter(|(_, p)| *p >= least).collect();
                list_at_least(&row, least, &mut listed);
                assert_eq!(listed, expected, "{length} {least}");
                list_at_least(&row, SMALLEST, &mut listed);
                again.take_at_least(&listed, least);
                assert_eq!(again, expected, "{length} {least}");
                listed.retain(|_, p| p >= least);
                assert_eq!(listed, expected, "{length} {least}");
            }
        }
    }
}
