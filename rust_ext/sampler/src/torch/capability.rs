//! torch's CPU dispatch level.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// torch's CPU dispatch level, `torch.backends.cpu.get_cpu_capability()`.
///
/// The level decides the softmax's bits: how many lanes its sum has, how they are folded, and
/// which exponential it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Eight lanes folded in order; the C library's `expf`.
    Default,
    /// Eight lanes folded by halves; Sleef's `expf`.
    Avx2,
    /// Sixteen lanes folded by halves; Sleef's `expf`.
    Avx512,
}

impl Capability {
    /// Every level, lowest first.
    pub const ALL: [Self; 3] = [Self::Default, Self::Avx2, Self::Avx512];

    /// The level torch would run at in this process: what the environment variable
    /// `ATEN_CPU_CAPABILITY` forces, or the highest that the processor has.
    ///
    /// Read once, as torch does.
    #[must_use]
    pub fn of_torch_here() -> Self {
        static HERE: OnceLock<Capability> = OnceLock::new();
        *HERE.get_or_init(|| {
            std::env::var("ATEN_CPU_CAPABILITY")
                .ok()
                .and_then(|name| name.parse().ok())
                .unwrap_or_else(Self::of_processor)
        })
    }

    /// The highest level the processor has, by torch's conditions.
    #[must_use]
    pub fn of_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512vl") && has!("avx512bw") && has!("avx512dq") && has!("fma") {
                return Self::Avx512;
            }
            if has!("avx2") && has!("fma") {
                return Self::Avx2;
            }
        }
        Self::Default
    }

    /// The level's name, as `ATEN_CPU_CAPABILITY` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
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
            format!("capability = {name:?} is none of \"default\", \"avx2\", \"avx512\"")
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
        ] {
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        for other in ["", "AVX2", "avx", "avx512f"] {
            assert!(other.parse::<Capability>().is_err_and(|error| error.contains(other)));
        }
    }
}
