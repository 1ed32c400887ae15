//! What is true of every call from Python: the floating-point mode, panics, signals.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::turns::forks;

/// Runs a call in the default floating-point mode. A panic becomes an exception: `PanicException`
/// is no `Exception`, and passes through handlers that are there to keep a program running.
pub(crate) fn guarded<T>(call: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    // Workspaces that a panic leaves behind are dropped, see `lend`.
    let call = AssertUnwindSafe(call);
    match float_mode::in_default_mode(|| catch_unwind(call)) {
        Ok(outcome) => outcome,
        Err(panic) => Err(PyRuntimeError::new_err(format!(
            "rust_ext panicked, which is a mistake in it: {}; the generator may stand anywhere",
            message(&*panic)
        ))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

thread_local! {
    /// When this thread's call last looked for signals.
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Whether Python has this thread handle signals, and of how many forks that is true.
    static HANDLES: Cell<Option<(u32, bool)>> = const { Cell::new(None) };
    /// What a signal's handler raised.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// Has [`interrupted`] look as soon as it is asked: a call begins.
pub(crate) fn look_soon() {
    LOOKED.set(None);
}

/// Whether a signal's handler raised an exception: to be asked now and then, without the GIL.
pub(crate) fn interrupted() -> bool {
    /// To wait for the GIL may take 5 ms, where other threads of Python work.
    const OFTEN: Duration = Duration::from_millis(50);
    if HANDLES.get() == Some((forks(), false)) {
        return false;
    }
    let now = Instant::now();
    if LOOKED.get().is_some_and(|looked| now - looked < OFTEN) {
        return false;
    }
    let looked = Python::attach(|py| {
        HANDLES.set(Some((forks(), handles_signals(py)?)));
        py.check_signals()
    });
    // A handler may have made calls of its own.
    LOOKED.set(Some(now));
    match looked {
        Ok(()) => false,
        Err(raised) => {
            RAISED.set(Some(raised));
            true
        }
    }
}

/// Python runs the handlers of signals in its main thread only.
fn handles_signals(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?;
    main.getattr("ident")?.eq(threading.call_method0("get_ident")?)
}

/// The exception that [`interrupted`] was about.
pub(crate) fn raised() -> Option<PyErr> {
    RAISED.take()
}

/// Lends memory of this thread. A call that a signal's handler makes meanwhile is lent other one, and
/// what a panic may have left half-written is not lent again.
pub(crate) fn lend<T, R>(
    place: &'static std::thread::LocalKey<Cell<Option<T>>>,
    new: impl FnOnce() -> T,
    call: impl FnOnce(&mut T) -> R,
) -> R {
    let mut lent = place.take().unwrap_or_else(new);
    let outcome = call(&mut lent);
    place.set(Some(lent));
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic)] // What is tested.
    fn a_panic_is_an_error() {
        thread_local! {
            static PLACE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
        }
        let fill = |values: &mut Vec<u8>| {
            values.push(1);
            values.len()
        };
        assert!(guarded(|| Ok(lend(&PLACE, Vec::new, fill))).is_ok_and(|length| length == 1));
        let outcome: PyResult<()> = guarded(|| lend(&PLACE, Vec::new, |_| panic!("on purpose")));
        assert!(outcome.is_err());
        // What the panic had is lost, and there is another.
        let length = lend(&PLACE, Vec::new, |values| values.len());
        assert_eq!(length, 0);
        assert_eq!(message(&"a text"), "a text");
        assert_eq!(message(&String::from("a string")), "a string");
        assert_eq!(message(&7), "no message");
    }
}
