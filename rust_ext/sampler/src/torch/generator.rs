//! `torch.Generator("cpu")`: MT19937 in torch's own state form.

use super::state::{STATE_BYTES, StateError};
use crate::planted::planted;
use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::simd::mersenne::{Blocks, N, Output, temper};
use crate::simd::wide::Wide;

const STATE_WORDS: u32 = 624;

/// Where the fields lie in torch's state, in bytes: `CPUGeneratorImplState` of `ATen`.
const LEFT_AT: usize = 8;
const SEEDED_AT: usize = 12;
const NEXT_AT: usize = 16;
const WORDS_AT: usize = 24;
const NORMALS_AT: usize = WORDS_AT + 8 * N;

/// Replays `torch.Generator("cpu")`.
///
/// The state can be handed over in the middle of a stream, either way: see [`state`](Self::state)
/// and [`set_state`](Self::set_state).
///
/// ```
/// use torch_exact_sampler::Generator;
///
/// let mut generator = Generator::new(42); // torch.Generator("cpu").manual_seed(42)
/// let state = generator.state(); // bytes that `torch.Generator.set_state` takes
/// let first = generator.next_u64();
/// generator.set_state(&state)?;
/// assert_eq!(generator.next_u64(), first);
/// # Ok::<(), torch_exact_sampler::StateError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Generator {
    seed: u64,
    blocks: Aligned,
    /// Whether one of the words is zero.
    has_zero: bool,
    /// Outputs left before the next twist, plus one: torch counts down before it looks.
    left: u32,
    next: u32,
    /// torch's cached normal draws: ours to carry, not to read.
    normals: [u8; STATE_BYTES - NORMALS_AT],
}

/// [`Blocks`] in whole cache lines.
#[derive(Clone, PartialEq, Eq)]
#[repr(align(64))]
struct Aligned(Blocks);

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator")
            .field("seed", &self.seed)
            .field("left", &self.left)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Generator {
    /// A generator as `torch.Generator("cpu").manual_seed(seed)` leaves it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut generator = Self {
            seed,
            blocks: Aligned([[0; LANES]; N / LANES + 1]),
            has_zero: true,
            left: 1,
            next: 0,
            normals: [0; STATE_BYTES - NORMALS_AT],
        };
        generator.manual_seed(seed);
        generator
    }

    /// Seeds anew; the stream depends on the low 32 bits of `seed` only, as torch's does.
    pub fn manual_seed(&mut self, seed: u64) {
        self.seed = seed;
        self.left = 1;
        self.next = 0;
        self.normals.fill(0);
        // init_genrand of Matsumoto and Nishimura's mt19937ar.c.
        #[allow(clippy::cast_possible_truncation)] // torch seeds with the low 32 bits.
        let mut word = seed as u32;
        let words = self.words_mut();
        words[0] = word;
        for (index, slot) in (1_u32..).zip(&mut words[1..]) {
            word = 1_812_433_253_u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(index);
            *slot = word;
        }
        self.words_changed();
    }

    /// The seed last given, all 64 bits of it.
    #[must_use]
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    /// The state in torch's form: what `torch.Generator.set_state` takes.
    #[must_use]
    pub fn state(&self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        self.write_state(&mut bytes);
        bytes
    }

    /// Writes the state in torch's form, see [`Self::state`].
    pub fn write_state(&self, bytes: &mut [u8; STATE_BYTES]) {
        bytes[..LEFT_AT].copy_from_slice(&self.seed.to_le_bytes());
        bytes[LEFT_AT..SEEDED_AT].copy_from_slice(&self.left.to_le_bytes());
        bytes[SEEDED_AT..NEXT_AT].copy_from_slice(&1_u32.to_le_bytes());
        bytes[NEXT_AT..WORDS_AT].copy_from_slice(&u64::from(self.next).to_le_bytes());
        for (slot, &word) in bytes[WORDS_AT..NORMALS_AT].chunks_exact_mut(8).zip(self.words()) {
            slot.copy_from_slice(&u64::from(word).to_le_bytes());
        }
        bytes[NORMALS_AT..].copy_from_slice(&self.normals);
    }

    /// Takes over a state in torch's form: what `torch.Generator.get_state` gives.
    ///
    /// # Errors
    ///
    /// [`StateError`] where the state is not one that torch's generator can be in; the generator
    /// is then as it was.
    pub fn set_state(&mut self, state: &[u8]) -> Result<(), StateError> {
        if state.len() != STATE_BYTES {
            return Err(StateError::Length { given: state.len() });
        }
        let quad = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| state[at + i]));
        let pair = |at: usize| i32::from_le_bytes(std::array::from_fn(|i| state[at + i]));
        let (left, next, seeded) = (pair(LEFT_AT), quad(NEXT_AT), pair(SEEDED_AT));
        let invalid = StateError::Position { left, next, seeded };
        let (Ok(left), Ok(next)) = (u32::try_from(left), u32::try_from(next)) else {
            return Err(invalid);
        };
        // The last condition is ours: torch would read past the end of its array.
        let fits = |n: u32| n as usize <= N;
        if seeded == 0 || left == 0 || !fits(left) || !fits(next) || !fits(next + left - 1) {
            return Err(invalid);
        }
        self.seed = quad(0);
        self.left = left;
        self.next = next;
        for (index, word) in self.words_mut().iter_mut().enumerate() {
            let at = WORDS_AT + 8 * index;
            *word = u32::from_le_bytes(std::array::from_fn(|i| state[at + i]));
        }
        self.words_changed();
        self.normals.copy_from_slice(&state[NORMALS_AT..]);
        Ok(())
    }

    /// The next 32-bit output.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        self.twist_if_used_up();
        let word = self.words()[self.next as usize];
        self.next += 1;
        self.left -= 1;
        temper(word)
    }

    /// The next 64-bit output: two 32-bit outputs, the first one the high half.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let first = u64::from(self.next_u32());
        let second = u64::from(self.next_u32());
        if planted!(GeneratorWordOrder) { second << 32 | first } else { first << 32 | second }
    }

    /// The next uniform of [0, 1) with 53 bits, from one 64-bit output.
    #[inline]
    pub fn next_f64(&mut self) -> f64 {
        let bits = if planted!(DrawUniform24Bits) { 24 } else { 53 };
        #[allow(clippy::cast_precision_loss)] // At most 53 bits are left: exact.
        let fraction = (self.next_u64() & ((1 << bits) - 1)) as f64;
        fraction * (-f64::from(bits)).exp2()
    }

    /// The next uniform of [0, 1) with 24 bits, from one 32-bit output.
    #[inline]
    pub fn next_f32(&mut self) -> f32 {
        uniform_f32(self.next_u32(), f32_bits())
    }

    /// The next uniform of [0, `range`), as `torch.Tensor.uniform_(0, range)` makes it.
    pub(crate) fn next_below(&mut self, range: f32) -> f32 {
        below(self.next_f32() * range, range)
    }

    /// Adds the next [`next_below`](Self::next_below) to each value in turn.
    pub(crate) fn add_uniforms(&mut self, mut values: &mut [f32], range: f32) {
        while !values.is_empty() {
            self.twist_if_used_up();
            let step = values.len().min(self.left as usize - 1);
            let (now, later) = values.split_at_mut(step);
            add_from_words(now, &self.words()[self.next as usize..], f32_bits(), range);
            values = later;
            self.advance(step);
        }
    }

    /// Advances by `count` uniforms of [`next_f64`](Self::next_f64) without computing most of them.
    ///
    /// Returns the index of the first uniform that is exactly zero, if there is one: a draw can
    /// depend on no other value of a skipped uniform.
    #[inline]
    pub(crate) fn skip_f64(&mut self, count: usize) -> Option<usize> {
        let mut zero = None;
        let mut done = 0;
        while done < count {
            let whole = (self.left as usize - 1) / 2;
            if whole == 0 || self.has_zero {
                if self.next_f64() == 0.0 {
                    zero.get_or_insert(done);
                }
                done += 1;
                continue;
            }
            // Tempering is linear and invertible: an output is zero exactly where its word is.
            let step = whole.min(count - done);
            done += step;
            self.advance(2 * step);
        }
        zero
    }

    /// Takes the words of up to `count` 64-bit outputs, as many as the present state holds.
    ///
    /// `None`, and nothing taken, where the next output has to be made by itself: it spans two
    /// states, or a zero among the words may make a uniform of zero.
    #[inline]
    pub(crate) fn outputs(&mut self, count: usize) -> Option<&[Output]> {
        self.twist_if_used_up();
        if self.has_zero { None } else { self.take(count) }
    }

    /// [`outputs`](Self::outputs), as part of a kernel, and whatever their uniforms.
    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    pub(crate) fn outputs_in<W: Wide>(&mut self, wide: W, count: usize) -> Option<&[Output]> {
        if self.left == 1 {
            let has_zero = wide.twist(&mut self.blocks.0);
            self.twisted(has_zero);
        }
        self.take(count)
    }

    #[inline]
    fn take(&mut self, count: usize) -> Option<&[Output]> {
        let taken = (self.left as usize - 1).min(2 * count) / 2;
        if taken == 0 {
            return None;
        }
        let first = self.next as usize;
        self.advance(2 * taken);
        Some(self.words()[first..first + 2 * taken].as_chunks().0)
    }

    /// The words of the next 64-bit output.
    pub(crate) fn next_output(&mut self) -> Output {
        std::array::from_fn(|_| {
            self.twist_if_used_up();
            let word = self.words()[self.next as usize];
            self.advance(1);
            word
        })
    }

    #[inline]
    fn words(&self) -> &[u32] {
        &self.blocks.0.as_flattened()[..N]
    }

    fn words_mut(&mut self) -> &mut [u32] {
        &mut self.blocks.0.as_flattened_mut()[..N]
    }

    /// What follows from the words, after they were set one by one.
    fn words_changed(&mut self) {
        self.blocks.0[N / LANES] = self.blocks.0[0];
        self.has_zero = self.words().contains(&0);
    }

    /// Advances by words of the present state.
    #[inline]
    fn advance(&mut self, words: usize) {
        #[allow(clippy::cast_possible_truncation)] // At most N.
        let words = words as u32;
        self.next += words;
        self.left -= words;
    }

    #[inline]
    fn twist_if_used_up(&mut self) {
        if self.left == 1 {
            let has_zero = twist(&mut self.blocks.0);
            self.twisted(has_zero);
        }
    }

    #[inline]
    fn twisted(&mut self, has_zero: bool) {
        self.has_zero = has_zero;
        // torch sets left to N after it has counted the output that is about to be read.
        self.left = 1 + STATE_WORDS;
        self.next = 0;
    }
}

/// The uniform of [0, 1) with 53 bits.
#[inline]
pub(crate) fn uniform([first, second]: Output) -> f64 {
    let output = u64::from(temper(first)) << 32 | u64::from(temper(second));
    #[allow(clippy::cast_precision_loss)] // At most 53 bits are left: exact.
    let fraction = (output & ((1 << 53) - 1)) as f64;
    fraction * (f64::EPSILON / 2.0)
}

/// What [`upper_bits`](crate::simd::mersenne::Mersenne::upper_bits) are a share of.
pub(crate) const UPPER_RANGE: f64 = 2_097_152.0;

/// How many bits torch's float uniform has.
#[inline]
fn f32_bits() -> u32 {
    if planted!(SimpleUniform25Bits) { 25 } else { 24 }
}

/// The uniform of [0, 1) in the low bits of an output.
#[inline]
fn uniform_f32(output: u32, bits: u32) -> f32 {
    #[allow(clippy::cast_precision_loss)] // 24 bits are left: exact.
    let fraction = (output & ((1 << bits) - 1)) as f32;
    fraction * (1.0 / 16_777_216.0)
}

/// A uniform of [0, `range`): torch gives 0 where the product rounds up to the range itself, which
/// it can for a denormal one.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn below(product: f32, range: f32) -> f32 {
    if product == range { 0.0 } else { product }
}

kernel! {
    fn add_from_words<'a>(values: &'a mut [f32], words: &'a [u32], bits: u32, range: f32) -> () {
        for (x, word) in values.iter_mut().zip(words) {
            *x += below(uniform_f32(temper(*word), bits) * range, range);
        }
    }
}

kernel! {
    /// Makes the next state; returns whether one of its words is zero.
    fn twist<'a>(wide; blocks: &'a mut Blocks) -> bool {
        wide.twist(blocks)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A generator whose outputs are all the same until it is twisted; the next is the second.
    pub(crate) fn monotonous() -> Generator {
        repeating(0x1234_5678)
    }

    /// As [`monotonous`], of a word.
    pub(crate) fn repeating(word: u32) -> Generator {
        let mut generator = Generator::new(1);
        generator.words_mut().fill(word);
        generator.words_changed();
        (generator.left, generator.next) = (STATE_WORDS, 1);
        generator
    }

    /// The first outputs of `mt19937ar.c` for seed 5489, as its authors publish them.
    #[test]
    fn value_stability() {
        let mut generator = Generator::new(5489);
        let outputs: Vec<u32> = (0..5).map(|_| generator.next_u32()).collect();
        assert_eq!(
            outputs,
            [3_499_211_612, 581_869_302, 3_890_346_734, 3_586_334_585, 545_404_204]
        );
        let mut generator = Generator::new(5489);
        let ten_thousandth = (0..10_000).map(|_| generator.next_u32()).last();
        // The C++ standard's required value for std::mt19937.
        assert_eq!(ten_thousandth, Some(4_123_659_995));
    }

    /// Half of the products with a denormal range round up to it.
    #[test]
    fn no_uniform_is_its_range() {
        let range = f32::from_bits(1);
        let mut generator = Generator::new(3);
        let mut values = [0.0; 100];
        generator.clone().add_uniforms(&mut values, range);
        assert_eq!(values, [0.0; 100]);
        assert!((0..100).all(|_| generator.next_below(range) == 0.0));
    }

    #[test]
    fn skipping_is_reading() {
        for start in [0, 1, 2, 311, 312, 622, 623, 624, 625] {
            for count in [0, 1, 2, 155, 311, 312, 313, 624, 1000, 8193] {
                let mut read = Generator::new(7);
                for _ in 0..start {
                    read.next_u32();
                }
                let mut skipped = read.clone();
                for _ in 0..count {
                    read.next_u64();
                }
                assert_eq!(skipped.skip_f64(count), None);
                assert_eq!(read.next_u64(), skipped.next_u64(), "start {start} count {count}");
                assert!(read == skipped);
            }
        }
    }

    #[test]
    fn a_zero_uniform_is_found_wherever_it_lies() {
        // In a state of zeros but for one word, every uniform is zero until that word shows.
        for start in 0..3 {
            let mut state = Generator::new(0).state();
            state[LEFT_AT..SEEDED_AT].copy_from_slice(&STATE_WORDS.to_le_bytes());
            state[NEXT_AT..WORDS_AT].copy_from_slice(&1_u64.to_le_bytes());
            for index in 0..N {
                let word = u32::from(index % 7 != 3 && index != 10 && index != 11);
                let at = WORDS_AT + 8 * index;
                state[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            let mut generator = Generator::new(0);
            assert_eq!(generator.set_state(&state), Ok(()));
            for _ in 0..start {
                generator.next_u32();
            }
            let mut reader = generator.clone();
            let expected = (0..2000).position(|_| reader.next_f64() == 0.0);
            assert_eq!(generator.skip_f64(2000), expected, "start {start}");
            assert!(generator == reader || expected.is_some());
            assert_eq!(generator.has_zero, generator.words().contains(&0));
        }
    }

    #[test]
    fn the_state_survives_a_round_trip_and_rejects_nonsense() {
        let mut generator = Generator::new(u64::MAX - 3);
        for _ in 0..1000 {
            generator.next_u32();
        }
        let mut copy = Generator::new(0);
        assert_eq!(copy.set_state(&generator.state()), Ok(()));
        assert!(copy == generator);

        for outputs in [0, 1, 2, 623, 624, 625] {
            let mut generator = Generator::new(4);
            for _ in 0..outputs {
                generator.next_u32();
            }
            assert_eq!(copy.set_state(&generator.state()), Ok(()), "{outputs}");
            assert!(copy == generator && copy.next_u32() == generator.next_u32(), "{outputs}");
        }
        assert_eq!(copy.set_state(&generator.state()), Ok(()));

        let good = generator.state();
        assert_eq!(copy.set_state(&good[1..]), Err(StateError::Length { given: STATE_BYTES - 1 }));
        for (left, next, seeded) in [(0, 0, 1), (625, 0, 1), (1, 625, 1), (1, 0, 0), (600, 100, 1)]
        {
            let mut bad = good;
            bad[LEFT_AT..SEEDED_AT].copy_from_slice(&i32::to_le_bytes(left));
            bad[SEEDED_AT..NEXT_AT].copy_from_slice(&i32::to_le_bytes(seeded));
            bad[NEXT_AT..WORDS_AT].copy_from_slice(&u64::to_le_bytes(next));
            assert_eq!(copy.set_state(&bad), Err(StateError::Position { left, next, seeded }));
            assert!(copy == generator, "a refused state changes nothing");
        }
    }
}
