//! The sum of a row's exponentials, and in passing a list of its largest logits.

use super::exp_estimate::{Estimate, scale_of, total};
use super::peaks::{GROUP, Maxima};
use crate::planted::planted;
use crate::simd::format::{Format, Single};
use crate::simd::lanes::LANES as BLOCK;
use crate::simd::wide::Wide;
use crate::torch::capability::{Arithmetic, Capability};
use crate::torch::exp::{CLibrary, Exponential, Sleef, Sums, halves, in_order};

/// Logits that are looked at together, one a bit.
pub(crate) const WORD: usize = u64::BITS as usize;

/// Which logits of a row are listed in passing: those of at least `least`.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    pub(crate) least: f32,
    /// The maxima of every [`GROUP`] logits, lane by lane: a group whose maximum is too small holds
    /// no logit to list, and is skipped.
    pub(crate) peaks: &'a [Maxima],
    /// Has a place for each [`WORD`] logits, and one more; those that list any are left.
    pub(crate) words: &'a mut Vec<Word>,
}

/// The number of the first of some logits, and which of them are listed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Word {
    pub(crate) first: u32,
    pub(crate) lanes: u64,
}

/// The sum of the exponentials of `logits[i] - max`, in torch's order; lists logits in passing.
///
/// No `logits[i] - max` may be positive; NaN gives NaN.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn exp_sum_in<W: Wide>(
    wide: W,
    logits: &[f32],
    max: f32,
    listing: Listing<'_>,
    capability: Capability,
) -> f32 {
    let (sleef, library) = (Sleef::new(wide, max), CLibrary { max });
    match capability.arithmetic() {
        Arithmetic::Default => {
            in_order(accumulate_and_list::<8, Single, _>(wide, library, logits, listing))
        }
        Arithmetic::Avx2 => {
            halves(accumulate_and_list::<8, Single, _>(wide, sleef, logits, listing))
        }
        Arithmetic::Avx512 => {
            halves(accumulate_and_list::<16, Single, _>(wide, sleef, logits, listing))
        }
        Arithmetic::Neon => {
            halves(accumulate_and_list::<4, Single, _>(wide, sleef, logits, listing))
        }
    }
}

/// As [`exp_sum_in`], of estimates of the exponentials of `(logits[i] - max) / temperature`: off by no
/// more than [`estimate_error`](super::exp_estimate::estimate_error), as a share.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn estimated_exp_sum_in<F: Format, W: Wide>(
    wide: W,
    logits: &[F::Bits],
    max: f32,
    temperature: f32,
    listing: Listing<'_>,
) -> f64 {
    let exp = Estimate { max, scale: scale_of(temperature) };
    total(accumulate_and_list::<BLOCK, F, _>(wide, exp, logits, listing))
}

/// The lane sums of the exponentials, which are forgotten; logits are listed.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn accumulate_and_list<const LANES: usize, F: Format, W: Wide>(
    wide: W,
    exp: impl Exponential<W>,
    logits: &[F::Bits],
    Listing { least, peaks, words }: Listing<'_>,
) -> [f32; LANES] {
    let leasts = wide.splat(least);
    let mut sums = Sums::<W, LANES>::new(wide);
    let mut listed = 0;
    let mut peaks = peaks.iter();
    for (group, first) in logits.chunks(GROUP).zip((0..).step_by(GROUP)) {
        let (wholes, rest) = group.as_chunks::<WORD>();
        if peaks.next().is_some_and(|peaks| wide.at_least(wide.load(&peaks.0), leasts) != 0) {
            let parts = wholes.iter().map(<[F::Bits; WORD]>::as_slice).chain([rest]);
            for (part, first) in parts.zip((first..).step_by(WORD)) {
                let mut lanes = add_and_compare::<LANES, F, _>(wide, exp, part, leasts, &mut sums);
                if planted!(ListingLast) && !part.len().is_multiple_of(WORD) {
                    lanes &= !(1 << (part.len() - 1));
                }
                // Which have any cannot be predicted: those are listed without a branch.
                words[listed] = Word { first, lanes };
                listed += usize::from(lanes != 0);
            }
        } else {
            let (blocks, tail) = group.as_chunks();
            for block in blocks {
                sums.add(wide, exp.of(wide, F::load(wide, block)));
            }
            if !tail.is_empty() {
                sums.add(wide, exp.of(wide, F::load_tail(wide, tail)));
            }
        }
    }
    words.truncate(listed);
    sums.lanes(wide, logits.len())
}

/// Adds the exponentials of up to 64 logits; returns one bit for each: whether it is at least
/// `leasts`.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn add_and_compare<const LANES: usize, F: Format, W: Wide>(
    wide: W,
    exp: impl Exponential<W>,
    logits: &[F::Bits],
    leasts: W::Floats,
    sums: &mut Sums<W, LANES>,
) -> u64 {
    let (blocks, tail) = logits.as_chunks();
    let mut lanes = 0;
    for (block, at) in blocks.iter().zip((0..).step_by(BLOCK)) {
        let x = F::load(wide, block);
        lanes |= u64::from(wide.at_least(x, leasts)) << at;
        sums.add(wide, exp.of(wide, x));
    }
    if !tail.is_empty() {
        let x = F::load_tail(wide, tail);
        lanes |= u64::from(wide.at_least(x, leasts)) << (blocks.len() * BLOCK);
        sums.add(wide, exp.of(wide, x));
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::kernel;
    use crate::torch::exp::exp_and_sum;
    use crate::torch::generator::Generator;

    kernel! {
        fn sum_and_list<'a>(
            wide;
            logits: &'a [f32],
            least: f32,
            peaks: &'a [Maxima],
            words: &'a mut Vec<Word>,
            capability: Capability,
        ) -> f32 {
            exp_sum_in(wide, logits, 0.0, Listing { least, peaks, words }, capability)
        }
    }

    /// Of few levels, so that logits are at the least one, in blocks and behind them.
    #[test]
    fn what_is_listed_is_a_filter() {
        let mut generator = Generator::new(4);
        for length in [1, 15, 17, 64, 65, 100, GROUP, GROUP + 1, GROUP + 63, 4 * GROUP + 90] {
            let logits: Vec<f32> =
                (0..length).map(|_| (generator.next_f32() * 30.0).floor() / -4.0).collect();
            let peaks: Vec<Maxima> = logits
                .chunks(GROUP)
                .map(|group| {
                    let highest = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    Maxima([highest; BLOCK])
                })
                .collect();
            for least in [0.0, -0.25, -1.0, -1.1, -7.25] {
                let expected: Vec<u32> =
                    (0..).zip(&logits).filter(|(_, x)| **x >= least).map(|(at, _)| at).collect();
                for capability in Capability::ALL {
                    let mut words = vec![Word::default(); length.div_ceil(WORD) + 1];
                    let sum = sum_and_list(&logits, least, &peaks, &mut words, capability);
                    let listed: Vec<u32> = words
                        .iter()
                        .flat_map(|word| {
                            let has = |at: &u32| word.lanes >> at & 1 == 1;
                            (0..u64::BITS).filter(has).map(|at| word.first + at)
                        })
                        .collect();
                    assert_eq!(listed, expected, "{length} {least}");
                    let mut exponentials = vec![0.0; length];
                    let plain = exp_and_sum(&logits, 0.0, &mut exponentials, capability);
                    assert_eq!(sum.to_bits(), plain.to_bits(), "{length} {least}");
                }
            }
        }
    }
}
