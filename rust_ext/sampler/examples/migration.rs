//! The listing of docs/migration.md: what takes the place of a sampler of one's own.
//!
//! Draws eight tokens of a made-up row with the Semantic stage's parameters and seed 42.

use torch_exact_sampler::{Generator, Logits, Replay, SampleError, SampleParameters, Sampler};

struct TokenSource(Sampler, Generator, SampleParameters);

impl TokenSource {
    fn new(seed: u64, temperature: f64, top_p: f64, top_k: i64) -> Self {
        let parameters = SampleParameters { temperature, top_p, top_k, ..Default::default() };
        Self(Sampler::new(), Generator::new(seed), parameters)
    }

    fn sample(&mut self, logits: &[f32]) -> Result<i64, SampleError> {
        let Self(sampler, generator, parameters) = self;
        let (row, mut token) = (Logits::row(logits), [0]);
        sampler.sample(row, parameters, Replay::default(), generator, &mut token)?;
        Ok(token[0])
    }
}

fn main() -> Result<(), SampleError> {
    // Sixteenths, which every language makes alike.
    let logits: Vec<f32> = (0..8_193_u32 * 37).step_by(37).map(sixteenth).collect();
    let mut source = TokenSource::new(42, 1.0, 0.95, 80);
    for _ in 0..8 {
        println!("{}", source.sample(&logits)?);
    }
    Ok(())
}

/// `step % 997`, in sixteenths.
fn sixteenth(step: u32) -> f32 {
    f32::from(u16::try_from(step % 997).unwrap_or_default()) / 16.0
}
