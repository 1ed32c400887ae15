//! Python arguments to Rust ones.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use numpy::{
    PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use torch_exact_sampler::{Capability, Replay, ZeroTemperature};

/// `logits` as an untyped array of float32, or the exception that says what it is instead.
pub(crate) fn float32<'a, 'py>(
    logits: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyUntypedArray>> {
    let Ok(array) = logits.cast::<PyUntypedArray>() else {
        return Err(PyTypeError::new_err(format!(
            "logits must be a numpy array of float32, not {}: pass tensor.numpy() for a torch tensor",
            logits.get_type().name()?
        )));
    };
    let dtype = array.dtype();
    if dtype.is_equiv_to(&numpy::dtype::<f32>(logits.py())) {
        return Ok(array);
    }
    let message =
        format!("logits must be float32, not {dtype}: torch's bits are replayed for float32");
    Err(match dtype.kind() {
        b'i' | b'u' | b'b' => PyNotImplementedError::new_err(message),
        _ => PyTypeError::new_err(message),
    })
}

/// `logits` for reading, row-major: borrowed where they are so already.
pub(crate) fn row_major<'a>(logits: &'a PyReadonlyArrayDyn<'_, f32>) -> Cow<'a, [f32]> {
    logits
        .as_slice()
        .map_or_else(|_| Cow::Owned(logits.as_array().iter().copied().collect()), Cow::Borrowed)
}

pub(crate) fn replay(capability: Option<&str>, threads: usize) -> PyResult<Replay> {
    let capability = match capability {
        None => Capability::of_torch_here(),
        Some(name) => name.parse().map_err(PyValueError::new_err)?,
    };
    let threads = NonZeroUsize::new(threads)
        .ok_or_else(|| PyValueError::new_err("threads = 0 must be at least 1"))?;
    Ok(Replay { capability, threads })
}

pub(crate) fn zero_temperature(name: &str) -> PyResult<ZeroTemperature> {
    match name {
        "raise" => Ok(ZeroTemperature::Raise),
        "argmax" => Ok(ZeroTemperature::Argmax),
        _ => Err(PyValueError::new_err(format!(
            "zero_temperature = {name:?} is none of \"raise\", \"argmax\""
        ))),
    }
}

/// Values as a two-dimensional array.
pub(crate) fn matrix<T: numpy::Element>(
    py: Python<'_>,
    values: Vec<T>,
    columns: usize,
) -> PyResult<Py<PyArray2<T>>> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    Ok(numpy::PyArray1::from_vec(py, values).reshape([rows, columns])?.unbind())
}
