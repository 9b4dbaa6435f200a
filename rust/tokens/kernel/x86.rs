//! Hamming distances on AVX2 and AVX-512.
//!
//! Counts stay in bytes for as many terms as fit, and are then widened in memory order, so that no shuffle has to restore
//! the order.

use std::arch::x86_64::*;

use super::{HammingScan, GROUP_IMAGES, TERMS_PER_BYTE};

/// # Safety
/// The CPU must have AVX-512 F, BW and BITALG. The planes must hold as many bytes as there are sums, from `first` after each
/// offset on. There must be a value for each offset of each of the `C` canvases from `canvas` on, and as many groups for
/// each canvas.
#[target_feature(enable = "avx512f,avx512bw,avx512bitalg")]
pub(super) unsafe fn avx512<const C: usize>(
    scan: &HammingScan,
    at: (usize, usize),
    groups: [&mut [[u16; GROUP_IMAGES]]; C],
) -> [u16; C] {
    // Each group takes three of the 32 registers per canvas, for its counts and the two halves of its sums.
    if C == 1 {
        avx512_groups_of::<C, 4>(scan, at, groups)
    } else {
        avx512_groups_of::<C, 2>(scan, at, groups)
    }
}

/// # Safety
/// As for [`avx512`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bitalg")]
unsafe fn avx512_groups_of<const C: usize, const GROUPS: usize>(
    scan: &HammingScan,
    (canvas, first): (usize, usize),
    groups: [&mut [[u16; GROUP_IMAGES]]; C],
) -> [u16; C] {
    let count = groups[0].len();
    let sums = groups.map(<[_]>::as_mut_ptr);
    let values = scan.values.as_ptr().add(canvas);
    let planes = scan.planes.as_ptr().add(first);
    let mut least = [_mm512_set1_epi16(-1); C];
    let mut group = 0;
    while group + GROUPS <= count {
        let sums = sums.map(|sums| sums.add(group).cast());
        avx512_groups::<C, GROUPS, false>(
            scan,
            values,
            planes.add(group * GROUP_IMAGES),
            GROUP_IMAGES,
            sums,
            &mut least,
        );
        group += GROUPS;
    }
    while group < count {
        let sums = sums.map(|sums| sums.add(group).cast());
        avx512_groups::<C, 1, false>(
            scan,
            values,
            planes.add(group * GROUP_IMAGES),
            GROUP_IMAGES,
            sums,
            &mut least,
        );
        group += 1;
    }
    least.map(|least| {
        let mut lanes = [0_u16; 32];
        _mm512_storeu_si512(lanes.as_mut_ptr().cast(), least);
        lanes.into_iter().fold(u16::MAX, u16::min)
    })
}

/// A last group of fewer images than others.
///
/// # Safety
/// As for [`avx512`]; the planes must hold `len` bytes, at most `GROUP_IMAGES`, from `first` after each offset on.
#[target_feature(enable = "avx512f,avx512bw,avx512bitalg")]
pub(super) unsafe fn avx512_rest<const C: usize>(
    scan: &HammingScan,
    (canvas, first): (usize, usize),
    len: usize,
    sums: &mut [[u16; GROUP_IMAGES]; C],
) {
    let (values, planes) = (scan.values.as_ptr().add(canvas), scan.planes.as_ptr().add(first));
    let sums = sums.each_mut().map(|sums| sums.as_mut_ptr().cast());
    let mut least = [_mm512_setzero_si512(); C];
    avx512_groups::<C, 1, true>(scan, values, planes, len, sums, &mut least);
}

/// # Safety
/// As for [`avx512`], with pointers to the first of each canvas's values, of the groups' bytes and of their sums;
/// `PARTIAL` groups have `len` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bitalg")]
unsafe fn avx512_groups<const C: usize, const GROUPS: usize, const PARTIAL: bool>(
    scan: &HammingScan,
    values: *const u32,
    planes: *const u8,
    len: usize,
    sums: [*mut __m512i; C],
    least: &mut [__m512i; C],
) {
    let mut totals = [[[_mm512_set1_epi16(scan.base as i16); 2]; GROUPS]; C];
    if !scan.fresh {
        for (totals, sums) in totals.iter_mut().zip(sums) {
            for (half, total) in totals.as_flattened_mut().iter_mut().enumerate() {
                *total = _mm512_add_epi16(*total, _mm512_loadu_si512(sums.add(half)));
            }
        }
    }
    let mut start = 0;
    while start < scan.offsets.len() {
        let end = (start + TERMS_PER_BYTE).min(scan.offsets.len());
        let mut counts = [[_mm512_setzero_si512(); GROUPS]; C];
        for term in start..end {
            let line = planes.add(*scan.offsets.get_unchecked(term));
            let own = values.add(term * scan.canvases);
            let bytes: [__m512i; GROUPS] = std::array::from_fn(|group| {
                let at = line.add(group * GROUP_IMAGES);
                if PARTIAL {
                    _mm512_maskz_loadu_epi8(u64::MAX >> (GROUP_IMAGES - len), at.cast())
                } else {
                    _mm512_loadu_si512(at.cast())
                }
            });
            for (canvas, counts) in counts.iter_mut().enumerate() {
                let value = _mm512_set1_epi32(*own.add(canvas) as i32);
                for (count, bytes) in counts.iter_mut().zip(bytes) {
                    *count = _mm512_add_epi8(*count, _mm512_popcnt_epi8(_mm512_xor_si512(bytes, value)));
                }
            }
        }
        for (totals, count) in totals.as_flattened_mut().iter_mut().zip(counts.as_flattened()) {
            let (low, high) = (_mm512_castsi512_si256(*count), _mm512_extracti64x4_epi64::<1>(*count));
            totals[0] = _mm512_add_epi16(totals[0], _mm512_cvtepu8_epi16(low));
            totals[1] = _mm512_add_epi16(totals[1], _mm512_cvtepu8_epi16(high));
        }
        start = end;
    }
    for ((totals, sums), least) in totals.iter().zip(sums).zip(least) {
        for (half, total) in totals.as_flattened().iter().enumerate() {
            _mm512_storeu_si512(sums.add(half), *total);
            *least = _mm512_min_epu16(*least, *total);
        }
    }
}

/// # Safety
/// As for [`avx512`], on a CPU that has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2<const C: usize>(
    scan: &HammingScan,
    (canvas, first): (usize, usize),
    mut groups: [&mut [[u16; GROUP_IMAGES]]; C],
) -> [u16; C] {
    std::array::from_fn(|at| {
        let mut least = _mm256_set1_epi16(-1);
        for (index, group) in groups[at].iter_mut().enumerate() {
            for (half, sums) in group.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let place = (canvas + at, first + index * GROUP_IMAGES + half * 32);
                least = avx2_half(scan, place, sums, least);
            }
        }
        let mut lanes = [0_u16; 16];
        _mm256_storeu_si256(lanes.as_mut_ptr().cast(), least);
        lanes.into_iter().fold(u16::MAX, u16::min)
    })
}

/// # Safety
/// As for [`avx2`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn avx2_half(
    scan: &HammingScan,
    (canvas, first): (usize, usize),
    sums: &mut [u16; 32],
    least: __m256i,
) -> __m256i {
    let (at, values) = (scan.planes.as_ptr().add(first), scan.values.as_ptr().add(canvas));
    let nibble = _mm256_set1_epi8(0x0F);
    let bits = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let mut totals = [_mm256_set1_epi16(scan.base as i16); 2];
    if !scan.fresh {
        totals[0] = _mm256_add_epi16(totals[0], _mm256_loadu_si256(sums.as_ptr().cast()));
        totals[1] = _mm256_add_epi16(totals[1], _mm256_loadu_si256(sums.as_ptr().add(16).cast()));
    }
    let mut start = 0;
    while start < scan.offsets.len() {
        let end = (start + TERMS_PER_BYTE).min(scan.offsets.len());
        let mut counts = _mm256_setzero_si256();
        for term in start..end {
            let line = _mm256_loadu_si256(at.add(*scan.offsets.get_unchecked(term)).cast());
            let value = _mm256_set1_epi32(*values.add(term * scan.canvases) as i32);
            let bytes = _mm256_xor_si256(line, value);
            let low = _mm256_shuffle_epi8(bits, _mm256_and_si256(bytes, nibble));
            let high = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble));
            counts = _mm256_add_epi8(counts, _mm256_add_epi8(low, high));
        }
        let (low, high) = (_mm256_castsi256_si128(counts), _mm256_extracti128_si256::<1>(counts));
        totals[0] = _mm256_add_epi16(totals[0], _mm256_cvtepu8_epi16(low));
        totals[1] = _mm256_add_epi16(totals[1], _mm256_cvtepu8_epi16(high));
        start = end;
    }
    _mm256_storeu_si256(sums.as_mut_ptr().cast(), totals[0]);
    _mm256_storeu_si256(sums.as_mut_ptr().add(16).cast(), totals[1]);
    _mm256_min_epu16(least, _mm256_min_epu16(totals[0], totals[1]))
}
