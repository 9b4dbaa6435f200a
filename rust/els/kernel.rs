//! The inner loop: distances of all patches of a tile to all windows of a canvas.
//!
//! For a fixed displacement, the squared distances of all windows are sums over one and the same plane of squared
//! differences of pixels. So a pair of patches costs not k² terms, but one square and two sliding sums: along a row in
//! registers, down the rows in a few lines of memory. Sums only ever add (nothing is taken away again), so that a small
//! distance has a small error however large its neighbours are.

use std::ops::Range;

use super::machine::Region;
use super::sliding::{Few, Scratch, Sliding, Stacks};
use super::sums::{Scales, Sums};
use super::tile::Tile;
use super::vector::{Block, Portable, Vector};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use crate::geometry::Extent;
use crate::simd::InstructionSet;

/// One canvas beside a tile.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub extent: Extent,
    /// The frame with its border.
    pub bordered: Extent,
    /// Side of a window.
    pub side: usize,
    pub regions: &'a [Region],
    /// `(H + border, W + border, C)`: the canvas.
    pub ours: &'a [f32],
    pub tile: &'a Tile,
    /// `(H, W)`: distances beyond don't count.
    pub limits: &'a [f32],
}

impl View<'_> {
    fn channels(&self) -> usize {
        self.ours.len() / self.bordered.area()
    }

    /// All that the inner loop relies on.
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

/// Adds what a tile has to say to the sums of one canvas.
pub fn scan(instructions: InstructionSet, view: View, sums: &mut Sums, scratch: &mut Scratch) {
    view.check();
    assert_eq!(sums.pixels(), view.extent.area());
    scratch.fit(view.side, view.extent.width);
    // SAFETY: the CPU has the features of an instruction set that is `available`; `check` asserts what else is asked for.
    unsafe {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512(view, sums, scratch),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2(view, sums, scratch),
            InstructionSet::Portable => any_channels::<Portable>(view, sums, scratch),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(view: View, sums: &mut Sums, scratch: &mut Scratch) {
    any_channels::<Avx512>(view, sums, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(view: View, sums: &mut Sums, scratch: &mut Scratch) {
    any_channels::<Avx2>(view, sums, scratch);
}

/// Picks the code for the channels.
#[inline(always)]
unsafe fn any_channels<V: Vector>(view: View, sums: &mut Sums, scratch: &mut Scratch) {
    let scales = sums.scales::<V>();
    if view.channels() == 1 {
        any_side::<V, 1>(view, scratch, scales);
    } else {
        any_side::<V, 3>(view, scratch, scales);
    }
}

/// Picks the code for the window.
#[inline(always)]
unsafe fn any_side<V: Vector, const C: usize>(view: View, scratch: &mut Scratch, scales: Scales<V>) {
    match view.side {
        3 => scan_regions::<V, Few<V, 3>, C>(view, scratch, scales),
        5 => scan_regions::<V, Few<V, 5>, C>(view, scratch, scales),
        7 => scan_regions::<V, Few<V, 7>, C>(view, scratch, scales),
        9 => scan_regions::<V, Few<V, 9>, C>(view, scratch, scales),
        11 => scan_regions::<V, Few<V, 11>, C>(view, scratch, scales),
        13 => scan_regions::<V, Few<V, 13>, C>(view, scratch, scales),
        15 => scan_regions::<V, Few<V, 15>, C>(view, scratch, scales),
        17 => scan_regions::<V, Few<V, 17>, C>(view, scratch, scales),
        _ => scan_regions::<V, Stacks<V>, C>(view, scratch, scales),
    }
}

/// Goes through all windows.
///
/// # Safety
/// The CPU must have the instructions of `V`; the view must be checked, `S` be for its side, and the scratch fit it.
#[inline(always)]
unsafe fn scan_regions<V: Vector, S: Sliding<V>, const C: usize>(
    view: View,
    scratch: &mut Scratch,
    mut scales: Scales<V>,
) {
    let View { extent, bordered, side, tile, .. } = view;
    let (border, ids) = (side - 1, &tile.ids[..]);
    let mut sliding = S::new(side, extent.width, scratch);
    let within = |range: &Range<usize>, alive: &Range<usize>, shift: isize| {
        let start = range.start.max(alive.start.saturating_add_signed(-shift));
        start..range.end.min(alive.end.saturating_add_signed(-shift))
    };
    for region in view.regions {
        // 1. Pixels whose partners in this tile are more than background.
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
            // 2. Squared differences of pixels, along one row; a window's top left corner is at its pixel's coordinates.
            let at = row * bordered.width + columns.start;
            let there = at.wrapping_add_signed(shift);
            let (ours, theirs) = (view.ours.as_ptr().add(at * C), tile.blocks.as_ptr().add(there * C));
            // 3. Their sums over `side` columns, and over as many rows: squared distances.
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
                let limits = view.limits.as_ptr().add(first);
                let alive = tile.alive.as_ptr().add(first).offset(step);
                let centre = there - (border / 2) * (bordered.width - 1);
                let middle = tile.blocks.as_ptr().add(centre * C);
                for start in (0..count).step_by(WORD) {
                    // Whether one counts is hard to foretell, so nothing waits for the answer: those that do are
                    // marked, and weighed afterwards.
                    let mut marks = 0_u64;
                    for x in start..count.min(start + WORD) {
                        let sum = sliding.across(squares::<V, C>(theirs.add(x * C), ours.add(x * C)));
                        let distances = sliding.down(x, sum);
                        let near = distances.below(V::splat(*limits.add(x))) & *alive.add(x);
                        marks |= u64::from(near != 0) << (x - start);
                    }
                    // 4. Those that count are weighed.
                    scales.count(marks.count_ones());
                    while marks != 0 {
                        let x = start + marks.trailing_zeros() as usize;
                        marks &= marks - 1;
                        let places = (first + x, (first + x).wrapping_add_signed(step));
                        let patches = (sliding.last(x), *alive.add(x), middle.add(x * C));
                        scales.take::<C>(places, patches, ids);
                    }
                }
            }
            sliding.end_row();
        }
    }
}

/// Marks in a word.
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
