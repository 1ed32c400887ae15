//! The largest logits of a row, and a bound below which the k largest do not lie.

use crate::simd::kernel;
use crate::simd::wide::{LANES, Wide};

/// Logits whose maxima are kept together, one a lane.
pub(crate) const GROUP: usize = 16 * LANES;

/// The maxima of one group, lane by lane.
pub(crate) type Peaks = [f32; LANES];

const NONE: Peaks = [f32::NEG_INFINITY; LANES];

kernel! {
    /// Lists the maxima of every group of a row and returns the largest; a NaN counts as nothing.
    pub(crate) fn peaks<'a>(wide; row: &'a [f32], peaks: &'a mut Vec<Peaks>) -> f32 {
        let (blocks, tail) = row.as_chunks::<LANES>();
        peaks.clear();
        let mut all = wide.splat(f32::NEG_INFINITY);
        for group in blocks.chunks(GROUP / LANES) {
            let group = highest(wide, group);
            all = wide.max(group, all);
            peaks.push(wide.store(group));
        }
        if !tail.is_empty() {
            let mut last = NONE;
            last[..tail.len()].copy_from_slice(tail);
            let last = wide.max(wide.load(&last), wide.load(&NONE));
            all = wide.max(last, all);
            if (blocks.len() * LANES).is_multiple_of(GROUP) {
                peaks.push(wide.store(last));
            } else if let Some(group) = peaks.last_mut() {
                *group = wide.store(wide.max(last, wide.load(group)));
            }
        }
        let all = wide.store(all);
        all.into_iter().fold(f32::NEG_INFINITY, |max, x| if x > max { x } else { max })
    }
}

/// The maxima of some blocks, lane by lane.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
fn highest<W: Wide>(wide: W, blocks: &[Peaks]) -> W::Floats {
    // Two maxima that take turns need not wait for each other.
    let mut maxima = [wide.load(&NONE); 2];
    for block in blocks {
        let [now, later] = maxima;
        maxima = [later, wide.max(wide.load(block), now)];
    }
    wide.max(maxima[0], maxima[1])
}

/// A value that at least `k` of the row's logits reach, close to the k-th largest of the maxima.
///
/// `None` where none within `reach` of `max` was found. `coarse` is a workspace.
pub(crate) fn lower_bound(
    peaks: &[Peaks],
    k: usize,
    max: f32,
    reach: f32,
    coarse: &mut Vec<Peaks>,
) -> Option<f32> {
    // Each maximum is a logit of its own, so that maxima of maxima bound as well, less closely.
    if peaks.len() >= 4 * k {
        highest_of_each(peaks, coarse);
        return bisect(coarse, k, max, reach);
    }
    bisect(peaks, k, max, reach)
}

fn bisect(peaks: &[Peaks], k: usize, max: f32, reach: f32) -> Option<f32> {
    const STEPS: usize = 24;
    let enough = k + k / 8;
    let (mut low, mut high) = (max - reach, max);
    if count_at_least(peaks, low) < k {
        return None;
    }
    // The k largest mostly lie near the largest.
    let mut middle = max - reach / 8.0;
    for _ in 0..STEPS {
        if middle <= low || middle >= high {
            break;
        }
        let count = count_at_least(peaks, middle);
        if count < k {
            high = middle;
        } else {
            low = middle;
            if count <= enough {
                break;
            }
        }
        middle = f32::midpoint(low, high);
    }
    Some(low)
}

kernel! {
    fn count_at_least<'a>(wide; peaks: &'a [Peaks], least: f32) -> usize {
        let leasts = wide.splat(least);
        let counts = peaks.iter().map(|peaks| wide.at_least(wide.load(peaks), leasts).count_ones());
        counts.sum::<u32>() as usize
    }
}

kernel! {
    fn highest_of_each<'a>(wide; peaks: &'a [Peaks], coarse: &'a mut Vec<Peaks>) -> () {
        coarse.clear();
        coarse.extend(peaks.chunks(LANES).map(|peaks| wide.store(highest(wide, peaks))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generator;

    #[test]
    fn k_logits_reach_the_bound() {
        let mut generator = Generator::new(4);
        let (mut all, mut coarse) = (Vec::new(), Vec::new());
        for length in [1_usize, 15, 16, 17, 255, 256, 257, 272, 1000, 70_000] {
            for levels in [3.0, 1e6] {
                let row: Vec<f32> = (0..length)
                    .map(|_| (generator.next_f32() * levels).floor() * 20.0 / levels)
                    .collect();
                let max = peaks(&row, &mut all);
                let mut sorted = row.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(max, sorted[0]);
                assert_eq!(all.len(), length.div_ceil(GROUP));
                for k in [1, 2, 20, 80].into_iter().filter(|k| *k <= length) {
                    let bound = lower_bound(&all, k, max, 60.0, &mut coarse);
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
        let mut all = Vec::new();
        let max = peaks(&row, &mut all);
        assert_eq!(lower_bound(&all, 2, max, 60.0, &mut Vec::new()), None);
        assert_eq!(lower_bound(&all, 1, max, 60.0, &mut Vec::new()), Some(-7.5));
    }
}
