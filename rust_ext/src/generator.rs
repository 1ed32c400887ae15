//! `Generator`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};
use torch_exact_sampler as sampler;

use crate::errors::state_error;

/// Replays `torch.Generator("cpu")`.
#[pyclass(module = "rust_ext")]
pub(crate) struct Generator(pub(crate) sampler::Generator);

/// torch takes -2^63 to 2^64 - 1, a negative seed as its two's complement.
fn seed_bits(seed: &Bound<'_, PyInt>) -> PyResult<u64> {
    seed.extract::<u64>()
        .or_else(|_| seed.extract::<i64>().map(i64::cast_unsigned))
        .map_err(|_| PyValueError::new_err(format!("seed = {seed} is not within [-2**63, 2**64)")))
}

#[pymethods]
impl Generator {
    #[new]
    fn new(seed: &Bound<'_, PyInt>) -> PyResult<Self> {
        Ok(Self(sampler::Generator::new(seed_bits(seed)?)))
    }

    fn manual_seed<'py>(
        mut slf: PyRefMut<'py, Self>,
        seed: &Bound<'py, PyInt>,
    ) -> PyResult<PyRefMut<'py, Self>> {
        slf.0.manual_seed(seed_bits(seed)?);
        Ok(slf)
    }

    fn initial_seed(&self) -> u64 {
        self.0.initial_seed()
    }

    fn get_state<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.state())
    }

    fn set_state(&mut self, state: &[u8]) -> PyResult<()> {
        self.0.set_state(state).map_err(state_error)
    }
}
