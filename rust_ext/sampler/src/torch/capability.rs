//! torch's CPU dispatch level.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// torch's CPU dispatch level, `torch.backends.cpu.get_cpu_capability()`.
///
/// The level decides the softmax's bits: how many lanes its sum has, how they are folded, and
/// which exponential it uses. Two levels are those of 64-bit Arm: they were recorded of torch for
/// Linux there, under emulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Eight lanes folded in order; the C library's `expf`.
    Default,
    /// Eight lanes folded by halves; Sleef's `expf`.
    Avx2,
    /// Sixteen lanes folded by halves; Sleef's `expf`.
    Avx512,
    /// Arm without SVE, or with vectors of another length than 256 bits: four lanes folded by halves;
    /// Sleef's `expf`. torch calls it `DEFAULT` or `SVE128` there.
    Neon,
    /// Arm with SVE and vectors of 256 bits: the bits of [`Avx2`](Self::Avx2).
    Sve256,
}

/// What a level computes: levels whose bits are the same have one arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Default,
    Avx2,
    Avx512,
    Neon,
}

impl Capability {
    /// Every level: those of x86, lowest first, and those of Arm, lowest first.
    pub const ALL: [Self; 5] = [Self::Default, Self::Avx2, Self::Avx512, Self::Neon, Self::Sve256];

    /// The level torch would run at in this process: what the environment variable
    /// `ATEN_CPU_CAPABILITY` forces, or the highest that the processor has.
    ///
    /// Read once, as torch does.
    #[must_use]
    pub fn of_torch_here() -> Self {
        static HERE: OnceLock<Capability> = OnceLock::new();
        *HERE.get_or_init(|| {
            let processor = Self::of_processor();
            let forced = std::env::var("ATEN_CPU_CAPABILITY").ok();
            forced.and_then(|name| Self::forced(&name, processor)).unwrap_or(processor)
        })
    }

    /// The level that torch takes a value of `ATEN_CPU_CAPABILITY` for; `None` where it ignores it.
    /// On Arm it believes in no more than the processor has.
    fn forced(name: &str, processor: Self) -> Option<Self> {
        if processor.is_of_arm() {
            return match name {
                "sve256" if processor == Self::Sve256 => Some(Self::Sve256),
                "default" | "sve256" => Some(Self::Neon),
                _ => None,
            };
        }
        name.parse().ok().filter(|level: &Self| !level.is_of_arm())
    }

    /// Whether the level is one of torch on Arm.
    #[must_use]
    pub fn is_of_arm(self) -> bool {
        matches!(self, Self::Neon | Self::Sve256)
    }

    /// What the level computes. Everything recorded of torch at `sve256` has the bits of `avx2`.
    pub(crate) fn arithmetic(self) -> Arithmetic {
        match self {
            Self::Default => Arithmetic::Default,
            Self::Avx2 | Self::Sve256 => Arithmetic::Avx2,
            Self::Avx512 => Arithmetic::Avx512,
            Self::Neon => Arithmetic::Neon,
        }
    }

    /// The highest level the processor has, by torch's conditions.
    #[must_use]
    pub fn of_processor() -> Self {
        highest()
    }

    /// The level's name: on x86, as `ATEN_CPU_CAPABILITY` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Sve256 => "sve256",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn highest() -> Capability {
    use std::arch::is_x86_feature_detected as has;
    if has!("avx512vl") && has!("avx512bw") && has!("avx512dq") && has!("fma") {
        Capability::Avx512
    } else if has!("avx2") && has!("fma") {
        Capability::Avx2
    } else {
        Capability::Default
    }
}

/// Linux says how many bytes a vector of SVE has in a process that has not chosen otherwise.
#[cfg(target_arch = "aarch64")]
fn highest() -> Capability {
    use std::arch::is_aarch64_feature_detected as has;
    let length = std::fs::read_to_string("/proc/sys/abi/sve_default_vector_length");
    let wide = length.is_ok_and(|bytes| bytes.trim() == "32");
    if wide && has!("sve") && has!("bf16") { Capability::Sve256 } else { Capability::Neon }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn highest() -> Capability {
    Capability::Default
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|level| level.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(|level| format!("{:?}", level.name())).join(", ");
            format!("capability = {name:?} is none of {known}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_its_level() {
        for (name, level) in [
            ("default", Capability::Default),
            ("avx2", Capability::Avx2),
            ("avx512", Capability::Avx512),
            ("neon", Capability::Neon),
            ("sve256", Capability::Sve256),
        ] {
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        for other in ["", "AVX2", "avx", "avx512f", "sve128"] {
            assert!(other.parse::<Capability>().is_err_and(|error| error.contains(other)));
        }
    }

    /// A processor has no levels of another architecture, whatever the environment says.
    #[test]
    fn what_is_forced_is_of_the_processors_architecture() {
        use Capability::{Avx2, Avx512, Default, Neon, Sve256};
        for (name, processor, expected) in [
            ("default", Avx2, Some(Default)),
            ("avx512", Avx2, Some(Avx512)),
            ("neon", Avx2, None),
            ("sve256", Avx512, None),
            ("default", Neon, Some(Neon)),
            ("default", Sve256, Some(Neon)),
            ("sve256", Sve256, Some(Sve256)),
            ("sve256", Neon, Some(Neon)),
            ("avx2", Sve256, None),
            ("neon", Neon, None),
            ("", Neon, None),
        ] {
            assert_eq!(Capability::forced(name, processor), expected, "{name} {processor}");
        }
        assert_eq!(Capability::of_processor().is_of_arm(), cfg!(target_arch = "aarch64"));
    }
}
