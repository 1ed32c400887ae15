//! The stages of `sample_logits`, each by itself.

use std::num::NonZeroUsize;

use numpy::{Element, PyArray1, PyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use torch_exact_sampler::{Generator, Logits as Rows, Replay, SampleError, plain_stages};

use crate::boundary::guarded;
use crate::call;
use crate::errors::{sample_error, type_error};
use crate::generator::ours;
use crate::input::{reading, reserve, row_major, shaped, token_shape};

/// Rows of numbers that were handed over, [B, V] or [V].
fn rows_of(shape: &[usize]) -> (usize, usize) {
    match *shape {
        [rows, vocab] => (rows, vocab),
        [vocab] => (1, vocab),
        _ => (0, 0),
    }
}

/// Calls a stage, without the GIL, on the array that is called `name`.
fn staged<R: Send>(
    name: &str,
    given: &Bound<'_, PyAny>,
    call: impl FnOnce(Rows<'_>) -> Result<R, SampleError> + Send,
) -> PyResult<(R, Vec<usize>)> {
    let array = given
        .cast::<PyArrayDyn<f32>>()
        .map_err(|_| type_error(name, "a numpy array of float32", given))?;
    let shape = array.shape();
    if !matches!(shape.len(), 1 | 2) {
        return Err(PyValueError::new_err(format!(
            "{name} has shape {shape:?}: [B, V] or [V] is needed"
        )));
    }
    let values = reading(array)?;
    let values = &*row_major(&values)?;
    let (rows, vocab) = rows_of(shape);
    let found =
        given.py().detach(|| call(Rows::new(values, rows, vocab)?)).map_err(sample_error)?;
    Ok((found, shape.to_vec()))
}

#[pyfunction]
#[pyo3(signature = (scores, *, capability=None))]
pub(crate) fn softmax(
    scores: &Bound<'_, PyAny>,
    capability: Option<&str>,
) -> PyResult<Py<PyArrayDyn<f32>>> {
    guarded(|| {
        let capability = call::capability(capability)?;
        let (probs, shape) =
            staged("scores", scores, |scores| Ok(plain_stages::softmax(scores, capability)))?;
        shaped(scores.py(), probs, &shape)
    })
}

#[pyfunction]
pub(crate) fn top_k_mask(
    probs: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = crate::parameters::top_k)] top_k: i64,
) -> PyResult<Py<PyArrayDyn<bool>>> {
    guarded(|| {
        let (kept, shape) = staged("probs", probs, |probs| plain_stages::top_k_mask(probs, top_k))?;
        shaped(probs.py(), kept, &shape)
    })
}

#[pyfunction]
pub(crate) fn top_p_mask(
    probs: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = crate::parameters::top_p)] top_p: f64,
) -> PyResult<Py<PyArrayDyn<bool>>> {
    guarded(|| {
        let (kept, shape) =
            staged("probs", probs, |probs| Ok(plain_stages::top_p_mask(probs, top_p)))?;
        shaped(probs.py(), kept, &shape)
    })
}

#[pyfunction]
#[pyo3(signature = (probs, *, capability=None, threads=None))]
pub(crate) fn renormalize(
    probs: &Bound<'_, PyAny>,
    capability: Option<&str>,
    #[pyo3(from_py_with = crate::parameters::threads)] threads: Option<NonZeroUsize>,
) -> PyResult<Py<PyArrayDyn<f32>>> {
    guarded(|| {
        let threads = threads.unwrap_or(NonZeroUsize::MIN);
        let replay = Replay { capability: call::capability(capability)?, threads };
        let (shares, shape) =
            staged("probs", probs, |probs| Ok(plain_stages::renormalize(probs, replay)))?;
        shaped(probs.py(), shares, &shape)
    })
}

#[pyfunction]
#[pyo3(signature = (probs, *, generator))]
pub(crate) fn multinomial(
    probs: &Bound<'_, PyAny>,
    generator: &Bound<'_, PyAny>,
) -> PyResult<Py<PyArrayDyn<i64>>> {
    guarded(|| {
        let py = probs.py();
        let mut generator = ours(generator)?.get().take(py)?;
        let generator = &mut *generator;
        let (tokens, shape) =
            staged("probs", probs, |probs| plain_stages::multinomial(probs, generator))?;
        shaped(py, tokens, &token_shape(&shape))
    })
}

/// As many numbers of a generator as are asked for.
fn taken<'py, T: Element + Default + Send>(
    count: usize,
    generator: &Bound<'py, PyAny>,
    take: impl FnOnce(&mut [T], &mut Generator) + Send,
) -> PyResult<Bound<'py, PyArray1<T>>> {
    guarded(|| {
        let py = generator.py();
        let mut generator = ours(generator)?.get().take(py)?;
        let generator = &mut *generator;
        let mut values = Vec::new();
        reserve(&mut values, count)?;
        values.resize_with(count, T::default);
        py.detach(|| take(&mut values, generator));
        Ok(PyArray1::from_vec(py, values))
    })
}

#[pyfunction]
#[pyo3(signature = (n, *, generator))]
pub(crate) fn exponentials<'py>(
    #[pyo3(from_py_with = crate::parameters::count)] n: usize,
    generator: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    taken(n, generator, plain_stages::exponentials)
}

#[pyfunction]
#[pyo3(signature = (n, *, generator))]
pub(crate) fn uniforms<'py>(
    #[pyo3(from_py_with = crate::parameters::count)] n: usize,
    generator: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    taken(n, generator, plain_stages::uniforms)
}
