//! The scan's inner loop on AVX2 and AVX-512.
//!
//! Two terms at a time: their differences (16 bits) are interleaved lane by lane, and one multiply-add instruction
//! squares both and adds the squares into 32-bit lanes. Interleaving stays inside 128-bit lanes, so the sums lie in
//! a fixed permutation of the images until the end, where two shuffles a register put them back.

use std::arch::x86_64::*;

use super::Span;
use crate::planes::{Lanes, LANES};

/// # Safety
/// The CPU must have AVX-512 F and BW; `lines` must index `group`; `lines` and `context` must be at least as long
/// as the last span's end.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn avx512(
    group: &[Lanes],
    lines: &[u32],
    context: &[i16],
    spans: &[Span],
    out: &mut [f32; LANES],
) {
    let mut totals = [_mm512_setzero_ps(); 4];
    let differences = |term: usize| {
        let line = group.as_ptr().add(*lines.get_unchecked(term) as usize).cast::<__m256i>();
        let value = _mm512_set1_epi16(*context.get_unchecked(term));
        [
            _mm512_sub_epi16(_mm512_cvtepu8_epi16(_mm256_load_si256(line)), value),
            _mm512_sub_epi16(_mm512_cvtepu8_epi16(_mm256_load_si256(line.add(1))), value),
        ]
    };
    let mut term = 0;
    for span in spans {
        let mut squares = [_mm512_setzero_si512(); 4];
        while term < span.end {
            let a = differences(term);
            let b = if term + 1 < span.end { differences(term + 1) } else { [_mm512_setzero_si512(); 2] };
            for half in 0..2 {
                let low = _mm512_unpacklo_epi16(a[half], b[half]);
                let high = _mm512_unpackhi_epi16(a[half], b[half]);
                squares[2 * half] = _mm512_add_epi32(squares[2 * half], _mm512_madd_epi16(low, low));
                squares[2 * half + 1] =
                    _mm512_add_epi32(squares[2 * half + 1], _mm512_madd_epi16(high, high));
            }
            term += 2;
        }
        term = span.end;
        let weight = _mm512_set1_ps(span.weight_f32);
        for (total, squares) in totals.iter_mut().zip(squares) {
            *total = _mm512_fmadd_ps(weight, _mm512_cvtepi32_ps(squares), *total);
        }
    }
    let low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    let high = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    for half in 0..2 {
        let to = out.as_mut_ptr().add(32 * half);
        let (a, b) = (totals[2 * half], totals[2 * half + 1]);
        _mm512_storeu_ps(to, _mm512_permutex2var_ps(a, low, b));
        _mm512_storeu_ps(to.add(16), _mm512_permutex2var_ps(a, high, b));
    }
}

/// # Safety
/// The CPU must have AVX2 and FMA; `lines` must index `group`; `lines` and `context` must be at least as long as
/// the last span's end.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2(group: &[Lanes], lines: &[u32], context: &[i16], spans: &[Span], out: &mut [f32; LANES]) {
    // Half a line at a time: with more, the sums would not stay in the sixteen registers.
    for half in 0..2 {
        let mut totals = [_mm256_setzero_ps(); 4];
        let differences = |term: usize| {
            let line =
                group.as_ptr().add(*lines.get_unchecked(term) as usize).cast::<__m128i>().add(2 * half);
            let value = _mm256_set1_epi16(*context.get_unchecked(term));
            [
                _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_load_si128(line)), value),
                _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_load_si128(line.add(1))), value),
            ]
        };
        let mut term = 0;
        for span in spans {
            let mut squares = [_mm256_setzero_si256(); 4];
            while term < span.end {
                let a = differences(term);
                let b = if term + 1 < span.end { differences(term + 1) } else { [_mm256_setzero_si256(); 2] };
                for part in 0..2 {
                    let low = _mm256_unpacklo_epi16(a[part], b[part]);
                    let high = _mm256_unpackhi_epi16(a[part], b[part]);
                    squares[2 * part] = _mm256_add_epi32(squares[2 * part], _mm256_madd_epi16(low, low));
                    squares[2 * part + 1] =
                        _mm256_add_epi32(squares[2 * part + 1], _mm256_madd_epi16(high, high));
                }
                term += 2;
            }
            term = span.end;
            let weight = _mm256_set1_ps(span.weight_f32);
            for (total, squares) in totals.iter_mut().zip(squares) {
                *total = _mm256_fmadd_ps(weight, _mm256_cvtepi32_ps(squares), *total);
            }
        }
        for part in 0..2 {
            let to = out.as_mut_ptr().add(32 * half + 16 * part);
            let (a, b) = (totals[2 * part], totals[2 * part + 1]);
            _mm256_storeu_ps(to, _mm256_permute2f128_ps::<0x20>(a, b));
            _mm256_storeu_ps(to.add(8), _mm256_permute2f128_ps::<0x31>(a, b));
        }
    }
}
