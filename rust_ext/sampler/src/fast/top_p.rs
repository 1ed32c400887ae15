//! Top-p (nucleus), with no more of the row sorted than decides.
//!
//! The order of the cumulative sum matters to the last bit only, so most rows are decided from sums
//! over buckets of like probabilities, with a bound on how far such a sum can be from the sequential
//! one; where the bound leaves a doubt, the row is sorted.

use super::few::{Few, sorted};
use super::keep::Gathered;
use super::narrow::{Bounds, SPLIT_ERROR, guess, multiply_and_split, narrow, split, sum_at_least};
use super::survivors::Survivors;
use crate::draw::race::SMALLEST;
use crate::planted::planted;
use crate::stages::softmax::multiply_by;
use crate::stages::top_p::crosses;
use crate::torch::sort::{Entry, order_of_equal};

/// Rows with no more candidates than this are sorted outright.
const FEW: usize = 256;
/// Rows of at least this many tokens are worth a guess of the cutoff: [`nucleus_of_product`].
pub(crate) const LONG: usize = 2048;
/// Buckets hold values alike in exponent and leading fraction bits; probabilities are at most 1,
/// or a little above by rounding.
const BUCKET_SHIFT: u32 = 18;
const BUCKETS: usize = (0x4000_0000 >> BUCKET_SHIFT) + 1;

/// What the nucleus keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Nucleus {
    /// Every token, zeros included.
    All,
    /// Every token with at least this probability.
    AtLeast(f32),
    /// Every token with more than `tied`, and those of the tied ones that
    /// [`Workspace::kept_ties`] lists.
    Split {
        /// The probability of the tokens that tie at the cutoff.
        tied: f32,
    },
}

/// Memory that the stage uses again from row to row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workspace {
    candidates: Gathered,
    bucket: Vec<f32>,
    masses: Vec<f64>,
    entries: Vec<Entry>,
    sample: Vec<f32>,
    few: Few,
    /// After [`Nucleus::Split`]: the tied tokens that stay, ascending.
    pub(crate) kept_ties: Vec<u32>,
}

impl Workspace {
    /// Takes the memory that lists of some length need.
    pub(crate) fn grow(&mut self, count: usize) {
        self.few.reserve(count);
    }
}

/// The cutoff: the smallest kept value, how many tokens stay, and how many of them are larger.
struct Cutoff {
    value: f32,
    kept_ties: usize,
    ties: usize,
}

/// Finds the nucleus of a row of `vocab` that is zero but for those listed tokens that are at least
/// `floor`.
pub(crate) fn nucleus_of_list(
    listed: &Survivors,
    floor: f32,
    vocab: usize,
    top_p: f64,
    workspace: &mut Workspace,
) -> Nucleus {
    #[allow(clippy::cast_possible_truncation)] // torch compares in f32.
    let top_p = top_p as f32;
    let probabilities = listed.probabilities();
    let sum = sum_at_least(probabilities, floor);
    if let Ok(false) = decision(probabilities.len(), 0.0, top_p)(sum) {
        return Nucleus::All;
    }
    let sorted = sorted(&mut workspace.few, probabilities);
    let sorted = &sorted[..sorted.partition_point(|p| *p >= floor)];
    let mut cutoff = walk(sorted, top_p);
    if planted!(CutoffEarly)
        && let Some(Cutoff { value, .. }) = cutoff
    {
        let last = sorted.partition_point(|p| *p > value).saturating_sub(1);
        cutoff = Some(cutoff_at(sorted, last));
    }
    as_nucleus(cutoff.as_ref(), workspace, |entries| {
        #[allow(clippy::cast_possible_truncation)] // A row has at most 2^24 tokens.
        entries.extend((0..vocab as u32).map(|index| Entry { key: 0.0, index }));
        for (token, probability) in listed.iter().filter(|(_, p)| *p >= floor) {
            entries[token as usize].key = probability;
        }
    })
}

/// Finds the nucleus of a row; `floor` is the top-k threshold below which values count as zero.
///
/// Values are finite and not negative; `top_p > 0`.
pub(crate) fn nucleus(row: &[f32], floor: f32, top_p: f64, workspace: &mut Workspace) -> Nucleus {
    #[allow(clippy::cast_possible_truncation)] // torch compares in f32.
    let top_p = top_p as f32;
    let least = floor.max(SMALLEST);
    // In a row whose sum is one, whatever is less than this adds up to less than what the nucleus
    // leaves out, so that the cutoff is not among it. If it should be, all are looked at.
    #[allow(clippy::cast_precision_loss)] // A guess.
    let likely = (1.0 - top_p) / row.len() as f32;
    let cutoff = find_cutoff(row, least.max(likely), top_p, workspace)
        .or_else(|| if likely > least { find_cutoff(row, least, top_p, workspace) } else { None });
    as_nucleus(cutoff.as_ref(), workspace, |entries| fill(entries, row, floor))
}

/// Multiplies a row by `factor`, which makes its sum one, and finds its nucleus; as [`nucleus`].
pub(crate) fn nucleus_of_product(
    row: &mut [f32],
    factor: f32,
    top_p: f64,
    workspace: &mut Workspace,
) -> Nucleus {
    #[allow(clippy::cast_possible_truncation)] // torch compares in f32.
    let narrowed = find_between(row, factor, top_p as f32, workspace);
    if let Ok(Some(cutoff)) = narrowed {
        return as_nucleus(Some(&cutoff), workspace, |entries| fill(entries, row, 0.0));
    }
    nucleus(row, 0.0, top_p, workspace)
}

/// A row as torch sorts it after top-k.
fn fill(entries: &mut Vec<Entry>, row: &[f32], floor: f32) {
    // Written so that a NaN, which only logits that change meanwhile can make, becomes a zero.
    let masked = row.iter().map(|&p| if p >= floor { p } else { 0.0 });
    entries.extend((0..).zip(masked).map(|(index, key)| Entry { key, index }));
}

/// As [`walk_sorted`] of the whole row times `factor`, sorting only the values near the cutoff.
///
/// `None` where a guess of the cutoff was bad, or could not be made.
fn find_between(
    row: &mut [f32],
    factor: f32,
    top_p: f32,
    workspace: &mut Workspace,
) -> Result<Option<Cutoff>, Doubt> {
    let Workspace { candidates: inside, sample, .. } = workspace;
    let Some(bounds) = guess(row, factor, 1.0 - top_p, sample) else {
        multiply_by(row, factor);
        return Ok(None);
    };
    let above = multiply_and_split(row, factor, bounds, inside);
    let split_error = if planted!(SplitError) { 0.0 } else { SPLIT_ERROR };
    let decided = decision(row.len(), above * split_error, top_p);
    walk_between(inside, bounds, above, decided).or_else(|Doubt| {
        let above = split(row, bounds, inside);
        walk_between(inside, bounds, above, decision(row.len(), 0.0, top_p))
    })
}

/// As [`walk_sorted`], of what is `inside` some bounds; `above` is the sum of what is above them.
fn walk_between(
    inside: &mut Gathered,
    bounds: Bounds,
    above: f64,
    decided: impl Fn(f64) -> Result<bool, Doubt>,
) -> Result<Option<Cutoff>, Doubt> {
    let Some(above) = narrow(inside, bounds, above, &decided)? else {
        return Ok(None);
    };
    walk_from(above, inside.values_mut(), decided)
}

/// As [`walk_sorted`], of values among which the sum crosses; `sum` is that of what is larger.
fn walk_from(
    mut sum: f64,
    values: &mut [f32],
    decided: impl Fn(f64) -> Result<bool, Doubt>,
) -> Result<Option<Cutoff>, Doubt> {
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    for at in 0..values.len() {
        sum += f64::from(values[at]);
        if decided(sum)? {
            return Ok(Some(cutoff_at(values, at)));
        }
    }
    Err(Doubt)
}

/// Whether a sum of up to `count` probabilities, taken in any order and `error` away from what it
/// should be, crosses in torch's order.
fn decision(count: usize, error: f64, top_p: f32) -> impl Fn(f64) -> Result<bool, Doubt> {
    // Adding n non-negative numbers in f64, in any order, is off by at most (n - 1) * 2^-53 of
    // the sum (Higham, Accuracy and Stability, 4.2, to first order). The sum is at most 2 here;
    // two such sums, and the second-order term, are within n * 2^-50.
    #[allow(clippy::cast_precision_loss)] // A row has at most 2^24 tokens.
    let doubt = count as f64 * (-50_f64).exp2() + error;
    move |sum| {
        let crossed = crosses(sum - doubt, top_p);
        if crossed == crosses(sum + doubt, top_p) { Ok(crossed) } else { Err(Doubt) }
    }
}

/// What stays at a cutoff; `fill` gives the whole row, which is only needed where ties part.
fn as_nucleus(
    cutoff: Option<&Cutoff>,
    workspace: &mut Workspace,
    fill: impl FnOnce(&mut Vec<Entry>),
) -> Nucleus {
    match cutoff {
        None => Nucleus::All,
        Some(&Cutoff { value, kept_ties, ties }) if kept_ties == ties || planted!(TiesStay) => {
            Nucleus::AtLeast(value)
        }
        Some(&Cutoff { value, kept_ties, .. }) => {
            // It is the whole row that torch sorts, zeros included: they decide the pivots.
            workspace.entries.clear();
            fill(&mut workspace.entries);
            keep_ties(value, kept_ties, workspace);
            Nucleus::Split { tied: value }
        }
    }
}

/// Finds the cutoff among the values that are at least `least`. `None` where their sum does not
/// cross.
fn find_cutoff(row: &[f32], least: f32, top_p: f32, workspace: &mut Workspace) -> Option<Cutoff> {
    let candidates = workspace.candidates.take_at_least(row, least);
    if candidates.len() <= FEW {
        return walk_sorted(candidates, top_p);
    }
    walk_buckets(top_p, workspace)
        .unwrap_or_else(|Doubt| walk_sorted(workspace.candidates.values_mut(), top_p))
}

/// Sorts, adds one by one, stops where the sum crosses. `None` where it never does.
fn walk_sorted(candidates: &mut [f32], top_p: f32) -> Option<Cutoff> {
    candidates.sort_unstable_by(|a, b| b.total_cmp(a));
    walk(candidates, top_p)
}

/// As [`walk_sorted`], of values in descending order.
fn walk(sorted: &[f32], top_p: f32) -> Option<Cutoff> {
    let mut sum = 0.0;
    let last = sorted.iter().position(|&p| {
        sum += f64::from(p);
        crosses(sum, top_p)
    })?;
    // Zeros come after every candidate: what crosses on the last one still drops them.
    Some(cutoff_at(sorted, last))
}

/// The cutoff whose last kept token is at `last` of values in descending order.
fn cutoff_at(sorted: &[f32], last: usize) -> Cutoff {
    let value = sorted[last];
    let larger = sorted.partition_point(|&p| p > value);
    let ties = sorted.partition_point(|&p| p >= value).saturating_sub(larger);
    Cutoff { value, kept_ties: (last + 1).saturating_sub(larger), ties }
}

/// The sums over buckets cannot tell on which side of `top_p` the sequential sum lies.
struct Doubt;

fn bucket_of(p: f32) -> usize {
    ((p.to_bits() >> BUCKET_SHIFT) as usize).min(BUCKETS - 1)
}

/// As [`walk_sorted`], sorting only the bucket in which the sum crosses.
fn walk_buckets(top_p: f32, workspace: &mut Workspace) -> Result<Option<Cutoff>, Doubt> {
    let Workspace { candidates, bucket: inside, masses, .. } = workspace;
    let candidates = candidates.values();
    masses.clear();
    masses.resize(BUCKETS, 0.0);
    for &p in candidates {
        masses[bucket_of(p)] += f64::from(p);
    }
    let decided = decision(candidates.len(), 0.0, top_p);

    let mut sum = 0.0;
    for bucket in (0..BUCKETS).rev() {
        if masses[bucket] == 0.0 {
            continue;
        }
        if !decided(sum + masses[bucket])? {
            sum += masses[bucket];
            continue;
        }
        inside.clear();
        inside.extend(candidates.iter().copied().filter(|&p| bucket_of(p) == bucket));
        return walk_from(sum, inside, decided);
    }
    Ok(None)
}

/// Lists which of the entries with probability `tied` come among the first in torch's order.
fn keep_ties(tied: f32, kept: usize, workspace: &mut Workspace) {
    let Workspace { entries, kept_ties, .. } = workspace;
    order_of_equal(entries, tied, kept_ties);
    kept_ties.truncate(kept + usize::from(planted!(OneTieMore)));
    kept_ties.sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages;
    use crate::torch::generator::Generator;

    /// What the stage keeps of the row.
    fn kept_by_definition(row: &[f32], floor: f32, top_p: f32) -> Vec<bool> {
        let mut masked: Vec<f32> = row.iter().map(|&p| if p < floor { 0.0 } else { p }).collect();
        stages::top_p::top_p(&mut masked, f64::from(top_p))
    }

    fn row(length: usize, levels: f32, total: f32, generator: &mut Generator) -> Vec<f32> {
        let row: Vec<f32> =
            (0..length).map(|_| (generator.next_f32().powi(8) * levels).floor()).collect();
        let sum: f32 = row.iter().sum();
        row.iter().map(|p| p / sum.max(1.0) * total).collect()
    }

    fn kept(row: &[f32], nucleus: Nucleus, workspace: &Workspace) -> Vec<bool> {
        let stays = |(token, &p): (u32, &f32)| match nucleus {
            Nucleus::All => true,
            Nucleus::AtLeast(value) => p >= value,
            Nucleus::Split { tied } => {
                p > tied || p == tied && workspace.kept_ties.contains(&token)
            }
        };
        (0..).zip(row).map(stays).collect()
    }

    #[test]
    fn is_the_definition() {
        let mut generator = Generator::new(3);
        let mut workspace = Workspace::default();
        let mut narrowed = 0;
        for length in [1, 15, 16, 100, FEW, 1000, 5000] {
            // Few levels tie; a total other than one is what top-k leaves, and foils the guess.
            for (levels, total) in [(4.0, 1.0), (1e3, 1.0), (1e7, 1.0), (1e7, 0.5), (1e7, 1.01)] {
                let row = row(length, levels, total, &mut generator);
                for top_p in [1e-4, 0.3, 0.5, 0.85, 0.999, 1.0, 2.0] {
                    for floor in [0.0, row[0], 1e-4] {
                        let nucleus = nucleus(&row, floor, f64::from(top_p), &mut workspace);
                        let expected = kept_by_definition(&row, floor, top_p);
                        let kept = kept(&row, nucleus, &workspace);
                        assert!(kept == expected, "{length} {levels} {total} {floor} {top_p}");
                    }
                    for factor in [1.0, 0.37] {
                        let mut product: Vec<f32> = row.iter().map(|p| p / factor).collect();
                        let between = find_between(&mut product, factor, top_p, &mut workspace);
                        narrowed += u32::from(matches!(between, Ok(Some(_))));
                        let mut product: Vec<f32> = row.iter().map(|p| p / factor).collect();
                        let nucleus = nucleus_of_product(
                            &mut product,
                            factor,
                            f64::from(top_p),
                            &mut workspace,
                        );
                        let expected = kept_by_definition(&product, 0.0, top_p);
                        let kept = kept(&product, nucleus, &workspace);
                        assert!(kept == expected, "{length} {levels} {total} {factor} {top_p}");
                    }
                }
            }
        }
        assert!(narrowed > 20, "{narrowed} rows were decided without a sort");
    }

    #[test]
    fn of_a_list_is_the_definition() {
        let mut generator = Generator::new(4);
        let mut workspace = Workspace::default();
        let (mut parted, mut at_floor) = (0, 0);
        for round in 0..600_usize {
            let row = row(1000, [3.0, 20.0, 1e7][round % 3], 1.0, &mut generator);
            let mut sorted = row.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let (floor, lowest) = (sorted[30], sorted[50].max(SMALLEST));
            let listed: Survivors =
                (0..).zip(row.iter().copied()).filter(|(_, p)| *p >= lowest).collect();
            // The sum crosses at any of them, also at those that tie with the floor.
            let last = generator.next_u32() as usize % 31;
            let before: f64 = sorted[..last].iter().map(|p| f64::from(*p)).sum();
            #[allow(clippy::cast_possible_truncation)] // torch compares in f32.
            let top_p = (before + 0.3 * f64::from(sorted[last])) as f32;
            if floor == 0.0 || top_p == 0.0 {
                continue;
            }
            let nucleus =
                nucleus_of_list(&listed, floor, row.len(), f64::from(top_p), &mut workspace);
            parted += u32::from(matches!(nucleus, Nucleus::Split { .. }));
            at_floor += u32::from(sorted[last] == floor);
            let (kept, expected) =
                (kept(&row, nucleus, &workspace), kept_by_definition(&row, floor, top_p));
            for (token, p) in row.iter().enumerate().filter(|(_, p)| **p >= floor) {
                assert_eq!(kept[token], expected[token], "round {round}, token {token} of {p}");
            }
        }
        assert!(parted > 20 && at_floor > 20, "{parted} {at_floor}");
    }

    #[test]
    fn only_ties_that_part_are_listed() {
        let mut workspace = Workspace::default();
        let row = [0.2, 0.5, 0.2, 0.1];
        for (top_p, expected) in [
            (0.4, Nucleus::AtLeast(0.5)),
            (0.6, Nucleus::Split { tied: 0.2 }),
            (0.8, Nucleus::AtLeast(0.2)),
            (0.95, Nucleus::AtLeast(0.1)),
            (1.1, Nucleus::All),
        ] {
            assert_eq!(nucleus(&row, 0.0, top_p, &mut workspace), expected, "{top_p}");
        }
        assert_eq!(workspace.kept_ties.len(), 1);
    }

    /// The cumulative sum ends just where it would cross if it were any larger; in another order it is
    /// rounded to another one.
    #[test]
    fn sums_that_the_order_decides_are_taken_in_torchs() {
        let mut generator = Generator::new(17);
        let mut workspace = Workspace::default();
        let (mut tried, mut larger) = (0, 0);
        while tried < 100 {
            let ulp = (-53.0_f64).exp2();
            let mut row: Vec<f32> = (0..200).map(|_| generator.next_f32() * 6e-3 + 1e-3).collect();
            row.sort_by(|a, b| b.total_cmp(a));
            // Each is rounded when it is added to the rest.
            let tail: Vec<f32> = (0..500).map(|_| generator.next_f32() * 1e-13).collect();
            let mut tail_in_order = tail.clone();
            tail_in_order.sort_by(|a, b| b.total_cmp(a));
            let added = tail_in_order.iter().fold(0.5, |sum, p| sum + f64::from(*p)) - 0.5;
            let sum = row.iter().fold(0.0, |sum, p| sum + f64::from(*p));
            // Half way between two floats, of which the even one is the lesser.
            let steps = ((sum + 3e-4) * 24.0_f64.exp2() / 2.0).ceil() * 2.0;
            let end = (steps + 0.5) * (-24.0_f64).exp2();
            let rest = end - sum - added;
            #[allow(clippy::cast_possible_truncation)] // What is cut off is the other one.
            let first = f32::from_bits((rest as f32).to_bits() - 1);
            let second = rest - f64::from(first);
            #[allow(clippy::cast_possible_truncation)] // Exact: a few multiples of 2^-53.
            let fits = f64::from(second as f32) == second && second > 1e-13 && end < 1.0;
            if !(fits && sum > 0.5) {
                continue;
            }
            #[allow(clippy::cast_possible_truncation)]
            row.extend([first, second as f32]);
            row.extend(&tail_in_order);
            let torchs = row.iter().fold(0.0, |sum, p| sum + f64::from(*p));
            if torchs != end {
                // One of the tail lies half way between two roundings.
                continue;
            }
            let other = tail.iter().map(|p| f64::from(*p)).sum::<f64>() + (end - added);
            larger += u32::from(other >= end + ulp);
            tried += 1;
            row.extend([0.0; 10]);
            #[allow(clippy::cast_possible_truncation)] // Half a step less than that.
            let top_p = (end - ulp) as f32;
            let expected = kept_by_definition(&row, 0.0, top_p);
            assert!(expected.iter().all(|kept| *kept), "torch's sum does not cross");
            let nucleus = nucleus(&row, 0.0, f64::from(top_p), &mut workspace);
            assert_eq!(nucleus, Nucleus::All);
        }
        assert!(larger > 20, "{larger} sums cross in another order");
    }

    #[test]
    fn a_sum_at_top_p_is_taken_again_in_f64() {
        let mut generator = Generator::new(6);
        let mut workspace = Workspace::default();
        let row = row(5000, 1e7, 1.0, &mut generator);
        let mut sorted = row.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        let mut decided = 0;
        for p in sorted {
            sum += f64::from(p);
            if !(0.5..=0.95).contains(&sum) {
                continue;
            }
            // As close to a crossing as f32 can say.
            #[allow(clippy::cast_possible_truncation)]
            let top_p = sum as f32;
            let Ok(Some(cutoff)) = find_between(&mut row.clone(), 1.0, top_p, &mut workspace)
            else {
                panic!("{top_p} was not decided");
            };
            let nucleus =
                as_nucleus(Some(&cutoff), &mut workspace, |entries| fill(entries, &row, 0.0));
            assert!(kept(&row, nucleus, &workspace) == kept_by_definition(&row, 0.0, top_p));
            decided += 1;
        }
        assert!(decided > 100, "{decided}");
    }
}
