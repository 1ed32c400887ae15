//! What several threads may share: they take turns, and whoever waits can be interrupted.
//!
//! Nothing here relies on the GIL, which a free-threaded Python lacks. A fork may come between any two
//! instructions of another thread, which is gone in the child: no lock that such a thread may have
//! left locked is waited for there.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex as StdMutex, MutexGuard as StdMutexGuard, PoisonError};
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
    let hook = |call: fn()| PyCFunction::new_closure(py, None, None, move |_, _| call());
    let hooks = PyDict::new(py);
    // While this thread has the list, no other one has it half-changed, or locked.
    hooks.set_item("before", hook(|| HELD.set(Some(shared_calls())))?)?;
    hooks.set_item("after_in_parent", hook(|| drop(HELD.take()))?)?;
    hooks.set_item("after_in_child", hook(in_child)?)?;
    os.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}

fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    // What other threads had of torch is as they found it: it is written when a call ends.
    with_shared(Vec::clear);
    drop(HELD.take());
}

/// A value for one thread at a time.
pub(crate) struct Turns<T> {
    /// A [`Holder`], or 0 where there is none. Who puts itself in the place of 0 has the turn: one word
    /// says that there is one and whose it is, so that no fork comes between the two.
    holder: AtomicU64,
    /// Locked by the holder alone, who never waits for it: it is unlocked before a turn ends.
    value: Mutex<T>,
    /// Held by holders, so that others can wait for them. A child leaves those of its parent alone.
    door: Mutex<()>,
    /// How many forks there were before.
    forks: u32,
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

/// The value, until it is dropped: in this order.
pub(crate) struct Turn<'a, T> {
    value: MutexGuard<'a, T>,
    _inside: Inside<'a>,
    _door: Option<MutexGuard<'a, ()>>,
}

/// The place of the holder, which is free again when this is dropped.
struct Inside<'a>(&'a AtomicU64);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl<T: Send> Turns<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            holder: AtomicU64::new(0),
            value: Mutex::new(value),
            door: Mutex::new(()),
            forks: forks(),
        }
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
        loop {
            if let Some(turn) = self.try_take(here) {
                return Ok(turn);
            }
            if let Some(turn) = self.wait(py, here)? {
                return Ok(turn);
            }
        }
    }

    /// Where the door is this process' own, whoever has it finds the place free.
    fn is_own(&self) -> bool {
        self.forks == forks()
    }

    fn try_take(&self, here: Holder) -> Option<Turn<'_, T>> {
        if self.is_own() {
            let door = self.door.try_lock()?;
            return self.enter(here, Some(door));
        }
        self.enter(here, None)
    }

    fn enter<'a>(&'a self, here: Holder, door: Option<MutexGuard<'a, ()>>) -> Option<Turn<'a, T>> {
        let bits = here.to_bits();
        self.holder.compare_exchange(0, bits, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Turn { _inside: Inside(&self.holder), value: self.value.lock(), _door: door })
    }

    /// Waits a while.
    #[cold]
    fn wait(&self, py: Python<'_>, here: Holder) -> PyResult<Option<Turn<'_, T>>> {
        /// How soon a signal is seen.
        const LONG: Duration = Duration::from_millis(50);
        /// How often a child looks whether another of its threads is done with what its parent made.
        const SHORT: Duration = Duration::from_millis(1);
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
        Ok(py.detach(|| {
            if self.is_own() {
                let door = self.door.try_lock_for(LONG)?;
                return self.enter(here, Some(door));
            }
            std::thread::sleep(SHORT);
            None
        }))
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

/// Calls of this module that share an object of another one. Behind a lock of the standard library,
/// which keeps no list of its own of who waits for it.
static SHARED: StdMutex<Vec<SharedCalls>> = StdMutex::new(Vec::new());

thread_local! {
    /// The list, while this thread forks.
    static HELD: Cell<Option<StdMutexGuard<'static, Vec<SharedCalls>>>> = const { Cell::new(None) };
}

/// The calls that have one object.
struct SharedCalls {
    /// Its address, which is its own while calls have it.
    address: usize,
    count: usize,
    turns: Arc<Turns<()>>,
}

fn shared_calls() -> StdMutexGuard<'static, Vec<SharedCalls>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `change` on the list; it runs nothing of Python.
fn with_shared<R>(change: impl FnOnce(&mut Vec<SharedCalls>) -> R) -> R {
    let Some(mut list) = HELD.take() else {
        return change(&mut shared_calls());
    };
    let changed = change(&mut list);
    HELD.set(Some(list));
    changed
}

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
    turns: Arc<Turns<()>>,
}

impl Listed {
    fn new(address: usize) -> Self {
        let turns = with_shared(|list| {
            if let Some(shared) = list.iter_mut().find(|shared| shared.address == address) {
                shared.count += 1;
                return shared.turns.clone();
            }
            let turns = Arc::new(Turns::new(()));
            list.push(SharedCalls { address, count: 1, turns: turns.clone() });
            turns
        });
        Self { turns }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        with_shared(|list| {
            // A child has forgotten its parent's.
            let own = list.iter().position(|shared| Arc::ptr_eq(&shared.turns, &self.turns));
            if let Some(own) = own {
                list[own].count -= 1;
                if list[own].count == 0 {
                    list.swap_remove(own);
                }
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test fails by panicking.
mod tests {
    use super::*;

    const THREADS: usize = 4;
    const TIMES: usize = 20_000;

    /// Runs `work` in threads that no GIL keeps apart.
    fn at_once(work: impl Fn() + Sync) {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..TIMES).for_each(|_| work()));
            }
        });
    }

    fn turn<T: Send>(turns: &Turns<T>) -> Turn<'_, T> {
        loop {
            if let Some(turn) = turns.try_take(Holder::here()) {
                return turn;
            }
            std::thread::yield_now();
        }
    }

    /// Turns of this process, and turns that a parent made.
    #[test]
    fn one_thread_at_a_time() {
        for forks in [0, 1] {
            let turns = Turns { forks, ..Turns::new([0_usize; 2]) };
            at_once(|| {
                let mut counts = turn(&turns);
                counts[0] += 1;
                assert_ne!(turns.holder.load(Ordering::Relaxed), 0);
                counts[1] += 1;
            });
            assert_eq!(*turn(&turns), [THREADS * TIMES; 2]);
            assert_eq!(turns.holder.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn what_another_thread_has_is_not_taken() {
        for forks in [0, 1] {
            let turns = Turns { forks, ..Turns::new(()) };
            let taken = turn(&turns);
            let here = Holder::here().thread;
            assert_eq!(
                Holder::from_bits(turns.holder.load(Ordering::Relaxed)).unwrap().thread,
                here
            );
            assert!(turns.try_take(Holder::here()).is_none());
            drop(taken);
            assert!(turns.try_take(Holder::here()).is_some());
        }
    }

    /// All calls with one object have the same turns, and none is listed when they have ended.
    #[test]
    fn objects_are_shared_while_calls_have_them() {
        let inside = [AtomicU32::new(0), AtomicU32::new(0)];
        at_once(|| {
            for (address, inside) in inside.iter().enumerate() {
                let listed = Listed::new(address);
                let _turn = turn(&listed.turns);
                assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                inside.fetch_sub(1, Ordering::Relaxed);
            }
        });
        with_shared(|list| assert!(list.is_empty()));
    }

    /// A thread that forks has the list meanwhile, and calls of its own find it.
    #[test]
    fn a_thread_that_forks_has_the_list() {
        HELD.set(Some(shared_calls()));
        let listed = Listed::new(7);
        assert!(SHARED.try_lock().is_err());
        drop(listed);
        drop(HELD.take());
        with_shared(|list| assert!(list.iter().all(|shared| shared.address != 7)));
    }
}
