//! Rows that are handed over whole, each with a generator that stands where its draw begins.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use rayon::ThreadPool;

use super::turns::{Over, lock, share};
use crate::error::SampleError;
use crate::fast::row_sampler::RowSampler;
use crate::planted::planted;
use crate::rows::{Rows, to_token};
use crate::torch::generator::Generator;
use crate::watch::Watch;

/// Rows that may wait for each helper, which goes on with the next while the calling thread draws
/// from one of its own.
const WAITING: usize = 3;

/// What a slot's row is about.
const FREE: u8 = 0;
const WAITS: u8 = 1;
const TAKEN: u8 = 2;
const DRAWN: u8 = 3;

/// The workspaces of rows that are worked on; the last is the calling thread's own.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    state: AtomicU8,
    worker: Mutex<Worker>,
}

/// One row's workspace, and what became of it.
#[derive(Debug)]
struct Worker {
    sampler: RowSampler,
    row: usize,
    generator: Generator,
    drawn: Result<usize, SampleError>,
}

impl Slot {
    fn new() -> Self {
        let worker = Worker {
            sampler: RowSampler::default(),
            row: 0,
            generator: Generator::new(0),
            drawn: Ok(0),
        };
        Self { state: AtomicU8::new(FREE), worker: Mutex::new(worker) }
    }

    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Acquire) == state
    }
}

/// What the threads share.
struct Batch<'a> {
    rows: Rows<'a>,
    slots: &'a [Slot],
    over: Over,
}

/// As [`super::sample`].
pub(super) fn sample(
    Slots(slots): &mut Slots,
    helpers: &ThreadPool,
    rows: Rows<'_>,
    generator: &mut Generator,
    tokens: &mut [i64],
    watch: Watch,
) -> Result<(), SampleError> {
    let count = helpers.current_num_threads();
    slots.resize_with(WAITING * count + 1, Slot::new);
    for slot in &mut *slots {
        *slot.state.get_mut() = FREE;
    }
    let Some((own, slots)) = slots.split_last() else {
        return Ok(());
    };
    let batch = Batch { rows, slots, over: Over::default() };
    let own = &mut lock(&own.worker).sampler;
    let turn = || batch.draw_waiting();
    share(helpers, rows.logits.rows(), &batch.over, turn, || {
        batch.draw(own, generator, tokens, watch)
    })
}

impl Batch<'_> {
    fn draw(
        &self,
        own: &mut RowSampler,
        generator: &mut Generator,
        tokens: &mut [i64],
        mut watch: Watch,
    ) -> Result<(), SampleError> {
        let mut refused = None;
        for row in 0..self.rows.logits.rows() {
            watch.pass(self.rows.logits.vocab())?;
            self.collect(tokens, &mut refused);
            if refused.is_some() {
                // Rows before this one may be refused as well.
                break;
            }
            if let Some(slot) = self.slots.iter().find(|slot| slot.is(FREE)) {
                let mut worker = lock(&slot.worker);
                worker.row = row;
                worker.generator.clone_from(generator);
                if planted!(HandedGenerator) {
                    worker.generator.skip_f64(self.rows.logits.vocab());
                }
                drop(worker);
                slot.state.store(WAITS, Ordering::Release);
                let outputs = self.rows.logits.vocab() - usize::from(planted!(HandedOutputs));
                generator.skip_f64(outputs);
            } else {
                match own.draw(self.rows.row(row), generator) {
                    Ok(token) => tokens[row] = to_token(token),
                    Err(error) => refused = Some((row, error)),
                }
            }
        }
        while !self.slots.iter().all(|slot| slot.is(FREE)) {
            if self.over.is() {
                // A helper panicked, which goes on when the scope ends.
                return Ok(());
            }
            if !self.draw_waiting() {
                std::hint::spin_loop();
            }
            self.collect(tokens, &mut refused);
        }
        refused.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Takes what was drawn; of the rows that were refused, the first is kept.
    fn collect(&self, tokens: &mut [i64], refused: &mut Option<(usize, SampleError)>) {
        for slot in self.slots.iter().filter(|slot| slot.is(DRAWN)) {
            let worker = lock(&slot.worker);
            match worker.drawn {
                Ok(token) if planted!(HandedToken) => {
                    tokens[(worker.row + 1) % self.rows.logits.rows()] = to_token(token);
                }
                Ok(token) => tokens[worker.row] = to_token(token),
                Err(error) if refused.is_none_or(|(row, _)| worker.row < row) => {
                    *refused = Some((worker.row, error));
                }
                Err(_) => {}
            }
            drop(worker);
            slot.state.store(FREE, Ordering::Relaxed);
        }
    }

    /// Draws from a row that waits; `false` where there is none.
    fn draw_waiting(&self) -> bool {
        let mut slots = self.slots.iter();
        let Some(slot) = slots.find(|slot| {
            let (taken, failed) = (Ordering::Acquire, Ordering::Relaxed);
            slot.is(WAITS) && slot.state.compare_exchange(WAITS, TAKEN, taken, failed).is_ok()
        }) else {
            return false;
        };
        let mut worker = lock(&slot.worker);
        let Worker { sampler, row, generator, drawn } = &mut *worker;
        *drawn = sampler.draw(self.rows.row(*row), generator);
        drop(worker);
        slot.state.store(DRAWN, Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Offence;
    use crate::logits::Logits;
    use crate::parameters::{Replay, SampleParameters};

    /// In whichever order their draws end.
    #[test]
    fn the_first_row_that_is_refused_is_kept() {
        for order in [[1, 3, 4], [3, 1, 4], [4, 3, 1]] {
            let slots: Vec<Slot> = std::iter::repeat_with(Slot::new).take(5).collect();
            for (slot, row) in slots[1..].iter().zip(order) {
                let mut worker = lock(&slot.worker);
                let refused = SampleError::InvalidProbabilities(Offence::NoToken { row });
                (worker.row, worker.drawn) = (row, Err(refused));
                slot.state.store(DRAWN, Ordering::Release);
            }
            let mut worker = lock(&slots[0].worker);
            (worker.row, worker.drawn) = (2, Ok(7));
            drop(worker);
            slots[0].state.store(DRAWN, Ordering::Release);
            let (values, parameters) = (vec![0.0; 5], SampleParameters::default());
            let Ok(logits) = Logits::new(&values, 5, 1) else {
                unreachable!("there are as many");
            };
            let rows = Rows { logits, parameters: &parameters, replay: Replay::default() };
            let batch = Batch { rows, slots: &slots, over: Over::default() };
            let (mut tokens, mut refused) = ([0; 5], None);
            batch.collect(&mut tokens, &mut refused);
            assert!(refused.is_some_and(|(row, _)| row == 1), "{order:?}");
            assert_eq!(tokens, [0, 0, 7, 0, 0]);
            assert!(slots.iter().all(|slot| slot.is(FREE)));
        }
    }
}
