//! `simple_batch_sampler` and its traced form.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use torch_exact_sampler::{self as sampler, NoiseOrder, SampleError, SimpleBatchParameters};

use crate::errors::sample_error;
use crate::generator::Generator;
use crate::input::{float32, shaped, token_shape};

/// Every stage of one call, in order.
#[pyclass(module = "rust_ext", frozen, get_all)]
pub(crate) struct SimpleBatchTrace {
    scaled_logits: Py<PyArrayDyn<f32>>,
    noised_logits: Py<PyArrayDyn<f32>>,
    token: Py<PyArrayDyn<i64>>,
}

/// Runs `call` on the logits, row-major, with rows, vocabulary and the order of their memory.
fn in_place<R: Send>(
    py: Python<'_>,
    logits: &Bound<'_, PyAny>,
    call: impl FnOnce(&mut [f32], usize, usize, NoiseOrder) -> Result<R, SampleError> + Send,
) -> PyResult<R> {
    let array = float32(logits)?;
    let Some((&vocab, leading)) = array.shape().split_last() else {
        return Err(PyValueError::new_err("logits have no dimension: [B, V] is needed"));
    };
    let rows = leading.iter().product();
    let (strides, dimensions) = (array.strides().to_vec(), array.ndim());
    let mut writable = array.try_readwrite().map_err(|error| {
        PyValueError::new_err(format!("logits cannot be written in place: {error}"))
    })?;
    if let Ok(values) = writable.as_slice_mut() {
        // `as_slice_mut` takes any contiguous order; only row-major is meant here.
        if array.is_c_contiguous() {
            return py
                .detach(|| call(values, rows, vocab, NoiseOrder::RowMajor))
                .map_err(sample_error);
        }
    }
    if dimensions > 2 || strides.iter().any(|stride| *stride < 0) {
        return Err(PyValueError::new_err(format!(
            "logits have {dimensions} dimensions with strides {strides:?}: \
             non-contiguous logits must have at most two dimensions and no negative stride"
        )));
    }
    let order = match *strides {
        [row, token] if row < token => NoiseOrder::ColumnMajor,
        _ => NoiseOrder::RowMajor,
    };
    let mut view = writable.as_array_mut();
    let mut values: Vec<f32> = view.iter().copied().collect();
    let outcome = py.detach(|| call(&mut values, rows, vocab, order));
    // Written back even after an error: the reference, too, leaves the logits scaled.
    for (place, value) in view.iter_mut().zip(values) {
        *place = value;
    }
    outcome.map_err(sample_error)
}

fn token_index(forbid_token: Option<i64>) -> PyResult<Option<usize>> {
    forbid_token
        .map(|token| {
            usize::try_from(token).map_err(|_| {
                pyo3::exceptions::PyIndexError::new_err(format!(
                    "forbid_token = {token} is negative"
                ))
            })
        })
        .transpose()
}

#[pyfunction]
#[pyo3(signature = (logits, noise=1.0, temp=1.0, *, generator, forbid_token=None))]
pub(crate) fn simple_batch_sampler<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    noise: f64,
    temp: f64,
    mut generator: PyRefMut<'py, Generator>,
    forbid_token: Option<i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let forbid_token = token_index(forbid_token)?;
    let generator = &mut generator.0;
    let tokens = in_place(py, logits, move |values, rows, vocab, order| {
        let parameters = SimpleBatchParameters { noise, temp, forbid_token, order };
        let mut tokens = vec![0; rows];
        sampler::simple_batch_sampler(values, vocab, &parameters, generator, &mut tokens)?;
        Ok(tokens)
    })?;
    let shape = token_shape(float32(logits)?.shape());
    Ok(PyArray1::from_vec(py, tokens).reshape(shape)?.into_any())
}

#[pyfunction]
#[pyo3(signature = (logits, noise=1.0, temp=1.0, *, generator, forbid_token=None))]
pub(crate) fn trace_simple_batch_sampler<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    noise: f64,
    temp: f64,
    mut generator: PyRefMut<'py, Generator>,
    forbid_token: Option<i64>,
) -> PyResult<SimpleBatchTrace> {
    let forbid_token = token_index(forbid_token)?;
    let generator = &mut generator.0;
    let trace = in_place(py, logits, move |values, rows, vocab, order| {
        let parameters = SimpleBatchParameters { noise, temp, forbid_token, order };
        sampler::trace_simple_batch_sampler(values, vocab, &parameters, generator, rows)
    })?;
    let shape = float32(logits)?.shape();
    Ok(SimpleBatchTrace {
        scaled_logits: shaped(py, trace.scaled_logits, shape)?,
        noised_logits: shaped(py, trace.noised_logits, shape)?,
        token: shaped(py, trace.token, &token_shape(shape))?,
    })
}
