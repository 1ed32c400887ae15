//! `Pipeline`: the sampling of transformers' `generate`.

use std::cell::Cell;
use std::num::NonZeroUsize;

use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyTuple, PyType};
use torch_exact_sampler::{
    self as sampler, GenerateOptions, History, Logits as Rows, PipelineWorkspace, Replay, Step,
    StepError,
};

use crate::boundary::{guarded, interrupted, lend, look_soon};
use crate::call;
use crate::errors::{sample_error, type_error};
use crate::generator::ours;
use crate::input::{reading, row_major, rows_and_vocab, shaped, token_shape, zeros};

/// Steps from scores to scores, then a draw.
#[pyclass(module = "rust_ext", frozen, eq)]
#[derive(PartialEq)]
pub(crate) struct Pipeline(sampler::Pipeline);

/// Every step of one call, in order.
#[pyclass(module = "rust_ext", frozen, get_all)]
pub(crate) struct PipelineTrace {
    scores: Py<PyTuple>,
    probs: Py<PyArrayDyn<f32>>,
    token: Py<PyArrayDyn<i64>>,
    certain: Py<PyArrayDyn<bool>>,
}

#[allow(clippy::needless_pass_by_value)] // The shape that `map_err` takes.
fn step_error(error: StepError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A number that transformers makes a float of, or compares with one.
fn number(name: &str, given: &Bound<'_, PyAny>) -> PyResult<f64> {
    given.extract().map_err(|_| type_error(name, "a number", given))
}

/// A number that transformers takes where it is a float only.
fn float(name: &str, given: &Bound<'_, PyAny>) -> PyResult<f64> {
    match given.cast::<PyFloat>() {
        Ok(float) => Ok(float.value()),
        Err(_) => Err(PyValueError::new_err(format!(
            "{name} = {} must be a float, which transformers asks for",
            given.repr()?
        ))),
    }
}

fn count(name: &str, given: &Bound<'_, PyAny>) -> PyResult<usize> {
    let Ok(integer) = given.cast::<PyInt>() else {
        return Err(PyValueError::new_err(format!(
            "{name} = {} must be an int, which transformers asks for",
            given.repr()?
        )));
    };
    match integer.extract() {
        Ok(count) => Ok(count),
        Err(_) if integer.lt(0)? => {
            Err(PyValueError::new_err(format!("{name} = {integer} must be > 0")))
        }
        // More than there are tokens.
        Err(_) => Ok(usize::MAX),
    }
}

/// A step by its name.
fn step(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Step> {
    Ok(match name {
        "repetition_penalty" => Step::RepetitionPenalty(float(name, given)?),
        "temperature" => Step::Temperature(float(name, given)?),
        "top_k" => Step::TopK(count(name, given)?),
        "top_p" => Step::TopP(number(name, given)?),
        "min_p" => Step::MinP(number(name, given)?),
        "typical_p" => Step::TypicalP(number(name, given)?),
        "epsilon_cutoff" => Step::EpsilonCutoff(number(name, given)?),
        "eta_cutoff" => Step::EtaCutoff(number(name, given)?),
        _ => {
            return Err(PyValueError::new_err(format!(
                "steps name {name:?}, which is none of \"repetition_penalty\", \"temperature\", \
                 \"top_k\", \"top_p\", \"min_p\", \"typical_p\", \"epsilon_cutoff\", \"eta_cutoff\""
            )));
        }
    })
}

/// What a step has for a parameter.
fn parameter(py: Python<'_>, step: Step) -> PyResult<Bound<'_, PyAny>> {
    match step {
        Step::TopK(k) => Ok(k.into_pyobject(py)?.into_any()),
        Step::RepetitionPenalty(value)
        | Step::Temperature(value)
        | Step::TopP(value)
        | Step::MinP(value)
        | Step::TypicalP(value)
        | Step::EpsilonCutoff(value)
        | Step::EtaCutoff(value) => Ok(value.into_pyobject(py)?.into_any()),
        step => Err(PyValueError::new_err(format!("{} is not known here", step.name()))),
    }
}

/// Rows and vocabulary of logits of this shape, `[B, V]` or `[V]`.
fn rows_of(shape: &[usize]) -> (usize, usize) {
    match *shape {
        [vocab] => (1, vocab),
        _ => rows_and_vocab(shape),
    }
}

/// The arguments of a call, but for the pipeline.
struct Arguments<'a, 'py> {
    logits: Bound<'py, PyArrayDyn<f32>>,
    history: Option<Bound<'py, PyArrayDyn<i64>>>,
    generator: &'a Bound<'py, crate::generator::Generator>,
    replay: Replay,
}

impl<'a, 'py> Arguments<'a, 'py> {
    fn new(
        logits: &Bound<'py, PyAny>,
        generator: &'a Bound<'py, PyAny>,
        history: Option<&Bound<'py, PyAny>>,
        capability: Option<&str>,
        threads: Option<NonZeroUsize>,
    ) -> PyResult<Self> {
        let generator = ours(generator)?;
        let array = logits
            .cast::<PyArrayDyn<f32>>()
            .map_err(|_| type_error("logits", "a numpy array of float32", logits))?;
        let shape = array.shape();
        if !matches!(shape.len(), 1 | 2) {
            return Err(PyValueError::new_err(format!(
                "logits have shape {shape:?}: [B, V] or [V] is needed"
            )));
        }
        let history = history
            .map(|history| {
                let array = history
                    .cast::<PyArrayDyn<i64>>()
                    .map_err(|_| type_error("history", "a numpy array of int64", history))?;
                if array.ndim() == shape.len() {
                    return Ok(array.clone());
                }
                Err(PyValueError::new_err(format!(
                    "history has shape {:?}: logits of shape {shape:?} need {}",
                    array.shape(),
                    ["[n]", "[B, n]"][shape.len() - 1]
                )))
            })
            .transpose()?;
        let threads = threads.unwrap_or(NonZeroUsize::MIN);
        let replay = Replay { capability: call::capability(capability)?, threads };
        Ok(Self { logits: array.clone(), history, generator, replay })
    }

    /// Runs a call without the GIL, in this thread's workspace.
    fn run<R: Send>(
        &self,
        py: Python<'py>,
        call: impl FnOnce(
            Rows<'_>,
            Option<History<'_>>,
            &mut sampler::Generator,
            &mut PipelineWorkspace,
        ) -> Result<R, sampler::SampleError>
        + Send,
    ) -> PyResult<R> {
        thread_local! {
            static WORKSPACE: Cell<Option<Box<PipelineWorkspace>>> = const { Cell::new(None) };
        }
        let new = || {
            let mut workspace = Box::new(PipelineWorkspace::new());
            workspace.interrupt_when(Some(interrupted));
            workspace
        };
        let mut generator = self.generator.get().take(py)?;
        let generator = &mut *generator;
        let values = reading(&self.logits)?;
        let values = &*row_major(&values)?;
        let (rows, vocab) = rows_of(self.logits.shape());
        let tokens = self.history.as_ref().map(reading).transpose()?;
        let tokens = tokens.as_ref().map(row_major).transpose()?;
        let tokens =
            tokens.as_deref().zip(self.history.as_ref().map(|array| match *array.shape() {
                [rows, length] => (rows, length),
                _ => (1, array.len()),
            }));
        look_soon();
        lend(&WORKSPACE, new, |workspace| {
            py.detach(|| {
                let logits = Rows::new(values, rows, vocab)?;
                let history = tokens
                    .map(|(tokens, (rows, length))| History::new(tokens, rows, length))
                    .transpose()?;
                call(logits, history, generator, workspace)
            })
        })
        .map_err(sample_error)
    }
}

#[pymethods]
impl Pipeline {
    #[new]
    #[allow(clippy::needless_pass_by_value)] // What an argument is converted to.
    fn new(steps: Vec<(String, Bound<'_, PyAny>)>) -> PyResult<Self> {
        let steps: PyResult<Vec<Step>> =
            steps.iter().map(|(name, given)| step(name, given)).collect();
        Ok(Self(sampler::Pipeline::new(steps?).map_err(step_error)?))
    }

    #[staticmethod]
    #[allow(clippy::too_many_arguments)] // The names are those of `generate`.
    #[pyo3(signature = (
        *, temperature=None, top_k=None, top_p=None, min_p=None, typical_p=None,
        repetition_penalty=None, epsilon_cutoff=None, eta_cutoff=None,
    ))]
    fn transformers(
        temperature: Option<&Bound<'_, PyAny>>,
        top_k: Option<&Bound<'_, PyAny>>,
        top_p: Option<&Bound<'_, PyAny>>,
        min_p: Option<&Bound<'_, PyAny>>,
        typical_p: Option<&Bound<'_, PyAny>>,
        repetition_penalty: Option<&Bound<'_, PyAny>>,
        epsilon_cutoff: Option<&Bound<'_, PyAny>>,
        eta_cutoff: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut options = GenerateOptions::default();
        let numbers = [
            ("temperature", temperature, &mut options.temperature),
            ("repetition_penalty", repetition_penalty, &mut options.repetition_penalty),
            ("top_p", top_p, &mut options.top_p),
            ("typical_p", typical_p, &mut options.typical_p),
            ("epsilon_cutoff", epsilon_cutoff, &mut options.epsilon_cutoff),
            ("eta_cutoff", eta_cutoff, &mut options.eta_cutoff),
        ];
        for (name, given, option) in numbers {
            if let Some(given) = given {
                *option = number(name, given)?;
                // Where it is not off, its processor is made, which may ask for more.
                if *option != 1.0 && matches!(name, "temperature" | "repetition_penalty") {
                    float(name, given)?;
                }
            }
        }
        options.min_p = min_p.map(|given| number("min_p", given)).transpose()?;
        if let Some(given) = top_k {
            options.top_k = count("top_k", given)?;
        }
        Ok(Self(sampler::Pipeline::transformers(&options).map_err(step_error)?))
    }

    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let steps: PyResult<Vec<_>> =
            self.0.steps().iter().map(|step| Ok((step.name(), parameter(py, *step)?))).collect();
        PyTuple::new(py, steps?)
    }

    #[pyo3(signature = (logits, *, generator, history=None, capability=None, threads=None))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        logits: &Bound<'py, PyAny>,
        generator: &Bound<'py, PyAny>,
        history: Option<&Bound<'py, PyAny>>,
        capability: Option<&str>,
        #[pyo3(from_py_with = crate::parameters::threads)] threads: Option<NonZeroUsize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guarded(|| {
            let arguments = Arguments::new(logits, generator, history, capability, threads)?;
            let shape = arguments.logits.shape();
            let (rows, _) = rows_of(shape);
            let tokens = zeros(py, rows)?;
            {
                let mut tokens = tokens.try_readwrite()?;
                let tokens = tokens.as_slice_mut()?;
                let replay = arguments.replay;
                arguments.run(py, |logits, history, generator, workspace| {
                    self.0.sample(logits, history, replay, generator, workspace, tokens)
                })?;
            }
            Ok(tokens.reshape(token_shape(shape))?.into_any())
        })
    }

    #[pyo3(signature = (logits, *, generator, history=None, capability=None, threads=None))]
    fn trace<'py>(
        &self,
        py: Python<'py>,
        logits: &Bound<'py, PyAny>,
        generator: &Bound<'py, PyAny>,
        history: Option<&Bound<'py, PyAny>>,
        capability: Option<&str>,
        #[pyo3(from_py_with = crate::parameters::threads)] threads: Option<NonZeroUsize>,
    ) -> PyResult<PipelineTrace> {
        guarded(|| {
            let arguments = Arguments::new(logits, generator, history, capability, threads)?;
            let replay = arguments.replay;
            let trace = arguments.run(py, |logits, history, generator, workspace| {
                self.0.trace(logits, history, replay, generator, workspace)
            })?;
            let shape = arguments.logits.shape();
            let scores = trace.scores.into_iter().map(|scores| shaped(py, scores, shape));
            Ok(PipelineTrace {
                scores: PyTuple::new(py, scores.collect::<PyResult<Vec<_>>>()?)?.unbind(),
                probs: shaped(py, trace.probs, shape)?,
                token: shaped(py, trace.token, &token_shape(shape))?,
                certain: shaped(py, trace.certain, &token_shape(shape))?,
            })
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("rust_ext.Pipeline({})", self.steps(py)?.repr()?))
    }

    /// How it is copied and pickled.
    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyType>, (Bound<'py, PyTuple>,))> {
        Ok((slf.get_type(), (slf.get().steps(slf.py())?,)))
    }
}
