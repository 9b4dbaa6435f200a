//! Hamming distances of many images at once: one byte of each image, side by side, is compared with a byte of a canvas.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::context::Terms;
use super::Tokens;
use crate::simd::InstructionSet;

/// Images side by side in one group.
pub(super) const GROUP_IMAGES: usize = 64;

/// Terms whose counts, at most 8 each, are added up in a byte.
const TERMS_PER_BYTE: usize = 31;

/// A scan of all images for some canvases: which bytes of the planes its terms read, and the canvases' bytes that these
/// are compared with.
///
/// Terms that are to be subtracted are added, too: a byte that differs from the canvas's in k bits differs from its
/// complement in 8 − k. So the complement adds 8 − k, and sums start at −8 for each such term.
pub(super) struct HammingScan<'a> {
    planes: &'a [u8],
    /// Index of each term's line in the planes, at image 0.
    offsets: Vec<usize>,
    /// The largest of these.
    farthest: usize,
    /// `(terms, canvases)`: the canvas's byte, or its complement, repeated four times.
    values: Vec<u32>,
    canvases: usize,
    /// Whether sums start from `base` alone, not from what they are.
    fresh: bool,
    /// Added to all sums, modulo 2¹⁶.
    base: u16,
}

impl<'a> HammingScan<'a> {
    /// The scan of all images for canvases of `(h, w, Y)` bytes.
    pub(super) fn new(tokens: &Tokens<'a>, terms: &Terms, canvases: &[&[u8]]) -> Self {
        let value = |(term, &byte): (usize, &usize)| {
            canvases.iter().map(move |canvas| {
                let value = canvas[byte];
                u32::from_ne_bytes([if term < terms.added { value } else { !value }; 4])
            })
        };
        let removed = terms.canvas.len() - terms.added;
        let offsets: Vec<usize> = terms.lines.iter().map(|line| line * tokens.count()).collect();
        Self {
            planes: tokens.planes,
            farthest: offsets.iter().copied().max().unwrap_or(0),
            offsets,
            values: terms.canvas.iter().enumerate().flat_map(value).collect(),
            canvases: canvases.len(),
            fresh: terms.fresh,
            base: ((8 * removed) as u16).wrapping_neg(),
        }
    }

    /// Updates the sums of consecutive images, from image `first` on, for `C` canvases, from canvas `canvas` on. Returns the
    /// least sum of each canvas.
    pub(super) fn run<const C: usize>(
        &self,
        instructions: InstructionSet,
        (canvas, first): (usize, usize),
        sums: [&mut [u16]; C],
    ) -> [u16; C] {
        let count = sums[0].len();
        assert!(sums.iter().all(|sums| sums.len() == count));
        assert_eq!(self.offsets.len() * self.canvases, self.values.len());
        assert!(canvas + C <= self.canvases);
        assert!(self.farthest + first + count <= self.planes.len());
        let mut rests = [(); C].map(|()| &mut [][..]);
        let mut groups = [(); C].map(|()| &mut [][..]);
        for ((sums, rest), groups) in sums.into_iter().zip(&mut rests).zip(&mut groups) {
            (*groups, *rest) = sums.as_chunks_mut::<GROUP_IMAGES>();
        }
        let following = first + groups[0].len() * GROUP_IMAGES;
        let mut least = match instructions {
            // SAFETY: the CPU has the features of an instruction set that is `available`, and BITALG was checked. The planes
            // hold as many bytes as there are sums, from `first` after each offset on; there is a value of each canvas for
            // each offset.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 if instructions.has_bitalg() => unsafe {
                x86::avx512(self, (canvas, first), groups)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Avx2 => unsafe {
                x86::avx2(self, (canvas, first), groups)
            },
            InstructionSet::Portable => self.portable((canvas, first), groups),
        };
        let len = rests[0].len();
        if len > 0 {
            let mut padded = [[0; GROUP_IMAGES]; C];
            for (padded, rest) in padded.iter_mut().zip(&rests) {
                padded[..len].copy_from_slice(rest);
            }
            match instructions {
                // SAFETY: as above, for the `len` images that follow.
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 if instructions.has_bitalg() => unsafe {
                    x86::avx512_rest(self, (canvas, following), len, &mut padded)
                },
                _ => {
                    for (canvas, sums) in (canvas..).zip(&mut padded) {
                        self.group((canvas, following), len, sums);
                    }
                }
            }
            for ((rest, padded), least) in rests.into_iter().zip(&padded).zip(&mut least) {
                rest.copy_from_slice(&padded[..len]);
                *least = rest.iter().copied().fold(*least, u16::min);
            }
        }
        least
    }

    fn portable<const C: usize>(
        &self,
        (canvas, first): (usize, usize),
        mut groups: [&mut [[u16; GROUP_IMAGES]]; C],
    ) -> [u16; C] {
        std::array::from_fn(|at| {
            let mut least = [u16::MAX; GROUP_IMAGES];
            for (index, sums) in groups[at].iter_mut().enumerate() {
                self.group((canvas + at, first + index * GROUP_IMAGES), GROUP_IMAGES, sums);
                for (least, &sum) in least.iter_mut().zip(sums.iter()) {
                    *least = sum.min(*least);
                }
            }
            least.into_iter().fold(u16::MAX, u16::min)
        })
    }

    /// One group of one canvas, of which the first `len` lanes are images.
    fn group(&self, (canvas, first): (usize, usize), len: usize, sums: &mut [u16; GROUP_IMAGES]) {
        for sum in sums.iter_mut() {
            *sum = if self.fresh { self.base } else { sum.wrapping_add(self.base) };
        }
        let values = self.values.chunks(TERMS_PER_BYTE * self.canvases);
        for (offsets, values) in self.offsets.chunks(TERMS_PER_BYTE).zip(values) {
            let mut counts = [0_u8; GROUP_IMAGES];
            for (&offset, &value) in offsets.iter().zip(values[canvas..].iter().step_by(self.canvases)) {
                let mut line = [0; GROUP_IMAGES];
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
