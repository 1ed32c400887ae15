//! Python binding of `torch-exact-sampler`: converts, forwards, maps errors.
//!
//! Signatures, shapes and errors are documented in `rust_ext.pyi`.

mod boundary;
mod build;
mod call;
mod errors;
mod generator;
mod input;
mod parameters;
mod pipeline;
mod plain_stages;
mod presets;
mod sample_logits;
mod simple_batch_sampler;
#[cfg(feature = "specimens")]
mod specimens;
mod torch;
mod turns;

use pyo3::prelude::*;

/// A free-threaded Python need not turn its GIL on for this module. A [`Generator`](generator::Generator)
/// and torch's are for one thread at a time, by `turns`; a `Pipeline`, a `Preset` and a trace are
/// never written after they were made; workspaces are a thread's own; numpy's crate counts who reads
/// and who writes an array from here, behind a lock. Python itself may write an array that a call
/// reads, with a GIL as well as without one: calls let go of it.
#[pymodule(gil_used = false)]
mod rust_ext {
    #[pymodule_export]
    use crate::build::{build_info, processor_capability};
    #[cfg(feature = "planted-faults")]
    #[pymodule_export]
    use crate::build::{plant_fault, planted_faults, share_batches, shipped_call, shipped_faults};
    #[pymodule_export]
    use crate::generator::Generator;
    #[pymodule_export]
    use crate::pipeline::{Pipeline, PipelineTrace};
    #[pymodule_export]
    use crate::plain_stages::{
        exponentials, multinomial, renormalize, softmax, top_k_mask, top_p_mask, uniforms,
    };
    #[pymodule_export]
    use crate::presets::Preset;
    #[pymodule_export]
    use crate::sample_logits::{SampleLogitsTrace, draw, sample_logits, trace_sample_logits};
    #[pymodule_export]
    use crate::simple_batch_sampler::{
        SimpleBatchTrace, simple_batch_sampler, trace_simple_batch_sampler,
    };
    #[cfg(feature = "specimens")]
    #[pymodule_export]
    use crate::specimens::{
        SpecimenFastSamplerTrace, SpecimenSampleLogitsTrace, SpecimenSimpleBatchTrace, StdRng,
        specimen_fast_sampler, specimen_sample_logits, specimen_simple_batch_sampler,
    };
    #[pymodule_export]
    use crate::torch::sample_logits_torch;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::turns::count_forks(module.py())?;
        crate::input::load_numpy(module.py())?;
        crate::presets::add(module)
    }
}
