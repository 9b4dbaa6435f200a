//! Squared differences of 64, 32 or 16 neighbouring windows at a time.
//!
//! `Σ (a − b)² = Σ a² − 2 Σ (a − 128)·b + Σ (b² − 256 b)`: the first sum is stored beside the source, the last one is
//! the canvas's alone, and products of four channels are one instruction where the CPU has VNNI. All are integers.

use super::query::RasterShell;
use super::{Quad, LANES};
use crate::simd::InstructionSet;

/// The windows of a row of positions in one source, and what they are compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows<'a> {
    pub(super) values: &'a [Quad],
    pub(super) squares: &'a [i32],
    /// Where each term lies, from the corner of a window.
    pub(super) offsets: &'a [u32],
    pub(super) context: &'a [[u8; 4]],
    pub(super) shells: &'a [RasterShell],
}

/// The result of one block of windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    /// The lanes whose sum is at most the limit; one bit each.
    pub(super) lanes: u64,
    /// Terms that were computed.
    pub(super) terms: usize,
}

/// Compares the windows whose corners are at `corner` and after it, and writes their unnormalised distances. Once all
/// lanes are beyond `limit`, the rest is skipped.
type Block = unsafe fn(&Windows, corner: usize, limit: f32, sums: &mut [f32; LANES]) -> Near;

/// Blocks of 16, 32 and 64 windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel([Block; 3]);

impl Kernel {
    pub(super) fn of(instructions: InstructionSet) -> Self {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 if instructions.has_vnni() => {
                Self([x86::vnni::<1>, x86::vnni::<2>, x86::vnni::<4>])
            }
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Avx2 => {
                Self([x86::avx2::<2>, x86::avx2::<4>, x86::avx2::<8>])
            }
            InstructionSet::Portable => Self([portable::<16>, portable::<32>, portable::<64>]),
        }
    }

    /// Compares up to `LANES` windows from `corner` on, and returns how many: no more than `left`, rounded up. Lanes from
    /// `left` on are not near.
    pub(super) fn block(
        &self,
        windows: &Windows,
        (corner, left): (usize, usize),
        limit: f32,
        sums: &mut [f32; LANES],
    ) -> Near {
        let size = match left {
            0..=16 => 0,
            17..=32 => 1,
            _ => 2,
        };
        let furthest = windows.offsets.iter().max().map_or(0, |&offset| offset as usize);
        debug_assert!(corner + furthest + LANES <= windows.values.len());
        debug_assert_eq!(windows.offsets.len(), windows.context.len());
        // SAFETY: the CPU has the features of an instruction set that is `available`. A source is followed by `LANES`
        // values, so windows that begin inside it read no further; terms are as many as offsets.
        let near = unsafe { self.0[size](windows, corner, limit, sums) };
        let inside = if left >= LANES { u64::MAX } else { (1 << left) - 1 };
        Near { lanes: near.lanes & inside, ..near }
    }
}

/// # Safety
/// None is needed; unsafe as all blocks are.
unsafe fn portable<const N: usize>(
    windows: &Windows,
    corner: usize,
    limit: f32,
    sums: &mut [f32; LANES],
) -> Near {
    let mut totals = [0.0_f32; N];
    let mut start = 0;
    for shell in windows.shells {
        let mut squares = [shell.constant; N];
        for (&offset, ours) in
            windows.offsets[start..shell.end].iter().zip(&windows.context[start..shell.end])
        {
            let at = corner + offset as usize;
            let (values, theirs) = (&windows.values[at..][..N], &windows.squares[at..][..N]);
            let ours = ours.map(i32::from);
            for lane in 0..N {
                let value = values[lane].map(i32::from);
                let product =
                    value[0] * ours[0] + value[1] * ours[1] + value[2] * ours[2] + value[3] * ours[3];
                squares[lane] += theirs[lane] - 2 * product;
            }
        }
        for lane in 0..N {
            totals[lane] += shell.weight_f32 * squares[lane] as f32;
        }
        start = shell.end;
        if shell.check && totals.iter().all(|&total| total > limit) {
            return Near { lanes: 0, terms: start };
        }
    }
    let mut lanes = 0;
    for (lane, &total) in totals.iter().enumerate() {
        sums[lane] = total;
        lanes |= u64::from(total <= limit) << lane;
    }
    Near { lanes, terms: start }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Near, Windows, LANES};

    /// # Safety
    /// The CPU must have AVX-512 F, BW and VNNI. Offsets and context must reach to the last shell's end, and `values` and
    /// `squares` 16·`N` beyond the furthest offset from `corner`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub unsafe fn vnni<const N: usize>(
        windows: &Windows,
        corner: usize,
        limit: f32,
        sums: &mut [f32; LANES],
    ) -> Near {
        let limit = _mm512_set1_ps(limit);
        let (values, squares) = (windows.values.as_ptr().add(corner), windows.squares.as_ptr().add(corner));
        let mut totals = [_mm512_setzero_ps(); N];
        let mut term = 0;
        for shell in windows.shells {
            let mut theirs = [_mm512_set1_epi32(shell.constant); N];
            let mut products = [_mm512_setzero_si512(); N];
            while term < shell.end {
                let at = *windows.offsets.get_unchecked(term) as usize;
                let ours = _mm512_set1_epi32(i32::from_le_bytes(*windows.context.get_unchecked(term)));
                for part in 0..N {
                    let value = _mm512_loadu_si512(values.add(at + 16 * part).cast());
                    products[part] = _mm512_dpbusd_epi32(products[part], ours, value);
                    let square = _mm512_loadu_si512(squares.add(at + 16 * part).cast());
                    theirs[part] = _mm512_add_epi32(theirs[part], square);
                }
                term += 1;
            }
            let weight = _mm512_set1_ps(shell.weight_f32);
            for part in 0..N {
                let twice = _mm512_slli_epi32::<1>(products[part]);
                let shell_sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(theirs[part], twice));
                totals[part] = _mm512_fmadd_ps(weight, shell_sum, totals[part]);
            }
            if shell.check {
                let mut least = totals[0];
                for &total in &totals[1..] {
                    least = _mm512_min_ps(least, total);
                }
                if _mm512_cmp_ps_mask::<_CMP_LE_OQ>(least, limit) == 0 {
                    return Near { lanes: 0, terms: term };
                }
            }
        }
        let mut lanes = 0;
        for (part, &total) in totals.iter().enumerate() {
            _mm512_storeu_ps(sums.as_mut_ptr().add(16 * part), total);
            lanes |= u64::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(total, limit)) << (16 * part);
        }
        Near { lanes, terms: term }
    }

    /// # Safety
    /// As for [`vnni`], on a CPU that has AVX2 and FMA; 8·`N` values.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2<const N: usize>(
        windows: &Windows,
        corner: usize,
        limit: f32,
        sums: &mut [f32; LANES],
    ) -> Near {
        // Two registers at a time: more sums would not fit the sixteen registers.
        let mut near = Near { lanes: 0, terms: 0 };
        for pair in 0..N / 2 {
            let part = avx2_pair(windows, corner + 16 * pair, limit, sums.as_mut_ptr().add(16 * pair));
            near.lanes |= part.lanes << (16 * pair);
            near.terms = near.terms.max(part.terms);
        }
        near
    }

    /// # Safety
    /// As for [`avx2`], for 16 windows.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2_pair(windows: &Windows, corner: usize, limit: f32, sums: *mut f32) -> Near {
        let limit = _mm256_set1_ps(limit);
        let (values, squares) = (windows.values.as_ptr().add(corner), windows.squares.as_ptr().add(corner));
        let mut totals = [_mm256_setzero_ps(); 2];
        let mut term = 0;
        for shell in windows.shells {
            let mut theirs = [_mm256_set1_epi32(shell.constant); 2];
            let mut products = [_mm256_setzero_si256(); 2];
            while term < shell.end {
                let at = *windows.offsets.get_unchecked(term) as usize;
                let [a, b, c, d] = windows.context.get_unchecked(term).map(i32::from);
                let (even, odd) = (_mm256_set1_epi32(a | c << 16), _mm256_set1_epi32(b | d << 16));
                for part in 0..2 {
                    let value = _mm256_loadu_si256(values.add(at + 8 * part).cast());
                    // Channels 0 and 2, then 1 and 3, with their signs.
                    let first = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(value));
                    let second = _mm256_srai_epi16::<8>(value);
                    let product =
                        _mm256_add_epi32(_mm256_madd_epi16(first, even), _mm256_madd_epi16(second, odd));
                    products[part] = _mm256_add_epi32(products[part], product);
                    let square = _mm256_loadu_si256(squares.add(at + 8 * part).cast());
                    theirs[part] = _mm256_add_epi32(theirs[part], square);
                }
                term += 1;
            }
            let weight = _mm256_set1_ps(shell.weight_f32);
            for part in 0..2 {
                let twice = _mm256_slli_epi32::<1>(products[part]);
                let shell_sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(theirs[part], twice));
                totals[part] = _mm256_fmadd_ps(weight, shell_sum, totals[part]);
            }
            if shell.check {
                let least = _mm256_min_ps(totals[0], totals[1]);
                if _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(least, limit)) == 0 {
                    return Near { lanes: 0, terms: term };
                }
            }
        }
        let mut lanes = 0;
        for (part, &total) in totals.iter().enumerate() {
            _mm256_storeu_ps(sums.add(8 * part), total);
            let near = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(total, limit));
            lanes |= (near as u32 as u64) << (8 * part);
        }
        Near { lanes, terms: term }
    }
}
