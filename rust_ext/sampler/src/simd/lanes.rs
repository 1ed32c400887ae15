//! How wide a vector is, and the instruction set that every processor has.

/// Lanes of a vector, whatever registers hold it.
pub(crate) const LANES: usize = 16;

/// Without any instruction set of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

/// Numbers for tests: `SplitMix64`.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Source(pub(crate) u64);

#[cfg(test)]
impl Source {
    pub(crate) fn next_u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) >> 32) as u32
    }

    /// Of [0, 1), with 24 bits.
    pub(crate) fn next_f32(&mut self) -> f32 {
        #[allow(clippy::cast_precision_loss)] // 24 bits: exact.
        let whole = (self.next_u32() >> 8) as f32;
        whole * (-24.0_f32).exp2()
    }
}
