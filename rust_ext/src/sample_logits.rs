//! `sample_logits`, its traced form, and `draw`.

use std::cell::Cell;
use std::num::NonZeroUsize;

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use torch_exact_sampler::{
    self as sampler, HalfLogits, Logits as Rows, Replay, SampleError, SampleParameters, Sampler,
    ZeroTemperature,
};

use crate::boundary::{interrupted, lend, look_soon};
use crate::call::{Call, like_sample_logits};
use crate::errors::sample_error;
use crate::generator::ours;
use crate::input::{
    Logits, reading, row_major, rows_and_vocab, shaped, singles, token_shape, zeros,
};
use crate::parameters::count;

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

/// Lends the workspace of this thread's calls, which looks for signals.
fn with_sampler<R>(call: &Call<'_, '_>, run: impl FnOnce(&mut Sampler) -> R) -> R {
    look_soon();
    with_workspace(call.threads, Some(interrupted), run)
}

fn with_workspace<R>(
    threads: Option<NonZeroUsize>,
    interrupted: Option<fn() -> bool>,
    run: impl FnOnce(&mut Sampler) -> R,
) -> R {
    thread_local! {
        static SAMPLER: Cell<Option<Box<Sampler>>> = const { Cell::new(None) };
    }
    lend(&SAMPLER, Box::default, |sampler| {
        sampler.interrupt_when(interrupted);
        sampler.use_threads(threads);
        run(sampler)
    })
}

/// Rows and vocabulary of logits of this shape, or the exception that the reference raises.
fn batch_shape(shape: &[usize], parameters: &SampleParameters) -> PyResult<(usize, usize)> {
    let &SampleParameters { temperature, top_p, top_k, zero_temperature } = parameters;
    let (rows, vocab) = rows_and_vocab(shape);
    let dimensions = shape.len();
    if dimensions == 2 || (temperature == 0.0 && zero_temperature == ZeroTemperature::Argmax) {
        return Ok((rows, vocab));
    }
    if usize::try_from(top_k).is_ok_and(|k| k > vocab) {
        return Err(sample_error(SampleError::TopKOutOfRange { top_k, vocab }));
    }
    let top_p_is_on = top_p > 0.0 && temperature != 0.0;
    match dimensions {
        0 if top_p_is_on || top_k > 0 => Err(PyIndexError::new_err(format!(
            "logits have shape []: top_k = {top_k} and top_p = {top_p} need [B, V]"
        ))),
        1 if top_p_is_on => Err(PyIndexError::new_err(format!(
            "logits have shape {shape:?}: top_p = {top_p} needs [B, V]"
        ))),
        1 => Ok((1, vocab)),
        3.. if top_p_is_on && vocab == 0 => Err(sample_error(SampleError::EmptyVocabulary)),
        _ => Err(PyRuntimeError::new_err(format!("logits have shape {shape:?}: [B, V] is needed"))),
    }
}

like_sample_logits! {
    fn sample_logits(call) -> Bound<'py, PyAny> {
        let mut generator = ours(call.generator)?.get().take(call.py)?;
        let array = Logits::new(call.logits)?.into_singles(&call.parameters)?;
        let values = reading(&array)?;
        sample(&call, Read::Single(&row_major(&values)?), array.shape(), &mut generator)
    }
}

/// Logits, row-major, as they are read.
#[derive(Clone, Copy)]
pub(crate) enum Read<'a> {
    Single(&'a [f32]),
    Bf16(&'a [u16]),
    F16(&'a [u16]),
}

impl Read<'_> {
    fn draw(
        self,
        (rows, vocab): (usize, usize),
        parameters: &SampleParameters,
        replay: Replay,
        sampler: &mut Sampler,
        generator: &mut sampler::Generator,
        tokens: &mut [i64],
    ) -> Result<(), SampleError> {
        let half = match self {
            Read::Single(values) => {
                let logits = Rows::new(values, rows, vocab)?;
                return sampler.sample(logits, parameters, replay, generator, tokens);
            }
            Read::Bf16(bits) => HalfLogits::bf16(bits, rows, vocab)?,
            Read::F16(bits) => HalfLogits::f16(bits, rows, vocab)?,
        };
        sampler.sample_half(half, parameters, replay, generator, tokens)
    }
}

/// How a call draws, without what belongs to Python.
#[derive(Clone, Copy)]
pub(crate) struct Draws {
    parameters: SampleParameters,
    replay: Replay,
    threads: Option<NonZeroUsize>,
}

impl Draws {
    pub(crate) fn of(call: &Call<'_, '_>) -> Self {
        Self { parameters: call.parameters, replay: call.replay(), threads: call.threads }
    }

    /// One token a row of logits of this shape, without any Python: no handler of a signal runs.
    pub(crate) fn without_python(
        &self,
        values: Read<'_>,
        shape: &[usize],
        generator: &mut sampler::Generator,
    ) -> PyResult<Vec<i64>> {
        let (rows, vocab) = batch_shape(shape, &self.parameters)?;
        let mut tokens = vec![0; rows];
        with_workspace(self.threads, None, |sampler| {
            let into = &mut tokens[..];
            values.draw((rows, vocab), &self.parameters, self.replay, sampler, generator, into)
        })
        .map_err(sample_error)?;
        Ok(tokens)
    }
}

/// One token a row of logits of this shape.
pub(crate) fn sample<'py>(
    call: &Call<'_, 'py>,
    values: Read<'_>,
    shape: &[usize],
    generator: &mut sampler::Generator,
) -> PyResult<Bound<'py, PyAny>> {
    let (rows, vocab) = batch_shape(shape, &call.parameters)?;
    let tokens = zeros(call.py, rows)?;
    {
        let mut tokens = tokens.try_readwrite()?;
        let tokens = tokens.as_slice_mut()?;
        let (parameters, replay) = (&call.parameters, call.replay());
        with_sampler(call, |sampler| {
            call.py.detach(|| {
                values.draw((rows, vocab), parameters, replay, sampler, generator, tokens)
            })
        })
        .map_err(sample_error)?;
    }
    Ok(tokens.reshape(token_shape(shape))?.into_any())
}

like_sample_logits! {
    fn trace_sample_logits(call) -> SampleLogitsTrace {
        let mut generator = ours(call.generator)?.get().take(call.py)?;
        let array = Logits::new(call.logits)?.into_singles(&call.parameters)?;
        let shape = array.shape();
        let (rows, vocab) = batch_shape(shape, &call.parameters)?;
        let values = reading(&array)?;
        let values = &*row_major(&values)?;
        let (parameters, replay) = (&call.parameters, call.replay());
        let generator = &mut *generator;
        let trace = with_sampler(&call, |sampler| {
            call.py.detach(|| {
                let logits = Rows::new(values, rows, vocab)?;
                sampler.trace(logits, parameters, replay, generator)
            })
        })
        .map_err(sample_error)?;
        let py = call.py;
        let scaled_logits = match Logits::new(call.logits)? {
            Logits::Integers(integers) if call.parameters.temperature == 0.0 => {
                singles(&integers)?.unbind()
            }
            _ => shaped(py, trace.scaled_logits, shape)?,
        };
        Ok(SampleLogitsTrace {
            scaled_logits,
            probs: shaped(py, trace.probs, shape)?,
            top_k_mask: shaped(py, trace.top_k_mask, shape)?,
            top_p_mask: shaped(py, trace.top_p_mask, shape)?,
            renormalized: shaped(py, trace.renormalized, shape)?,
            token: shaped(py, trace.token, &token_shape(shape))?,
        })
    }
}

like_sample_logits! {
    fn draw(call, n: usize = count) -> Bound<'py, PyArray1<i64>> {
        let mut generator = ours(call.generator)?.get().take(call.py)?;
        let array = Logits::new(call.logits)?.into_singles(&call.parameters)?;
        if array.ndim() != 1 {
            let shape = array.shape();
            return Err(PyValueError::new_err(format!(
                "logits have shape {shape:?}: draw takes one row, [V]"
            )));
        }
        let values = reading(&array)?;
        let values = &*row_major(&values)?;
        let tokens = zeros(call.py, n)?;
        {
            let mut tokens = tokens.try_readwrite()?;
            let tokens = tokens.as_slice_mut()?;
            let (parameters, replay) = (&call.parameters, call.replay());
            let generator = &mut *generator;
            with_sampler(&call, |sampler| {
                call.py.detach(|| sampler.draw(values, parameters, replay, generator, tokens))
            })
            .map_err(sample_error)?;
        }
        Ok(tokens)
    }
}
