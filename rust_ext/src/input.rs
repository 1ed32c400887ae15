//! Arrays of logits, and of what becomes of them.

use std::borrow::Cow;

use numpy::{
    Element, PyArray1, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyMemoryError, PyNotImplementedError, PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use torch_exact_sampler::{SampleError, SampleParameters, ZeroTemperature};

use crate::errors::{sample_error, type_error};

/// Has numpy's interface loaded before any call. It is loaded once, behind a lock that a fork's child
/// would wait for, if another thread was at it.
pub(crate) fn load_numpy(py: Python<'_>) -> PyResult<()> {
    let array = zeros(py, 1)?;
    drop(array.try_readwrite()?);
    array.cast::<PyUntypedArray>()?;
    Ok(())
}

/// What logits hold.
pub(crate) enum Logits<'py> {
    Singles(Bound<'py, PyArrayDyn<f32>>),
    /// Or booleans.
    Integers(Bound<'py, PyUntypedArray>),
}

impl<'py> Logits<'py> {
    /// The array that `logits` are, or the exception that says what they are instead.
    pub(crate) fn new(logits: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = logits.cast::<PyArrayDyn<f32>>() {
            return Ok(Self::Singles(array.clone()));
        }
        let Ok(array) = logits.cast::<PyUntypedArray>() else {
            return Err(type_error("logits", "a numpy array of float32", logits));
        };
        let dtype = array.dtype();
        if matches!(dtype.kind(), b'i' | b'u' | b'b') {
            return Ok(Self::Integers(array.clone()));
        }
        Err(PyTypeError::new_err(format!(
            "logits must be float32, not {dtype}: torch's bits are replayed for float32"
        )))
    }

    /// What `sample_logits` computes with: torch divides integers in float32, and has no softmax of
    /// them.
    pub(crate) fn into_singles(
        self,
        parameters: &SampleParameters,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let array = match self {
            Self::Singles(array) => return Ok(array),
            Self::Integers(array) => array,
        };
        let dtype = array.dtype();
        if parameters.temperature == 1.0 && !array.is_empty() {
            return Err(PyNotImplementedError::new_err(format!(
                "logits must be float32, not {dtype}: torch has a softmax of integers only where \
                 they are divided by a temperature that is not 1"
            )));
        }
        let argmax =
            parameters.temperature == 0.0 && parameters.zero_temperature == ZeroTemperature::Argmax;
        if argmax {
            return winners(&array);
        }
        singles(&array)
    }
}

/// Integers in float32.
pub(crate) fn singles<'py>(
    array: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let py = array.py();
    let singles = array.call_method1(intern!(py, "astype"), (numpy::dtype::<f32>(py),))?;
    Ok(singles.cast_into()?)
}

/// `torch.argmax` of integers, with the last dimension kept: not that of what float32 makes of them.
pub(crate) fn integer_argmax<'py>(
    array: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    let dtype = array.dtype();
    let is_wide = dtype.kind() == b'u' && dtype.itemsize() > 1 && !array.is_empty();
    if array.shape().last() == Some(&0) && dtype.kind() != b'b' {
        return Err(sample_error(SampleError::EmptyVocabulary));
    }
    if dtype.kind() == b'b' || is_wide {
        return Err(PyNotImplementedError::new_err(format!(
            "logits must be float32, not {dtype}: torch has no argmax of them"
        )));
    }
    let arguments = pyo3::types::PyDict::new(py);
    arguments.set_item(intern!(py, "axis"), -1)?;
    arguments.set_item(intern!(py, "keepdims"), true)?;
    let tokens = array.call_method(intern!(py, "argmax"), (), Some(&arguments))?;
    // Of an array without dimensions, it is a number.
    py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "asarray"), (tokens,))
}

/// Ones where the argmax of each row of integers is, and zeros.
fn winners<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let py = array.py();
    let winners = integer_argmax(array)?;
    let vocab = array.shape().last().copied().unwrap_or(1);
    let tokens = PyArray1::from_iter(py, 0..vocab);
    let equal = py
        .import(intern!(py, "numpy"))?
        .call_method1(intern!(py, "equal"), (tokens, winners))?
        .call_method1(intern!(py, "astype"), (numpy::dtype::<f32>(py),))?
        .call_method1(intern!(py, "reshape"), (array.shape().to_vec(),))?;
    Ok(equal.cast_into()?)
}

/// An array for reading: not while `simple_batch_sampler` writes to it.
pub(crate) fn reading<'py, T: Element>(
    array: &Bound<'py, PyArrayDyn<T>>,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    array.try_readonly().map_err(|_| {
        PyRuntimeError::new_err("logits are being written by a call in another thread")
    })
}

/// `logits` row-major: borrowed where they are so already.
pub(crate) fn row_major<'a, T: Element + Copy>(
    logits: &'a PyReadonlyArrayDyn<'_, T>,
) -> PyResult<Cow<'a, [T]>> {
    match logits.as_slice() {
        // `as_slice` gives a transposed array, too, in the order of its memory.
        Ok(values) if logits.is_c_contiguous() => Ok(Cow::Borrowed(values)),
        _ => {
            let mut values = Vec::new();
            reserve(&mut values, logits.len())?;
            values.extend(logits.as_array().iter().copied());
            Ok(Cow::Owned(values))
        }
    }
}

/// Takes memory for so many more values.
pub(crate) fn reserve<T>(values: &mut Vec<T>, count: usize) -> PyResult<()> {
    values.try_reserve(count).map_err(|_| no_memory::<T>(count))
}

fn no_memory<T>(count: usize) -> PyErr {
    let bytes = count.saturating_mul(size_of::<T>());
    PyMemoryError::new_err(format!("there is no memory for {count} values, {bytes} bytes"))
}

/// An array of zeros for tokens.
pub(crate) fn zeros(py: Python<'_>, count: usize) -> PyResult<Bound<'_, PyArray1<i64>>> {
    /// What is less, there is memory for: numpy's own function ends in a panic where there is none.
    const FEW: usize = 1 << 16;
    if count <= FEW {
        return Ok(PyArray1::zeros(py, count, false));
    }
    let numpy = py.import(intern!(py, "numpy"))?;
    // An array too large for any address is a ValueError there.
    let zeros = numpy
        .call_method1(intern!(py, "zeros"), (count, numpy::dtype::<i64>(py)))
        .map_err(|_| no_memory::<i64>(count))?;
    Ok(zeros.cast_into()?)
}

/// Values as an array of the logits' shape.
pub(crate) fn shaped<T: Element>(
    py: Python<'_>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Py<PyArrayDyn<T>>> {
    Ok(PyArray1::from_vec(py, values).reshape(shape)?.unbind())
}

/// Rows of logits of this shape that have a token: their number is that of all dimensions but the
/// last. Where that is zero, there may be more rows than there is memory for.
pub(crate) fn rows_and_vocab(shape: &[usize]) -> (usize, usize) {
    match shape.split_last() {
        Some((&0, _)) => (0, 0),
        Some((&vocab, leading)) => (leading.iter().product(), vocab),
        None => (1, 1),
    }
}

/// The shape of one token a row: the logits' with a last dimension of one.
pub(crate) fn token_shape(logits: &[usize]) -> Vec<usize> {
    let mut shape = logits.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = 1;
    }
    shape
}
