//! Values in ascending order, where the order of equal ones cannot be seen.

/// Fewer are sorted by comparisons.
const MANY: usize = 1024;
/// Bits that are sorted by at a time.
const DIGIT: u32 = 11;
const DIGITS: usize = 3;

/// What is sorted, and memory to do it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ascending<T> {
    pub(crate) items: Vec<T>,
    spare: Vec<T>,
    counts: Vec<[u32; 1 << DIGIT]>,
}

impl<T: Copy + Default> Ascending<T> {
    /// Sorts the items by a key.
    pub(crate) fn sort_by(&mut self, key: impl Fn(T) -> u32) {
        let Self { items, spare, counts } = self;
        if items.len() < MANY {
            items.sort_unstable_by_key(|item| key(*item));
            return;
        }
        let digit = |item, place| (key(item) >> (DIGIT * place)) as usize % (1 << DIGIT);
        counts.clear();
        counts.resize(DIGITS, [0; 1 << DIGIT]);
        for &item in &*items {
            for (place, counts) in (0..).zip(&mut *counts) {
                counts[digit(item, place)] += 1;
            }
        }
        spare.resize(items.len(), T::default());
        // The lowest digit first.
        for (place, starts) in (0..).zip(&mut *counts) {
            let mut start = 0;
            for count in &mut *starts {
                start += std::mem::replace(count, start);
            }
            for &item in &*items {
                let next = &mut starts[digit(item, place)];
                spare[*next as usize] = item;
                *next += 1;
            }
            std::mem::swap(items, spare);
        }
    }
}

/// A key whose order is that of the floats: a negative one's bits are inverted, others get a higher
/// first bit.
pub(crate) fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    bits ^ ((bits.cast_signed() >> 31).cast_unsigned() | 1 << 31)
}

/// The float of a key.
pub(crate) fn value(key: u32) -> f32 {
    f32::from_bits(key ^ ((!key.cast_signed() >> 31).cast_unsigned() | 1 << 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::generator::Generator;

    #[test]
    fn is_the_order_of_floats() {
        let mut generator = Generator::new(8);
        let edges =
            [-0.0, 0.0, f32::MIN, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, 1e-45, -1e-45];
        for length in [0, 1, 2, 100, MANY - 1, MANY, 5000, 50_000] {
            let random = |_| f32::from_bits(generator.next_u32());
            let numbers = (0..length).map(random).filter(|x: &f32| !x.is_nan());
            let mut expected: Vec<f32> = edges.into_iter().chain(numbers).collect();
            let mut ascending = Ascending::default();
            ascending.items.extend(expected.iter().map(|x| key(*x)));
            ascending.sort_by(|key| key);
            expected.sort_by(f32::total_cmp);
            let sorted = ascending.items.iter().map(|key| value(*key).to_bits());
            assert!(sorted.eq(expected.iter().map(|x| x.to_bits())));
        }
    }
}
