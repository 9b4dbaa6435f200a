//! Which instructions a scan runs on: found out at run time, never fixed when building.

use crate::error::{Error, Result};

/// Instruction sets a scan can run on. All give the same pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust over fixed lanes; the compiler makes SSE2 or NEON of it.
    Portable,
}

impl Path {
    /// The paths this machine can run, fastest first.
    pub fn available() -> Vec<Self> {
        let mut paths = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                paths.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                paths.push(Self::Avx2);
            }
        }
        paths.push(Self::Portable);
        paths
    }

    /// The fastest path of this machine.
    pub fn best() -> Self {
        Self::available()[0]
    }

    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The path that the environment variable `NPGEN_SIMD` names, or the fastest.
    pub fn chosen() -> Result<Self> {
        let Ok(name) = std::env::var("NPGEN_SIMD") else { return Ok(Self::best()) };
        let available = Self::available();
        let names = available.iter().map(|path| path.name()).collect::<Vec<_>>().join(", ");
        let found = available.into_iter().find(|path| path.name() == name);
        found.ok_or_else(|| Error::invalid("NPGEN_SIMD", format!("one of {names}"), name))
    }
}
