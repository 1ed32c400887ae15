//! What the ports have in common.

use rand::RngExt;
use rand::rngs::StdRng;

/// A uniform of [0, 1) with 24 bits.
pub(super) fn uniform(rng: &mut Option<StdRng>) -> f32 {
    match rng {
        Some(rng) => rng.random(),
        None => rand::random(),
    }
}

/// The first index of the largest value; a NaN is never the largest.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    let mut largest = f32::NEG_INFINITY;
    for (index, &value) in values.iter().enumerate() {
        if value > largest {
            largest = value;
            best = index;
        }
    }
    best
}

/// The indices of a row in descending order of its values, equal ones in ascending order.
pub(super) fn descending(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

/// exp(x - max) over its sum, which is taken in the order given.
pub(super) fn softmax(values: &[f32]) -> Vec<f32> {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = values.iter().map(|x| (x - max).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}
