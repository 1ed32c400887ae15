//! Runs a function in the floating-point mode that Rust assumes: every number rounded to nearest,
//! no denormal number flushed to zero, no exception trapped.
//!
//! A thread that Python calls from may be in another one. `torch.set_flush_denormal(True)` sets its
//! processor to flush denormal numbers, C's `fesetround` to round otherwise; a new thread inherits
//! the mode of the one that starts it.
//!
//! On processors other than x86-64 and aarch64, the function is run in the mode that it finds.

/// Runs `call` in the default mode, and sets the mode that it found again: also where `call`
/// panics.
pub fn in_default_mode<R>(call: impl FnOnce() -> R) -> R {
    let found = mode::get();
    if mode::is_default(found) {
        return call();
    }
    let _restore = Restore(found);
    mode::set(mode::DEFAULT);
    apart(call)
}

/// Not inlined, so that no arithmetic of `call` is moved to where the mode is another.
#[inline(never)]
fn apart<R>(call: impl FnOnce() -> R) -> R {
    call()
}

struct Restore(mode::Mode);

impl Drop for Restore {
    fn drop(&mut self) {
        mode::set(self.0);
    }
}

/// The register MXCSR, of SSE and all that came after it.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // There is no safe way to read or write the register.
mod mode {
    use std::arch::asm;

    pub(super) type Mode = u32;

    /// As a process starts: all exceptions masked.
    pub(super) const DEFAULT: Mode = 0x1F80;

    /// What exceptions were seen is no part of the mode.
    const SEEN: Mode = 0x3F;

    pub(super) fn is_default(mode: Mode) -> bool {
        mode & !SEEN == DEFAULT
    }

    pub(super) fn get() -> Mode {
        let mut mode: Mode = 0;
        // SAFETY: writes the four bytes of `mode`, and nothing else.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags));
        }
        mode
    }

    pub(super) fn set(mode: Mode) {
        // SAFETY: reads the four bytes of `mode`, which is `DEFAULT` or what the register held: no
        // bit is set that the processor refuses. Rust's own code is compiled for the default mode;
        // another one is only set where that was the caller's before it called into Rust.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, preserves_flags));
        }
    }
}

/// The register FPCR.
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)] // There is no safe way to read or write the register.
mod mode {
    use std::arch::asm;

    pub(super) type Mode = u64;

    /// As a process starts.
    pub(super) const DEFAULT: Mode = 0;

    pub(super) fn is_default(mode: Mode) -> bool {
        mode == DEFAULT
    }

    pub(super) fn get() -> Mode {
        let mode: Mode;
        // SAFETY: reads a register that every program may read.
        unsafe {
            asm!("mrs {}, fpcr", out(reg) mode, options(nostack, preserves_flags));
        }
        mode
    }

    pub(super) fn set(mode: Mode) {
        // SAFETY: `mode` is `DEFAULT` or what the register held. Rust's own code is compiled for the
        // default mode; another one is only set where that was the caller's before it called into
        // Rust.
        unsafe {
            asm!("msr fpcr, {}", in(reg) mode, options(nostack, preserves_flags));
        }
    }
}

/// Unknown here.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod mode {
    pub(super) type Mode = ();

    pub(super) const DEFAULT: Mode = ();

    pub(super) fn is_default((): Mode) -> bool {
        true
    }

    pub(super) fn get() -> Mode {}

    pub(super) fn set((): Mode) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;
    use std::panic::catch_unwind;

    use super::*;

    /// Flushes results and arguments, and rounds upward.
    #[cfg(target_arch = "x86_64")]
    const OTHER: mode::Mode = mode::DEFAULT | 1 << 15 | 1 << 6 | 2 << 13;
    #[cfg(target_arch = "aarch64")]
    const OTHER: mode::Mode = 1 << 24 | 1 << 22;

    fn flushes() -> bool {
        black_box(1e-40_f32) * black_box(0.5) == 0.0
    }

    fn rounds_upward() -> bool {
        black_box(1.0_f32) + black_box(1e-20) > 1.0
    }

    #[test]
    fn the_mode_is_the_default_and_then_the_one_it_was() {
        assert!(!flushes() && !rounds_upward());
        mode::set(OTHER);
        let before = (flushes(), rounds_upward());
        let during = in_default_mode(|| (flushes(), rounds_upward()));
        let after = (flushes(), rounds_upward());
        let inherited = std::thread::spawn(|| in_default_mode(flushes)).join();
        let started = in_default_mode(|| std::thread::spawn(flushes).join());
        let panicked = catch_unwind(|| in_default_mode(|| assert!(flushes(), "as it should")));
        let after_panic = (flushes(), rounds_upward());
        mode::set(mode::DEFAULT);
        assert_eq!((before, during, after), ((true, true), (false, false), (true, true)));
        assert!(inherited.is_ok_and(|flushes| !flushes) && started.is_ok_and(|flushes| !flushes));
        assert!(panicked.is_err());
        assert_eq!(after_panic, (true, true));
        assert_eq!(in_default_mode(|| (flushes(), rounds_upward())), (false, false));
    }
}
