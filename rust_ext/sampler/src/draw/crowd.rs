//! A draw from many of a row's tokens.

use super::contenders::{Contender, EXPECTED, list_contenders};
use super::notes::Notes;
use super::race::{SLACK, SMALLEST};
use crate::planted::planted;
use crate::torch::generator::Generator;

/// What is to be drawn from where most tokens of a row survive, or many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// What is less than this counts as zero.
    pub(crate) least: f32,
    /// What the rest adds up to, roughly.
    pub(crate) mass: f64,
}

impl Crowd {
    /// [`multinomial`](super::multinomial::multinomial) of a row, before the division by the sum.
    pub(crate) fn multinomial(
        self,
        probs: &[f32],
        sum: impl FnOnce() -> Option<f32>,
        generator: &mut Generator,
        Notes { race, contenders, .. }: &mut Notes,
    ) -> Option<usize> {
        let Self { least, mass } = self;
        let least = least.max(SMALLEST);
        let start = generator.clone();
        let mut bound = mass / EXPECTED;
        loop {
            list_contenders(probs, bound, generator, contenders);
            race.start();
            for &Contender { token, uniform } in &*contenders {
                if probs[token] >= least {
                    race.enter(token, probs[token], uniform);
                } else {
                    race.enter_impossible(token, uniform);
                }
            }
            // Whatever is as good to within rounding was listed as well.
            if bound == 0.0 || race.largest * SLACK > bound || planted!(CrowdBound) {
                return race.winner(sum);
            }
            generator.clone_from(&start);
            bound = if bound > f64::from(SMALLEST) { bound / 1024.0 } else { 0.0 };
        }
    }
}
