//! The kernel's vectors on AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::vector::{Block, Mask, Vector, EXP2, LEAST_EXPONENT};

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// One register; needs AVX-512 F.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

impl Vector for Avx512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self(_mm512_setzero_ps())
    }

    #[inline(always)]
    unsafe fn load(from: *const Block) -> Self {
        Self(_mm512_load_ps(from.cast()))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Block) {
        _mm512_store_ps(to.cast(), self.0);
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(_mm512_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm512_mul_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(_mm512_fmadd_ps(self.0, factor.0, term.0))
    }

    #[inline(always)]
    unsafe fn below(self, limit: Self) -> Mask {
        _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, limit.0)
    }

    #[inline(always)]
    unsafe fn exp2(self, mask: Mask) -> Self {
        let exponent = _mm512_max_ps(self.0, _mm512_set1_ps(LEAST_EXPONENT));
        let whole = _mm512_roundscale_ps::<NEAREST>(exponent);
        let fraction = _mm512_sub_ps(exponent, whole);
        let mut power = _mm512_set1_ps(EXP2[0]);
        for next in &EXP2[1..] {
            power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(*next));
        }
        Self(_mm512_maskz_scalef_ps(mask, power, whole))
    }
}

/// Two registers; needs AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(__m256, __m256);

impl Avx2 {
    #[inline(always)]
    unsafe fn half_exp2(exponent: __m256, mask: Mask) -> __m256 {
        let exponent = _mm256_max_ps(exponent, _mm256_set1_ps(LEAST_EXPONENT));
        let whole = _mm256_round_ps::<NEAREST>(exponent);
        let fraction = _mm256_sub_ps(exponent, whole);
        let mut power = _mm256_set1_ps(EXP2[0]);
        for next in &EXP2[1..] {
            power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(*next));
        }
        let biased = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
        let scaled = _mm256_mul_ps(power, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)));
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let chosen = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask.into()), bits), bits);
        _mm256_and_ps(scaled, _mm256_castsi256_ps(chosen))
    }
}

impl Vector for Avx2 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self(_mm256_setzero_ps(), _mm256_setzero_ps())
    }

    #[inline(always)]
    unsafe fn load(from: *const Block) -> Self {
        let from = from.cast::<f32>();
        Self(_mm256_load_ps(from), _mm256_load_ps(from.add(8)))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Block) {
        let to = to.cast::<f32>();
        _mm256_store_ps(to, self.0);
        _mm256_store_ps(to.add(8), self.1);
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1))
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(_mm256_set1_ps(value), _mm256_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1))
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(_mm256_fmadd_ps(self.0, factor.0, term.0), _mm256_fmadd_ps(self.1, factor.1, term.1))
    }

    #[inline(always)]
    unsafe fn below(self, limit: Self) -> Mask {
        let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, limit.0));
        let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(self.1, limit.1));
        (low | high << 8) as Mask
    }

    #[inline(always)]
    unsafe fn exp2(self, mask: Mask) -> Self {
        Self(Self::half_exp2(self.0, mask), Self::half_exp2(self.1, mask >> 8))
    }
}
