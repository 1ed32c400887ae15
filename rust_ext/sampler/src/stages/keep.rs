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
                extend_kept(values, block, floor, |at| block[at]);
            }
        }
        values.extend(tail.iter().copied().filter(|p| *p >= floor));
    }
}

/// Whether anything in a block is kept; mostly, nothing is.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn any_at_least(block: &[f32; BLOCK], floor: f32) -> bool {
    // `Iterator::any` has an early exit, and so does not vectorise.
    block.iter().fold(false, |any, p| any | (*p >= floor))
}

/// Appends an item for each value of a block that is at least `floor`, without a branch on each:
/// where values are kept often, branches on them cannot be predicted.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn extend_kept<T: Copy>(
    items: &mut Vec<T>,
    block: &[f32; BLOCK],
    floor: f32,
    item: impl Fn(usize) -> T,
) {
    let length = items.len();
    items.resize(length + BLOCK, item(0));
    let mut count = 0;
    if let Some(room) = items.last_chunk_mut::<BLOCK>() {
        for (at, p) in block.iter().enumerate() {
            room[count] = item(at);
            count += usize::from(*p >= floor);
        }
    }
    items.truncate(length + count);
}
