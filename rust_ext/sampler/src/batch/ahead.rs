//! Rows that are prepared in parallel and drawn from in order.
//!
//! What comes before a draw needs no generator: the threads of the pool prepare rows ahead of the
//! calling thread, which draws, and so does that while the row it is to draw from is not ready.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::ThreadPool;

use super::turns::{Over, lock, share};
use crate::error::SampleError;
use crate::fast::row_sampler::{Prepared, RowSampler, Sums};
use crate::planted::planted;
use crate::rows::{Rows, to_token};
use crate::torch::generator::Generator;
use crate::watch::Watch;

/// Tokens, of all rows together, that may be prepared and not drawn from: few enough that they are
/// still in the caches when they are drawn from.
const AHEAD: usize = 1 << 16;

/// The workspaces of rows that are prepared and not drawn from.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    worker: Mutex<Worker>,
    /// The number of the row that was prepared last, plus one.
    ready: AtomicUsize,
}

/// One row's workspace, and what became of it.
#[derive(Debug)]
struct Worker {
    sampler: RowSampler,
    prepared: Result<Prepared, SampleError>,
}

impl Slot {
    fn new() -> Self {
        let worker = Worker { sampler: RowSampler::default(), prepared: Ok(Prepared::List) };
        Self { worker: Mutex::new(worker), ready: AtomicUsize::new(0) }
    }
}

/// What the threads share.
struct Batch<'a> {
    rows: Rows<'a>,
    slots: &'a [Slot],
    /// The row that is to be prepared next, and how many were drawn from.
    next: AtomicUsize,
    drawn: AtomicUsize,
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
    let ahead = (AHEAD / rows.logits.vocab()).max(2 * count + 2).min(rows.logits.rows());
    if slots.len() < ahead {
        slots.resize_with(ahead, Slot::new);
    }
    for slot in &mut *slots {
        *slot.ready.get_mut() = 0;
    }
    let batch = Batch {
        rows,
        slots: &slots[..ahead],
        next: AtomicUsize::new(0),
        drawn: AtomicUsize::new(0),
        over: Over::default(),
    };
    let turn = || batch.prepare_next();
    share(helpers, rows.logits.rows(), &batch.over, turn, || batch.draw(generator, tokens, watch))
}

impl Batch<'_> {
    fn draw(
        &self,
        generator: &mut Generator,
        tokens: &mut [i64],
        mut watch: Watch,
    ) -> Result<(), SampleError> {
        let count = tokens.len() - usize::from(planted!(AheadLast));
        for (row, token) in tokens[..count].iter_mut().enumerate() {
            watch.pass(self.rows.logits.vocab())?;
            let slot = self.slot(row);
            while slot.ready.load(Ordering::Acquire) != row + 1 {
                if self.over.is() {
                    // A helper panicked, which goes on when the scope ends.
                    return Ok(());
                }
                if !self.prepare_next() {
                    std::hint::spin_loop();
                }
            }
            let mut worker = lock(&slot.worker);
            let prepared = worker.prepared?;
            let drawn = worker.sampler.draw_prepared(self.rows.row(row), prepared, generator)?;
            *token = to_token(drawn);
            drop(worker);
            self.drawn.store(row + 1, Ordering::Release);
        }
        Ok(())
    }

    /// Prepares the next row; `false` where there is none, or no slot for it.
    fn prepare_next(&self) -> bool {
        let last =
            self.rows.logits.rows().min(self.drawn.load(Ordering::Acquire) + self.slots.len());
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |row| {
            (row < last).then_some(row + 1)
        });
        let Ok(row) = taken else {
            return false;
        };
        let slot = self.slot(row);
        let mut worker = lock(&slot.worker);
        let Worker { sampler, prepared } = &mut *worker;
        let another = (row + usize::from(planted!(AheadRow))) % self.rows.logits.rows();
        *prepared = sampler.prepare(self.rows.row(another), Sums::EstimatedWherePossible);
        drop(worker);
        slot.ready.store(row + 1, Ordering::Release);
        true
    }

    fn slot(&self, row: usize) -> &Slot {
        &self.slots[row % self.slots.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logits::Logits;
    use crate::parameters::{Replay, SampleParameters};

    /// However long the calling thread lets the helpers wait.
    #[test]
    fn no_row_is_prepared_before_its_slot_is_free() {
        const ROWS: usize = 6;
        const SLOTS: usize = 4;
        let slots: Vec<Slot> = std::iter::repeat_with(Slot::new).take(SLOTS).collect();
        let (values, parameters) = (vec![0.0; ROWS * 50], SampleParameters::default());
        let Ok(logits) = Logits::new(&values, ROWS, 50) else {
            unreachable!("there are as many");
        };
        let batch = Batch {
            rows: Rows { logits, parameters: &parameters, replay: Replay::default() },
            slots: &slots,
            next: AtomicUsize::new(0),
            drawn: AtomicUsize::new(0),
            over: Over::default(),
        };
        for (drawn, prepared) in [(0, 4), (1, 5), (1, 5), (2, 6), (6, 6)] {
            batch.drawn.store(drawn, Ordering::Release);
            while batch.prepare_next() {}
            let ready = slots.iter().map(|slot| slot.ready.load(Ordering::Acquire));
            assert_eq!(ready.max(), Some(prepared), "{drawn} were drawn");
            assert_eq!(batch.next.load(Ordering::Relaxed), prepared, "{drawn} were drawn");
        }
    }
}
