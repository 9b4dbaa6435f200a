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
use super::vector::{Addend, Block, Mask, Narrow, Portable, Vector, LANES};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use crate::geometry::Extent;
use crate::ssd::Path;

/// One canvas beside a tile, in numbers of one grain.
#[derive(Clone, Copy)]
pub struct View<'a, G: Grain> {
    pub extent: Extent,
    /// The frame with its border.
    pub bordered: Extent,
    /// Side of a window.
    pub side: usize,
    pub regions: &'a [Region],
    /// `(C, H + border, W + border)`: the canvas and the images.
    pub ours: &'a [G::Ours],
    pub theirs: &'a [Block],
    /// `(H, W)`: distances beyond don't count.
    pub limits: &'a [G::Limit],
    /// `(H, W)`: images that are to be looked at, and the rows and columns where there are any.
    pub alive: &'a [G::Alive],
    pub bounds: &'a (Range<usize>, Range<usize>),
}

impl<G: Grain> View<'_, G> {
    fn channels(&self) -> usize {
        self.ours.len() / self.bordered.area()
    }

    /// All that the inner loop relies on.
    fn check(&self) {
        let Self { extent, bordered, side, .. } = *self;
        assert!(matches!(self.channels(), 1 | 3));
        assert_eq!(self.ours.len(), self.channels() * bordered.area());
        assert_eq!(self.theirs.len(), self.ours.len());
        assert_eq!(bordered.height, extent.height + side - 1);
        assert_eq!(bordered.width, extent.width + side - 1);
        assert_eq!((self.limits.len(), self.alive.len()), (extent.area(), extent.area()));
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
pub fn scan(path: Path, view: View<Fine>, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    view.check();
    assert_eq!(sums.pixels(), view.extent.area());
    scratch.fit(view.side, view.extent.width);
    // SAFETY: a path is only made where the CPU has its features (`available`); `check` asserts what else is asked for.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => avx512(view, tile, sums, scratch),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => avx2(view, tile, sums, scratch),
            Path::Portable => fine::<Portable>(view, tile, sums, scratch),
        }
    }
}

/// The same with distances in 16 bits, in multiples of `unit`, of two tiles at once.
pub fn scan_coarsely(
    path: Path,
    view: View<Coarse>,
    unit: f32,
    tiles: &[Tile; 2],
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    view.check();
    assert_eq!(sums.pixels(), view.extent.area());
    assert!(tiles.iter().all(|tile| tile.blocks.len() == view.theirs.len()));
    scratch.fit(view.side, view.extent.width);
    // SAFETY: as above.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => avx512_coarsely(view, unit, tiles, sums, scratch),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => avx2_coarsely(view, unit, tiles, sums, scratch),
            Path::Portable => coarse::<Portable>(view, unit, tiles, sums, scratch),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn avx512(view: View<Fine>, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    fine::<Avx512>(view, tile, sums, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(view: View<Fine>, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    fine::<Avx2>(view, tile, sums, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn avx512_coarsely(
    view: View<Coarse>,
    unit: f32,
    tiles: &[Tile; 2],
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    coarse::<Avx512>(view, unit, tiles, sums, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_coarsely(
    view: View<Coarse>,
    unit: f32,
    tiles: &[Tile; 2],
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    coarse::<Avx2>(view, unit, tiles, sums, scratch);
}

/// What distances are made of while they are summed.
pub trait Grain: Copy {
    /// A number of the canvas, a limit, and a set of images.
    type Ours: Copy;
    type Limit: Copy;
    type Alive: Copy;
}

/// Single precision, sixteen images at once.
#[derive(Clone, Copy)]
pub struct Fine;

impl Grain for Fine {
    type Ours = f32;
    type Limit = f32;
    type Alive = Mask;
}

/// 16 bits that stop at the largest number, thirty-two images at once.
#[derive(Clone, Copy)]
pub struct Coarse;

impl Grain for Coarse {
    type Ours = i16;
    type Limit = u16;
    type Alive = u32;
}

/// What a scan does with a pixel, with distances and with those that count. Methods rather than closures, as these must
/// be inlined to find their instructions.
///
/// # Safety
/// All methods: the CPU must have the instructions of `Sum`; pointers and places must be those of the view.
trait Work {
    type Grain: Grain;
    type Sum: Addend;
    /// Squared differences of one pixel, all channels.
    unsafe fn squares(&self, theirs: *const Block, ours: *const <Self::Grain as Grain>::Ours) -> Self::Sum;
    /// Whether any distance counts.
    unsafe fn near(
        &self,
        distances: Self::Sum,
        limit: <Self::Grain as Grain>::Limit,
        alive: <Self::Grain as Grain>::Alive,
    ) -> bool;
    /// Takes pixel and source, distances, and the index of the block in the middle of the source's patch.
    unsafe fn weigh(
        &mut self,
        places: (usize, usize),
        distances: *const Block,
        alive: <Self::Grain as Grain>::Alive,
        centre: usize,
    );
}

struct FineWork<'a, V: Vector, const C: usize> {
    scales: Scales<'a, V>,
    tile: &'a Tile,
    plane: usize,
}

impl<V: Vector, const C: usize> Work for FineWork<'_, V, C> {
    type Grain = Fine;
    type Sum = V;

    #[inline(always)]
    unsafe fn squares(&self, theirs: *const Block, ours: *const f32) -> V {
        let first = V::load(theirs).sub(V::splat(*ours));
        let mut sum = first.mul(first);
        for channel in 1..C {
            let at = channel * self.plane;
            let next = V::load(theirs.add(at)).sub(V::splat(*ours.add(at)));
            sum = next.mul_add(next, sum);
        }
        sum
    }

    #[inline(always)]
    unsafe fn near(&self, distances: V, limit: f32, alive: Mask) -> bool {
        distances.below(V::splat(limit)) & alive != 0
    }

    #[inline(always)]
    unsafe fn weigh(&mut self, places: (usize, usize), distances: *const Block, alive: Mask, centre: usize) {
        let centre = (self.tile.blocks.as_ptr().add(centre), self.plane);
        self.scales.take::<C>(places, V::load(distances), alive, centre, &self.tile.ids);
    }
}

struct CoarseWork<'a, V: Vector, const C: usize> {
    scales: Scales<'a, V>,
    tiles: &'a [Tile; 2],
    limits: &'a [u16],
    unit: V,
    plane: usize,
}

impl<V: Vector, const C: usize> Work for CoarseWork<'_, V, C> {
    type Grain = Coarse;
    type Sum = V::Narrow;

    #[inline(always)]
    unsafe fn squares(&self, theirs: *const Block, ours: *const i16) -> V::Narrow {
        let mut sum = V::Narrow::load(theirs).square_of_difference(*ours);
        for channel in 1..C {
            let at = channel * self.plane;
            sum = sum.add(V::Narrow::load(theirs.add(at)).square_of_difference(*ours.add(at)));
        }
        sum
    }

    #[inline(always)]
    unsafe fn near(&self, distances: V::Narrow, limit: u16, alive: u32) -> bool {
        distances.at_most(limit) & alive != 0
    }

    #[inline(always)]
    unsafe fn weigh(&mut self, places: (usize, usize), distances: *const Block, alive: u32, centre: usize) {
        let limit = V::splat(f32::from(*self.limits.get_unchecked(places.0)) + 0.5);
        for (half, tile) in self.tiles.iter().enumerate() {
            let alive = (alive >> (LANES * half)) as Mask;
            let whole = V::widen(distances, half);
            if whole.below(limit) & alive != 0 {
                let centre = (tile.blocks.as_ptr().add(centre), self.plane);
                self.scales.take::<C>(places, whole.mul(self.unit), alive, centre, &tile.ids);
            }
        }
    }
}

#[inline(always)]
unsafe fn fine<V: Vector>(view: View<Fine>, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    let (plane, scales) = (view.bordered.area(), sums.scales::<V>());
    if view.channels() == 1 {
        any_side(view, scratch, FineWork::<V, 1> { scales, tile, plane });
    } else {
        any_side(view, scratch, FineWork::<V, 3> { scales, tile, plane });
    }
}

#[inline(always)]
unsafe fn coarse<V: Vector>(
    view: View<Coarse>,
    unit: f32,
    tiles: &[Tile; 2],
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    let (plane, limits, unit, scales) =
        (view.bordered.area(), view.limits, V::splat(unit), sums.scales::<V>());
    if view.channels() == 1 {
        any_side(view, scratch, CoarseWork::<V, 1> { scales, tiles, limits, unit, plane });
    } else {
        any_side(view, scratch, CoarseWork::<V, 3> { scales, tiles, limits, unit, plane });
    }
}

/// Picks the code for the window.
#[inline(always)]
unsafe fn any_side<W: Work>(view: View<W::Grain>, scratch: &mut Scratch, work: W) {
    match view.side {
        3 => scan_regions::<W, Few<W::Sum, 3>>(view, scratch, work),
        5 => scan_regions::<W, Few<W::Sum, 5>>(view, scratch, work),
        7 => scan_regions::<W, Few<W::Sum, 7>>(view, scratch, work),
        9 => scan_regions::<W, Few<W::Sum, 9>>(view, scratch, work),
        11 => scan_regions::<W, Few<W::Sum, 11>>(view, scratch, work),
        13 => scan_regions::<W, Few<W::Sum, 13>>(view, scratch, work),
        15 => scan_regions::<W, Few<W::Sum, 15>>(view, scratch, work),
        17 => scan_regions::<W, Few<W::Sum, 17>>(view, scratch, work),
        _ => scan_regions::<W, Stacks<W::Sum>>(view, scratch, work),
    }
}

/// Goes through all windows.
///
/// # Safety
/// The CPU must have the instructions of `W`; the view must be checked, `S` be for its side, and the scratch fit it.
#[inline(always)]
unsafe fn scan_regions<W: Work, S: Sliding<W::Sum>>(
    view: View<W::Grain>,
    scratch: &mut Scratch,
    mut work: W,
) {
    let View { extent, bordered, side, .. } = view;
    let border = side - 1;
    let mut sliding = S::new(side, extent.width, scratch);
    let (kept, listed) = (scratch.near.as_mut_ptr(), scratch.listed.as_mut_ptr());
    for region in view.regions {
        // 1. Pixels whose partners in this tile are more than background.
        let within = |range: &Range<usize>, alive: &Range<usize>, shift: isize| {
            let start = range.start.max(alive.start.saturating_add_signed(-shift));
            start..range.end.min(alive.end.saturating_add_signed(-shift))
        };
        let rows = within(&region.rows, &view.bounds.0, region.dy);
        let columns = within(&region.columns, &view.bounds.1, region.dx);
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
            let (ours, theirs) = (view.ours.as_ptr().add(at), view.theirs.as_ptr().add(there));
            // 3. Their sums over `side` columns, and over as many rows: squared distances.
            for x in 0..border {
                sliding.across(work.squares(theirs.add(x), ours.add(x)));
            }
            if row < rows.start + border {
                for x in 0..count {
                    let sum = sliding.across(work.squares(theirs.add(x + border), ours.add(x + border)));
                    sliding.down(x, sum);
                }
            } else {
                let first = (row - border) * extent.width + columns.start;
                let limits = view.limits.as_ptr().add(first);
                let alive = view.alive.as_ptr().add(first).offset(step);
                // Whether one counts is hard to foretell, so nothing waits for the answer: those that do are listed,
                // and weighed afterwards.
                let mut found = 0;
                for x in 0..count {
                    let sum = sliding.across(work.squares(theirs.add(x + border), ours.add(x + border)));
                    let distances = sliding.down(x, sum);
                    distances.store(kept.add(x));
                    *listed.add(found) = x as u32;
                    found += usize::from(work.near(distances, *limits.add(x), *alive.add(x)));
                }
                // 4. Those that count are weighed.
                let centre = there - (border / 2) * (bordered.width - 1);
                for &x in std::slice::from_raw_parts(listed, found) {
                    let x = x as usize;
                    let places = (first + x, (first + x).wrapping_add_signed(step));
                    work.weigh(places, kept.add(x), *alive.add(x), centre + x);
                }
            }
            sliding.end_row();
        }
    }
}
