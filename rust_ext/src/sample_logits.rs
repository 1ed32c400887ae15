//! `sample_logits`, its traced form, and `draw`.

use std::cell::RefCell;

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use torch_exact_sampler::{
    self as sampler, Logits, Replay, SampleError, SampleParameters, Sampler,
};

use crate::errors::sample_error;
use crate::generator::Generator;
use crate::input::{float32, replay, row_major, shaped, token_shape, zero_temperature};

thread_local! {
    /// The workspace of this thread's calls.
    static SAMPLER: RefCell<Sampler> = RefCell::new(Sampler::new());
}

/// Every stage of one call, in order.
#[pyclass(module = "rust_ext", frozen, get_all)]
pub(crate) struct SampleLogitsTrace {
    scaled_logits: Py<PyArrayDyn<f32>>,
    probs: Py<PyArrayDyn<f32>>,
    top_k_mask: Py<PyArrayDyn<bool>>,
    top_p_mask: Py<PyArrayDyn<bool>>,
    renormalized: Py<PyArrayDyn<f32>>,
    token: Py<PyArrayDyn<i64>>,
}

/// Rows and vocabulary of logits of this shape, or the exception that the reference raises.
fn batch_shape(shape: &[usize], parameters: &SampleParameters) -> PyResult<(usize, usize)> {
    let top_p_is_on = parameters.top_p > 0.0 && parameters.temperature != 0.0;
    match *shape {
        [rows, vocab] => Ok((rows, vocab)),
        [vocab] => {
            if usize::try_from(parameters.top_k).is_ok_and(|k| k > vocab) {
                let top_k = parameters.top_k;
                return Err(sample_error(SampleError::TopKOutOfRange { top_k, vocab }));
            }
            if top_p_is_on {
                return Err(PyIndexError::new_err(format!(
                    "logits have shape [{vocab}]: top_p = {} needs [B, V]",
                    parameters.top_p
                )));
            }
            Ok((1, vocab))
        }
        _ => Err(PyRuntimeError::new_err(format!("logits have shape {shape:?}: [B, V] is needed"))),
    }
}

#[allow(clippy::too_many_arguments)] // The signature is the reference's.
#[pyfunction]
#[pyo3(signature = (logits, temperature=1.0, top_p=0.85, top_k=0, *, generator, capability=None, threads=1, zero_temperature="raise"))]
pub(crate) fn sample_logits<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    temperature: f64,
    top_p: f64,
    top_k: i64,
    mut generator: PyRefMut<'py, Generator>,
    capability: Option<&str>,
    threads: usize,
    zero_temperature: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let parameters = parameters(temperature, top_p, top_k, zero_temperature)?;
    let replay = replay(capability, threads)?;
    let array = float32(logits)?;
    let values = array.try_readonly()?;
    sample(py, &row_major(&values), array.shape(), &parameters, replay, &mut generator.0)
}

/// One token a row of logits of this shape.
pub(crate) fn sample<'py>(
    py: Python<'py>,
    values: &[f32],
    shape: &[usize],
    parameters: &SampleParameters,
    replay: Replay,
    generator: &mut sampler::Generator,
) -> PyResult<Bound<'py, PyAny>> {
    let (rows, vocab) = batch_shape(shape, parameters)?;
    let tokens = PyArray1::zeros(py, rows, false);
    {
        let mut tokens = tokens.try_readwrite()?;
        let tokens = tokens.as_slice_mut()?;
        py.detach(|| {
            let logits = Logits::new(values, rows, vocab)?;
            SAMPLER.with_borrow_mut(|sampler| {
                sampler.sample(logits, parameters, replay, generator, tokens)
            })
        })
        .map_err(sample_error)?;
    }
    Ok(tokens.reshape(token_shape(shape))?.into_any())
}

#[allow(clippy::too_many_arguments)] // The signature is the reference's.
#[pyfunction]
#[pyo3(signature = (logits, temperature=1.0, top_p=0.85, top_k=0, *, generator, capability=None, threads=1, zero_temperature="raise"))]
pub(crate) fn trace_sample_logits<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    temperature: f64,
    top_p: f64,
    top_k: i64,
    mut generator: PyRefMut<'py, Generator>,
    capability: Option<&str>,
    threads: usize,
    zero_temperature: &str,
) -> PyResult<SampleLogitsTrace> {
    let parameters = parameters(temperature, top_p, top_k, zero_temperature)?;
    let replay = replay(capability, threads)?;
    let array = float32(logits)?;
    let (rows, vocab) = batch_shape(array.shape(), &parameters)?;
    let values = array.try_readonly()?;
    let values = row_major(&values);
    let generator = &mut generator.0;
    let values = &*values;
    let trace = py
        .detach(|| {
            let logits = Logits::new(values, rows, vocab)?;
            sampler::trace_sample_logits(logits, &parameters, replay, generator)
        })
        .map_err(sample_error)?;
    let shape = array.shape();
    Ok(SampleLogitsTrace {
        scaled_logits: shaped(py, trace.scaled_logits, shape)?,
        probs: shaped(py, trace.probs, shape)?,
        top_k_mask: shaped(py, trace.top_k_mask, shape)?,
        top_p_mask: shaped(py, trace.top_p_mask, shape)?,
        renormalized: shaped(py, trace.renormalized, shape)?,
        token: shaped(py, trace.token, &token_shape(shape))?,
    })
}

#[allow(clippy::too_many_arguments)] // The signature is the reference's, and a count.
#[pyfunction]
#[pyo3(signature = (logits, n, temperature=1.0, top_p=0.85, top_k=0, *, generator, capability=None, threads=1, zero_temperature="raise"))]
pub(crate) fn draw<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    n: usize,
    temperature: f64,
    top_p: f64,
    top_k: i64,
    mut generator: PyRefMut<'py, Generator>,
    capability: Option<&str>,
    threads: usize,
    zero_temperature: &str,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let parameters = parameters(temperature, top_p, top_k, zero_temperature)?;
    let replay = replay(capability, threads)?;
    let array = float32(logits)?;
    if array.ndim() != 1 {
        let shape = array.shape();
        return Err(PyValueError::new_err(format!(
            "logits have shape {shape:?}: draw takes one row, [V]"
        )));
    }
    let values = array.try_readonly()?;
    let values = row_major(&values);
    let tokens = PyArray1::zeros(py, n, false);
    {
        let mut tokens = tokens.try_readwrite()?;
        let tokens = tokens.as_slice_mut()?;
        let generator = &mut generator.0;
        let values = &*values;
        py.detach(|| {
            SAMPLER.with_borrow_mut(|sampler| {
                sampler.draw(values, &parameters, replay, generator, tokens)
            })
        })
        .map_err(sample_error)?;
    }
    Ok(tokens)
}

pub(crate) fn parameters(
    temperature: f64,
    top_p: f64,
    top_k: i64,
    name: &str,
) -> PyResult<SampleParameters> {
    let zero_temperature = zero_temperature(name)?;
    Ok(SampleParameters { temperature, top_p, top_k, zero_temperature })
}
