//! Numbers that are arguments, as torch takes them: which kinds, and what it raises for others.

use std::num::NonZeroUsize;

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use crate::errors::type_error;

/// What was given for a number.
enum Given<'a, 'py> {
    Float(f64),
    /// Of any size; a bool is one.
    Integer(&'a Bound<'py, PyInt>),
    /// Without dimensions: a scalar of numpy, or a tensor.
    Scalar(&'a Bound<'py, PyAny>),
    /// Of numpy, with one element.
    Array(&'a Bound<'py, PyUntypedArray>),
}

impl<'a, 'py> Given<'a, 'py> {
    fn new(name: &str, given: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(float) = given.cast::<PyFloat>() {
            return Ok(Self::Float(float.value()));
        }
        if let Ok(integer) = given.cast::<PyInt>() {
            return Ok(Self::Integer(integer));
        }
        if let Ok(array) = given.cast::<PyUntypedArray>() {
            return match array.len() {
                1 => Ok(Self::Array(array)),
                count => Err(PyValueError::new_err(format!(
                    "{name} must be one number, not an array of {count}"
                ))),
            };
        }
        let dimensions = given.getattr_opt(intern!(given.py(), "ndim"))?;
        match dimensions.and_then(|dimensions| dimensions.extract().ok()) {
            Some(0) => Ok(Self::Scalar(given)),
            _ => Err(not_a_number(name, given)),
        }
    }
}

fn not_a_number(name: &str, given: &Bound<'_, PyAny>) -> PyErr {
    type_error(name, "a number", given)
}

fn float(name: &str, given: &Bound<'_, PyAny>) -> PyResult<f64> {
    given.extract().map_err(|_| not_a_number(name, given))
}

/// The element of an array.
fn element(name: &str, array: &Bound<'_, PyUntypedArray>) -> PyResult<f64> {
    float(name, &array.call_method0(intern!(array.py(), "item"))?)
}

/// An array that torch does not take in that place.
fn unexpected_array(name: &str, array: &Bound<'_, PyUntypedArray>) -> PyErr {
    let (shape, dtype) = (array.shape(), array.dtype());
    PyTypeError::new_err(format!(
        "{name} must be a number, not an array of shape {shape:?} and type {dtype}"
    ))
}

/// An integer beyond those of 64 bits, which torch cannot take.
fn overflow(name: &str, integer: &Bound<'_, PyInt>) -> PyErr {
    PyOverflowError::new_err(format!("{name} = {integer} is not within [-2**63, 2**64)"))
}

fn has_64_bits(integer: &Bound<'_, PyInt>) -> bool {
    integer.extract::<i64>().is_ok() || integer.extract::<u64>().is_ok()
}

pub(crate) fn temperature(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    const NAME: &str = "temperature";
    match Given::new(NAME, given)? {
        Given::Float(value) => Ok(value),
        Given::Integer(integer) if has_64_bits(integer) => integer.extract(),
        Given::Integer(integer) => Err(overflow(NAME, integer)),
        Given::Scalar(scalar) => float(NAME, scalar),
        Given::Array(array) => {
            let value = element(NAME, array)?;
            let dtype = array.dtype();
            // At 1, nothing is divided.
            if value == 1.0 || (dtype.kind() == b'f' && dtype.itemsize() == size_of::<f32>()) {
                return Ok(value);
            }
            Err(PyTypeError::new_err(format!(
                "{NAME} must be a number, or an array of float32: \
                 with an array of {dtype}, torch computes in float64"
            )))
        }
    }
}

pub(crate) fn top_p(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    const NAME: &str = "top_p";
    match Given::new(NAME, given)? {
        Given::Float(value) => Ok(value),
        Given::Integer(integer) if has_64_bits(integer) => integer.extract(),
        Given::Integer(integer) if integer.lt(0)? => Ok(f64::NEG_INFINITY),
        Given::Integer(integer) => Err(overflow(NAME, integer)),
        Given::Scalar(scalar) => float(NAME, scalar),
        // What switches the stage off is compared to 0 only.
        Given::Array(array) => match element(NAME, array)? {
            value if value > 0.0 => Err(unexpected_array(NAME, array)),
            value => Ok(value),
        },
    }
}

/// A number that is too small for i64 is as good as any that is not > 0: the stage is off.
pub(crate) fn top_k(given: &Bound<'_, PyAny>) -> PyResult<i64> {
    const NAME: &str = "top_k";
    // What nearly every call gives, first.
    if let Ok(integer) = given.cast_exact::<PyInt>() {
        return small(integer);
    }
    let off = |value: f64| {
        if value > 0.0 { Err(type_error(NAME, "an int", given)) } else { Ok(0) }
    };
    match Given::new(NAME, given)? {
        Given::Float(value) => off(value),
        Given::Integer(integer) if integer.is_instance_of::<PyBool>() => {
            off(f64::from(u8::from(integer.is_truthy()?)))
        }
        Given::Integer(integer) => small(integer),
        Given::Scalar(scalar) => match index(scalar) {
            Some(integer) => small(&integer),
            None => off(float(NAME, scalar)?),
        },
        Given::Array(array) => match index(array) {
            Some(integer) if array.ndim() == 0 => small(&integer),
            _ => off(element(NAME, array)?),
        },
    }
}

/// What Python would index a list with.
fn index<'py>(given: &Bound<'py, PyAny>) -> Option<Bound<'py, PyInt>> {
    let integer = given.call_method0(intern!(given.py(), "__index__")).ok()?;
    integer.cast_into().ok()
}

fn small(integer: &Bound<'_, PyInt>) -> PyResult<i64> {
    match integer.extract() {
        Ok(top_k) => Ok(top_k),
        Err(_) if integer.lt(0)? => Ok(i64::MIN),
        Err(_) => Err(PyValueError::new_err(format!("top_k = {integer} is beyond 64 bits"))),
    }
}

pub(crate) fn noise(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    const NAME: &str = "noise";
    match Given::new(NAME, given)? {
        Given::Float(value) => Ok(value),
        Given::Integer(integer) => integer.extract(),
        Given::Scalar(scalar) => float(NAME, scalar),
        // Whether there is any is asked first.
        Given::Array(array) => match element(NAME, array)? {
            0.0 => Ok(0.0),
            _ => Err(unexpected_array(NAME, array)),
        },
    }
}

pub(crate) fn temp(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    const NAME: &str = "temp";
    match Given::new(NAME, given)? {
        Given::Float(value) => Ok(value),
        Given::Integer(integer) => integer.extract(),
        Given::Scalar(scalar) => {
            let value = float(NAME, scalar)?;
            if takes_reciprocal(scalar)? { Ok(value) } else { Err(not_a_number(NAME, scalar)) }
        }
        Given::Array(array) => {
            let value = element(NAME, array)?;
            // One that is 1 is not divided by; one that is not > 0 is refused as any number.
            let unused = value == 1.0 || value.is_nan() || value <= 0.0;
            let taken = array.ndim() == 0 && takes_reciprocal(array)?;
            if unused || taken { Ok(value) } else { Err(unexpected_array(NAME, array)) }
        }
    }
}

/// Whether the reciprocal is one of a float64, but for a rounding to float32 that comes anyway: of
/// a float16 or a longdouble, numpy makes another.
fn takes_reciprocal(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = given.py();
    let dtype = given.getattr(intern!(py, "dtype"))?;
    let Ok(kind) = dtype.getattr(intern!(py, "kind")) else {
        // A tensor's: numpy has no part in it.
        return Ok(true);
    };
    let size: usize = dtype.getattr(intern!(py, "itemsize"))?.extract()?;
    Ok(kind.extract::<&str>()? != "f" || size == size_of::<f32>() || size == size_of::<f64>())
}

/// torch's thread count.
pub(crate) fn threads(given: &Bound<'_, PyAny>) -> PyResult<Option<NonZeroUsize>> {
    if given.is_none() {
        return Ok(None);
    }
    if let Ok(threads) = given.extract() {
        return Ok(Some(threads));
    }
    let Some(integer) = index(given) else {
        return Err(type_error("threads", "an int or None", given));
    };
    if integer.lt(1)? {
        return Err(PyValueError::new_err(format!("threads = {integer} must be at least 1")));
    }
    Ok(Some(NonZeroUsize::MAX))
}

/// How many tokens are to be drawn. More than an address can count, there is no memory for anyway.
pub(crate) fn count(given: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(count) = given.extract() {
        return Ok(count);
    }
    let Some(integer) = index(given) else {
        return Err(type_error("n", "an int", given));
    };
    if integer.lt(0)? {
        return Err(PyValueError::new_err(format!("n = {integer} must not be negative")));
    }
    Ok(usize::MAX)
}

/// A token of the vocabulary, or none.
pub(crate) fn forbid_token(given: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if given.is_none() {
        return Ok(None);
    }
    let Some(integer) = index(given) else {
        return Err(type_error("forbid_token", "an int or None", given));
    };
    match integer.extract() {
        Ok(token) => Ok(Some(token)),
        Err(_) if integer.lt(0)? => Err(pyo3::exceptions::PyIndexError::new_err(format!(
            "forbid_token = {integer} is negative"
        ))),
        // In no vocabulary.
        Err(_) => Ok(Some(usize::MAX)),
    }
}
