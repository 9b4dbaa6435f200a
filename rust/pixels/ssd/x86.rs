//! The scan's inner loop on AVX2 and AVX-512.
//!
//! Two terms at a time: their differences (16 bits) are interleaved lane by lane, and one multiply-add instruction
//! squares both and adds the squares into 32-bit lanes. Interleaving stays inside 128-bit lanes, so the sums are in a
//! fixed permutation of the images until the end, where two shuffles per register restore the order.

use std::arch::x86_64::*;

use super::super::planes::GROUP_IMAGES;
use super::{scan_sources, GroupSums, GroupWindow, GroupWindows, Limits, Outcome};

/// # Safety
/// The CPU must have AVX-512 F and BW. The lines of each window must index the group and be as many as the terms of the
/// context, which must reach to the last shell's end.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn scan_avx512(windows: GroupWindows, limits: Limits, sums: &mut GroupSums) {
    // SAFETY: guaranteed by the caller.
    scan_sources(windows, limits, sums, |window, floor, limit, row| unsafe {
        avx512(window, floor, limit, row)
    });
}

/// # Safety
/// As for [`scan_avx512`], for one window.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn avx512(
    window: GroupWindow,
    floor: &[f32; GROUP_IMAGES],
    limit: f32,
    out: &mut [f32; GROUP_IMAGES],
) -> Outcome {
    let GroupWindow { group, lines, context, shells } = window;
    // Sums are permuted: quarters of 128 bits go to two registers in turn. Their start values must be, too.
    let even = _mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    let odd = _mm512_setr_epi32(4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    let mut totals = [_mm512_setzero_ps(); 4];
    for half in 0..2 {
        let from = floor.as_ptr().add(32 * half);
        let (a, b) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
        totals[2 * half] = _mm512_permutex2var_ps(a, even, b);
        totals[2 * half + 1] = _mm512_permutex2var_ps(a, odd, b);
    }
    let limit = _mm512_set1_ps(limit);
    let differences = |term: usize| {
        let line = group.as_ptr().add(*lines.get_unchecked(term) as usize).cast::<__m256i>();
        let value = _mm512_set1_epi16(*context.get_unchecked(term));
        [
            _mm512_sub_epi16(_mm512_cvtepu8_epi16(_mm256_load_si256(line)), value),
            _mm512_sub_epi16(_mm512_cvtepu8_epi16(_mm256_load_si256(line.add(1))), value),
        ]
    };
    let mut term = 0;
    for shell in shells {
        let mut squares = [_mm512_setzero_si512(); 4];
        while term < shell.end {
            let a = differences(term);
            let b = if term + 1 < shell.end { differences(term + 1) } else { [_mm512_setzero_si512(); 2] };
            for half in 0..2 {
                let low = _mm512_unpacklo_epi16(a[half], b[half]);
                let high = _mm512_unpackhi_epi16(a[half], b[half]);
                squares[2 * half] = _mm512_add_epi32(squares[2 * half], _mm512_madd_epi16(low, low));
                squares[2 * half + 1] =
                    _mm512_add_epi32(squares[2 * half + 1], _mm512_madd_epi16(high, high));
            }
            term += 2;
        }
        term = shell.end;
        let weight = _mm512_set1_ps(shell.weight_f32);
        for (total, squares) in totals.iter_mut().zip(squares) {
            *total = _mm512_fmadd_ps(weight, _mm512_cvtepi32_ps(squares), *total);
        }
        if shell.check {
            let least =
                _mm512_min_ps(_mm512_min_ps(totals[0], totals[1]), _mm512_min_ps(totals[2], totals[3]));
            if _mm512_cmp_ps_mask::<_CMP_LE_OQ>(least, limit) == 0 {
                return Outcome { terms: term, whole: false };
            }
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
    Outcome { terms: term, whole: true }
}

/// # Safety
/// As for [`scan_avx512`], on a CPU that has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn scan_avx2(windows: GroupWindows, limits: Limits, sums: &mut GroupSums) {
    // SAFETY: guaranteed by the caller.
    scan_sources(windows, limits, sums, |window, floor, limit, row| unsafe {
        // Half a line at a time: more sums would not fit the sixteen registers.
        let low = avx2::<0>(window, floor, limit, row);
        let high = avx2::<1>(window, floor, limit, row);
        Outcome { terms: low.terms.max(high.terms), whole: low.whole || high.whole }
    });
}

/// # Safety
/// As for [`scan_avx2`], for one window; `HALF` is 0 or 1.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const HALF: usize>(
    window: GroupWindow,
    floor: &[f32; GROUP_IMAGES],
    limit: f32,
    out: &mut [f32; GROUP_IMAGES],
) -> Outcome {
    let GroupWindow { group, lines, context, shells } = window;
    let from = floor.as_ptr().add(32 * HALF);
    let to = out.as_mut_ptr().add(32 * HALF);
    let mut totals = [_mm256_setzero_ps(); 4];
    for part in 0..2 {
        let (a, b) = (_mm256_loadu_ps(from.add(16 * part)), _mm256_loadu_ps(from.add(16 * part + 8)));
        totals[2 * part] = _mm256_permute2f128_ps::<0x20>(a, b);
        totals[2 * part + 1] = _mm256_permute2f128_ps::<0x31>(a, b);
    }
    let limit = _mm256_set1_ps(limit);
    let differences = |term: usize| {
        let line = group.as_ptr().add(*lines.get_unchecked(term) as usize).cast::<__m128i>().add(2 * HALF);
        let value = _mm256_set1_epi16(*context.get_unchecked(term));
        [
            _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_load_si128(line)), value),
            _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_load_si128(line.add(1))), value),
        ]
    };
    let mut term = 0;
    for shell in shells {
        let mut squares = [_mm256_setzero_si256(); 4];
        while term < shell.end {
            let a = differences(term);
            let b = if term + 1 < shell.end { differences(term + 1) } else { [_mm256_setzero_si256(); 2] };
            for part in 0..2 {
                let low = _mm256_unpacklo_epi16(a[part], b[part]);
                let high = _mm256_unpackhi_epi16(a[part], b[part]);
                squares[2 * part] = _mm256_add_epi32(squares[2 * part], _mm256_madd_epi16(low, low));
                squares[2 * part + 1] =
                    _mm256_add_epi32(squares[2 * part + 1], _mm256_madd_epi16(high, high));
            }
            term += 2;
        }
        term = shell.end;
        let weight = _mm256_set1_ps(shell.weight_f32);
        for (total, squares) in totals.iter_mut().zip(squares) {
            *total = _mm256_fmadd_ps(weight, _mm256_cvtepi32_ps(squares), *total);
        }
        if shell.check {
            let least =
                _mm256_min_ps(_mm256_min_ps(totals[0], totals[1]), _mm256_min_ps(totals[2], totals[3]));
            if _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(least, limit)) == 0 {
                for part in 0..4 {
                    _mm256_storeu_ps(to.add(8 * part), _mm256_set1_ps(f32::INFINITY));
                }
                return Outcome { terms: term, whole: false };
            }
        }
    }
    for part in 0..2 {
        let (a, b) = (totals[2 * part], totals[2 * part + 1]);
        _mm256_storeu_ps(to.add(16 * part), _mm256_permute2f128_ps::<0x20>(a, b));
        _mm256_storeu_ps(to.add(16 * part + 8), _mm256_permute2f128_ps::<0x31>(a, b));
    }
    Outcome { terms: term, whole: true }
}
