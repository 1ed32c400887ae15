//! `sample_logits` on torch's own objects, without a dependency on torch: its methods are called.

use std::cell::RefCell;

use half::f16;
use half::slice::HalfFloatSliceExt;
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use torch_exact_sampler as sampler;

use crate::errors::state_error;
use crate::input::{float32, replay, row_major};
use crate::sample_logits::{parameters, sample};

thread_local! {
    /// Half-precision logits of this thread's call, widened.
    static WIDENED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// Takes the state of this thread's call: to seed one takes longer.
    static GENERATOR: RefCell<sampler::Generator> = RefCell::new(sampler::Generator::new(0));
}

/// What a tensor of logits holds, as numpy sees it.
enum Values<'py> {
    Single(Bound<'py, PyAny>),
    Half(Bound<'py, PyArrayDyn<f16>>),
    /// Bits of the upper half of an f32.
    Brain(Bound<'py, PyArrayDyn<i16>>),
}

fn values<'py>(logits: &Bound<'py, PyAny>) -> PyResult<Values<'py>> {
    let py = logits.py();
    let detached = logits.call_method0(intern!(py, "detach"))?;
    let dtype = detached.getattr(intern!(py, "dtype"))?;
    let torch = py.import(intern!(py, "torch"))?;
    if dtype.is(torch.getattr(intern!(py, "bfloat16"))?) {
        let bits = detached
            .call_method1(intern!(py, "view"), (torch.getattr(intern!(py, "int16"))?,))?
            .call_method0(intern!(py, "numpy"))?;
        return Ok(Values::Brain(bits.cast_into()?));
    }
    let array = detached.call_method0(intern!(py, "numpy"))?;
    if dtype.is(torch.getattr(intern!(py, "float16"))?) {
        return Ok(Values::Half(array.cast_into()?));
    }
    Ok(Values::Single(array))
}

/// Hands logits of any of the three types to `sample`, as float32 with their shape.
fn with_float32<T>(
    logits: &Bound<'_, PyAny>,
    sample: impl FnOnce(&[f32], &[usize]) -> PyResult<T>,
) -> PyResult<T> {
    match values(logits)? {
        Values::Single(array) => {
            let array = float32(&array)?;
            sample(&row_major(&array.try_readonly()?), array.shape())
        }
        Values::Half(array) => WIDENED.with_borrow_mut(|widened| {
            let halves = array.try_readonly()?;
            match halves.as_slice() {
                Ok(halves) if array.is_c_contiguous() => {
                    widened.resize(halves.len(), 0.0);
                    halves.convert_to_f32_slice(widened);
                }
                _ => {
                    widened.clear();
                    widened.extend(halves.as_array().iter().map(|half| half.to_f32()));
                }
            }
            sample(widened, array.shape())
        }),
        Values::Brain(array) => WIDENED.with_borrow_mut(|widened| {
            let halves = array.try_readonly()?;
            let widen = |half: &i16| f32::from_bits(u32::from(half.cast_unsigned()) << 16);
            widened.clear();
            match halves.as_slice() {
                Ok(halves) if array.is_c_contiguous() => widened.extend(halves.iter().map(widen)),
                _ => widened.extend(halves.as_array().iter().map(widen)),
            }
            sample(widened, array.shape())
        }),
    }
}

#[allow(clippy::too_many_arguments)] // The signature is the reference's.
#[pyfunction]
#[pyo3(signature = (logits, temperature=1.0, top_p=0.85, top_k=0, *, generator, capability=None, threads=None, zero_temperature="raise"))]
pub(crate) fn sample_logits_torch<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    temperature: f64,
    top_p: f64,
    top_k: i64,
    generator: &Bound<'py, PyAny>,
    capability: Option<&str>,
    threads: Option<usize>,
    zero_temperature: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let parameters = parameters(temperature, top_p, top_k, zero_temperature)?;
    let torch = py.import(intern!(py, "torch"))?;
    let threads = match threads {
        Some(threads) => threads,
        None => torch.call_method0(intern!(py, "get_num_threads"))?.extract()?,
    };
    let replay = replay(capability, threads)?;
    let state = generator.call_method0(intern!(py, "get_state"))?;
    let bytes = state.call_method0(intern!(py, "numpy"))?;
    let bytes = bytes
        .cast::<PyArray1<u8>>()
        .map_err(|_| PyTypeError::new_err("generator must be a torch.Generator of the CPU"))?;
    let tokens = GENERATOR.with_borrow_mut(|ours| -> PyResult<_> {
        ours.set_state(bytes.try_readonly()?.as_slice()?).map_err(state_error)?;
        let tokens = with_float32(logits, |values, shape| {
            sample(py, values, shape, &parameters, replay, ours)
        })?;
        bytes.try_readwrite()?.as_slice_mut()?.copy_from_slice(&ours.state());
        Ok(tokens)
    })?;
    generator.call_method1(intern!(py, "set_state"), (state,))?;
    torch.call_method1(intern!(py, "from_numpy"), (tokens,))
}
