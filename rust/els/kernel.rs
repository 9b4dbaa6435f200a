//! The inner loop: distances of all patches of a tile to all windows of a canvas.
//!
//! For a fixed displacement, the squared distances of all windows are sums over the same plane of squared differences of
//! pixels. A pair of patches therefore does not cost k² terms, but one square and two sliding sums: along a row in
//! registers, down the rows in a few lines of memory. Nothing is ever subtracted from a sum, so a small distance has a
//! small error however large its neighbours are.

use std::ops::Range;

use super::machine::Region;
use super::sliding::{Few, Sliding, SlidingBuffers, Stacks};
use super::sums::{Scales, WeightSums};
use super::tile::Tile;
use super::vector::{Block, Portable, Vector};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use crate::geometry::Extent;
use crate::simd::InstructionSet;

/// One canvas and the tile that it is compared with.
#[derive(Clone, Copy)]
pub struct ScanInput<'a> {
    pub extent: Extent,
    /// The frame with its border.
    pub bordered: Extent,
    /// Side of a window.
    pub side: usize,
    pub regions: &'a [Region],
    /// `(H + border, W + border, C)`: the canvas.
    pub ours: &'a [f32],
    pub tile: &'a Tile,
    /// `(H, W)`: patches at larger distances are skipped.
    pub limits: &'a [f32],
}

impl ScanInput<'_> {
    fn channels(&self) -> usize {
        self.ours.len() / self.bordered.area()
    }

    /// Checks what the inner loop relies on.
    fn check(&self) {
        let Self { extent, bordered, side, .. } = *self;
        assert!(matches!(self.channels(), 1 | 3));
        assert_eq!(self.ours.len(), self.channels() * bordered.area());
        assert_eq!(self.tile.blocks.len(), self.ours.len());
        assert_eq!(bordered.height, extent.height + side - 1);
        assert_eq!(bordered.width, extent.width + side - 1);
        assert_eq!((self.limits.len(), self.tile.alive.len()), (extent.area(), extent.area()));
        let inside = |range: &Range<usize>, shift: isize, len: usize| {
            range.end <= len
                && range.start.checked_add_signed(shift).is_some()
                && range.end.checked_add_signed(shift).is_some_and(|end| end <= len)
        };
        for region in self.regions {
            assert!(inside(&region.rows, region.dy, extent.height));
            assert!(inside(&region.columns, region.dx, extent.width));
        }
    }
}

/// Adds the patches of a tile to the sums of one canvas.
pub fn scan(
    instructions: InstructionSet,
    input: ScanInput,
    sums: &mut WeightSums,
    buffers: &mut SlidingBuffers,
) {
    input.check();
    assert_eq!(sums.pixels(), input.extent.area());
    buffers.fit(input.side, input.extent.width);
    // SAFETY: the CPU has the features of an instruction set that is `available`; `check` asserts the rest.
    unsafe {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512(input, sums, buffers),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2(input, sums, buffers),
            InstructionSet::Portable => any_channels::<Portable>(input, sums, buffers),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(input: ScanInput, sums: &mut WeightSums, buffers: &mut SlidingBuffers) {
    any_channels::<Avx512>(input, sums, buffers);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(input: ScanInput, sums: &mut WeightSums, buffers: &mut SlidingBuffers) {
    any_channels::<Avx2>(input, sums, buffers);
}

/// Chooses the code for the number of channels.
#[inline(always)]
unsafe fn any_channels<V: Vector>(input: ScanInput, sums: &mut WeightSums, buffers: &mut SlidingBuffers) {
    let scales = sums.scales::<V>();
    if input.channels() == 1 {
        any_side::<V, 1>(input, buffers, scales);
    } else {
        any_side::<V, 3>(input, buffers, scales);
    }
}

/// Chooses the code for the side of the window.
#[inline(always)]
unsafe fn any_side<V: Vector, const C: usize>(
    input: ScanInput,
    buffers: &mut SlidingBuffers,
    scales: Scales<V>,
) {
    match input.side {
        3 => scan_regions::<V, Few<V, 3>, C>(input, buffers, scales),
        5 => scan_regions::<V, Few<V, 5>, C>(input, buffers, scales),
        7 => scan_regions::<V, Few<V, 7>, C>(input, buffers, scales),
        9 => scan_regions::<V, Few<V, 9>, C>(input, buffers, scales),
        11 => scan_regions::<V, Few<V, 11>, C>(input, buffers, scales),
        13 => scan_regions::<V, Few<V, 13>, C>(input, buffers, scales),
        15 => scan_regions::<V, Few<V, 15>, C>(input, buffers, scales),
        17 => scan_regions::<V, Few<V, 17>, C>(input, buffers, scales),
        _ => scan_regions::<V, Stacks<V>, C>(input, buffers, scales),
    }
}

/// Compares all windows of the canvas with all patches of the tile, in this order:
/// 1. the pixels that have a partner in the tile which is not all background;
/// 2. squared differences of pixels, along one row;
/// 3. sliding sums of these over columns and rows: squared distances d²;
/// 4. weights exp(−d² / 2b²) of the patches within the limits, added to the sums of the softmax.
///
/// # Safety
/// The CPU must have the instructions of `V`; the input must be checked, `S` be for its side, and the buffers fit it.
#[inline(always)]
unsafe fn scan_regions<V: Vector, S: Sliding<V>, const C: usize>(
    input: ScanInput,
    buffers: &mut SlidingBuffers,
    mut scales: Scales<V>,
) {
    let ScanInput { extent, bordered, side, tile, .. } = input;
    let (border, ids) = (side - 1, &tile.ids[..]);
    let mut sliding = S::new(side, extent.width, buffers);
    let within = |range: &Range<usize>, alive: &Range<usize>, shift: isize| {
        let start = range.start.max(alive.start.saturating_add_signed(-shift));
        start..range.end.min(alive.end.saturating_add_signed(-shift))
    };
    for region in input.regions {
        // 1. Pixels that have a partner in this tile which is not all background.
        let rows = within(&region.rows, &tile.bounds.0, region.dy);
        let columns = within(&region.columns, &tile.bounds.1, region.dx);
        if rows.is_empty() || columns.is_empty() {
            continue;
        }
        let count = columns.len();
        let step = region.dy * extent.width as isize + region.dx;
        let shift = region.dy * bordered.width as isize + region.dx;
        sliding.begin(count);
        for row in rows.start..rows.end + border {
            // 2. Squared differences of pixels, along one row. In the bordered frame, the top left corner of a window has the
            //    coordinates of its pixel.
            let at = row * bordered.width + columns.start;
            let there = at.wrapping_add_signed(shift);
            let (ours, theirs) = (input.ours.as_ptr().add(at * C), tile.blocks.as_ptr().add(there * C));
            // 3. Their sums over `side` columns, then over `side` rows: squared distances.
            for x in 0..border {
                sliding.across(squares::<V, C>(theirs.add(x * C), ours.add(x * C)));
            }
            let (ours, theirs) = (ours.add(border * C), theirs.add(border * C));
            if row < rows.start + border {
                for x in 0..count {
                    let sum = sliding.across(squares::<V, C>(theirs.add(x * C), ours.add(x * C)));
                    sliding.down(x, sum);
                }
            } else {
                let first = (row - border) * extent.width + columns.start;
                let limits = input.limits.as_ptr().add(first);
                let alive = tile.alive.as_ptr().add(first).offset(step);
                let centre = there - (border / 2) * (bordered.width - 1);
                let middle = tile.blocks.as_ptr().add(centre * C);
                for start in (0..count).step_by(WORD) {
                    // Which patches are within the limits is hard to predict for the CPU, so there is no branch here:
                    // they are marked, and weighed afterwards.
                    let mut marks = 0_u64;
                    for x in start..count.min(start + WORD) {
                        let sum = sliding.across(squares::<V, C>(theirs.add(x * C), ours.add(x * C)));
                        let distances = sliding.down(x, sum);
                        let near = distances.below(V::splat(*limits.add(x))) & *alive.add(x);
                        marks |= u64::from(near != 0) << (x - start);
                    }
                    // 4. The marked patches are weighed.
                    scales.count(marks.count_ones());
                    while marks != 0 {
                        let x = start + marks.trailing_zeros() as usize;
                        marks &= marks - 1;
                        let places = (first + x, (first + x).wrapping_add_signed(step));
                        let patches = (sliding.last(x), *alive.add(x), middle.add(x * C));
                        scales.add::<C>(places, patches, ids);
                    }
                }
            }
            sliding.end_row();
        }
    }
}

/// Marks in one word.
const WORD: usize = u64::BITS as usize;

/// Squared differences of one pixel, all channels.
#[inline(always)]
unsafe fn squares<V: Vector, const C: usize>(theirs: *const Block, ours: *const f32) -> V {
    let first = V::load(theirs).sub(V::splat(*ours));
    let mut sum = first.mul(first);
    for channel in 1..C {
        let next = V::load(theirs.add(channel)).sub(V::splat(*ours.add(channel)));
        sum = next.mul_add(next, sum);
    }
    sum
}
