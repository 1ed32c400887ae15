//! `sample_logits` on torch's own objects, without a dependency on torch: its methods are called.

use std::cell::Cell;

use half::f16;
use half::slice::HalfFloatSliceExt;
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tensor_memory::Table;
use torch_exact_sampler as sampler;

use crate::boundary::lend;
use crate::call::{Call, like_sample_logits};
use crate::errors::type_error;
use crate::input::{Logits, reading, row_major, token_shape};
use crate::parameters;
use crate::sample_logits::{Draws, Read, sample};
use crate::turns::alone_with;

/// What is asked of torch in every call, looked up once.
struct Torch {
    tensor: Py<PyAny>,
    bfloat16: Py<PyAny>,
    float16: Py<PyAny>,
    uint16: Py<PyAny>,
    from_numpy: Py<PyAny>,
    get_num_threads: Py<PyAny>,
    /// Of its tensors; newer versions have one.
    table: PyOnceLock<Option<Table>>,
}

impl Torch {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        static TORCH: PyOnceLock<Torch> = PyOnceLock::new();
        TORCH.get_or_try_init(py, || {
            let torch = py.import("torch")?;
            let find = |name: &str| torch.getattr(name).map(Bound::unbind);
            Ok(Self {
                tensor: find("Tensor")?,
                bfloat16: find("bfloat16")?,
                float16: find("float16")?,
                uint16: find("uint16")?,
                from_numpy: find("from_numpy")?,
                get_num_threads: find("get_num_threads")?,
                table: PyOnceLock::new(),
            })
        })
    }

    /// The functions that read a tensor where it lies; `None` for subclasses, which torch's methods know.
    fn table(&self, tensor: &Bound<'_, PyAny>) -> Option<&Table> {
        if !tensor.get_type().is(&self.tensor) {
            return None;
        }
        self.table.get_or_init(tensor.py(), || Table::of(tensor)).as_ref()
    }
}

/// What a tensor of logits holds, as numpy sees it.
enum Values<'py> {
    Single(Bound<'py, PyAny>),
    Half(Bound<'py, PyArrayDyn<f16>>),
    /// Bits of the upper half of an f32.
    Brain(Bound<'py, PyArrayDyn<u16>>),
}

impl<'py> Values<'py> {
    fn new(logits: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = logits.py();
        // A tensor that needs no gradient, which nearly all are, need not be detached.
        if logits.get_type().is(&Torch::get(py)?.tensor)
            && let Ok(values) = Self::of_detached(logits)
        {
            return Ok(values);
        }
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
        let torch = Torch::get(py)?;
        // The oldest torch makes an array of whatever memory of it.
        if detached.call_method0(intern!(py, "_is_zerotensor"))?.is_truthy()? {
            return Err(PyRuntimeError::new_err("logits is a ZeroTensor, which has no memory"));
        }
        let dtype = detached.getattr(intern!(py, "dtype"))?;
        if dtype.is(&torch.bfloat16) {
            let bits = detached
                .call_method1(intern!(py, "view"), (&torch.uint16,))?
                .call_method0(intern!(py, "numpy"))?;
            return Ok(Self::Brain(bits.cast_into()?));
        }
        let array = detached.call_method0(intern!(py, "numpy"))?;
        if dtype.is(&torch.float16) {
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

/// Samples logits of any type, and gives a tensor; those in half precision as they are, without a copy
/// where they are row-major.
fn sample_any<'py>(
    call: &Call<'_, 'py>,
    generator: &mut sampler::Generator,
) -> PyResult<Bound<'py, PyAny>> {
    let torch = Torch::get(call.py)?;
    if let Some(table) = torch.table(call.logits)
        && let Some((tokens, shape)) = sample_in_place(call, table, generator)?
    {
        return table.give(call.py, tokens, &token_shape(&shape));
    }
    let tokens = match Values::new(call.logits)? {
        Values::Single(array) => {
            let array = Logits::new(&array)?.into_singles(&call.parameters)?;
            sample(call, Read::Single(&row_major(&reading(&array)?)?), array.shape(), generator)?
        }
        Values::Half(array) => {
            let halves = reading(&array)?;
            let halves = row_major(&halves)?;
            sample(call, Read::F16(halves.reinterpret_cast()), array.shape(), generator)?
        }
        Values::Brain(array) => {
            sample(call, Read::Bf16(&row_major(&reading(&array)?)?), array.shape(), generator)?
        }
    };
    torch.from_numpy.bind(call.py).call1((tokens,))
}

/// Samples one row where it lies, which spares two of torch's methods, and gives the tokens with the row's
/// shape. `None` where it has to be had by torch's methods.
///
/// No other thread of Python runs meanwhile. A batch could wait for ever: for helpers that work for
/// another thread's batch, which waits for Python to look for signals.
fn sample_in_place(
    call: &Call<'_, '_>,
    table: &Table,
    generator: &mut sampler::Generator,
) -> PyResult<Option<(Vec<i64>, Vec<usize>)>> {
    /// Microseconds; milliseconds where torch's stages are computed one by one, which is as long as
    /// Python lets a thread run that never waits.
    const MOST: usize = 1 << 18;
    if call.logits.call_method0(intern!(call.py, "is_neg"))?.is_truthy()? {
        return Ok(None);
    }
    let how = Draws::of(call);
    let drawn = table.read(call.logits, |view| {
        let count = view.values.count();
        if count > MOST || view.shape.last().copied() != i64::try_from(count).ok() {
            return Ok(None);
        }
        let values = match view.values {
            tensor_memory::Values::Single(values) => Read::Single(values),
            tensor_memory::Values::F16(values) => Read::F16(values.reinterpret_cast()),
            tensor_memory::Values::Bf16(values) => Read::Bf16(values.reinterpret_cast()),
        };
        let shape: Vec<_> =
            view.shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        let tokens = how.without_python(values, &shape, generator)?;
        Ok(Some((tokens, shape)))
    });
    drawn.unwrap_or(Ok(None))
}

/// Lends `call` the bytes of a state that torch's `get_state` gave.
fn with_bytes<R>(
    state: &Bound<'_, PyAny>,
    generator: &Bound<'_, PyAny>,
    mut call: impl FnMut(&mut [u8]) -> R + Send,
) -> PyResult<R> {
    if let Some(table) = Torch::get(state.py())?.table(state)
        && let Some(done) = table.write(state, &mut call)
    {
        return Ok(done);
    }
    let array = state
        .call_method0(intern!(state.py(), "numpy"))
        .map_err(|error| unless_torchs(generator, "Generator", "generator", error))?;
    let array = array.cast::<PyArray1<u8>>().map_err(|_| not_of_the_cpu())?;
    let mut bytes = array.try_readwrite()?;
    Ok(call(bytes.as_slice_mut()?))
}

fn not_of_the_cpu() -> PyErr {
    PyTypeError::new_err("generator must be a torch.Generator of the CPU")
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
        let state = generator
            .call_method0(intern!(py, "get_state"))
            .map_err(|error| unless_torchs(generator, "Generator", "generator", error))?;
        lend(
            &GENERATOR,
            || Box::new(sampler::Generator::new(0)),
            |ours| {
                with_bytes(&state, generator, |bytes| ours.set_state(bytes))?
                    .map_err(|_| not_of_the_cpu())?;
                let outcome = call(ours)?;
                with_bytes(&state, generator, |bytes| {
                    bytes.try_into().map(|bytes| ours.write_state(bytes))
                })?
                .map_err(|_| not_of_the_cpu())?;
                generator.call_method1(intern!(py, "set_state"), (&state,))?;
                Ok(outcome)
            },
        )
    })
}

like_sample_logits! {
    fn sample_logits_torch(call) -> Bound<'py, PyAny> {
        let (mut call, py) = (call, call.py);
        let torch = Torch::get(py)?;
        if call.threads.is_none() {
            call.threads = parameters::threads(&torch.get_num_threads.bind(py).call0()?)?;
        }
        with_state(call.generator, |ours| sample_any(&call, ours))
    }
}
