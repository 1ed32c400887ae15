//! Reads and writes the values of torch's tensors where they lie.
//!
//! Newer versions of torch (2.15 does) give the address of a tensor's values by a table of C functions,
//! `DLPack`'s C exchange interface. They do not say for how long: another thread of Python may resize
//! the tensor, or free it. None can while this thread has the interpreter's lock, so that nothing is
//! read in a Python without that lock.

#![allow(unsafe_code)] // An address of torch's is read and written.

use dlpark::ffi::DLTensor;
use dlpark::python::consumer::exchange::ExchangeApi;
use dlpark::{DlpackElement, TensorRef};
use half::{bf16, f16};
use pyo3::prelude::*;

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

/// Lends `call` the values of a tensor; it must not run any Python, which could free them.
///
/// `None` where they cannot be had: not from this object, torch or Python, not of this type, not
/// row-major, or not in the memory of the CPU.
pub fn read<R>(tensor: &Bound<'_, PyAny>, call: impl FnOnce(View<'_>) -> R + Send) -> Option<R> {
    with_tensor(tensor, |tensor| {
        // SAFETY: torch's dimensions and strides lie in the tensor, which `with_tensor` has kept alive
        // and unchanged.
        let view = unsafe { TensorRef::from_raw(tensor) }.ok()?;
        let values = values(&view, Values::Single)
            .or_else(|| values(&view, Values::Bf16))
            .or_else(|| values(&view, Values::F16))?;
        Some(call(View { shape: view.shape(), values }))
    })
}

/// Lends `call` the bytes of a tensor of `torch.uint8`, to be written; it must not run any Python.
///
/// The tensor must be the caller's alone. `None` as for [`read`].
pub fn write<R>(tensor: &Bound<'_, PyAny>, call: impl FnOnce(&mut [u8]) -> R + Send) -> Option<R> {
    with_tensor(tensor, |tensor| {
        // SAFETY: as in `read`.
        let view = unsafe { TensorRef::from_raw(tensor) }.ok()?;
        let bytes: &[u8] = values(&view, |bytes| bytes)?;
        let (length, address) = (bytes.len(), view.data_ptr().cast_mut().cast::<u8>());
        // SAFETY: these are the bytes that were lent just now, which nobody else reads or writes.
        Some(call(unsafe { std::slice::from_raw_parts_mut(address, length) }))
    })
}

fn values<'a, T: DlpackElement, V>(
    view: &TensorRef<'a>,
    of: impl FnOnce(&'a [T]) -> V,
) -> Option<V> {
    // SAFETY: torch's values are initialised, or any bits; `with_tensor` has kept them where they are.
    unsafe { view.cpu_slice::<T>() }.ok().map(of)
}

#[cfg(Py_GIL_DISABLED)]
fn with_tensor<R>(_: &Bound<'_, PyAny>, _: impl FnOnce(&DLTensor) -> Option<R>) -> Option<R> {
    None
}

/// Describes a tensor, which this thread keeps from being resized or freed until `call` returns: it has
/// the interpreter's lock, and a reference.
#[cfg(not(Py_GIL_DISABLED))]
fn with_tensor<R>(
    tensor: &Bound<'_, PyAny>,
    call: impl FnOnce(&DLTensor) -> Option<R>,
) -> Option<R> {
    let table = ExchangeApi::from_object(tensor.as_borrowed()).ok()??;
    table.with_tensor_view_no_sync(tensor.as_borrowed(), |tensor, _| call(tensor)).ok()?
}
