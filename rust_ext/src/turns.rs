//! What several threads may share: they take turns, and whoever waits can be interrupted.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

/// How many forks lie between the process that loaded the extension and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Has Python count forks: a child has none of the threads that held something when it was made.
pub(crate) fn count_forks(py: Python<'_>) -> PyResult<()> {
    let os = py.import("os")?;
    // There are no forks where there is no such function.
    if !os.hasattr("register_at_fork")? {
        return Ok(());
    }
    let count = PyCFunction::new_closure(py, None, None, |_, _| {
        FORKS.fetch_add(1, Ordering::Relaxed);
        // What other threads had of torch is as they found it: it is written when a call ends.
        SHARED.lock().clear();
    })?;
    let arguments = PyDict::new(py);
    arguments.set_item("after_in_child", count)?;
    os.call_method("register_at_fork", (), Some(&arguments))?;
    Ok(())
}

/// A value for one thread at a time.
pub(crate) struct Turns<T> {
    value: Mutex<T>,
    /// A [`Holder`], or 0 where there is none.
    holder: AtomicU64,
}

/// Who has a turn: the number of a thread, and of forks before it.
#[derive(Clone, Copy, PartialEq)]
struct Holder {
    forks: u32,
    thread: u32,
}

impl Holder {
    fn here() -> Self {
        static THREADS: AtomicU32 = AtomicU32::new(1);
        thread_local! {
            static NUMBER: u32 = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        Self { forks: forks(), thread: NUMBER.with(|number| *number) }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.forks) << 32 | u64::from(self.thread)
    }

    fn from_bits(bits: u64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation)] // The halves.
        let holder = Self { forks: (bits >> 32) as u32, thread: bits as u32 };
        (bits != 0).then_some(holder)
    }
}

/// The value, until it is dropped.
pub(crate) struct Turn<'a, T> {
    value: MutexGuard<'a, T>,
    holder: &'a AtomicU64,
}

impl<T: Send> Turns<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), holder: AtomicU64::new(0) }
    }

    /// Waits for a turn, without the GIL.
    ///
    /// # Errors
    ///
    /// Where the turn can never come: this very thread has it, in a call that a signal's handler
    /// interrupted, or a thread that no longer is since the process was forked. And what a signal's
    /// handler raises.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Turn<'_, T>> {
        let here = Holder::here();
        let value = match self.value.try_lock() {
            Some(value) => value,
            None => self.wait(py, here)?,
        };
        self.holder.store(here.to_bits(), Ordering::Relaxed);
        Ok(Turn { value, holder: &self.holder })
    }

    #[cold]
    fn wait(&self, py: Python<'_>, here: Holder) -> PyResult<MutexGuard<'_, T>> {
        /// How soon a signal is seen.
        const LONG: Duration = Duration::from_millis(50);
        loop {
            if let Some(holder) = Holder::from_bits(self.holder.load(Ordering::Relaxed)) {
                if holder.thread == here.thread {
                    return Err(PyRuntimeError::new_err(
                        "generator is in use by the call that was interrupted by this one",
                    ));
                }
                if holder.forks != here.forks {
                    return Err(PyRuntimeError::new_err(
                        "generator was in use by another thread when this process was forked, \
                         which left it half-way: take another one",
                    ));
                }
            }
            py.check_signals()?;
            if let Some(value) = py.detach(|| self.value.try_lock_for(LONG)) {
                return Ok(value);
            }
        }
    }
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.holder.store(0, Ordering::Relaxed);
    }
}

/// Calls of this module that share an object of another one, by its address. An address is listed
/// while calls have the object. Only touched with the GIL, so that no fork finds it locked.
static SHARED: Mutex<Vec<(usize, Arc<Turns<()>>)>> = Mutex::new(Vec::new());

/// Runs `call` while no other thread is in here with the same object.
pub(crate) fn alone_with<R>(
    object: &Bound<'_, PyAny>,
    call: impl FnOnce() -> PyResult<R>,
) -> PyResult<R> {
    let listed = Listed::new(object.as_ptr().addr());
    let _turn = listed.turns.take(object.py())?;
    call()
}

/// A place in the list.
struct Listed {
    address: usize,
    turns: Arc<Turns<()>>,
}

impl Listed {
    fn new(address: usize) -> Self {
        let mut shared = SHARED.lock();
        let listed = shared.iter().find(|(listed, _)| *listed == address);
        let turns = listed.map_or_else(|| Arc::new(Turns::new(())), |(_, turns)| turns.clone());
        if listed.is_none() {
            shared.push((address, turns.clone()));
        }
        Self { address, turns }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        /// The list's own, and this one.
        const LAST: usize = 2;
        if Arc::strong_count(&self.turns) == LAST {
            SHARED.lock().retain(|(address, _)| *address != self.address);
        }
    }
}
