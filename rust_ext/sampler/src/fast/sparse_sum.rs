//! torch's sum of a row that is zero but for a few tokens.

use super::survivors::Survivors;
use crate::planted::planted;
use crate::torch::capability::Capability;
use crate::torch::sums::{
    GROUP, LANES, LEVELS, SIDE, Sharing, added, cascade_power, cascade_sum, in_chunks,
};

/// [`row_sum`] of a row of `length` that is zero but for `survivors`.
pub(crate) fn sparse_row_sum(survivors: &Survivors, length: usize, sharing: Sharing) -> f32 {
    let (mut tokens, mut probabilities) = (survivors.tokens(), survivors.probabilities());
    let capability = sharing.capability;
    in_chunks(length, sharing, |chunk| {
        let count = if chunk.end == length {
            tokens.len()
        } else {
            tokens.partition_point(|token| (*token as usize) < chunk.end)
        };
        let (here, later) = tokens.split_at(count);
        let (p_here, p_later) = probabilities.split_at(count);
        (tokens, probabilities) = (later, p_later);
        let listed = here.iter().zip(p_here);
        sparse_cascade_sum(
            listed.map(|(token, p)| (*token as usize - chunk.start, *p)),
            chunk.len(),
            capability,
        )
    })
}

/// [`cascade_sum`] of a row of `length` that is zero but for what is listed, in ascending order.
///
/// Adding a zero changes nothing. So a lane's sums need not move up until the lane takes another
/// value; and what has not moved up at the end is added all the same.
fn sparse_cascade_sum(
    listed: impl Iterator<Item = (usize, f32)>,
    length: usize,
    capability: Capability,
) -> f32 {
    if planted!(SparseSumOrder) {
        return listed.fold(0.0, |sum, (_, p)| sum + p);
    }
    if length < LANES {
        let mut row = [0.0; LANES];
        for (at, p) in listed {
            row[at] = p;
        }
        return cascade_sum(&row[..length], capability);
    }
    let groups = length / GROUP;
    let power = cascade_power(groups);
    let mut cascade = LazyCascade::new(power);
    let mut leftover = [[0.0; LANES]; SIDE];
    let mut tail = 0.0;
    for (at, p) in listed {
        if at < groups * GROUP {
            #[allow(clippy::cast_possible_truncation)] // A row has at most 2^24 tokens.
            let block = (at / GROUP) as u32 >> power;
            cascade.add(at % GROUP, p, block);
        } else if at < length / LANES * LANES {
            leftover[at / LANES % SIDE][at % LANES] = p;
        } else {
            tail += p;
        }
    }
    let [sums, higher @ ..] = cascade.levels;
    let sums = higher.iter().fold(sums, added);
    let (sides, _) = sums.as_chunks::<LANES>();
    let lanes = leftover.iter().chain(&sides[1..]).fold(sides[0], added);
    lanes.iter().fold(tail, |sum, lane| sum + lane)
}

/// A cascade in which a lane's sums move up when it takes a value of a later block.
struct LazyCascade {
    levels: [[f32; GROUP]; LEVELS],
    /// The block that each lane last took a value of.
    blocks: [u32; GROUP],
    power: u32,
}

impl LazyCascade {
    fn new(power: u32) -> Self {
        Self { levels: [[0.0; GROUP]; LEVELS], blocks: [0; GROUP], power }
    }

    fn add(&mut self, lane: usize, p: f32, block: u32) {
        let Self { levels, blocks, power } = self;
        let before = std::mem::replace(&mut blocks[lane], block);
        // Which lane a value falls into cannot be predicted: no branch here.
        let stays = u32::from(before == block).wrapping_neg();
        let sum = levels[0][lane].to_bits();
        levels[0][lane] = p + f32::from_bits(sum & stays);
        levels[1][lane] += f32::from_bits(sum & !stays);
        let (mut from, mut to) = (before >> *power, block >> *power);
        for level in 2..LEVELS {
            if from == to {
                return;
            }
            let lower = std::mem::take(&mut levels[level - 1][lane]);
            levels[level][lane] += lower;
            from >>= *power;
            to >>= *power;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::torch::generator::Generator;
    use crate::torch::sums::row_sum;

    #[test]
    fn the_sparse_sum_is_the_sum() {
        let mut generator = Generator::new(5);
        for length in [1, 5, 6, 7, 8, 9, 31, 32, 33, 100, 511, 512, 545, 8193, 40_000, 300_007] {
            // Another order seldom rounds to another sum.
            let rounds = if length < 1000 { 40 } else { 1 };
            for share in [0.003, 0.1, 1.0].repeat(rounds) {
                let row: Vec<f32> = (0..length)
                    .map(|_| if generator.next_f32() < share { generator.next_f32() } else { 0.0 })
                    .collect();
                let survivors: Survivors =
                    (0..).zip(row.iter().copied()).filter(|(_, p)| *p > 0.0).collect();
                for threads in [1, 2, 5, 40, usize::MAX] {
                    let threads = NonZeroUsize::MIN.saturating_add(threads - 1);
                    for capability in [Capability::Avx2, Capability::Neon] {
                        let sharing = Sharing { alone: true, threads, capability };
                        let expected = row_sum(&row, sharing);
                        let actual = sparse_row_sum(&survivors, length, sharing);
                        let of = (length, share, sharing);
                        assert_eq!(actual.to_bits(), expected.to_bits(), "{of:?}");
                    }
                }
            }
        }
    }
}
