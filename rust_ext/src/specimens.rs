//! The ports as they were found, one row a call; built with the feature `specimens` only.

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use rand::SeedableRng;
use torch_exact_sampler::specimens::{
    self, FastSampler, FastSamplerConfig, trace_sample_logits, trace_simple_batch_sampler,
};

/// rand's `StdRng`: what the ports drew from.
#[pyclass(module = "rust_ext")]
pub(crate) struct StdRng(Option<rand::rngs::StdRng>);

#[pymethods]
impl StdRng {
    #[new]
    fn new(seed: u64) -> Self {
        Self(Some(rand::rngs::StdRng::seed_from_u64(seed)))
    }
}

/// f32 [V] twice, and i64 [1].
#[pyclass(module = "rust_ext", frozen, get_all)]
pub(crate) struct SpecimenSimpleBatchTrace {
    scaled_logits: Py<PyArray1<f32>>,
    noised_logits: Py<PyArray1<f32>>,
    token: Py<PyArray1<i64>>,
}

/// f32 [V], the path's name, and i64 [1].
#[pyclass(module = "rust_ext", frozen, get_all)]
pub(crate) struct SpecimenFastSamplerTrace {
    renormalized: Py<PyArray1<f32>>,
    path: &'static str,
    token: Py<PyArray1<i64>>,
}

/// f32 [V] and i64 [1].
#[pyclass(module = "rust_ext", frozen, get_all)]
pub(crate) struct SpecimenSampleLogitsTrace {
    renormalized: Py<PyArray1<f32>>,
    token: Py<PyArray1<i64>>,
}

fn array<T: numpy::Element>(py: Python<'_>, values: Vec<T>) -> Py<PyArray1<T>> {
    PyArray1::from_vec(py, values).unbind()
}

fn token_array(py: Python<'_>, token: usize) -> Py<PyArray1<i64>> {
    array(py, vec![i64::try_from(token).unwrap_or(i64::MAX)])
}

fn row(logits: &PyReadonlyArray1<'_, f32>) -> Vec<f32> {
    logits.as_array().iter().copied().collect()
}

/// A negative `top_k` is off, as 0 is.
fn count(top_k: i64) -> usize {
    usize::try_from(top_k).unwrap_or(0)
}

#[allow(clippy::needless_pass_by_value)] // The shape that pyo3 gives an argument.
#[pyfunction]
pub(crate) fn specimen_simple_batch_sampler(
    py: Python<'_>,
    logits: PyReadonlyArray1<'_, f32>,
    temperature: f32,
    noise: f32,
    forbid_token: Option<usize>,
    rng: &mut StdRng,
) -> SpecimenSimpleBatchTrace {
    let specimens::SimpleBatchTrace { scaled_logits, noised_logits, token } =
        trace_simple_batch_sampler(&row(&logits), temperature, noise, forbid_token, &mut rng.0);
    SpecimenSimpleBatchTrace {
        scaled_logits: array(py, scaled_logits),
        noised_logits: array(py, noised_logits),
        token: token_array(py, token),
    }
}

#[allow(clippy::needless_pass_by_value)] // The shape that pyo3 gives an argument.
#[pyfunction]
pub(crate) fn specimen_fast_sampler(
    py: Python<'_>,
    logits: PyReadonlyArray1<'_, f32>,
    temperature: f32,
    top_p: f32,
    top_k: i64,
    forbid_token: Option<usize>,
    rng: &mut StdRng,
) -> SpecimenFastSamplerTrace {
    let top_k = count(top_k);
    let config = FastSamplerConfig {
        temperature,
        top_p,
        top_k,
        forbid_token,
        ..FastSamplerConfig::default()
    };
    let specimens::FastSamplerTrace { renormalized, path, token } =
        FastSampler::new().trace_optimized_sample(&row(&logits), &config, &mut rng.0);
    SpecimenFastSamplerTrace {
        renormalized: array(py, renormalized),
        path: path.name(),
        token: token_array(py, token),
    }
}

#[allow(clippy::needless_pass_by_value)] // The shape that pyo3 gives an argument.
#[pyfunction]
pub(crate) fn specimen_sample_logits(
    py: Python<'_>,
    logits: PyReadonlyArray1<'_, f32>,
    temperature: f32,
    top_p: f32,
    top_k: i64,
    rng: &mut StdRng,
) -> SpecimenSampleLogitsTrace {
    let specimens::SampleLogitsTrace { renormalized, token } =
        trace_sample_logits(&row(&logits), temperature, top_p, count(top_k), &mut rng.0);
    SpecimenSampleLogitsTrace {
        renormalized: array(py, renormalized),
        token: token_array(py, token),
    }
}
