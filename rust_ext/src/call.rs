//! The arguments that `sample_logits` and its other forms have in common.

use std::num::NonZeroUsize;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use torch_exact_sampler::{Capability, Replay, SampleParameters, ZeroTemperature};

/// One call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a, 'py> {
    pub(crate) py: Python<'py>,
    pub(crate) logits: &'a Bound<'py, PyAny>,
    pub(crate) parameters: SampleParameters,
    pub(crate) capability: Capability,
    /// torch's threads, and the most that the call uses; `None` where nothing was said.
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) generator: &'a Bound<'py, PyAny>,
}

impl Call<'_, '_> {
    /// Which torch is replayed: with one thread, where nothing was said.
    pub(crate) fn replay(&self) -> Replay {
        let threads = self.threads.unwrap_or(NonZeroUsize::MIN);
        Replay { capability: self.capability, threads }
    }
}

pub(crate) fn capability(name: Option<&str>) -> PyResult<Capability> {
    match name {
        None => Ok(Capability::of_torch_here()),
        Some(name) => name.parse().map_err(PyValueError::new_err),
    }
}

pub(crate) fn zero_temperature(name: &str) -> PyResult<ZeroTemperature> {
    match name {
        "raise" => Ok(ZeroTemperature::Raise),
        "argmax" => Ok(ZeroTemperature::Argmax),
        _ => Err(PyValueError::new_err(format!(
            "zero_temperature = {name:?} is none of \"raise\", \"argmax\""
        ))),
    }
}

/// Defines a function of Python with the signature of `sample_logits`. The body has a [`Call`], and
/// is run as every call from Python is. Another argument may follow the logits.
macro_rules! like_sample_logits {
    (
        $(#[$meta:meta])*
        fn $name:ident($call:ident $(, $more:ident: $type:ty = $convert:path)?) -> $returns:ty $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)] // The signature is the reference's.
        #[pyo3::pyfunction]
        #[pyo3(signature = (
            logits, $($more,)? temperature=1.0, top_p=0.85, top_k=0, *,
            generator, capability=None, threads=None, zero_temperature="raise",
        ))]
        pub(crate) fn $name<'py>(
            py: pyo3::Python<'py>,
            logits: &pyo3::Bound<'py, pyo3::PyAny>,
            $(#[pyo3(from_py_with = $convert)] $more: $type,)?
            #[pyo3(from_py_with = crate::parameters::temperature)] temperature: f64,
            #[pyo3(from_py_with = crate::parameters::top_p)] top_p: f64,
            #[pyo3(from_py_with = crate::parameters::top_k)] top_k: i64,
            generator: &pyo3::Bound<'py, pyo3::PyAny>,
            capability: Option<&str>,
            #[pyo3(from_py_with = crate::parameters::threads)]
            threads: Option<std::num::NonZeroUsize>,
            zero_temperature: &str,
        ) -> pyo3::PyResult<$returns> {
            crate::boundary::guarded(|| {
                let zero_temperature = crate::call::zero_temperature(zero_temperature)?;
                let $call = crate::call::Call {
                    py,
                    logits,
                    parameters: torch_exact_sampler::SampleParameters {
                        temperature,
                        top_p,
                        top_k,
                        zero_temperature,
                    },
                    capability: crate::call::capability(capability)?,
                    threads,
                    generator,
                };
                $body
            })
        }
    };
}
pub(crate) use like_sample_logits;
