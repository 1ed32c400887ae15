//! One source a kernel, compiled for every instruction set.
//!
//! A kernel is plain safe Rust over slices; `pulp` compiles it with AVX-512, with AVX2 and FMA,
//! and without either, and picks one at run time. Which one runs never changes a bit: no kernel
//! lets the compiler reorder a sum, and a fused multiply-add is always written out.

/// Defines a function whose body is compiled for every instruction set.
macro_rules! kernel {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$life:lifetime>($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$life>($($arg: $ty),*) -> $ret {
            struct Kernel<$life> {
                $($arg: $ty,)*
                life: std::marker::PhantomData<&$life ()>,
            }
            impl<$life> pulp::WithSimd for Kernel<$life> {
                type Output = $ret;

                #[allow(clippy::inline_always)] // The body takes the caller's instruction set only when inlined.
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) -> $ret {
                    let Self { $($arg,)* .. } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Kernel { $($arg,)* life: std::marker::PhantomData })
        }
    };
}
pub(crate) use kernel;
