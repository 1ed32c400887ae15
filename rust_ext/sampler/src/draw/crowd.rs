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
            let lower = bound > f64::from(SMALLEST) && bound.is_finite();
            bound = if lower { bound / 1024.0 } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another thread writes to the logits meanwhile can make any mass: the draw ends.
    #[test]
    fn a_crowd_of_any_mass_is_drawn_from() {
        let mut generator = Generator::new(12);
        for p in [0.0, 1.0, f32::INFINITY, f32::NAN] {
            for mass in [0.0, f64::MAX, f64::INFINITY, f64::NAN, -1.0] {
                let crowd = Crowd { least: 0.0, mass };
                let mut notes = Notes::default();
                let mut after = generator.clone();
                after.skip_f64(500);
                let token = crowd.multinomial(&[p; 500], || Some(1.0), &mut generator, &mut notes);
                assert!(token.is_some_and(|token| token < 500), "{p} {mass}");
                assert!(generator == after, "{p} {mass}");
            }
        }
    }

    /// Another token may be as good as the largest to within rounding, and lie below the bound.
    #[test]
    fn a_ratio_that_is_hardly_above_the_bound_is_looked_at_again() {
        let (generator, mut notes) = (Generator::new(3), Notes::default());
        let mut draw = |mass: f64| {
            let crowd = Crowd { least: 0.0, mass };
            let sum = || Some(1.0);
            let token = crowd.multinomial(&[1e-3; 1000], sum, &mut generator.clone(), &mut notes);
            (token, notes.race.largest, notes.contenders.len())
        };
        let (winner, largest, all) = draw(0.0);
        assert_eq!(all, 1000);
        for (share, again) in [(1.0 - 1e-5, false), (1.0 - 1e-7, true), (1.0 + 1e-7, true)] {
            let (token, _, listed) = draw(largest * share * EXPECTED);
            assert_eq!((token, listed > 100), (winner, again), "{share}: {listed} are listed");
        }
    }
}
