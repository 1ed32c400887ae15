//! The largest logits of a row, and a bound below which the k largest do not lie.

use crate::simd::format::{Format, Single};
use crate::simd::lanes::LANES;
use crate::simd::wide::{Wide, folded};

/// The maxima of some blocks of logits, lane by lane; in a cache line of their own.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Maxima(pub(crate) [f32; LANES]);

/// Logits whose maxima are kept together.
pub(crate) const GROUP: usize = 16 * LANES;

const NONE: [f32; LANES] = [f32::NEG_INFINITY; LANES];

/// The maxima of a row, and memory used again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peaks {
    /// Of [`GROUP`] logits each; the last ones, of what is left.
    pub(crate) maxima: Vec<Maxima>,
    coarse: Vec<Maxima>,
    /// How far below its row's largest logit the previous bound lay; the next row is mostly like
    /// it.
    gap: Option<f32>,
}

impl Peaks {
    /// Takes the memory that rows of some length need.
    pub(crate) fn grow(&mut self, vocab: usize) {
        let Self { maxima, coarse, .. } = self;
        let count = vocab.div_ceil(GROUP) + 1;
        maxima.reserve(count.saturating_sub(maxima.len()));
        coarse.reserve(count.saturating_sub(coarse.len()));
    }

    /// Takes the maxima of a row and returns the largest; a NaN does not count.
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn take<F: Format, W: Wide>(&mut self, wide: W, row: &[F::Bits]) -> f32 {
        let (blocks, tail) = row.as_chunks::<LANES>();
        let (wholes, rest) = blocks.as_chunks::<{ GROUP / LANES }>();
        self.maxima.resize(wholes.len(), Maxima(NONE));
        let mut all = wide.load(&NONE);
        for (blocks, maxima) in wholes.iter().zip(&mut self.maxima) {
            let highest = highest::<F, _, _>(wide, blocks, |block| block);
            all = wide.max(highest, all);
            *maxima = Maxima(wide.store(highest));
        }
        if !rest.is_empty() || !tail.is_empty() {
            let last = F::load_tail(wide, tail);
            let last = wide.max(last, highest::<F, _, _>(wide, rest, |block| block));
            all = wide.max(last, all);
            self.maxima.push(Maxima(wide.store(last)));
        }
        folded(wide.store(all), |a: f32, b| if b > a { b } else { a })
    }

    /// A value that at least `k` of the row's logits reach, close to the k-th largest of the
    /// maxima. `None` where none within `reach` of `max` was found.
    #[allow(clippy::inline_always)] // Part of a kernel.
    #[inline(always)]
    pub(crate) fn lower_bound<W: Wide>(
        &mut self,
        wide: W,
        k: usize,
        max: f32,
        reach: f32,
    ) -> Option<f32> {
        /// With this many maxima for each of the k largest logits, two of them seldom share one.
        const ENOUGH: usize = 6;
        const MOST: usize = 16;
        let Self { maxima, coarse, gap } = self;
        // Each maximum is a logit of its own, so that maxima of maxima bound as well, less closely.
        let together = (maxima.len() * LANES / (ENOUGH * k)).min(MOST);
        let maxima = if together < 2 {
            maxima
        } else {
            coarse.clear();
            for maxima in maxima.chunks(together) {
                coarse.push(Maxima(wide.store(highest::<Single, _, _>(wide, maxima, |x| &x.0))));
            }
            coarse
        };
        let bound = search(wide, maxima, k, max, reach, gap.unwrap_or(reach / 8.0))?;
        *gap = Some(max - bound).filter(|gap| gap.is_finite());
        Some(bound)
    }
}

/// The maxima of some blocks, lane by lane.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn highest<F: Format, W: Wide, B>(
    wide: W,
    blocks: &[B],
    lanes: impl Fn(&B) -> &[F::Bits; LANES],
) -> W::Floats {
    // Maxima that take turns need not wait for each other.
    let [mut a, mut b, mut c, mut d] = [wide.load(&NONE); 4];
    let (fours, rest) = blocks.as_chunks();
    for [first, second, third, fourth] in fours {
        a = wide.max(F::load(wide, lanes(first)), a);
        b = wide.max(F::load(wide, lanes(second)), b);
        c = wide.max(F::load(wide, lanes(third)), c);
        d = wide.max(F::load(wide, lanes(fourth)), d);
    }
    for block in rest {
        a = wide.max(F::load(wide, lanes(block)), a);
    }
    wide.max(wide.max(a, b), wide.max(c, d))
}

/// Goes from `gap` below `max` in growing steps until the k-th largest lies between two values,
/// which are bisected.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn search<W: Wide>(
    wide: W,
    maxima: &[Maxima],
    k: usize,
    max: f32,
    reach: f32,
    gap: f32,
) -> Option<f32> {
    const STEPS: usize = 32;
    let enough = k + k / 8;
    let least = max - reach;
    let (mut low, mut high) = (None, None);
    let (mut middle, mut step) = (max - gap, (gap / 8.0).max(reach / 1024.0));
    for _ in 0..STEPS {
        let count = count_at_least(wide, maxima, middle);
        if count >= k {
            low = Some(middle);
            if count <= enough {
                break;
            }
        } else if middle <= least {
            return None;
        } else {
            high = Some(middle);
        }
        middle = match (low, high) {
            (Some(low), Some(high)) => f32::midpoint(low, high),
            (Some(low), None) => max.min(low + step),
            (None, _) => least.max(middle - step),
        };
        if Some(middle) == low || Some(middle) == high {
            break;
        }
        step *= 2.0;
    }
    low
}

#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn count_at_least<W: Wide>(wide: W, maxima: &[Maxima], least: f32) -> usize {
    let leasts = wide.splat(least);
    let mut count = 0;
    for x in maxima {
        count += wide.at_least(wide.load(&x.0), leasts).count_ones() as usize;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::kernel;
    use crate::torch::generator::Generator;

    kernel! {
        fn take<'a>(wide; peaks: &'a mut Peaks, row: &'a [f32]) -> f32 {
            peaks.take::<Single, _>(wide, row)
        }
    }

    kernel! {
        fn lower_bound<'a>(
            wide; peaks: &'a mut Peaks, k: usize, max: f32, reach: f32,
        ) -> Option<f32> {
            peaks.lower_bound(wide, k, max, reach)
        }
    }

    #[test]
    fn k_logits_reach_the_bound() {
        let mut generator = Generator::new(4);
        let mut peaks = Peaks::default();
        for length in [1_usize, 15, 16, 17, 255, 256, 257, 272, 1000, 70_000] {
            for levels in [3.0, 1e6] {
                let row: Vec<f32> = (0..length)
                    .map(|_| (generator.next_f32() * levels).floor() * 20.0 / levels)
                    .collect();
                let max = take(&mut peaks, &row);
                let mut sorted = row.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(max, sorted[0]);
                for k in [1, 2, 20, 80].into_iter().filter(|k| *k <= length) {
                    let bound = lower_bound(&mut peaks, k, max, 60.0);
                    assert!(bound.is_none_or(|bound| bound <= sorted[k - 1]), "{length} {k}");
                    assert!(bound.is_some() || length < LANES * k, "{length} {k}");
                }
            }
        }
    }

    #[test]
    fn a_bound_out_of_reach_is_none() {
        let mut row = [-100.0; 512];
        row[3] = 0.0;
        let mut peaks = Peaks::default();
        let max = take(&mut peaks, &row);
        assert_eq!(lower_bound(&mut peaks, 2, max, 60.0), None);
        assert_eq!(lower_bound(&mut peaks, 1, max, 60.0), Some(-7.5));
        assert_eq!(lower_bound(&mut peaks, 2, max, 60.0), None);
        // Wherever the steps fall.
        for depth in 61_u8..250 {
            let mut row = [-1000.0; 512];
            (row[3], row[20]) = (0.0, -f32::from(depth));
            let mut peaks = Peaks::default();
            let max = take(&mut peaks, &row);
            assert_eq!(lower_bound(&mut peaks, 2, max, 60.0), None, "{depth}");
        }
    }
}
