//! The order in which `torch.sort(descending=True)` leaves equal values.
//!
//! torch sorts (key, index) pairs with libstdc++'s `std::sort`, which is not stable: introsort,
//! then one insertion sort. Which of several tied tokens comes first is decided by the exact
//! sequence of its moves, so the moves are replayed.

/// Ranges of at most this many elements are left to the final insertion sort (`_S_threshold`).
const THRESHOLD: usize = 16;

/// A probability and its token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: f32,
    pub(crate) index: u32,
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

fn introsort(mut entries: &mut [Entry], mut depth: u32) {
    while entries.len() > THRESHOLD {
        if depth == 0 {
            heap_sort(entries);
            return;
        }
        depth -= 1;
        let cut = partition_around_pivot(entries);
        let (left, right) = entries.split_at_mut(cut);
        introsort(right, depth);
        entries = left;
    }
}

/// `__unguarded_partition_pivot`: the median of three goes to the front and is the pivot.
fn partition_around_pivot(entries: &mut [Entry]) -> usize {
    let length = entries.len();
    median_to_first(entries, 1, length / 2, length - 1);
    let pivot = entries[0];
    let (mut first, mut last) = (1, length);
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

fn median_to_first(entries: &mut [Entry], a: usize, b: usize, c: usize) {
    let less = |x: usize, y: usize| before(entries[x], entries[y]);
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
    entries.swap(0, median);
}

fn heap_sort(entries: &mut [Entry]) {
    let length = entries.len();
    for parent in (0..length / 2).rev() {
        let value = entries[parent];
        sift(entries, parent, value);
    }
    for last in (1..length).rev() {
        let value = entries[last];
        entries[last] = entries[0];
        sift(&mut entries[..last], 0, value);
    }
}

/// `__adjust_heap`: the hole sinks to a leaf, then the value rises.
fn sift(entries: &mut [Entry], top: usize, value: Entry) {
    let length = entries.len();
    let mut hole = top;
    let mut child = 2 * hole + 2;
    while child < length {
        if before(entries[child], entries[child - 1]) {
            child -= 1;
        }
        entries[hole] = entries[child];
        hole = child;
        child = 2 * hole + 2;
    }
    if child == length {
        entries[hole] = entries[child - 1];
        hole = child - 1;
    }
    while hole > top {
        let parent = (hole - 1) / 2;
        if !before(entries[parent], value) {
            break;
        }
        entries[hole] = entries[parent];
        hole = parent;
    }
    entries[hole] = value;
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
