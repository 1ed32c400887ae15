//! Reads and writes the values of torch's tensors where they lie, and makes tensors of values.
//!
//! Newer versions of torch (2.15 does) give the address of a tensor's values by a table of C functions,
//! `DLPack`'s C exchange interface. They do not say for how long: another thread of Python may resize
//! the tensor, or free it. None can while this thread has the interpreter's lock, so that nothing is
//! read in a Python without that lock.

#![allow(unsafe_code)] // An address of torch's is read and written.

use std::ffi::c_void;

use dlpark::ffi::{DLDevice, DLManagedTensorVersioned, DLTensor};
use dlpark::metadata::Dynamic;
use dlpark::python::consumer::exchange::ExchangeApi;
use dlpark::{DlpackElement, TensorRef};
use half::{bf16, f16};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A tensor of the CPU, row-major.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Its dimensions.
    pub shape: &'a [i64],
    /// As many values as there are places in it.
    pub values: Values<'a>,
}

/// Values, as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// `torch.float32`
    Single(&'a [f32]),
    /// `torch.float16`
    F16(&'a [f16]),
    /// `torch.bfloat16`
    Bf16(&'a [bf16]),
}

impl Values<'_> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }
}

/// The C functions of a class of tensors.
pub struct Table {
    functions: ExchangeApi,
    class: Py<PyType>,
}

// SAFETY: the functions stay where they are for as long as the process lives, and are called with the
// interpreter's lock.
unsafe impl Send for Table {}
// SAFETY: as for `Send`.
unsafe impl Sync for Table {}

impl Table {
    /// Finds the table of a tensor's class; `None` where there is none, or Python has no lock.
    #[must_use]
    pub fn of(tensor: &Bound<'_, PyAny>) -> Option<Self> {
        if cfg!(Py_GIL_DISABLED) {
            return None;
        }
        let functions = ExchangeApi::from_object(tensor.as_borrowed()).ok()??;
        Some(Self { functions, class: tensor.get_type().unbind() })
    }

    /// Lends `call` the values of a tensor; it must not run any Python, which could free them.
    ///
    /// `None` where they cannot be had: not of this class or type, not row-major, or not in the memory
    /// of the CPU.
    pub fn read<R>(
        &self,
        tensor: &Bound<'_, PyAny>,
        call: impl FnOnce(View<'_>) -> R + Send,
    ) -> Option<R> {
        self.with_tensor(tensor, |tensor| {
            // SAFETY: torch's dimensions and strides lie in the tensor, which `with_tensor` has kept
            // alive and unchanged.
            let view = unsafe { TensorRef::from_raw(tensor) }.ok()?;
            let values = values(&view, Values::Single)
                .or_else(|| values(&view, Values::Bf16))
                .or_else(|| values(&view, Values::F16))?;
            Some(call(View { shape: view.shape(), values }))
        })
    }

    /// Lends `call` the bytes of a tensor of `torch.uint8`, to be written; it must not run any Python.
    ///
    /// The tensor must be the caller's alone. `None` as for [`Table::read`].
    pub fn write<R>(
        &self,
        tensor: &Bound<'_, PyAny>,
        call: impl FnOnce(&mut [u8]) -> R + Send,
    ) -> Option<R> {
        self.with_tensor(tensor, |tensor| {
            // SAFETY: as in `read`.
            let view = unsafe { TensorRef::from_raw(tensor) }.ok()?;
            let bytes: &[u8] = values(&view, |bytes| bytes)?;
            let (length, address) = (bytes.len(), view.data_ptr().cast_mut().cast::<u8>());
            // SAFETY: these are the bytes that were lent just now, which nobody else reads or writes.
            Some(call(unsafe { std::slice::from_raw_parts_mut(address, length) }))
        })
    }

    /// Makes a tensor of `torch.int64`, whose values are these.
    ///
    /// # Errors
    ///
    /// What the class raises. A shape of another number of values is a `ValueError`.
    pub fn give<'py>(
        &self,
        py: Python<'py>,
        values: Vec<i64>,
        shape: &[usize],
    ) -> PyResult<Bound<'py, PyAny>> {
        let count = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
        if count != Some(values.len()) {
            return Err(PyValueError::new_err("the shape is not that of the values"));
        }
        let address = values.as_ptr().cast_mut().cast::<c_void>();
        let prepared = Dynamic::compact(shape)
            .prepare_as::<DLManagedTensorVersioned>()
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut tensor = prepared.initialize(Box::new(values));
        tensor.set_data(address).set_device(DLDevice::CPU).set_dtype(i64::DTYPE);
        // SAFETY: the values lie where the vector has them, which is freed with the tensor; nobody else
        // knows them, and the shape has as many places.
        let tensor = unsafe { tensor.finish() };
        self.functions.managed_tensor_to_py_object_no_sync(tensor, py)
    }

    /// Describes a tensor, which this thread keeps from being resized or freed until `call` returns: it
    /// has the interpreter's lock, and a reference.
    fn with_tensor<R>(
        &self,
        tensor: &Bound<'_, PyAny>,
        call: impl FnOnce(&DLTensor) -> Option<R>,
    ) -> Option<R> {
        if !tensor.get_type().is(&self.class) {
            return None;
        }
        let lent = tensor.as_borrowed();
        self.functions.with_tensor_view_no_sync(lent, |tensor, _| call(tensor)).ok()?
    }
}

fn values<'a, T: DlpackElement, V>(
    view: &TensorRef<'a>,
    of: impl FnOnce(&'a [T]) -> V,
) -> Option<V> {
    // SAFETY: torch's values are initialised, or any bits; `with_tensor` has kept them where they are.
    unsafe { view.cpu_slice::<T>() }.ok().map(of)
}
