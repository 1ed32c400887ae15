//! What logits are read as: f32, or half-precision bits that a kernel widens as it loads them.

use super::lanes::LANES;
use super::wide::Wide;

/// A format of floats that f32 holds exactly.
#[allow(clippy::inline_always)] // Parts of kernels.
pub(crate) trait Format: Copy {
    /// One of them.
    type Bits: Copy;

    /// Less than all others.
    const NONE: Self::Bits;

    fn widened(bits: Self::Bits) -> f32;

    #[inline(always)]
    fn load<W: Wide>(wide: W, block: &[Self::Bits; LANES]) -> W::Floats {
        let mut lanes = [0.0; LANES];
        for (lane, bits) in lanes.iter_mut().zip(block) {
            *lane = Self::widened(*bits);
        }
        wide.load(&lanes)
    }

    /// A short block, filled up with what is less than all others.
    #[inline(always)]
    fn load_tail<W: Wide>(wide: W, tail: &[Self::Bits]) -> W::Floats {
        let mut block = [Self::NONE; LANES];
        block[..tail.len()].copy_from_slice(tail);
        Self::load(wide, &block)
    }
}

/// f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Single;

/// bf16: the upper half of an f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brain;

/// IEEE's binary16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half;

#[allow(clippy::inline_always)] // Parts of kernels.
impl Format for Single {
    type Bits = f32;

    const NONE: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn widened(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn load<W: Wide>(wide: W, block: &[f32; LANES]) -> W::Floats {
        wide.load(block)
    }
}

#[allow(clippy::inline_always)] // Parts of kernels.
impl Format for Brain {
    type Bits = u16;

    const NONE: u16 = 0xFF80;

    #[inline(always)]
    fn widened(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }
}

#[allow(clippy::inline_always)] // Parts of kernels.
impl Format for Half {
    type Bits = u16;

    const NONE: u16 = 0xFC00;

    #[inline(always)]
    fn widened(bits: u16) -> f32 {
        /// Sign, exponent and fraction where an f32 has them.
        const PLACES: u32 = 0x8FFF_E000;
        /// The largest exponent, of both: what is not finite has it.
        const LAST: u32 = 31 << 23;
        const NOT_FINITE: u32 = 255 << 23;
        /// By how much less the bias of an exponent is than in f32: 2^112.
        const SCALE: f32 = f32::from_bits((112 + 127) << 23);
        // The sign is above all places.
        let places = (i32::from(bits.cast_signed()) << 13).cast_unsigned() & PLACES;
        // Exact, also where there is no exponent, which f32 does not have then either.
        let finite = (f32::from_bits(places) * SCALE).to_bits();
        let exponent = if places & LAST == LAST { NOT_FINITE } else { 0 };
        f32::from_bits(finite | exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_widened() {
        for bits in 0..=u16::MAX {
            let (brain, half) = (half::bf16::from_bits(bits), half::f16::from_bits(bits));
            let same = |found: f32, expected: f32| {
                found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
            };
            assert!(same(Brain::widened(bits), brain.to_f32()), "{bits:#x}");
            assert!(same(Half::widened(bits), half.to_f32()), "{bits:#x}");
        }
        for none in [Brain::widened(Brain::NONE), Half::widened(Half::NONE), Single::NONE] {
            assert_eq!(none, f32::NEG_INFINITY);
        }
    }
}
