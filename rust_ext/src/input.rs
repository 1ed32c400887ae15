//! Python arguments to Rust ones.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use numpy::{
    PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use torch_exact_sampler::{Capability, Replay, ZeroTemperature};

/// `logits` as an array of float32, or the exception that says what it is instead.
pub(crate) fn float32<'a, 'py>(
    logits: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyArrayDyn<f32>>> {
    if let Ok(array) = logits.cast::<PyArrayDyn<f32>>() {
        return Ok(array);
    }
    let Ok(array) = logits.cast::<PyUntypedArray>() else {
        return Err(PyTypeError::new_err(format!(
            "logits must be a numpy array of float32, not {}: pass tensor.numpy() for a torch tensor",
            logits.get_type().name()?
        )));
    };
    let dtype = array.dtype();
    let message =
        format!("logits must be float32, not {dtype}: torch's bits are replayed for float32");
    Err(match dtype.kind() {
        b'i' | b'u' | b'b' => PyNotImplementedError::new_err(message),
        _ => PyTypeError::new_err(message),
    })
}

/// `logits` for reading, row-major: borrowed where they are so already.
pub(crate) fn row_major<'a>(logits: &'a PyReadonlyArrayDyn<'_, f32>) -> Cow<'a, [f32]> {
    match logits.as_slice() {
        // `as_slice` gives a transposed array, too, in the order of its memory.
        Ok(values) if logits.is_c_contiguous() => Cow::Borrowed(values),
        _ => Cow::Owned(logits.as_array().iter().copied().collect()),
    }
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

/// Values as an array of the logits' shape.
pub(crate) fn shaped<T: numpy::Element>(
    py: Python<'_>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Py<PyArrayDyn<T>>> {
    Ok(numpy::PyArray1::from_vec(py, values).reshape(shape)?.unbind())
}

/// The shape of one token a row: the logits' with a last dimension of one.
pub(crate) fn token_shape(logits: &[usize]) -> Vec<usize> {
    let mut shape = logits.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = 1;
    }
    shape
}
