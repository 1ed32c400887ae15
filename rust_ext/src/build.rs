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

/// The highest of torch's capabilities that the processor has, whatever the environment says.
#[pyfunction]
pub(crate) fn processor_capability() -> &'static str {
    torch_exact_sampler::Capability::of_processor().name()
}

/// Every fault's name, the first stage at which it shows, and its verdict.
#[cfg(feature = "planted-faults")]
#[pyfunction]
pub(crate) fn planted_faults() -> Vec<(&'static str, &'static str, &'static str)> {
    let all = torch_exact_sampler::Fault::ALL.iter();
    all.map(|&(_, name, stage, verdict)| (name, stage, verdict)).collect()
}

/// Every fault in what users run: its name, what it does, the file that it is planted in, the path of
/// a call that comes by it; how many calls are enough, and how probable it is at most that they miss it.
#[cfg(feature = "planted-faults")]
#[pyfunction]
pub(crate) fn shipped_faults()
-> Vec<(&'static str, &'static str, &'static str, &'static str, u32, f64)> {
    use torch_exact_sampler::{Fault, MISSED, PlantedCall};

    let calls = |fault| PlantedCall::stated(fault).map_or(0, |(calls, _)| calls);
    let all = Fault::SHIPPED.iter();
    all.map(|it| (it.name, it.words, it.file, it.path, calls(it.fault), MISSED)).collect()
}

/// A call that is made for a fault of those: logits `[rows, V]`, temperature, `top_p` and `top_k`, the
/// generator's state, how many tokens are drawn, and the row `[V]` that the sampler must have seen.
#[cfg(feature = "planted-faults")]
#[pyfunction]
pub(crate) fn shipped_call<'py>(
    py: Python<'py>,
    name: &str,
    number: u32,
    capability: &str,
) -> PyResult<Bound<'py, PyDict>> {
    use numpy::PyArray1;
    use pyo3::exceptions::PyValueError;
    use pyo3::types::PyBytes;
    use torch_exact_sampler::PlantedCall;

    let capability = capability.parse().map_err(PyValueError::new_err)?;
    let call = PlantedCall::numbered(fault(name)?, number, capability)
        .ok_or_else(|| PyValueError::new_err(format!("no call is made for the fault {name:?}")))?;
    let shape = [call.rows, call.logits.len() / call.rows];
    let made = PyDict::new(py);
    made.set_item("logits", crate::input::shaped(py, call.logits, &shape)?)?;
    made.set_item("temperature", call.parameters.temperature)?;
    made.set_item("top_p", call.parameters.top_p)?;
    made.set_item("top_k", call.parameters.top_k)?;
    made.set_item("state", PyBytes::new(py, &call.generator.state()))?;
    made.set_item("draws", call.draws)?;
    made.set_item("seen", call.seen.map(|row| PyArray1::from_vec(py, row)))?;
    Ok(made)
}

/// Has batches shared between so many threads, whatever this machine has.
#[cfg(feature = "planted-faults")]
#[pyfunction]
pub(crate) fn share_batches(threads: usize) -> PyResult<()> {
    // rayon's own pool can be made once; a second time it must be as it is asked for.
    let made = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    if rayon::current_num_threads() == threads {
        return Ok(());
    }
    let reason = made.err().map_or_else(String::new, |error| format!(": {error}"));
    Err(pyo3::exceptions::PyRuntimeError::new_err(format!(
        "threads = {threads} cannot share batches{reason}"
    )))
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
    fault(name)?.plant();
    Ok(())
}

#[cfg(feature = "planted-faults")]
fn fault(name: &str) -> PyResult<torch_exact_sampler::Fault> {
    torch_exact_sampler::Fault::named(name).ok_or_else(|| {
        pyo3::exceptions::PyValueError::new_err(format!("no fault is named {name:?}"))
    })
}
