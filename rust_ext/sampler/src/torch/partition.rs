//! The partition of libstdc++'s introsort, of floats by a measure of them, in vectors.
//!
//! Its two indices stop at floats that are swapped; where they stop is told for many floats at once.

use super::measure::Measure;
use crate::simd::kernel;
use crate::simd::lanes::LANES;
use crate::simd::wide::Wide;

/// Floats that are looked at together; of the smaller block, what is left in the end has a bit each in
/// one word.
const LARGE: usize = 128;
const SMALL: usize = 32;

kernel! {
    /// `__unguarded_partition`, ascending, of what follows the first float around that one; some float
    /// that follows measures no less. Returns where the second part begins.
    ///
    /// There are at least as many floats as lanes.
    pub(crate) fn partition<'a, M: Measure>(wide; values: &'a mut [f32], measure: M) -> usize {
        let pivot = wide.splat(measure.of_one(values[0]));
        let left = (1, values.len());
        let left = swap_in_blocks::<LARGE, _, _>(wide, values, left, measure, pivot);
        let left = swap_in_blocks::<SMALL, _, _>(wide, values, left, measure, pivot);
        finish(wide, values, left, measure, pivot)
    }
}

/// Makes the swaps that can be told from whole blocks; returns between which places the two indices
/// then are, which is less than two blocks.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn swap_in_blocks<const BLOCK: usize, W: Wide, M: Measure>(
    wide: W,
    values: &mut [f32],
    (mut low, mut high): (usize, usize),
    measure: M,
    pivot: W::Floats,
) -> (usize, usize) {
    let (mut lower, mut upper) = (Stops::new(), Stops::new());
    while high - low >= BLOCK {
        if lower.left == 0 {
            lower.clear(low);
            for start in (0..BLOCK).step_by(LANES) {
                lower.list(start, from_below(wide, values, low + start, measure, pivot));
            }
            low += BLOCK;
        } else {
            high -= BLOCK;
            upper.clear(high);
            for start in (0..BLOCK).step_by(LANES) {
                upper.list(start, from_above(wide, values, high + start, measure, pivot));
            }
        }
        let pairs = lower.left.min(upper.left);
        for pair in 0..pairs {
            let first = lower.places[(lower.done + pair) % PLACES];
            let last = upper.places[(upper.left - 1 - pair) % PLACES];
            values.swap(lower.base + usize::from(first), upper.base + usize::from(last));
        }
        lower.done += pairs;
        lower.left -= pairs;
        upper.left -= pairs;
    }
    // What one of the lists still holds is looked at again.
    if lower.left > 0 {
        low = lower.base + usize::from(lower.places[lower.done % PLACES]);
    }
    if upper.left > 0 {
        high = upper.base + usize::from(upper.places[(upper.left - 1) % PLACES]) + 1;
    }
    (low, high)
}

/// Room for the places of a block, and for what is written behind them.
const PLACES: usize = 256;

/// Where an index stops within a block.
struct Stops {
    base: usize,
    places: [u8; PLACES],
    /// How many were swapped, of those from below.
    done: usize,
    left: usize,
}

#[allow(clippy::inline_always)] // Part of a kernel.
impl Stops {
    #[inline(always)]
    fn new() -> Self {
        Self { base: 0, places: [0; PLACES], done: 0, left: 0 }
    }

    #[inline(always)]
    fn clear(&mut self, base: usize) {
        (self.base, self.done, self.left) = (base, 0, 0);
    }

    /// Adds those of a vector of the block.
    #[inline(always)]
    fn list(&mut self, start: usize, stops: u32) {
        const EACH: u64 = 0x0101_0101_0101_0101;
        for (byte, stops) in stops.to_le_bytes()[..LANES / 8].iter().enumerate() {
            let places = SET[usize::from(*stops)] + (start + 8 * byte) as u64 * EACH;
            self.places[self.left..][..8].copy_from_slice(&places.to_le_bytes());
            self.left += stops.count_ones() as usize;
        }
    }
}

/// The places of the bits that are set in a byte, a byte each.
const SET: [u64; 256] = {
    let mut all = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut count) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                all[byte] |= bit << (8 * count);
                count += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    all
};

/// A bit for each of a vector's floats, from `start` on, at which the index that comes from below
/// stops.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn from_below<W: Wide, M: Measure>(
    wide: W,
    values: &[f32],
    start: usize,
    measure: M,
    pivot: W::Floats,
) -> u32 {
    let (x, beyond) = load(wide, values, start);
    wide.at_least(measure.of(wide, x), pivot) >> beyond
}

/// As [`from_below`], of the index that comes from above.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn from_above<W: Wide, M: Measure>(
    wide: W,
    values: &[f32],
    start: usize,
    measure: M,
    pivot: W::Floats,
) -> u32 {
    let (x, beyond) = load(wide, values, start);
    wide.at_least(pivot, measure.of(wide, x)) >> beyond
}

/// A vector from `start` on, or, where it would reach beyond the end, the last one; and how many of
/// its lanes are before `start`.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn load<W: Wide>(wide: W, values: &[f32], start: usize) -> (W::Floats, usize) {
    let from = start.min(values.len() - LANES);
    let mut block = [0.0; LANES];
    block.copy_from_slice(&values[from..][..LANES]);
    (wide.load(&block), start - from)
}

/// Swaps what is left between two places, fewer than 64 apart.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn finish<W: Wide, M: Measure>(
    wide: W,
    values: &mut [f32],
    (low, high): (usize, usize),
    measure: M,
    pivot: W::Floats,
) -> usize {
    let count = high - low;
    let (mut below, mut above) = (0, 0);
    for start in (0..count).step_by(LANES) {
        below |= u64::from(from_below(wide, values, low + start, measure, pivot)) << start;
        above |= u64::from(from_above(wide, values, low + start, measure, pivot)) << start;
    }
    above &= (1 << count) - 1;
    let mut end = count;
    loop {
        // The one index stops at the latest where the other one last did.
        let first = (below.trailing_zeros() as usize).min(end);
        let last = above.checked_ilog2().map(|last| last as usize);
        let Some(last) = last.filter(|last| first < *last) else {
            return low + first;
        };
        values.swap(low + first, low + last);
        end = last;
        below &= below - 1;
        above ^= 1 << last;
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Itself;
    use super::*;
    use crate::torch::generator::Generator;

    /// `__unguarded_partition` as it is written there.
    fn plain(values: &mut [f32]) -> usize {
        let pivot = values[0];
        let (mut first, mut last) = (1, values.len());
        loop {
            while values[first] < pivot {
                first += 1;
            }
            last -= 1;
            while pivot < values[last] {
                last -= 1;
            }
            if first >= last {
                return first;
            }
            values.swap(first, last);
            first += 1;
        }
    }

    #[test]
    fn swaps_what_one_by_one_would_be_swapped() {
        let mut generator = Generator::new(13);
        for length in (LANES..200).chain([255, 256, 257, 1000, 5000]) {
            for levels in [1.0, 2.0, 3.0, 7.0, 1e6, 1e7] {
                let mut values: Vec<f32> =
                    (0..length).map(|_| (generator.next_f32() * levels).floor()).collect();
                // Few are less than the pivot, few are more, or as many.
                for share in [0, length / 2, length - 1, 1, length - 2, length / 4] {
                    let mut sorted = values.clone();
                    sorted.sort_by(f32::total_cmp);
                    let at = values.iter().position(|x| *x == sorted[share]).unwrap_or(0);
                    values.swap(0, at);
                    if values[1..].iter().all(|x| *x < values[0]) {
                        continue;
                    }
                    let mut expected = values.clone();
                    let cut = plain(&mut expected);
                    assert_eq!(partition(&mut values, Itself), cut, "{length} {levels} {share}");
                    assert_eq!(values, expected, "{length} {levels} {share}");
                }
            }
        }
    }
}
