//! `sample_logits` on torch's own objects, without a dependency on torch: its methods are called.

use std::cell::Cell;

use half::f16;
use half::slice::HalfFloatSliceExt;
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use torch_exact_sampler::{self as sampler, SampleParameters};

use crate::boundary::lend;
use crate::call::like_sample_logits;
use crate::errors::type_error;
use crate::input::{Logits, reading, reserve, row_major};
use crate::parameters;
use crate::sample_logits::sample;
use crate::turns::alone_with;

/// What a tensor of logits holds, as numpy sees it.
enum Values<'py> {
    Single(Bound<'py, PyAny>),
    Half(Bound<'py, PyArrayDyn<f16>>),
    /// Bits of the upper half of an f32.
    Brain(Bound<'py, PyArrayDyn<i16>>),
}

impl<'py> Values<'py> {
    fn new(logits: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = logits.py();
        let detached = logits
            .call_method0(intern!(py, "detach"))
            .map_err(|error| unless_torchs(logits, "Tensor", "logits", error))?;
        Self::of_detached(&detached).or_else(|error| {
            // numpy sees no tensor that is negated when it is read.
            match detached.call_method0(intern!(py, "resolve_neg")) {
                Ok(resolved) if !resolved.is(&detached) => Self::of_detached(&resolved),
                _ => Err(unless_torchs(logits, "Tensor", "logits", error)),
            }
        })
    }

    fn of_detached(detached: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = detached.py();
        let dtype = detached.getattr(intern!(py, "dtype"))?;
        let torch = py.import(intern!(py, "torch"))?;
        if dtype.is(torch.getattr(intern!(py, "bfloat16"))?) {
            let bits = detached
                .call_method1(intern!(py, "view"), (torch.getattr(intern!(py, "int16"))?,))?
                .call_method0(intern!(py, "numpy"))?;
            return Ok(Self::Brain(bits.cast_into()?));
        }
        let array = detached.call_method0(intern!(py, "numpy"))?;
        if dtype.is(torch.getattr(intern!(py, "float16"))?) {
            return Ok(Self::Half(array.cast_into()?));
        }
        Ok(Self::Single(array))
    }
}

/// What is wrong with an argument: `error`, if it is of a class of torch's.
fn unless_torchs(given: &Bound<'_, PyAny>, class: &str, name: &str, error: PyErr) -> PyErr {
    let torch = given.py().import(intern!(given.py(), "torch"));
    match torch.and_then(|torch| given.is_instance(&torch.getattr(class)?)) {
        Ok(true) => error,
        Ok(false) => type_error(name, &format!("a torch.{class} of the CPU"), given),
        Err(error) => error,
    }
}

/// Hands logits of any type to `sample`, as float32 with their shape.
fn with_float32<T>(
    logits: &Bound<'_, PyAny>,
    parameters: &SampleParameters,
    sample: impl FnOnce(&[f32], &[usize]) -> PyResult<T>,
) -> PyResult<T> {
    thread_local! {
        /// Half-precision logits of this thread's call, widened.
        static WIDENED: Cell<Option<Vec<f32>>> = const { Cell::new(None) };
    }
    match Values::new(logits)? {
        Values::Single(array) => {
            let array = Logits::new(&array)?.into_singles(parameters)?;
            sample(&row_major(&reading(&array)?)?, array.shape())
        }
        Values::Half(array) => lend(&WIDENED, Vec::new, |widened| {
            let halves = reading(&array)?;
            widened.clear();
            reserve(widened, array.len())?;
            match halves.as_slice() {
                Ok(halves) if array.is_c_contiguous() => {
                    widened.resize(halves.len(), 0.0);
                    halves.convert_to_f32_slice(widened);
                }
                _ => widened.extend(halves.as_array().iter().map(|half| half.to_f32())),
            }
            sample(widened, array.shape())
        }),
        Values::Brain(array) => lend(&WIDENED, Vec::new, |widened| {
            let halves = reading(&array)?;
            let widen = |half: &i16| f32::from_bits(u32::from(half.cast_unsigned()) << 16);
            widened.clear();
            reserve(widened, array.len())?;
            match halves.as_slice() {
                Ok(halves) if array.is_c_contiguous() => widened.extend(halves.iter().map(widen)),
                _ => widened.extend(halves.as_array().iter().map(widen)),
            }
            sample(widened, array.shape())
        }),
    }
}

/// Lends `call` a generator of ours in the state of torch's, which takes over the state that it is
/// then in, where there is no error.
///
/// torch's own draws hold a lock of the generator. It cannot be held from here, so that calls from
/// here take turns with each other only.
fn with_state<T>(
    generator: &Bound<'_, PyAny>,
    call: impl FnOnce(&mut sampler::Generator) -> PyResult<T>,
) -> PyResult<T> {
    thread_local! {
        /// Takes the state of this thread's call: to seed one takes longer.
        static GENERATOR: Cell<Option<Box<sampler::Generator>>> = const { Cell::new(None) };
    }
    let py = generator.py();
    alone_with(generator, || {
        let wrong = |error| unless_torchs(generator, "Generator", "generator", error);
        let state = generator.call_method0(intern!(py, "get_state")).map_err(wrong)?;
        let bytes = state.call_method0(intern!(py, "numpy")).map_err(wrong)?;
        let not_of_the_cpu =
            || PyTypeError::new_err("generator must be a torch.Generator of the CPU");
        let bytes = bytes.cast::<PyArray1<u8>>().map_err(|_| not_of_the_cpu())?;
        lend(
            &GENERATOR,
            || Box::new(sampler::Generator::new(0)),
            |ours| {
                let given = bytes.try_readonly()?;
                ours.set_state(given.as_slice()?).map_err(|_| not_of_the_cpu())?;
                drop(given);
                let outcome = call(ours)?;
                bytes.try_readwrite()?.as_slice_mut()?.copy_from_slice(&ours.state());
                generator.call_method1(intern!(py, "set_state"), (state,))?;
                Ok(outcome)
            },
        )
    })
}

like_sample_logits! {
    fn sample_logits_torch(call) -> Bound<'py, PyAny> {
        let (mut call, py) = (call, call.py);
        let torch = py.import(intern!(py, "torch"))?;
        if call.threads.is_none() {
            let threads = torch.call_method0(intern!(py, "get_num_threads"))?;
            call.threads = parameters::threads(&threads)?;
        }
        let tokens = with_state(call.generator, |ours| {
            with_float32(call.logits, &call.parameters, |values, shape| {
                sample(&call, values, shape, ours)
            })
        })?;
        torch.call_method1(intern!(py, "from_numpy"), (tokens,))
    }
}
