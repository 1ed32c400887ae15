//! The draw: the largest of p / q, each q a draw of Exp(1).

use crate::planted::planted;
use crate::torch::exponential::exponential;
use crate::torch::generator::Generator;

/// `torch.multinomial(probs, 1)`: the first index of the largest `probs / q`, where `q` is
/// `exponential_(1)`. The generator advances by one 64-bit output a token.
pub(crate) fn multinomial(probs: &[f32], generator: &mut Generator) -> usize {
    let mut best = 0;
    let mut largest = -1.0_f32;
    // 0 / 0, where the uniform of an impossible token is exactly zero: NaN is torch's maximum.
    let mut not_a_number = None;
    for (token, &p) in probs.iter().enumerate() {
        let uniform = generator.next_f64();
        if p == 0.0 {
            // Any other q makes a ratio of zero, which is not greater than what others have.
            if uniform == 0.0 {
                not_a_number.get_or_insert(token);
            }
            continue;
        }
        let ratio = p / exponential(uniform);
        if ratio > largest || (planted!(ArgmaxLastWins) && ratio >= largest) {
            largest = ratio;
            best = token;
        }
    }
    not_a_number.unwrap_or(best)
}
