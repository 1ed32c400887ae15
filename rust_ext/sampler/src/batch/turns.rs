//! How helpers take turns while the calling thread works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;

/// What the threads look at before each turn: whether there is to be none.
#[derive(Debug, Default)]
pub(super) struct Over(AtomicBool);

impl Over {
    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Has helpers take turns while `work` is done on the calling thread, and until it is. A turn gives
/// whether there was anything to do.
pub(super) fn share<T>(
    helpers: &ThreadPool,
    rows: usize,
    over: &Over,
    turn: impl Fn() -> bool + Sync,
    work: impl FnOnce() -> T,
) -> T {
    helpers.in_place_scope(|scope| {
        for _ in 0..helpers.current_num_threads().min(rows - 1) {
            scope.spawn(|_| {
                let _over = OverWhen(over, std::thread::panicking);
                while !over.is() {
                    if !turn() {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let _over = OverWhen(over, || true);
        work()
    })
}

/// Ends all turns: when the work ends, however it does, and when a helper panics, since the row that
/// it took will never be ready.
struct OverWhen<'a>(&'a Over, fn() -> bool);

impl Drop for OverWhen<'_> {
    fn drop(&mut self) {
        if self.1() {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Locks what a panic may have left behind half-written: it is written anew before it is read.
pub(super) fn lock<T>(worker: &Mutex<T>) -> MutexGuard<'_, T> {
    worker.lock().unwrap_or_else(PoisonError::into_inner)
}
