//! Which instructions the kernels run on: chosen at run time, the same for all of them.

use crate::error::{Error, Result};

/// Instruction sets that the kernels are written for. All give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512 F and BW, with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust over fixed lanes; the compiler turns it into SSE2 or NEON.
    Portable,
}

impl InstructionSet {
    /// The instruction sets of this machine, fastest first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                sets.push(Self::Avx512);
            }
            sets.push(Self::Avx2);
        }
        sets.push(Self::Portable);
        sets
    }

    /// The fastest instruction set of this machine.
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

    /// Whether single bytes can be counted by VPOPCNTB (AVX-512 BITALG), which some CPUs with AVX-512 lack.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_bitalg(self) -> bool {
        self == Self::Avx512 && is_x86_feature_detected!("avx512bitalg")
    }

    /// Whether products of bytes are added by VPDPBUSD (AVX-512 VNNI), which some CPUs with AVX-512 lack.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_vnni(self) -> bool {
        self == Self::Avx512 && is_x86_feature_detected!("avx512vnni")
    }

    /// The instruction set named by the environment variable `NPGEN_SIMD`, or the fastest.
    pub fn chosen() -> Result<Self> {
        let Ok(name) = std::env::var("NPGEN_SIMD") else { return Ok(Self::best()) };
        let available = Self::available();
        let names = available.iter().map(|set| set.name()).collect::<Vec<_>>().join(", ");
        let found = available.into_iter().find(|set| set.name() == name);
        found.ok_or_else(|| Error::invalid("NPGEN_SIMD", format!("one of {names}"), name))
    }
}
