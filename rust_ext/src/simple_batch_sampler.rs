//! `simple_batch_sampler` and its traced form.

use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use torch_exact_sampler::{self as sampler, NoiseOrder, SampleError, SimpleBatchParameters};

use crate::boundary::guarded;
use crate::errors::sample_error;
use crate::generator::ours;
use crate::input::{
    Logits, integer_argmax, reserve, rows_and_vocab, shaped, singles, token_shape, zeros,
};
use crate::parameters;

/// Every stage of one call, in order.
#[pyclass(module = "rust_ext", frozen, get_all)]
pub(crate) struct SimpleBatchTrace {
    scaled_logits: Py<PyArrayDyn<f32>>,
    noised_logits: Py<PyArrayDyn<f32>>,
    token: Py<PyArrayDyn<i64>>,
}

/// Runs `call` on the logits, row-major, with rows, vocabulary and the parameters, which then have
/// the order of the logits' memory.
fn in_place<R: Send>(
    array: &Bound<'_, PyArrayDyn<f32>>,
    parameters: SimpleBatchParameters,
    call: impl FnOnce(&mut [f32], usize, usize, &SimpleBatchParameters) -> Result<R, SampleError> + Send,
) -> PyResult<R> {
    let py = array.py();
    let (rows, vocab) = rows_and_vocab(array.shape());
    let (strides, dimensions) = (array.strides().to_vec(), array.ndim());
    if overlap(array.shape(), &strides) {
        let SimpleBatchParameters { noise, temp, forbid_token, .. } = parameters;
        if noise != 0.0 || temp != 1.0 || forbid_token.is_some() {
            return Err(PyRuntimeError::new_err(format!(
                "logits of shape {:?} with strides {strides:?} have more than one element in one \
                 place of the memory, which cannot be written in place: copy them first",
                array.shape()
            )));
        }
        // Nothing is written.
        let copy = array.call_method0("copy")?;
        return in_place(copy.cast()?, parameters, call);
    }
    let mut writable = array.try_readwrite().map_err(|error| {
        PyValueError::new_err(format!("logits cannot be written in place: {error}"))
    })?;
    if let Ok(values) = writable.as_slice_mut() {
        // `as_slice_mut` takes any contiguous order; only row-major is meant here.
        if array.is_c_contiguous() {
            return py.detach(|| call(values, rows, vocab, &parameters)).map_err(sample_error);
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
    let parameters = SimpleBatchParameters { order, ..parameters };
    let mut view = writable.as_array_mut();
    let mut values: Vec<f32> = Vec::new();
    reserve(&mut values, view.len())?;
    values.extend(view.iter());
    let outcome = py.detach(|| call(&mut values, rows, vocab, &parameters));
    // Written back even after an error: the reference, too, leaves the logits scaled.
    for (place, value) in view.iter_mut().zip(values) {
        *place = value;
    }
    outcome.map_err(sample_error)
}

/// Whether two elements may lie in one place: in two dimensions, exactly so.
fn overlap(shape: &[usize], strides: &[isize]) -> bool {
    if shape.contains(&0) {
        return false;
    }
    let mut long = shape.iter().zip(strides).filter(|(size, _)| **size > 1);
    let distance = |stride: &isize| stride.unsigned_abs() / size_of::<f32>();
    match (long.next(), long.next(), long.next()) {
        (None, ..) => false,
        (Some((_, stride)), None, _) => *stride == 0,
        (Some((&rows, row)), Some((&columns, column)), None) => {
            let (row, column) = (distance(row), distance(column));
            // The least steps that lead to the same place.
            let both = greatest_common_divisor(row, column);
            both == 0 || (column / both < rows && row / both < columns)
        }
        _ => strides.contains(&0),
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// What torch makes of integers: nothing is written, or it refuses.
fn integer_tokens<'py>(
    array: &Bound<'py, PyUntypedArray>,
    parameters: SimpleBatchParameters,
) -> PyResult<Bound<'py, PyAny>> {
    let SimpleBatchParameters { noise, temp, forbid_token, .. } = parameters;
    let dtype = array.dtype();
    if temp.is_nan() || temp <= 0.0 {
        return Err(sample_error(SampleError::TemperatureNotPositive { temp }));
    }
    if temp != 1.0 || forbid_token.is_some() {
        return Err(PyRuntimeError::new_err(format!(
            "logits must be float32, not {dtype}: neither their share by temp = {temp} nor -inf \
             can be written in place"
        )));
    }
    if noise != 0.0 {
        return Err(PyNotImplementedError::new_err(format!(
            "logits must be float32, not {dtype}: torch has no uniform noise of that type"
        )));
    }
    integer_argmax(array)
}

/// Defines a function of Python with the signature of `simple_batch_sampler`; it is given the
/// generator, the parameters and the logits that it takes.
macro_rules! like_simple_batch_sampler {
    (
        fn $name:ident($logits:ident, $parameters:ident, $generator:ident) -> $returns:ty $body:block
    ) => {
        #[pyfunction]
        #[pyo3(signature = (logits, noise=1.0, temp=1.0, *, generator, forbid_token=None))]
        pub(crate) fn $name<'py>(
            py: Python<'py>,
            logits: &Bound<'py, PyAny>,
            #[pyo3(from_py_with = parameters::noise)] noise: f64,
            #[pyo3(from_py_with = parameters::temp)] temp: f64,
            generator: &Bound<'py, PyAny>,
            #[pyo3(from_py_with = parameters::forbid_token)] forbid_token: Option<usize>,
        ) -> PyResult<$returns> {
            guarded(|| {
                let mut generator = ours(generator)?.get().take(py)?;
                let order = NoiseOrder::RowMajor;
                let $parameters = SimpleBatchParameters { noise, temp, forbid_token, order };
                let ($logits, $generator) = (Logits::new(logits)?, &mut *generator);
                $body
            })
        }
    };
}

like_simple_batch_sampler! {
    fn simple_batch_sampler(logits, parameters, generator) -> Bound<'py, PyAny> {
        let array = match logits {
            Logits::Singles(array) => array,
            Logits::Integers(array) => return integer_tokens(&array, parameters),
        };
        let shape = array.shape();
        let tokens = zeros(array.py(), rows_and_vocab(shape).0)?;
        {
            let mut tokens = tokens.try_readwrite()?;
            let tokens = tokens.as_slice_mut()?;
            in_place(&array, parameters, move |values, _, vocab, parameters| {
                sampler::simple_batch_sampler(values, vocab, parameters, generator, tokens)
            })?;
        }
        Ok(tokens.reshape(token_shape(shape))?.into_any())
    }
}

like_simple_batch_sampler! {
    fn trace_simple_batch_sampler(logits, parameters, generator) -> SimpleBatchTrace {
        let array = match logits {
            Logits::Singles(array) => array,
            Logits::Integers(array) => {
                let token = integer_tokens(&array, parameters)?;
                let stage = || PyResult::Ok(singles(&array)?.unbind());
                return Ok(SimpleBatchTrace {
                    scaled_logits: stage()?,
                    noised_logits: stage()?,
                    token: token.cast_into::<PyArrayDyn<i64>>()?.unbind(),
                });
            }
        };
        let trace = in_place(&array, parameters, move |values, rows, vocab, parameters| {
            sampler::trace_simple_batch_sampler(values, vocab, parameters, generator, rows)
        })?;
        let (py, shape) = (array.py(), array.shape());
        Ok(SimpleBatchTrace {
            scaled_logits: shaped(py, trace.scaled_logits, shape)?,
            noised_logits: shaped(py, trace.noised_logits, shape)?,
            token: shaped(py, trace.token, &token_shape(shape))?,
        })
    }
}
