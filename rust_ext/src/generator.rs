//! `Generator`.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyType};
use torch_exact_sampler as sampler;

use crate::errors::{state_error, type_error};
use crate::turns::{Turn, Turns};

/// Replays `torch.Generator("cpu")`.
#[pyclass(module = "rust_ext", frozen, weakref)]
pub(crate) struct Generator(Turns<sampler::Generator>);

/// torch takes -2^63 to 2^64 - 1, a negative seed as its two's complement.
fn seed_bits(seed: &Bound<'_, PyInt>) -> PyResult<u64> {
    seed.extract::<u64>()
        .or_else(|_| seed.extract::<i64>().map(i64::cast_unsigned))
        .map_err(|_| PyValueError::new_err(format!("seed = {seed} is not within [-2**63, 2**64)")))
}

/// The bytes of a state: those of a buffer, or of a tensor, which numpy can see.
fn state_bytes(state: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let py = state.py();
    let bytes = |object: &Bound<'_, PyAny>| PyBuffer::<u8>::get(object)?.to_vec(py);
    bytes(state)
        .or_else(|_| bytes(&state.call_method0(intern!(py, "numpy"))?))
        .map_err(|_| type_error("state", "bytes, or an array or tensor of uint8", state))
}

impl Generator {
    /// The generator, when it is this thread's turn.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Turn<'_, sampler::Generator>> {
        self.0.take(py)
    }
}

/// `generator` as one of ours, or the exception that says what it is instead.
pub(crate) fn ours<'a, 'py>(
    generator: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, Generator>> {
    generator.cast().map_err(|_| type_error("generator", "a rust_ext.Generator", generator))
}

#[pymethods]
impl Generator {
    #[new]
    fn new(seed: &Bound<'_, PyInt>) -> PyResult<Self> {
        Ok(Self(Turns::new(sampler::Generator::new(seed_bits(seed)?))))
    }

    fn manual_seed<'py>(
        slf: Bound<'py, Self>,
        seed: &Bound<'py, PyInt>,
    ) -> PyResult<Bound<'py, Self>> {
        slf.get().take(slf.py())?.manual_seed(seed_bits(seed)?);
        Ok(slf)
    }

    fn initial_seed(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.take(py)?.initial_seed())
    }

    fn get_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let state = self.take(py)?.state();
        Ok(PyBytes::new(py, &state))
    }

    fn set_state<'py>(
        slf: Bound<'py, Self>,
        state: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let bytes = state_bytes(state)?;
        slf.get().take(slf.py())?.set_state(&bytes).map_err(state_error)?;
        Ok(slf)
    }

    fn clone_state(&self, py: Python<'_>) -> PyResult<Self> {
        let copy = self.take(py)?.clone();
        Ok(Self(Turns::new(copy)))
    }

    /// How it is copied and pickled.
    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyType>, (u64,), Bound<'py, PyBytes>)> {
        let (py, generator) = (slf.py(), slf.get());
        let (seed, state) = {
            let generator = generator.take(py)?;
            (generator.initial_seed(), generator.state())
        };
        Ok((slf.get_type(), (seed,), PyBytes::new(py, &state)))
    }

    fn __setstate__<'py>(slf: Bound<'py, Self>, state: &Bound<'py, PyAny>) -> PyResult<()> {
        Self::set_state(slf, state).map(|_| ())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<rust_ext.Generator seeded with {}>", self.initial_seed(py)?))
    }
}
