//! MT19937, sixteen words at a time.

use super::lanes::{LANES, Portable};

/// Words of the state (n), and the offset of the recurrence (m).
pub(crate) const N: usize = 624;
const M: usize = 397;

/// Sixteen words.
type Words = [u32; LANES];

/// A state, in blocks of as many words as the widest register has lanes. The block after the last
/// repeats the first, so that a run of words that goes round lies in one piece.
pub(crate) type Blocks = [Words; N / LANES + 1];
const LAST: usize = N / LANES;

/// The words of a 64-bit output, before tempering: the first is the high half.
pub(crate) type Output = [u32; 2];

const UPPER: u32 = 0x8000_0000;
const MATRIX: u32 = 0x9908_B0DF;
/// The second and third step of tempering.
const B: u32 = 0x9D2C_5680;
const C: u32 = 0xEFC6_0000;
/// The bits that the first word of an output gives to its uniform.
const UNIFORM: u32 = 0x001F_FFFF;

/// One step of the recurrence: the upper bit of `word`, the lower bits of `following`.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn step(word: u32, following: u32, offset: u32) -> u32 {
    let y = (word & UPPER) | (following & !UPPER);
    offset ^ (y >> 1) ^ (MATRIX & (y & 1).wrapping_neg())
}

#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn temper(mut y: u32) -> u32 {
    y ^= y >> 11;
    y ^= (y << 7) & B;
    y ^= (y << 15) & C;
    y ^ (y >> 18)
}

/// The block in which the words that are [`M`] after those of block `at` begin, [`SHIFT`] words into
/// it: of this state, or of the next one, which replaces it.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn ahead(at: usize) -> usize {
    if at + M / LANES < LAST { at + M / LANES } else { at + M / LANES - LAST }
}
const SHIFT: usize = M % LANES;

/// The words from number `FIRST` of two blocks that follow each other.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn run<const FIRST: usize>(block: &Words, following: &Words) -> Words {
    std::array::from_fn(|lane| {
        let at = lane + FIRST;
        if at < LANES { block[at] } else { following[at - LANES] }
    })
}

/// The generator in the registers of one instruction set; the bits do not depend on which.
#[allow(clippy::inline_always)] // Parts of kernels.
pub(crate) trait Mersenne: Copy {
    /// Zero where `word` is; elsewhere something that is zero only if `noted` is.
    #[inline(always)]
    fn note_zero(self, noted: u32, word: u32) -> u32 {
        noted.min(word)
    }

    /// Makes the next state; returns whether one of its words is zero.
    #[inline(always)]
    fn twist(self, blocks: &mut Blocks) -> bool {
        let mut noted = [u32::MAX; LANES];
        for at in 0..LAST {
            let offsets = run::<SHIFT>(&blocks[ahead(at)], &blocks[ahead(at) + 1]);
            let following = run::<1>(&blocks[at], &blocks[at + 1]);
            let words = &mut blocks[at];
            for lane in 0..LANES {
                words[lane] = step(words[lane], following[lane], offsets[lane]);
                noted[lane] = self.note_zero(noted[lane], words[lane]);
            }
            if at == 0 {
                blocks[LAST] = blocks[0];
            }
        }
        noted.contains(&0)
    }

    /// The 21 upper bits of each output's uniform, as an integer.
    #[inline(always)]
    fn upper_bits(self, outputs: &[Output; LANES]) -> [f32; LANES] {
        let mut upper = [0.0; LANES];
        for (upper, [first, _]) in upper.iter_mut().zip(outputs) {
            // By way of a signed integer: that conversion is one instruction everywhere.
            #[allow(clippy::cast_precision_loss)] // 21 bits: exact.
            let bits = (temper(*first) & UNIFORM).cast_signed() as f32;
            *upper = bits;
        }
        upper
    }
}

#[allow(clippy::inline_always)] // Parts of kernels.
impl Mersenne for Portable {
    /// SSE2 has no minimum of such words.
    #[inline(always)]
    fn note_zero(self, noted: u32, word: u32) -> u32 {
        if word == 0 { 0 } else { noted }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__m512i;

    use pulp::cast;
    use pulp::x86::{V3, V4};

    use super::{
        B, Blocks, C, LANES, LAST, MATRIX, Mersenne, Output, SHIFT, UNIFORM, UPPER, Words, ahead,
        run,
    };

    impl Mersenne for V3 {}

    /// What `vpternlogd` makes of three bits.
    const SELECT: i32 = 0xCA;
    const XOR: i32 = 0x96;
    const XOR_AND: i32 = 0x78;
    const XOR_THEN_AND: i32 = 0x28;

    #[allow(clippy::inline_always)] // Parts of kernels.
    impl Mersenne for V4 {
        #[inline(always)]
        fn twist(self, blocks: &mut Blocks) -> bool {
            let simd = self.avx512f;
            let lower = all(self, !UPPER);
            // A look-up by four low bits, of which the lowest decides.
            let table: Words = std::array::from_fn(|i| if i % 2 == 0 { 0 } else { MATRIX });
            let mut least = all(self, u32::MAX);
            let mut words: __m512i = cast(blocks[0]);
            for at in 0..LAST {
                let offsets = run::<SHIFT>(&blocks[ahead(at)], &blocks[ahead(at) + 1]);
                let next = cast(blocks[at + 1]);
                let following = simd._mm512_alignr_epi32::<1>(next, words);
                let y = simd._mm512_ternarylogic_epi32::<SELECT>(lower, following, words);
                let matrix = simd._mm512_permutexvar_epi32(following, cast(table));
                let half = simd._mm512_srli_epi32::<1>(y);
                let made = simd._mm512_ternarylogic_epi32::<XOR>(cast(offsets), half, matrix);
                least = simd._mm512_min_epu32(least, made);
                blocks[at] = cast(made);
                if at == 0 {
                    blocks[LAST] = blocks[0];
                }
                words = next;
            }
            cast::<_, Words>(least).contains(&0)
        }

        #[inline(always)]
        fn upper_bits(self, outputs: &[Output; LANES]) -> [f32; LANES] {
            let simd = self.avx512f;
            let [low, high]: [__m512i; 2] = cast(*outputs);
            #[allow(clippy::cast_possible_truncation)] // At most 30.
            let first: Words = std::array::from_fn(|lane| 2 * lane as u32);
            let y = simd._mm512_permutex2var_epi32(low, cast(first), high);
            let y = simd._mm512_xor_si512(y, simd._mm512_srli_epi32::<11>(y));
            let y = xor_and(self, y, simd._mm512_slli_epi32::<7>(y), B);
            let y = xor_and(self, y, simd._mm512_slli_epi32::<15>(y), C);
            let last = simd._mm512_srli_epi32::<18>(y);
            let mask = all(self, UNIFORM);
            let bits = simd._mm512_ternarylogic_epi32::<XOR_THEN_AND>(y, last, mask);
            cast(simd._mm512_cvtepi32_ps(bits))
        }
    }

    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn all(simd: V4, word: u32) -> __m512i {
        simd.avx512f._mm512_set1_epi32(word.cast_signed())
    }

    #[allow(clippy::inline_always)] // Part of kernels.
    #[inline(always)]
    fn xor_and(simd: V4, y: __m512i, shifted: __m512i, mask: u32) -> __m512i {
        simd.avx512f._mm512_ternarylogic_epi32::<XOR_AND>(y, shifted, all(simd, mask))
    }
}
