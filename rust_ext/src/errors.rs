//! Error values to Python exceptions: the classes that the reference raises.

use pyo3::PyErr;
use pyo3::exceptions::{
    PyAssertionError, PyIndexError, PyKeyboardInterrupt, PyMemoryError, PyRuntimeError,
    PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use torch_exact_sampler::{SampleError, StateError};

use crate::boundary::raised;

#[allow(clippy::needless_pass_by_value)] // The shape that `map_err` takes.
pub(crate) fn sample_error(error: SampleError) -> PyErr {
    let message = error.to_string();
    match error {
        SampleError::EmptyVocabulary | SampleError::ForbiddenTokenOutOfRange { .. } => {
            PyIndexError::new_err(message)
        }
        SampleError::TemperatureNotPositive { .. } => PyAssertionError::new_err(message),
        SampleError::Shape { .. }
        | SampleError::OutputLength { .. }
        | SampleError::NoHistory
        | SampleError::HistoryShape { .. }
        | SampleError::HistoryRows { .. } => PyValueError::new_err(message),
        SampleError::OutOfMemory { .. } => PyMemoryError::new_err(message),
        SampleError::Interrupted => {
            raised().unwrap_or_else(|| PyKeyboardInterrupt::new_err(message))
        }
        _ => PyRuntimeError::new_err(message),
    }
}

#[allow(clippy::needless_pass_by_value)] // The shape that `map_err` takes.
pub(crate) fn state_error(error: StateError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// The exception of an argument that is something else than it must be.
pub(crate) fn type_error(name: &str, must_be: &str, given: &Bound<'_, PyAny>) -> PyErr {
    match given.get_type().fully_qualified_name() {
        Ok(class) => {
            let hint = match &*class.to_string() {
                "torch.Tensor" if name == "history" => ": pass tensor.numpy()",
                "torch.Tensor" => ": pass tensor.numpy(), or call sample_logits_torch",
                "torch._C.Generator" => ": call sample_logits_torch",
                "rust_ext.Generator" => ": call sample_logits",
                _ => "",
            };
            PyTypeError::new_err(format!("{name} must be {must_be}, not {class}{hint}"))
        }
        Err(error) => error,
    }
}
