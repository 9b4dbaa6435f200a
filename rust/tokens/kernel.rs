//! Sums of Hamming distances of many images at once: one byte of each, side by side, against one byte of a canvas.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::context::Terms;
use super::Tokens;
use crate::simd::Path;

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

/// Sums in the making for canvases that go together: what is read of the planes, and the canvases' bytes beside it.
///
/// What is taken away is added, too: a byte that differs from the canvas's in k bits is equal to it in 8 − k, so that its
/// complement adds 8 − k, and 8 less is what sums begin with.
pub(super) struct Scan<'a> {
    planes: &'a [u8],
    /// Where each term's line begins, at the first of the images.
    offsets: Vec<usize>,
    /// The last of these.
    farthest: usize,
    /// `(terms, canvases)`: the canvas's byte, or its complement, four times over.
    values: Vec<u32>,
    canvases: usize,
    /// Whether sums begin anew.
    fresh: bool,
    /// What is added to all of them, as 16 bits wrap.
    base: u16,
}

impl<'a> Scan<'a> {
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

    /// Brings the sums of consecutive images up to date, from image `first` on, for `C` canvases from `canvas` on; returns
    /// the least of each.
    pub(super) fn run<const C: usize>(
        &self,
        kernel: Kernel,
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
            (*groups, *rest) = sums.as_chunks_mut::<LANES>();
        }
        let following = first + groups[0].len() * LANES;
        let mut least = match kernel {
            // SAFETY: a kernel is only made where the CPU has its features (`Kernel::of`); from each offset on the planes
            // hold as many bytes as there are sums, `first` later; there is a value of each canvas for each offset.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::avx512(self, (canvas, first), groups) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::avx2(self, (canvas, first), groups) },
            Kernel::Portable => self.portable((canvas, first), groups),
        };
        let len = rests[0].len();
        if len > 0 {
            let mut padded = [[0; LANES]; C];
            for (padded, rest) in padded.iter_mut().zip(&rests) {
                padded[..len].copy_from_slice(rest);
            }
            match kernel {
                // SAFETY: as above, for the `len` images that follow.
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx512 => unsafe { x86::avx512_rest(self, (canvas, following), len, &mut padded) },
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
        mut groups: [&mut [[u16; LANES]]; C],
    ) -> [u16; C] {
        std::array::from_fn(|at| {
            let mut least = [u16::MAX; LANES];
            for (index, sums) in groups[at].iter_mut().enumerate() {
                self.group((canvas + at, first + index * LANES), LANES, sums);
                for (least, &sum) in least.iter_mut().zip(sums.iter()) {
                    *least = sum.min(*least);
                }
            }
            least.into_iter().fold(u16::MAX, u16::min)
        })
    }

    /// One group of one canvas, of which the first `len` lanes are images.
    fn group(&self, (canvas, first): (usize, usize), len: usize, sums: &mut [u16; LANES]) {
        for sum in sums.iter_mut() {
            *sum = if self.fresh { self.base } else { sum.wrapping_add(self.base) };
        }
        let values = self.values.chunks(TOGETHER * self.canvases);
        for (offsets, values) in self.offsets.chunks(TOGETHER).zip(values) {
            let mut counts = [0_u8; LANES];
            for (&offset, &value) in offsets.iter().zip(values[canvas..].iter().step_by(self.canvases)) {
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
