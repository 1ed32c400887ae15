//! Who wins: the largest of p / q.

use crate::planted::planted;
use crate::torch::exponential::exponential;

/// The smallest positive number: a token of less probability is never drawn, but where its uniform
/// is zero.
pub(crate) const SMALLEST: f32 = f32::from_bits(1);

/// More tokens than are listed as contenders or enter a race, but for bad luck.
pub(crate) const ENOUGH: usize = 256;

/// Those tokens that may win a draw, with the largest p / q.
///
/// Every p is before renormalisation: the division by their sum cannot be seen in who wins, but
/// where two are as good as each other to within its rounding.
#[derive(Debug, Clone, Default)]
pub(crate) struct Race {
    entrants: Vec<Entrant>,
    pub(crate) largest: f64,
    /// 0 / 0, where the uniform of an impossible token is exactly zero: NaN is torch's maximum.
    not_a_number: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Entrant {
    token: usize,
    p: f32,
    q: f32,
}

impl Entrant {
    fn ratio(self) -> f64 {
        f64::from(self.p) / f64::from(self.q)
    }
}

/// Room for some roundings to f32, each of at most 2^-24: of q, and of torch's two divisions.
pub(crate) const SLACK: f64 = 1.0 - 1.0 / 1_048_576.0;

impl Race {
    pub(crate) fn start(&mut self) {
        self.entrants.clear();
        self.entrants.reserve(ENOUGH);
        self.largest = -1.0;
        self.not_a_number = None;
    }

    pub(crate) fn enter(&mut self, token: usize, p: f32, uniform: f64) {
        // -log1p(-u) >= u, so that p / q <= p / u: most tokens cannot win, and need no logarithm.
        if f64::from(p) <= self.largest * uniform * SLACK {
            return;
        }
        let entrant = Entrant { token, p, q: exponential(uniform) };
        self.largest = self.largest.max(entrant.ratio());
        self.entrants.push(entrant);
    }

    /// A token without probability, and the next uniform.
    pub(crate) fn enter_impossible(&mut self, token: usize, uniform: f64) {
        if uniform == 0.0 && !planted!(CrowdZero) {
            self.not_a_number.get_or_insert(token);
        }
    }

    /// The token that torch draws. `sum` gives the sum of all probabilities; `None` if the draw
    /// needs that sum and `sum` gives none.
    pub(crate) fn winner(&self, sum: impl FnOnce() -> Option<f32>) -> Option<usize> {
        if let Some(zero) = self.not_a_number {
            return Some(zero);
        }
        let near = self.largest * if planted!(RaceSlack) { 1.0 } else { SLACK };
        let mut close = self.entrants.iter().filter(|entrant| entrant.ratio() >= near);
        let Some(first) = close.next() else {
            return Some(0);
        };
        let mut others = close.peekable();
        if others.peek().is_none() {
            return Some(first.token);
        }
        let sum = sum()?;
        let ratio = |entrant: &Entrant| entrant.p / sum / entrant.q;
        let (mut best, mut largest) = (first.token, ratio(first));
        for entrant in others {
            let ratio = ratio(entrant);
            // Of equal ones, the first token wins.
            let earlier =
                if planted!(RaceLast) { entrant.token > best } else { entrant.token < best };
            if ratio > largest || (ratio == largest && earlier) {
                (best, largest) = (entrant.token, ratio);
            }
        }
        Some(best)
    }
}
