//! Sums of Hamming distances of many images at once: one byte of each, side by side, against one byte of a canvas.

use super::context::Terms;
use super::Tokens;
use crate::ssd::Path;

/// Images side by side.
pub(super) const LANES: usize = 64;

/// Terms whose counts, 8 at most, add up in a byte.
const TOGETHER: usize = 31;

/// Instruction sets that distances are counted with. All give the same sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// With VPOPCNTB.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Bits of half bytes by table look-up.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust over fixed lanes; the compiler makes SSE2 or NEON of it.
    Portable,
}

impl Kernel {
    /// Those that this machine can run, fastest first.
    pub fn available() -> Vec<Self> {
        let mut kernels: Vec<Self> = Path::available().into_iter().map(Self::of).collect();
        kernels.dedup();
        kernels
    }

    /// The one that goes with a scan's path.
    pub fn of(path: Path) -> Self {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 if is_x86_feature_detected!("avx512bitalg") => Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 | Path::Avx2 if is_x86_feature_detected!("avx2") => Self::Avx2,
            _ => Self::Portable,
        }
    }
}

/// Sums in the making for one canvas: what is read of the planes, and the canvas's bytes beside it.
///
/// What is taken away is added, too: a byte that differs from the canvas's in k bits is equal to it in 8 − k, so that its
/// complement adds 8 − k, and 8 less is what sums begin with.
pub(super) struct Scan<'a> {
    planes: &'a [u8],
    /// Where each term's line begins, at the first of the images.
    offsets: Vec<usize>,
    /// The last of these.
    farthest: usize,
    /// The canvas's byte of each term, or its complement, four times over.
    values: Vec<u32>,
    /// Whether sums begin anew.
    fresh: bool,
    /// What is added to all of them, as 16 bits wrap.
    base: u16,
}

impl<'a> Scan<'a> {
    /// The scan of all images for one canvas of `(h, w, Y)` bytes.
    pub(super) fn new(tokens: &Tokens<'a>, terms: &Terms, canvas: &[u8]) -> Self {
        let value = |(term, &byte): (usize, &usize)| {
            let value = canvas[byte];
            u32::from_ne_bytes([if term < terms.added { value } else { !value }; 4])
        };
        let removed = terms.canvas.len() - terms.added;
        let offsets: Vec<usize> = terms.lines.iter().map(|line| line * tokens.count()).collect();
        Self {
            planes: tokens.planes,
            farthest: offsets.iter().copied().max().unwrap_or(0),
            offsets,
            values: terms.canvas.iter().enumerate().map(value).collect(),
            fresh: terms.fresh,
            base: ((8 * removed) as u16).wrapping_neg(),
        }
    }

    /// Brings the sums of consecutive images up to date, from image `first` on; returns the least.
    pub(super) fn run(&self, kernel: Kernel, first: usize, sums: &mut [u16]) -> u16 {
        assert_eq!(self.offsets.len(), self.values.len());
        assert!(self.farthest + first + sums.len() <= self.planes.len());
        let (groups, rest) = sums.as_chunks_mut::<LANES>();
        let following = first + groups.len() * LANES;
        let least = match kernel {
            // SAFETY: a kernel is only made where the CPU has its features (`Kernel::of`); from each offset on the planes
            // hold as many bytes as there are sums, `first` later; there are as many values as offsets.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::avx512(self, first, groups) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::avx2(self, first, groups) },
            Kernel::Portable => self.portable(first, groups),
        };
        let mut padded = [0; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        self.group(following, rest.len(), &mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
        rest.iter().copied().fold(least, u16::min)
    }

    fn portable(&self, first: usize, groups: &mut [[u16; LANES]]) -> u16 {
        let mut least = [u16::MAX; LANES];
        for (index, sums) in groups.iter_mut().enumerate() {
            self.group(first + index * LANES, LANES, sums);
            for (least, &sum) in least.iter_mut().zip(sums.iter()) {
                *least = sum.min(*least);
            }
        }
        least.into_iter().fold(u16::MAX, u16::min)
    }

    /// One group, of which the first `len` lanes are images.
    fn group(&self, first: usize, len: usize, sums: &mut [u16; LANES]) {
        for sum in sums.iter_mut() {
            *sum = if self.fresh { self.base } else { sum.wrapping_add(self.base) };
        }
        for (offsets, values) in self.offsets.chunks(TOGETHER).zip(self.values.chunks(TOGETHER)) {
            let mut counts = [0_u8; LANES];
            for (&offset, &value) in offsets.iter().zip(values) {
                let mut line = [0; LANES];
                line[..len].copy_from_slice(&self.planes[offset + first..][..len]);
                for (count, byte) in counts.iter_mut().zip(line) {
                    *count += (byte ^ value as u8).count_ones() as u8;
                }
            }
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.wrapping_add(u16::from(count));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Counts stay in bytes for as many terms as fit, and are then widened: in memory order, so that no shuffle puts
    //! them back.

    use std::arch::x86_64::*;

    use super::{Scan, LANES, TOGETHER};

    /// Groups whose counts are kept in registers together: a term's scalars are loaded once for all of them.
    const ABREAST: usize = 4;

    /// # Safety
    /// The CPU must have AVX-512 F, BW and BITALG; the planes must hold as many bytes as there are sums from `first` after
    /// each offset on; there must be a value for each offset.
    #[target_feature(enable = "avx512f,avx512bw,avx512bitalg")]
    pub(super) unsafe fn avx512(scan: &Scan, first: usize, groups: &mut [[u16; LANES]]) -> u16 {
        let mut least = _mm512_set1_epi16(-1);
        let (many, rest) = groups.as_chunks_mut::<ABREAST>();
        let following = first + many.len() * ABREAST * LANES;
        for (index, groups) in many.iter_mut().enumerate() {
            least = avx512_groups(scan, first + index * ABREAST * LANES, groups, least);
        }
        for (index, group) in rest.iter_mut().enumerate() {
            least = avx512_groups(scan, following + index * LANES, std::array::from_mut(group), least);
        }
        let mut lanes = [0_u16; 32];
        _mm512_storeu_si512(lanes.as_mut_ptr().cast(), least);
        lanes.into_iter().fold(u16::MAX, u16::min)
    }

    /// # Safety
    /// As for [`avx512`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bitalg")]
    unsafe fn avx512_groups<const GROUPS: usize>(
        scan: &Scan,
        first: usize,
        groups: &mut [[u16; LANES]; GROUPS],
        mut least: __m512i,
    ) -> __m512i {
        let at = scan.planes.as_ptr().add(first);
        let mut totals = [[_mm512_set1_epi16(scan.base as i16); 2]; GROUPS];
        if !scan.fresh {
            for (totals, sums) in totals.iter_mut().zip(&*groups) {
                for (half, total) in totals.iter_mut().enumerate() {
                    let sums = _mm512_loadu_si512(sums.as_ptr().add(half * 32).cast());
                    *total = _mm512_add_epi16(*total, sums);
                }
            }
        }
        let mut start = 0;
        while start < scan.offsets.len() {
            let end = (start + TOGETHER).min(scan.offsets.len());
            let mut counts = [_mm512_setzero_si512(); GROUPS];
            for term in start..end {
                let line = at.add(*scan.offsets.get_unchecked(term));
                let value = _mm512_set1_epi32(*scan.values.get_unchecked(term) as i32);
                for (group, count) in counts.iter_mut().enumerate() {
                    let bytes = _mm512_loadu_si512(line.add(group * LANES).cast());
                    *count = _mm512_add_epi8(*count, _mm512_popcnt_epi8(_mm512_xor_si512(bytes, value)));
                }
            }
            for (totals, count) in totals.iter_mut().zip(counts) {
                let (low, high) = (_mm512_castsi512_si256(count), _mm512_extracti64x4_epi64::<1>(count));
                totals[0] = _mm512_add_epi16(totals[0], _mm512_cvtepu8_epi16(low));
                totals[1] = _mm512_add_epi16(totals[1], _mm512_cvtepu8_epi16(high));
            }
            start = end;
        }
        for (totals, sums) in totals.iter().zip(groups) {
            for (half, total) in totals.iter().enumerate() {
                _mm512_storeu_si512(sums.as_mut_ptr().add(half * 32).cast(), *total);
                least = _mm512_min_epu16(least, *total);
            }
        }
        least
    }

    /// # Safety
    /// As for [`avx512`], on a CPU that has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(scan: &Scan, first: usize, groups: &mut [[u16; LANES]]) -> u16 {
        let mut least = _mm256_set1_epi16(-1);
        for (index, group) in groups.iter_mut().enumerate() {
            for (half, sums) in group.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                least = avx2_half(scan, first + index * LANES + half * 32, sums, least);
            }
        }
        let mut lanes = [0_u16; 16];
        _mm256_storeu_si256(lanes.as_mut_ptr().cast(), least);
        lanes.into_iter().fold(u16::MAX, u16::min)
    }

    /// # Safety
    /// As for [`avx2`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn avx2_half(scan: &Scan, first: usize, sums: &mut [u16; 32], least: __m256i) -> __m256i {
        let at = scan.planes.as_ptr().add(first);
        let nibble = _mm256_set1_epi8(0x0F);
        let bits = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        let mut totals = [_mm256_set1_epi16(scan.base as i16); 2];
        if !scan.fresh {
            totals[0] = _mm256_add_epi16(totals[0], _mm256_loadu_si256(sums.as_ptr().cast()));
            totals[1] = _mm256_add_epi16(totals[1], _mm256_loadu_si256(sums.as_ptr().add(16).cast()));
        }
        let mut start = 0;
        while start < scan.offsets.len() {
            let end = (start + TOGETHER).min(scan.offsets.len());
            let mut counts = _mm256_setzero_si256();
            for term in start..end {
                let line = _mm256_loadu_si256(at.add(*scan.offsets.get_unchecked(term)).cast());
                let bytes =
                    _mm256_xor_si256(line, _mm256_set1_epi32(*scan.values.get_unchecked(term) as i32));
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
}
