//! The order in which `torch.sort(descending=True)` leaves equal values.
//!
//! torch sorts (key, index) pairs with libstdc++'s `std::sort`, which is not stable: introsort,
//! then one insertion sort. Which of several tied tokens comes first is decided by the exact
//! sequence of its moves, so the moves are replayed.

use super::measure::Measure;
use super::partition::partition;

/// Ranges of at most this many elements are left to the final insertion sort (`_S_threshold`).
const THRESHOLD: usize = 16;

/// A probability and its token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: f32,
    pub(crate) index: u32,
}

/// Items that are sorted by a key, which is never NaN, in descending order.
pub(crate) trait Order: Copy {
    type Item: Copy;

    fn key(self, item: Self::Item) -> f32;
    /// `__unguarded_partition` of what follows the first item around that one, which is the median of
    /// three; returns where the second part begins.
    fn partition(self, items: &mut [Self::Item]) -> usize;

    fn before(self, a: Self::Item, b: Self::Item) -> bool {
        self.key(a) > self.key(b)
    }
}

/// [`Entry`]s, by their keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByKey;

impl Order for ByKey {
    type Item = Entry;

    fn key(self, entry: Entry) -> f32 {
        entry.key
    }

    fn partition(self, entries: &mut [Entry]) -> usize {
        let pivot = entries[0];
        let (first, last) = swap_in_blocks(entries, pivot);
        swap_until_they_meet(entries, pivot, first, last)
    }
}

/// Floats, by a measure of them; in ascending order, which the moves of a descending sort of negated
/// keys are those of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nearest<M>(pub(crate) M);

impl<M: Measure> Order for Nearest<M> {
    type Item = f32;

    fn key(self, x: f32) -> f32 {
        -self.0.of_one(x)
    }

    fn partition(self, values: &mut [f32]) -> usize {
        partition(values, self.0)
    }
}

/// Lists the indices of the entries whose key is `key`, in the order in which torch leaves them;
/// no key may be NaN. What becomes of the entries is not specified.
///
/// Only those parts are sorted that may hold the key: the last step of the sort, an insertion
/// sort, leaves equal keys in the order in which it finds them.
pub(crate) fn order_of_equal(entries: &mut [Entry], key: f32, order: &mut Vec<u32>) {
    order.clear();
    place_equal(entries, &[key], ByKey);
    order.extend(entries.iter().filter(|entry| entry.key == key).map(|entry| entry.index));
}

/// How far from its place [`place_equal`] may leave an item that has one of the keys.
pub(crate) const OFF: usize = THRESHOLD - 1;

/// Brings the items that have one of these keys, which descend, into the order in which torch leaves
/// those of the same key, each less than a threshold from its place. Where the others are is not
/// specified.
pub(crate) fn place_equal<O: Order>(items: &mut [O::Item], keys: &[f32], order: O) {
    if let Some(depth) = items.len().checked_ilog2() {
        introsort_around(items, keys, 2 * depth, order);
    }
}

/// Sorts as torch does; no key may be NaN.
pub(crate) fn sort_descending(entries: &mut [Entry]) {
    if let Some(depth) = entries.len().checked_ilog2() {
        introsort(entries, 2 * depth);
        final_insertion(entries);
    }
}

fn before(a: Entry, b: Entry) -> bool {
    a.key > b.key
}

/// [`introsort`] of those parts that may hold one of the `keys`, which descend.
fn introsort_around<O: Order>(
    mut items: &mut [O::Item],
    mut keys: &[f32],
    mut depth: u32,
    order: O,
) {
    while items.len() > THRESHOLD && !keys.is_empty() {
        if depth == 0 {
            heap_sort(items, order);
            return;
        }
        depth -= 1;
        let cut = partition_around_pivot(items, order);
        // Nothing before the cut is less than the pivot, which is among it; nothing after it is
        // more.
        let pivot = order.key(items[0]);
        let (left, right) = items.split_at_mut(cut);
        introsort_around(right, &keys[keys.partition_point(|key| *key > pivot)..], depth, order);
        keys = &keys[..keys.partition_point(|key| *key >= pivot)];
        items = left;
    }
}

fn introsort(mut entries: &mut [Entry], mut depth: u32) {
    while entries.len() > THRESHOLD {
        if depth == 0 {
            heap_sort(entries, ByKey);
            return;
        }
        depth -= 1;
        let cut = partition_around_pivot(entries, ByKey);
        let (left, right) = entries.split_at_mut(cut);
        introsort(right, depth);
        entries = left;
    }
}

/// `__unguarded_partition_pivot`: the median of three goes to the front and is the pivot.
fn partition_around_pivot<O: Order>(items: &mut [O::Item], order: O) -> usize {
    let length = items.len();
    median_to_first(items, 1, length / 2, length - 1, order);
    order.partition(items)
}

fn swap_until_they_meet(
    entries: &mut [Entry],
    pivot: Entry,
    mut first: usize,
    mut last: usize,
) -> usize {
    loop {
        while before(entries[first], pivot) {
            first += 1;
        }
        last -= 1;
        while before(pivot, entries[last]) {
            last -= 1;
        }
        if first >= last {
            return first;
        }
        entries.swap(first, last);
        first += 1;
    }
}

/// Makes the swaps of [`partition_around_pivot`] that can be told before its two indices come near
/// each other; returns where they then are.
///
/// The entries at which either index stops are listed block by block, without a branch that could
/// be predicted wrongly, and swapped in pairs.
fn swap_in_blocks(entries: &mut [Entry], pivot: Entry) -> (usize, usize) {
    let (mut low, mut high) = (1, entries.len());
    let (mut lower, mut upper) = (Stops::default(), Stops::default());
    while high - low >= Stops::BLOCK {
        if lower.left().is_empty() {
            let block = (low..).zip(&entries[low..]);
            lower.list(block, |entry| !before(entry, pivot));
            low += Stops::BLOCK;
        } else {
            let block = (0..high).zip(&entries[..high]).rev();
            upper.list(block, |entry| !before(pivot, entry));
            high -= Stops::BLOCK;
        }
        let pairs = lower.left().len().min(upper.left().len());
        for (&first, &last) in lower.left().iter().zip(upper.left()) {
            entries.swap(first, last);
        }
        lower.done += pairs;
        upper.done += pairs;
    }
    let first = lower.left().first().map_or(low, |first| *first);
    let last = upper.left().first().map_or(high, |last| last + 1);
    (first, last)
}

/// Where an index stops within a block.
#[derive(Default)]
struct Stops {
    at: [usize; Self::BLOCK],
    count: usize,
    /// How many were swapped.
    done: usize,
}

impl Stops {
    const BLOCK: usize = 32;

    fn list<'a>(
        &mut self,
        block: impl Iterator<Item = (usize, &'a Entry)>,
        stops: impl Fn(Entry) -> bool,
    ) {
        (self.count, self.done) = (0, 0);
        for (at, entry) in block.take(Self::BLOCK) {
            self.at[self.count % Self::BLOCK] = at;
            self.count += usize::from(stops(*entry));
        }
    }

    /// Those that wait for another.
    fn left(&self) -> &[usize] {
        &self.at[self.done..self.count]
    }
}

fn median_to_first<O: Order>(items: &mut [O::Item], a: usize, b: usize, c: usize, order: O) {
    let less = |x: usize, y: usize| order.before(items[x], items[y]);
    let median = if less(a, b) {
        if less(b, c) {
            b
        } else if less(a, c) {
            c
        } else {
            a
        }
    } else if less(a, c) {
        a
    } else if less(b, c) {
        c
    } else {
        b
    };
    items.swap(0, median);
}

fn heap_sort<O: Order>(items: &mut [O::Item], order: O) {
    let length = items.len();
    for parent in (0..length / 2).rev() {
        let value = items[parent];
        sift(items, parent, value, order);
    }
    for last in (1..length).rev() {
        let value = items[last];
        items[last] = items[0];
        sift(&mut items[..last], 0, value, order);
    }
}

/// `__adjust_heap`: the hole sinks to a leaf, then the value rises.
fn sift<O: Order>(items: &mut [O::Item], top: usize, value: O::Item, order: O) {
    let length = items.len();
    let mut hole = top;
    let mut child = 2 * hole + 2;
    while child < length {
        if order.before(items[child], items[child - 1]) {
            child -= 1;
        }
        items[hole] = items[child];
        hole = child;
        child = 2 * hole + 2;
    }
    if child == length {
        items[hole] = items[child - 1];
        hole = child - 1;
    }
    while hole > top {
        let parent = (hole - 1) / 2;
        if !order.before(items[parent], value) {
            break;
        }
        items[hole] = items[parent];
        hole = parent;
    }
    items[hole] = value;
}

fn final_insertion(entries: &mut [Entry]) {
    for index in 1..entries.len() {
        let value = entries[index];
        let mut hole = index;
        if index < THRESHOLD && before(value, entries[0]) {
            entries.copy_within(..index, 1);
            hole = 0;
        }
        // Past the threshold introsort left something no smaller to the left: no guard is needed.
        while hole > 0 && before(value, entries[hole - 1]) {
            entries[hole] = entries[hole - 1];
            hole -= 1;
        }
        entries[hole] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::generator::Generator;

    /// Descending keys, whatever their order: `ranks` are small for large keys.
    fn entries(ranks: impl Iterator<Item = f32>) -> Vec<Entry> {
        (0..).zip(ranks).map(|(index, rank)| Entry { key: -rank, index }).collect()
    }

    fn orders_are_the_sorts(entries: &[Entry]) {
        let mut sorted = entries.to_vec();
        sort_descending(&mut sorted);
        let mut order = Vec::new();
        for equal in sorted.chunk_by(|a, b| a.key == b.key) {
            let expected: Vec<u32> = equal.iter().map(|entry| entry.index).collect();
            order_of_equal(&mut entries.to_vec(), equal[0].key, &mut order);
            assert_eq!(order, expected, "key {} of {} entries", equal[0].key, entries.len());
        }
    }

    /// As [`orders_are_the_sorts`], of every third key at once.
    fn places_are_the_sorts(entries: &[Entry]) {
        let mut sorted = entries.to_vec();
        sort_descending(&mut sorted);
        let mut keys: Vec<f32> = sorted.iter().map(|entry| entry.key).collect();
        keys.dedup();
        let keys: Vec<f32> = keys.into_iter().step_by(3).collect();
        let mut placed = entries.to_vec();
        place_equal(&mut placed, &keys, ByKey);
        for key in keys {
            let of_key = |entries: &[Entry]| -> Vec<u32> {
                entries.iter().filter(|entry| entry.key == key).map(|entry| entry.index).collect()
            };
            assert_eq!(of_key(&placed), of_key(&sorted), "key {key} of {} entries", entries.len());
        }
    }

    #[test]
    fn blocks_swap_what_one_by_one_would_be_swapped() {
        let mut generator = Generator::new(13);
        for length in [17_u16, 32, 33, 64, 65, 96, 97, 200, 1000, 5000] {
            for levels in [1.0, 2.0, 7.0, 1e6] {
                let ranks = (0..length).map(|_| (generator.next_f32() * levels).floor());
                let mut blocks = entries(ranks);
                let length = usize::from(length);
                // Pivots that few are before, or after, leave one side without stops.
                for place in [0, length / 2, length / 3] {
                    blocks.swap(place, length - 1);
                    let mut plain = blocks.clone();
                    median_to_first(&mut plain, 1, length / 2, length - 1, ByKey);
                    let pivot = plain[0];
                    let cut = swap_until_they_meet(&mut plain, pivot, 1, length);
                    assert_eq!(partition_around_pivot(&mut blocks, ByKey), cut);
                    assert_eq!(blocks, plain);
                }
            }
        }
    }

    #[test]
    fn the_order_of_equal_keys_needs_no_whole_sort() {
        let mut generator = Generator::new(12);
        for length in [0_u16, 1, 2, 15, 16, 17, 18, 33, 100, 200, 1000, 3000] {
            for levels in [1.0, 2.0, 5.0, 100.0] {
                let ranks = (0..length).map(|_| (generator.next_f32() * levels).floor());
                let random = entries(ranks);
                orders_are_the_sorts(&random);
                places_are_the_sorts(&random);
                let level = |rank| (f32::from(rank) * levels / f32::from(length)).floor();
                orders_are_the_sorts(&entries((0..length).map(level)));
                orders_are_the_sorts(&entries((0..length).rev().map(level)));
            }
        }
    }

    #[test]
    fn a_heap_sorts() {
        let mut generator = Generator::new(14);
        for length in [0_u16, 1, 2, 3, 4, 16, 17, 100, 1000] {
            for levels in [3.0, 1e6] {
                let ranks = (0..length).map(|_| (generator.next_f32() * levels).floor());
                let mut sorted = entries(ranks);
                let mut expected: Vec<f32> = sorted.iter().map(|entry| entry.key).collect();
                expected.sort_by(|a, b| b.total_cmp(a));
                heap_sort(&mut sorted, ByKey);
                let keys: Vec<f32> = sorted.iter().map(|entry| entry.key).collect();
                assert_eq!(keys, expected);
                sorted.sort_by_key(|entry| entry.index);
                assert!(sorted.iter().zip(0..length).all(|(entry, at)| entry.index == at.into()));
            }
        }
    }

    /// Musser's sequence, against which the median of three is no help: the depth runs out, and a
    /// heap sorts what is left.
    #[test]
    fn the_order_of_equal_keys_survives_a_heap() {
        let half = 300_u16;
        let mut ranks = vec![0.0; 2 * usize::from(half)];
        for i in 1..=half {
            let at = usize::from(i);
            if i % 2 == 1 {
                ranks[at - 1] = f32::from(i);
                ranks[at] = f32::from(half + i);
            }
            ranks[usize::from(half) + at - 1] = 2.0 * f32::from(i);
        }
        let fine = entries(ranks.iter().copied());
        let mut depth = 0;
        let mut rest = fine.clone();
        let mut left = rest.as_mut_slice();
        while left.len() > THRESHOLD {
            let cut = partition_around_pivot(left, ByKey);
            left = if cut > left.len() / 2 { &mut left[..cut] } else { &mut left[cut..] };
            depth += 1;
        }
        assert!(depth > 2 * fine.len().ilog2(), "the depth runs out");
        let coarse = entries(ranks.iter().map(|rank| (rank / 3.0).floor()));
        for entries in [&fine, &coarse] {
            orders_are_the_sorts(entries);
            places_are_the_sorts(entries);
        }
    }
}
