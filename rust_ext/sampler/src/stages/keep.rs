//! What a stage keeps of a row, gathered.

use crate::simd::kernel;

/// Elements that are looked at together.
pub(crate) const BLOCK: usize = 16;

/// The smallest positive number: the least that a probability is if it is not zero.
pub(crate) const SMALLEST: f32 = f32::from_bits(1);

kernel! {
    /// Appends the values of a row that are at least `floor`.
    pub(crate) fn extend_at_least<'a>(values: &'a mut Vec<f32>, row: &'a [f32], floor: f32) -> () {
        let (blocks, tail) = row.as_chunks::<BLOCK>();
        for block in blocks {
            if any_at_least(block, floor) {
                extend_kept(values, block.iter().map(|p| (*p, *p >= floor)));
            }
        }
        values.extend(tail.iter().copied().filter(|p| *p >= floor));
    }
}

/// Whether anything in a block is kept; mostly, nothing is.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn any_at_least(block: &[f32; BLOCK], floor: f32) -> bool {
    #[allow(clippy::needless_bitwise_bool)] // With an early exit this would not vectorise.
    block.iter().fold(false, |any, p| any | (*p >= floor))
}

/// One bit a lane: whether it is kept.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn lanes_at_least(block: &[f32; BLOCK], floor: f32) -> u32 {
    if !any_at_least(block, floor) {
        return 0;
    }
    block.iter().rev().fold(0, |lanes, p| lanes << 1 | u32::from(*p >= floor))
}

/// Appends those items of a block that are marked, without a branch on each: where many are kept
/// and many are not, branches cannot be predicted.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn extend_kept<T: Copy + Default>(
    kept: &mut Vec<T>,
    block: impl Iterator<Item = (T, bool)>,
) {
    let mut length = kept.len();
    kept.resize(length + BLOCK, T::default());
    for (item, marked) in block.take(BLOCK) {
        kept[length] = item;
        length += usize::from(marked);
    }
    kept.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_filter() {
        let mut generator = crate::Generator::new(2);
        for length in [0, 1, 15, 16, 17, 100, 1024] {
            let row: Vec<f32> = (0..length).map(|_| generator.next_f32()).collect();
            for floor in [0.0, 0.2, 0.5, 0.99, 1.0] {
                let mut values = vec![7.0];
                extend_at_least(&mut values, &row, floor);
                let expected: Vec<f32> = row.iter().copied().filter(|p| *p >= floor).collect();
                assert_eq!(values[0], 7.0);
                assert_eq!(values[1..], expected, "{length} {floor}");
            }
        }
    }
}
