//! What a stage keeps of a row, gathered.

use crate::simd::kernel;
pub(crate) use crate::simd::lanes::LANES as BLOCK;

/// Some values of a row, with room behind them for whole blocks to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gathered {
    buffer: Vec<f32>,
    length: usize,
}

impl Gathered {
    /// Where as many values of a row of `length` can be written as it has, block by block; then
    /// [`keep`](Self::keep) says how many were.
    pub(crate) fn room(&mut self, length: usize) -> &mut [f32] {
        if self.buffer.len() < length + BLOCK {
            self.buffer.resize(length + BLOCK, 0.0);
        }
        &mut self.buffer
    }

    pub(crate) fn keep(&mut self, length: usize) {
        self.length = length;
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.buffer[..self.length]
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.length]
    }

    /// Takes the values of a row that are at least `least`.
    pub(crate) fn take_at_least(&mut self, row: &[f32], least: f32) -> &mut [f32] {
        self.length = gather_at_least(row, least, self.room(row.len()));
        self.values_mut()
    }
}

/// A bit for each lane.
const ALL: u32 = (1 << BLOCK) - 1;

kernel! {
    fn gather_at_least<'a>(wide; row: &'a [f32], least: f32, room: &'a mut [f32]) -> usize {
        let leasts = wide.splat(least);
        let mut length = 0;
        let (blocks, tail) = row.as_chunks();
        for block in blocks {
            let x = wide.load(block);
            let kept = wide.at_least(x, leasts);
            if kept == ALL {
                room[length..length + BLOCK].copy_from_slice(block);
                length += BLOCK;
            } else if kept != 0 {
                room[length..length + BLOCK].copy_from_slice(&wide.gather(x, kept));
                length += kept.count_ones() as usize;
            }
        }
        for x in tail.iter().filter(|x| **x >= least) {
            room[length] = *x;
            length += 1;
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_filter() {
        let mut generator = crate::torch::generator::Generator::new(2);
        let mut gathered = Gathered::default();
        for length in [0, 1, 15, 16, 17, 100, 1024] {
            let row: Vec<f32> = (0..length).map(|_| generator.next_f32()).collect();
            for floor in [0.0, 0.2, 0.5, 0.99, 1.0] {
                let expected: Vec<f32> = row.iter().copied().filter(|p| *p >= floor).collect();
                assert_eq!(gathered.take_at_least(&row, floor), expected, "{length} {floor}");
            }
        }
    }
}
