//! The TTS presets.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use torch_exact_sampler as sampler;

/// The parameters of one TTS stage.
#[pyclass(module = "rust_ext", frozen, get_all, eq)]
#[derive(PartialEq)]
pub(crate) struct Preset {
    name: &'static str,
    temperature: f64,
    top_p: f64,
    top_k: i64,
    vocab: usize,
    max_tokens: usize,
    stop_token: Option<usize>,
}

impl From<sampler::Preset> for Preset {
    fn from(preset: sampler::Preset) -> Self {
        let sampler::Preset { name, parameters, vocab, max_tokens, stop_token } = preset;
        let sampler::SampleParameters { temperature, top_p, top_k, .. } = parameters;
        Self { name, temperature, top_p, top_k, vocab, max_tokens, stop_token }
    }
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let presets = sampler::PRESETS
        .into_iter()
        .map(|preset| Py::new(py, Preset::from(preset)))
        .collect::<PyResult<Vec<_>>>()?;
    for preset in &presets {
        module.add(preset.get().name.to_uppercase(), preset)?;
    }
    module.add("PRESETS", PyTuple::new(py, presets)?)
}
