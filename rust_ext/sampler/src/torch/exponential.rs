//! `torch.multinomial` for one draw: the largest of p / q, each q a draw of Exp(1).

use super::generator::Generator;
use crate::planted;

/// A token that can be drawn, and its renormalised probability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Survivor {
    pub(crate) token: u32,
    pub(crate) probability: f32,
}

/// `exponential_(1)` from one uniform: -log1p(-u) in f64, rounded to f32.
///
/// The logarithm is the C library's, which is the one that torch calls.
fn exponential(uniform: f64) -> f32 {
    let logarithm = if planted!(DrawLog) { uniform.ln() } else { (-uniform).ln_1p() };
    #[allow(clippy::cast_possible_truncation)] // torch rounds to f32 here.
    let q = -logarithm as f32;
    q
}

/// Draws one token of a row of `vocab`; `survivors` ascend by token and hold every probability
/// that is not zero. The generator advances by `vocab` 64-bit outputs.
pub(crate) fn multinomial(
    survivors: &[Survivor],
    vocab: usize,
    generator: &mut Generator,
) -> usize {
    /// -log1p(-u) >= u, and its rounding to f32 takes at most 2^-24 of it.
    const SLACK: f64 = 1.0 - 1.0 / 1_048_576.0;
    let mut best = 0;
    let mut largest = -1.0_f32;
    // 0 / 0, where the uniform of an impossible token is exactly zero: NaN is torch's maximum.
    let mut not_a_number = None;
    let mut position = 0;
    for &Survivor { token, probability } in survivors {
        let token = token as usize;
        if let Some(zero) = generator.skip_f64(token - position) {
            not_a_number.get_or_insert(position + zero);
        }
        position = token + 1;
        let uniform = generator.next_f64();
        // p / q <= p / u: most tokens cannot win, and need no logarithm.
        if !planted!(DrawLog) && f64::from(probability) <= f64::from(largest) * uniform * SLACK {
            continue;
        }
        let ratio = probability / exponential(uniform);
        if ratio > largest || (planted!(ArgmaxLastWins) && ratio >= largest) {
            largest = ratio;
            best = token;
        }
    }
    if let Some(zero) = generator.skip_f64(vocab - position) {
        not_a_number.get_or_insert(position + zero);
    }
    not_a_number.unwrap_or(best)
}
