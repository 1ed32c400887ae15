//! Logits made up for benchmarks.

use torch_exact_sampler::Generator;

/// Gaussian logits of scale 2 (Box and Muller).
pub(crate) fn gaussian(count: usize) -> Vec<f32> {
    let mut generator = Generator::new(1);
    (0..count)
        .map(|_| {
            let (radius, angle) = (1.0 - generator.next_f32(), generator.next_f32());
            2.0 * (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * angle).cos()
        })
        .collect()
}
