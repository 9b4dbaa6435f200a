//! The inner loop: distances of all patches of a tile to all windows of a canvas.
//!
//! For a fixed displacement, the squared distances of all windows are sums over one and the same plane of squared
//! differences of pixels. So a pair of patches costs not k² terms, but one square and two sliding sums: along a row in
//! registers, down the rows in a few lines of memory. Sums only ever add (nothing is taken away again), so that a small
//! distance has a small error however large its neighbours are.

use std::marker::PhantomData;

use super::machine::Region;
use super::sums::Sums;
use super::tile::Tile;
use super::vector::{Block, Portable, Vector};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use crate::geometry::Extent;
use crate::ssd::Path;

/// One canvas, in the frame of a tile.
#[derive(Clone, Copy)]
pub struct Windows<'a> {
    pub extent: Extent,
    /// The frame with its border.
    pub bordered: Extent,
    /// Side of a window.
    pub side: usize,
    pub regions: &'a [Region],
    /// `(C, H + border, W + border)`.
    pub canvas: &'a [f32],
    /// `(H, W)`: distances from here on don't count.
    pub limits: &'a [f32],
}

/// Lines of memory that sliding sums need, kept between scans.
#[derive(Default)]
pub struct Scratch {
    across: Vec<Block>,
    down: Vec<Block>,
    prefix: Vec<Block>,
    near: Vec<Block>,
    listed: Vec<u32>,
}

impl Scratch {
    fn fit(&mut self, side: usize, width: usize) {
        // The slot past the last of a stack is an empty sum.
        self.across.clear();
        self.across.resize(side + 1, Block::ZERO);
        self.down.clear();
        self.down.resize((side + 1) * width, Block::ZERO);
        self.prefix.clear();
        self.prefix.resize(width, Block::ZERO);
        self.near.resize(width, Block::ZERO);
        self.listed.resize(width, 0);
    }
}

/// Adds what a tile has to say to the sums of one canvas.
pub fn scan(path: Path, windows: Windows, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    let channels = windows.canvas.len() / windows.bordered.area();
    assert!(channels == 1 || channels == 3);
    assert_eq!(windows.canvas.len(), channels * windows.bordered.area());
    assert_eq!(tile.blocks.len(), windows.canvas.len());
    assert_eq!(windows.bordered.height, windows.extent.height + windows.side - 1);
    assert_eq!(windows.bordered.width, windows.extent.width + windows.side - 1);
    for lines in [windows.limits.len(), tile.alive.len(), sums.pixels()] {
        assert_eq!(lines, windows.extent.area());
    }
    for region in windows.regions {
        let inside = |range: &std::ops::Range<usize>, shift: isize, len: usize| {
            range.end <= len
                && range.start.checked_add_signed(shift).is_some()
                && range.end.checked_add_signed(shift).is_some_and(|end| end <= len)
        };
        assert!(inside(&region.rows, region.dy, windows.extent.height));
        assert!(inside(&region.columns, region.dx, windows.extent.width));
    }
    scratch.fit(windows.side, windows.extent.width);
    // SAFETY: a path is only made where the CPU has its features (`available`); the assertions above are all that
    // `scan_regions` asks for.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => avx512(windows, tile, sums, scratch),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => avx2(windows, tile, sums, scratch),
            Path::Portable => any::<Portable>(windows, tile, sums, scratch),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn avx512(windows: Windows, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    any::<Avx512>(windows, tile, sums, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(windows: Windows, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    any::<Avx2>(windows, tile, sums, scratch);
}

/// Picks the code for channels and window.
#[inline(always)]
unsafe fn any<V: Vector>(windows: Windows, tile: &Tile, sums: &mut Sums, scratch: &mut Scratch) {
    match (tile.blocks.len() / windows.bordered.area(), windows.side) {
        (1, 3) => scan_regions::<V, Few<V, 3>, 1>(windows, tile, sums, scratch),
        (1, 5) => scan_regions::<V, Few<V, 5>, 1>(windows, tile, sums, scratch),
        (1, 7) => scan_regions::<V, Few<V, 7>, 1>(windows, tile, sums, scratch),
        (1, 9) => scan_regions::<V, Few<V, 9>, 1>(windows, tile, sums, scratch),
        (1, 11) => scan_regions::<V, Few<V, 11>, 1>(windows, tile, sums, scratch),
        (1, 13) => scan_regions::<V, Few<V, 13>, 1>(windows, tile, sums, scratch),
        (1, 15) => scan_regions::<V, Few<V, 15>, 1>(windows, tile, sums, scratch),
        (1, 17) => scan_regions::<V, Few<V, 17>, 1>(windows, tile, sums, scratch),
        (1, _) => scan_regions::<V, Stacks<V>, 1>(windows, tile, sums, scratch),
        (3, 3) => scan_regions::<V, Few<V, 3>, 3>(windows, tile, sums, scratch),
        (3, 5) => scan_regions::<V, Few<V, 5>, 3>(windows, tile, sums, scratch),
        (3, 7) => scan_regions::<V, Few<V, 7>, 3>(windows, tile, sums, scratch),
        (3, 9) => scan_regions::<V, Few<V, 9>, 3>(windows, tile, sums, scratch),
        (3, 11) => scan_regions::<V, Few<V, 11>, 3>(windows, tile, sums, scratch),
        (3, 13) => scan_regions::<V, Few<V, 13>, 3>(windows, tile, sums, scratch),
        (3, 15) => scan_regions::<V, Few<V, 15>, 3>(windows, tile, sums, scratch),
        (3, 17) => scan_regions::<V, Few<V, 17>, 3>(windows, tile, sums, scratch),
        _ => scan_regions::<V, Stacks<V>, 3>(windows, tile, sums, scratch),
    }
}

/// # Safety
/// The CPU must have the instructions of `V`; sizes must fit as `scan` asserts; `C` and `W` must be those of the
/// windows, and the scratch fit them.
#[inline(always)]
unsafe fn scan_regions<V: Vector, W: Sliding<V>, const C: usize>(
    windows: Windows,
    tile: &Tile,
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    let Windows { extent, bordered, side, canvas, limits, .. } = windows;
    let (plane, border) = (bordered.area(), side - 1);
    let mut sliding = W::new(side, extent.width, scratch);
    let mut scales = sums.scales::<V>();
    // How far the middle of a window lies before the left end of its last row.
    let middle = (border / 2) * (bordered.width - 1);
    let (near, listed) = (scratch.near.as_mut_ptr(), scratch.listed.as_mut_ptr());
    for region in windows.regions {
        // 1. Pixels whose partners in this tile are more than background.
        let within = |range: &std::ops::Range<usize>, alive: &std::ops::Range<usize>, shift: isize| {
            let start = range.start.max(alive.start.saturating_add_signed(-shift));
            start..range.end.min(alive.end.saturating_add_signed(-shift))
        };
        let rows = within(&region.rows, &tile.bounds.0, region.dy);
        let columns = within(&region.columns, &tile.bounds.1, region.dx);
        if rows.is_empty() || columns.is_empty() {
            continue;
        }
        let count = columns.len();
        let step = region.dy * extent.width as isize + region.dx;
        sliding.begin(count);
        for row in rows.start..rows.end + border {
            // 2. Squared differences of pixels, along one row; top left corners of windows are at frame coordinates.
            let at = row * bordered.width + columns.start;
            let ours = canvas.as_ptr().add(at);
            let shift = region.dy * bordered.width as isize + region.dx;
            let theirs = tile.blocks.as_ptr().add(at).offset(shift);
            let square = |x: usize| {
                let difference = |channel: usize| {
                    V::load(theirs.add(channel * plane + x)).sub(V::splat(*ours.add(channel * plane + x)))
                };
                let first = difference(0);
                let mut sum = first.mul(first);
                for channel in 1..C {
                    let next = difference(channel);
                    sum = next.mul_add(next, sum);
                }
                sum
            };
            // 3. Their sums over `side` columns, and over as many rows: squared distances.
            for x in 0..border {
                sliding.across(square(x));
            }
            if row < rows.start + border {
                for x in 0..count {
                    let sum = sliding.across(square(x + border));
                    sliding.down(x, sum);
                }
            } else {
                let first = (row - border) * extent.width + columns.start;
                let limits = limits.as_ptr().add(first);
                let alive = tile.alive.as_ptr().add(first).offset(step);
                // Whether one counts is hard to foretell, so nothing waits for the answer: those that do are listed,
                // and weighed afterwards.
                let mut found = 0;
                for x in 0..count {
                    let sum = sliding.across(square(x + border));
                    let distances = sliding.down(x, sum);
                    distances.store(near.add(x));
                    *listed.add(found) = x as u32;
                    found += usize::from(distances.below(V::splat(*limits.add(x))) & *alive.add(x) != 0);
                }
                // 4. Those that count are weighed.
                for &x in std::slice::from_raw_parts(listed, found) {
                    let x = x as usize;
                    let places = (first + x, (first + x).wrapping_add_signed(step));
                    let centre = (theirs.sub(middle).add(x), plane);
                    scales.take::<C>(places, V::load(near.add(x)), *alive.add(x), centre, &tile.ids);
                }
            }
            sliding.end_row();
        }
    }
}

/// Sums over the last `side` numbers of a row, and over the same column of the last `side` rows.
///
/// # Safety
/// All methods: the CPU must have the instructions of `V`; columns must be less than the count of `begin`, which must
/// fit the scratch.
trait Sliding<V: Vector> {
    fn new(side: usize, width: usize, scratch: &mut Scratch) -> Self;
    /// Before the first row of a region.
    unsafe fn begin(&mut self, columns: usize);
    /// Takes the next number of a row; the sum is whole from the `side`th on.
    unsafe fn across(&mut self, next: V) -> V;
    /// Takes the next row's number in one column; the sum is whole from the `side`th row on.
    unsafe fn down(&mut self, column: usize, next: V) -> V;
    unsafe fn end_row(&mut self);
}

/// Sums of so few numbers that adding them all is the fastest.
struct Few<V, const SIDE: usize> {
    recent: [V; SIDE],
    /// The `SIDE − 1` rows before this one, in no order.
    rows: *mut Block,
    width: usize,
    oldest: usize,
}

impl<V: Vector, const SIDE: usize> Sliding<V> for Few<V, SIDE> {
    #[inline(always)]
    fn new(side: usize, width: usize, scratch: &mut Scratch) -> Self {
        assert_eq!(side, SIDE);
        // SAFETY: a zero is as good as any; the instructions are the caller's word, as all methods'.
        let zero = unsafe { V::splat(0.0) };
        Self { recent: [zero; SIDE], rows: scratch.down.as_mut_ptr(), width, oldest: 0 }
    }

    #[inline(always)]
    unsafe fn begin(&mut self, _: usize) {}

    #[inline(always)]
    unsafe fn across(&mut self, next: V) -> V {
        // A loop that moves them would become a move in memory; so they stay in registers.
        let recent = self.recent;
        self.recent = std::array::from_fn(|at| if at + 1 < SIDE { recent[at + 1] } else { next });
        let mut sum = self.recent[0].add(self.recent[1]);
        for at in 2..SIDE {
            sum = sum.add(self.recent[at]);
        }
        sum
    }

    #[inline(always)]
    unsafe fn down(&mut self, column: usize, next: V) -> V {
        let rows = self.rows.add(column);
        let mut sum = next;
        for row in 0..SIDE - 1 {
            sum = sum.add(V::load(rows.add(row * self.width)));
        }
        next.store(rows.add(self.oldest * self.width));
        sum
    }

    #[inline(always)]
    unsafe fn end_row(&mut self) {
        self.oldest = if self.oldest + 2 == SIDE { 0 } else { self.oldest + 1 };
    }
}

/// A queue of two stacks: three additions a sum, however long.
///
/// Numbers are written to slots from the first on. Once these are full, each becomes the sum of itself and all later
/// ones; so the sum of the last `side` numbers is that of the ones written since, the prefix, plus the slot after
/// theirs. One slot more is always 0.
struct Stacks<V> {
    side: usize,
    width: usize,
    columns: usize,
    across: *mut Block,
    across_at: usize,
    across_prefix: V,
    /// `(side + 1, width)`, and a row of prefixes.
    down: *mut Block,
    down_at: usize,
    down_prefix: *mut Block,
    vector: PhantomData<V>,
}

impl<V: Vector> Sliding<V> for Stacks<V> {
    #[inline(always)]
    fn new(side: usize, width: usize, scratch: &mut Scratch) -> Self {
        Self {
            side,
            width,
            columns: 0,
            across: scratch.across.as_mut_ptr(),
            across_at: 0,
            // SAFETY: as for `Few`.
            across_prefix: unsafe { V::splat(0.0) },
            down: scratch.down.as_mut_ptr(),
            down_at: 0,
            down_prefix: scratch.prefix.as_mut_ptr(),
            vector: PhantomData,
        }
    }

    #[inline(always)]
    unsafe fn begin(&mut self, columns: usize) {
        self.columns = columns;
        self.down_at = 0;
        for column in 0..columns {
            V::splat(0.0).store(self.down_prefix.add(column));
        }
        self.across_at = 0;
        self.across_prefix = V::splat(0.0);
    }

    #[inline(always)]
    unsafe fn across(&mut self, next: V) -> V {
        self.across_prefix = self.across_prefix.add(next);
        next.store(self.across.add(self.across_at));
        self.across_at += 1;
        let sum = self.across_prefix.add(V::load(self.across.add(self.across_at)));
        if self.across_at == self.side {
            let mut suffix = next;
            for at in (0..self.side - 1).rev() {
                let slot = self.across.add(at);
                suffix = suffix.add(V::load(slot));
                suffix.store(slot);
            }
            self.across_at = 0;
            self.across_prefix = V::splat(0.0);
        }
        sum
    }

    #[inline(always)]
    unsafe fn down(&mut self, column: usize, next: V) -> V {
        let slot = self.down.add(self.down_at * self.width + column);
        let prefix = V::load(self.down_prefix.add(column)).add(next);
        prefix.store(self.down_prefix.add(column));
        next.store(slot);
        prefix.add(V::load(slot.add(self.width)))
    }

    #[inline(always)]
    unsafe fn end_row(&mut self) {
        self.across_at = 0;
        self.across_prefix = V::splat(0.0);
        self.down_at += 1;
        if self.down_at == self.side {
            for at in (0..self.side - 1).rev() {
                for column in 0..self.columns {
                    let slot = self.down.add(at * self.width + column);
                    V::load(slot).add(V::load(slot.add(self.width))).store(slot);
                }
            }
            for column in 0..self.columns {
                V::splat(0.0).store(self.down_prefix.add(column));
            }
            self.down_at = 0;
        }
    }
}
