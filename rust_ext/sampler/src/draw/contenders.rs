//! The tokens that can win a draw, told by the upper bits of their uniforms.

use super::race::{ENOUGH, SLACK};
use crate::planted::planted;
use crate::simd::kernel;
use crate::simd::lanes::LANES as BLOCK;
use crate::simd::mersenne::Output;
use crate::simd::wide::Wide;
use crate::torch::generator::{Generator, UPPER_RANGE, uniform};

/// A token that may win a draw, and its uniform.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) token: usize,
    pub(crate) uniform: f64,
}

/// How many tokens are expected to reach the bound on p / u that contenders are listed from. Where
/// none does, which has a probability of exp(-8), it was too high.
pub(crate) const EXPECTED: f64 = 8.0;

/// Lists those tokens whose weight is at least `bound` times their uniform, but for rounding, and
/// those whose uniform is zero. The generator advances by one 64-bit output a token.
pub(crate) fn list_contenders(
    weights: &[f32],
    bound: f64,
    generator: &mut Generator,
    list: &mut Vec<Contender>,
) {
    list.clear();
    list.reserve(ENOUGH);
    // Uniforms are compared by their upper bits, as integers; the roundings are within 2^-20.
    #[allow(clippy::cast_possible_truncation)] // A bound.
    let bound = (bound * (SLACK / UPPER_RANGE)) as f32;
    // No multiple of a normal number is rounded as denormal ones are.
    let bound = if bound.is_normal() { bound } else { 0.0 };
    list_from(weights, bound, generator, list);
}

kernel! {
    fn list_from<'a>(
        wide;
        weights: &'a [f32],
        bound: f32,
        generator: &'a mut Generator,
        list: &'a mut Vec<Contender>,
    ) -> () {
        let end = weights.len() - usize::from(planted!(ContendersShort));
        let mut position = 0;
        while position < end {
            if let Some(outputs) = generator.outputs_in(wide, end - position) {
                let weights = &weights[position..position + outputs.len()];
                list_some(wide, weights, outputs, bound, position, list);
                position += outputs.len();
            } else {
                let output = generator.next_output();
                list_some(wide, &weights[position..=position], &[output], bound, position, list);
                position += 1;
            }
        }
    }
}

/// Tokens that are looked at between two branches, one a bit.
const SIDE: usize = u64::BITS as usize;

/// Lists contenders of tokens that begin with number `first`.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn list_some<W: Wide>(
    wide: W,
    weights: &[f32],
    outputs: &[Output],
    bound: f32,
    first: usize,
    list: &mut Vec<Contender>,
) {
    let bounds = wide.splat(bound);
    let (sides, rest) = weights.as_chunks::<SIDE>();
    let (side_outputs, rest_outputs) = outputs.as_chunks::<SIDE>();
    for (at, (weights, outputs)) in sides.iter().zip(side_outputs).enumerate() {
        let reaching = reach(wide, weights, outputs, bounds);
        if reaching != 0 {
            note(reaching, outputs, first + at * SIDE, list);
        }
    }
    if rest.is_empty() || planted!(ContendersRest) {
        return;
    }
    if let (Some(last), Some(last_outputs)) = (weights.last_chunk(), outputs.last_chunk()) {
        // It overlaps the one before it.
        let seen = SIDE - rest.len();
        let reaching = reach(wide, last, last_outputs, bounds) >> seen << seen;
        if reaching != 0 {
            note(reaching, last_outputs, first + weights.len() - SIDE, list);
        }
    } else {
        // What is not a number reaches nothing.
        let mut padded = ([f32::NAN; SIDE], [[0; 2]; SIDE]);
        padded.0[..rest.len()].copy_from_slice(rest);
        padded.1[..rest.len()].copy_from_slice(rest_outputs);
        note(reach(wide, &padded.0, &padded.1, bounds), &padded.1, first, list);
    }
}

#[cold]
#[inline(never)]
fn note(mut reaching: u64, outputs: &[Output; SIDE], first: usize, list: &mut Vec<Contender>) {
    while reaching != 0 {
        let at = reaching.trailing_zeros() as usize;
        list.push(Contender { token: first + at, uniform: uniform(outputs[at]) });
        reaching &= reaching - 1;
    }
}

/// One bit a token: whether it is a contender.
#[allow(clippy::inline_always)] // Part of a kernel.
#[inline(always)]
fn reach<W: Wide>(
    wide: W,
    weights: &[f32; SIDE],
    outputs: &[Output; SIDE],
    bounds: W::Floats,
) -> u64 {
    let (blocks, outputs) = (weights.as_chunks().0, outputs.as_chunks().0);
    let mut reaching = 0;
    for (at, (block, outputs)) in (0..).step_by(BLOCK).zip(blocks.iter().zip(outputs)) {
        let upper = wide.load(&wide.upper_bits(outputs));
        let lanes = wide.at_least(wide.load(block), wide.mul(upper, bounds));
        reaching |= u64::from(lanes) << at;
    }
    reaching
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound is each token's own weight over its uniform in turn, which every rounding may miss.
    #[test]
    fn who_reaches_the_bound_is_listed() {
        const VOCAB: usize = 4003;
        let mut random = Generator::new(3);
        let mut list = Vec::new();
        // With the small ones the bound is denormal, and rounded coarsely.
        for size in [1.0_f32, 1e-30, 3e-36] {
            let weights: Vec<f32> = (0..VOCAB).map(|_| size * (0.5 + random.next_f32())).collect();
            let start = random.clone();
            let uniforms: Vec<f64> = (0..VOCAB).map(|_| random.next_f64()).collect();
            for token in 0..VOCAB {
                let bound = f64::from(weights[token]) / uniforms[token];
                let mut generator = start.clone();
                list_contenders(&weights, bound, &mut generator, &mut list);
                assert!(generator == random, "one output a token");
                let found = list.iter().find(|contender| contender.token == token);
                assert_eq!(found.map(|contender| contender.uniform), Some(uniforms[token]));
            }
        }
    }
}
