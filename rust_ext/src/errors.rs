//! Error values to Python exceptions: the classes that the reference raises.

use pyo3::PyErr;
use pyo3::exceptions::{PyAssertionError, PyIndexError, PyRuntimeError, PyValueError};
use torch_exact_sampler::{SampleError, StateError};

#[allow(clippy::needless_pass_by_value)] // The shape that `map_err` takes.
pub(crate) fn sample_error(error: SampleError) -> PyErr {
    let message = error.to_string();
    match error {
        SampleError::EmptyVocabulary | SampleError::ForbiddenTokenOutOfRange { .. } => {
            PyIndexError::new_err(message)
        }
        SampleError::TemperatureNotPositive { .. } => PyAssertionError::new_err(message),
        SampleError::Shape { .. } | SampleError::OutputLength { .. } => {
            PyValueError::new_err(message)
        }
        _ => PyRuntimeError::new_err(message),
    }
}

#[allow(clippy::needless_pass_by_value)] // The shape that `map_err` takes.
pub(crate) fn state_error(error: StateError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}
