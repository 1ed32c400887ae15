//! MT19937, sixteen words at a time.

use super::wide::LANES;

/// Sixteen words.
pub(crate) type Words = [u32; LANES];

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

/// Sixteen words in the registers of one instruction set; the bits do not depend on which.
#[allow(clippy::inline_always)] // Parts of kernels.
pub(crate) trait Mersenne: Copy {
    /// Sixteen steps of the recurrence.
    #[inline(always)]
    fn twisted(self, words: &Words, following: &Words, offsets: &Words) -> Words {
        std::array::from_fn(|lane| step(words[lane], following[lane], offsets[lane]))
    }

    /// The words from the second of `words` to the first of `next`.
    #[inline(always)]
    fn following(self, words: &Words, next: &Words) -> Words {
        std::array::from_fn(|lane| if lane + 1 < LANES { words[lane + 1] } else { next[0] })
    }

    /// The lesser words, lane by lane.
    #[inline(always)]
    fn least(self, a: &Words, b: &Words) -> Words {
        std::array::from_fn(|lane| a[lane].min(b[lane]))
    }

    /// The 21 upper bits of each output's uniform, as an integer.
    #[inline(always)]
    fn upper_bits(self, outputs: &[Output; LANES]) -> [f32; LANES] {
        std::array::from_fn(|lane| {
            // By way of a signed integer: that conversion is one instruction everywhere.
            #[allow(clippy::cast_precision_loss)] // 21 bits: exact.
            let bits = (temper(outputs[lane][0]) & UNIFORM).cast_signed() as f32;
            bits
        })
    }
}

impl Mersenne for super::wide::Portable {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__m512i;

    use pulp::cast;
    use pulp::x86::{V3, V4};

    use super::{B, C, LANES, MATRIX, Mersenne, Output, UNIFORM, UPPER, Words};

    impl Mersenne for V3 {}

    /// What `vpternlogd` makes of three bits.
    const SELECT: i32 = 0xCA;
    const XOR: i32 = 0x96;
    const XOR_AND: i32 = 0x78;
    const XOR_THEN_AND: i32 = 0x28;

    #[allow(clippy::inline_always)] // Parts of kernels.
    impl Mersenne for V4 {
        #[inline(always)]
        fn twisted(self, words: &Words, following: &Words, offsets: &Words) -> Words {
            let simd = self.avx512f;
            let following: __m512i = cast(*following);
            let lower = all(self, !UPPER);
            let y = simd._mm512_ternarylogic_epi32::<SELECT>(lower, following, cast(*words));
            // A look-up by four low bits, of which the lowest decides.
            let table: Words = std::array::from_fn(|i| if i % 2 == 0 { 0 } else { MATRIX });
            let matrix = simd._mm512_permutexvar_epi32(following, cast(table));
            let half = simd._mm512_srli_epi32::<1>(y);
            cast(simd._mm512_ternarylogic_epi32::<XOR>(cast(*offsets), half, matrix))
        }

        #[inline(always)]
        fn following(self, words: &Words, next: &Words) -> Words {
            cast(self.avx512f._mm512_alignr_epi32::<1>(cast(*next), cast(*words)))
        }

        #[inline(always)]
        fn least(self, a: &Words, b: &Words) -> Words {
            cast(self.avx512f._mm512_min_epu32(cast(*a), cast(*b)))
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
