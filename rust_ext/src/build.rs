//! What the extension was built from; planted faults, where it was built with them.

use pyo3::prelude::*;
use pyo3::types::PyDict;

#[pyfunction]
pub(crate) fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("source_hash", env!("PARITY_SOURCE_HASH"))?;
    info.set_item("profile", env!("PARITY_PROFILE"))?;
    info.set_item("target", env!("PARITY_TARGET"))?;
    info.set_item("rustc", env!("PARITY_RUSTC"))?;
    info.set_item("planted_faults", cfg!(feature = "planted-faults"))?;
    info.set_item("specimens", cfg!(feature = "specimens"))?;
    Ok(info)
}

/// Every fault's name, the first stage at which it shows, and its verdict.
#[cfg(feature = "planted-faults")]
#[pyfunction]
pub(crate) fn planted_faults() -> Vec<(&'static str, &'static str, &'static str)> {
    let all = torch_exact_sampler::Fault::ALL.iter();
    all.map(|&(_, name, stage, verdict)| (name, stage, verdict)).collect()
}

/// Switches one fault on, or every fault off.
#[cfg(feature = "planted-faults")]
#[pyfunction]
#[pyo3(signature = (name=None))]
pub(crate) fn plant_fault(name: Option<&str>) -> PyResult<()> {
    use torch_exact_sampler::Fault;

    let Some(name) = name else {
        Fault::clear();
        return Ok(());
    };
    let (fault, ..) = Fault::ALL.iter().find(|(_, known, ..)| *known == name).ok_or_else(|| {
        pyo3::exceptions::PyValueError::new_err(format!("no fault is named {name:?}"))
    })?;
    fault.plant();
    Ok(())
}
