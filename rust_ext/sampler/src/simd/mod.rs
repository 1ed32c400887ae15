//! One source a kernel, compiled for every instruction set.
//!
//! A kernel is plain safe Rust over slices; `pulp` compiles it with AVX-512, with AVX2 and FMA,
//! and without either, and picks one at run time; on 64-bit Arm with NEON, which every such
//! processor has. Which one runs never changes a bit: no kernel lets the compiler reorder a sum,
//! and a fused multiply-add is always written out.

pub(crate) mod format;
pub(crate) mod lanes;
pub(crate) mod mersenne;
#[cfg(target_arch = "aarch64")]
mod neon;
pub(crate) mod sleef;
#[cfg(target_arch = "x86_64")]
mod sse2;
pub(crate) mod wide;

/// An instruction set that kernels are compiled for.
#[cfg(feature = "internals")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// What every processor of the family has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512.
    Avx512,
    /// NEON.
    Neon,
}

#[cfg(feature = "internals")]
impl Kernel {
    /// Every instruction set, of any processor.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Neon];
}

/// Which kernel is forced: one of [`Kernel`], plus one.
#[cfg(feature = "internals")]
static FORCED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Makes every kernel of the process run with one instruction set, or with the best where it is
/// `None`. Returns `false`, changing nothing, where the processor does not have it.
#[cfg(feature = "internals")]
#[must_use]
pub fn force(kernel: Option<Kernel>) -> bool {
    let forced = match kernel {
        None => 0,
        Some(kernel) if arch_of(kernel).is_none() => return false,
        Some(kernel) => kernel as u8 + 1,
    };
    FORCED.store(forced, std::sync::atomic::Ordering::Relaxed);
    true
}

#[cfg(feature = "internals")]
#[inline]
fn arch_of(kernel: Kernel) -> Option<pulp::Arch> {
    match kernel {
        Kernel::Portable => Some(pulp::Arch::Scalar),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => pulp::x86::V3::try_new().map(pulp::Arch::V3),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => pulp::x86::V4::try_new().map(pulp::Arch::V4),
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon => pulp::aarch64::Neon::try_new().map(pulp::Arch::Neon),
        #[allow(unreachable_patterns)] // No processor family has all of them.
        _ => None,
    }
}

/// The instruction set that a kernel runs with.
#[inline]
pub(crate) fn arch() -> pulp::Arch {
    #[cfg(feature = "internals")]
    {
        let forced = usize::from(FORCED.load(std::sync::atomic::Ordering::Relaxed));
        let kernel = forced.checked_sub(1).and_then(|at| Kernel::ALL.get(at));
        if let Some(arch) = kernel.and_then(|kernel| arch_of(*kernel)) {
            return arch;
        }
    }
    pulp::Arch::new()
}

/// Defines a function whose body is compiled for every instruction set. With `wide;` before the
/// arguments, the body has that name for the instruction set's [`wide::Wide`]; such a function may
/// have a type parameter.
macro_rules! kernel {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$life:lifetime $(, $generic:ident: $bound:path)?>(
            $wide:ident; $($arg:ident: $ty:ty),* $(,)?
        ) -> $ret:ty $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$life $(, $generic: $bound)?>($($arg: $ty),*) -> $ret {
            use $crate::simd::wide::Wide;

            struct Kernel<$life, $($generic: $bound,)? W> {
                $($arg: $ty,)*
                $wide: W,
                life: std::marker::PhantomData<&$life ()>,
            }
            impl<$life, $($generic: $bound,)? W: Wide> pulp::NullaryFnOnce
                for Kernel<$life, $($generic,)? W>
            {
                type Output = $ret;

                #[allow(clippy::inline_always)] // The body takes the caller's instruction set only when inlined.
                #[inline(always)]
                fn call(self) -> $ret {
                    let Self { $($arg,)* $wide, .. } = self;
                    $body
                }
            }
            let life = std::marker::PhantomData;
            match $crate::simd::arch() {
                #[cfg(target_arch = "x86_64")]
                pulp::Arch::V4($wide) => $wide.vectorize(Kernel::<$life, $($generic,)? _> { $($arg,)* $wide, life }),
                #[cfg(target_arch = "x86_64")]
                pulp::Arch::V3($wide) => $wide.vectorize(Kernel::<$life, $($generic,)? _> { $($arg,)* $wide, life }),
                #[cfg(target_arch = "aarch64")]
                pulp::Arch::Neon($wide) => $wide.vectorize(Kernel::<$life, $($generic,)? _> { $($arg,)* $wide, life }),
                _ => {
                    let $wide = $crate::simd::lanes::Portable;
                    pulp::NullaryFnOnce::call(Kernel::<$life, $($generic,)? _> { $($arg,)* $wide, life })
                }
            }
        }
    };
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
            $crate::simd::arch().dispatch(Kernel { $($arg,)* life: std::marker::PhantomData })
        }
    };
}
pub(crate) use kernel;
