//! The candidates of one pixel that may enter its pool.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::bars::Bars;
use super::kernel::{Kernel, Windows};
use super::query::RasterQuery;
use super::{Rasters, Source, LANES};
use crate::geometry::Pixel;
use crate::pool::{Candidate, Keep, PoolBuilder, PoolRule};

/// What is searched for one pixel of one canvas; kept from pixel to pixel.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) query: RasterQuery,
    pub(super) bars: Bars,
    /// A bound that the finished pool is known not to exceed.
    pub(super) bound: f64,
}

/// A limit that threads share: a number ≥ 0 in single precision, whose bits have the order of the number.
#[derive(Debug)]
pub(super) struct Limit(AtomicU32);

impl Limit {
    pub(super) fn new(limit: f32) -> Self {
        Self(AtomicU32::new(limit.to_bits()))
    }

    pub(super) fn set(&self, limit: f32) {
        self.0.store(limit.to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn lower(&self, limit: f32) {
        self.0.fetch_min(limit.to_bits(), Ordering::Relaxed);
    }
}

impl Search {
    /// From a distance to the limit of its unnormalised sum in single precision, widened by the error of such sums.
    fn scale(&self) -> f64 {
        let slack = 1.0 + self.query.slack();
        self.query.norm * slack * slack
    }

    /// The limit of sums at first.
    pub(super) fn first_limit(&self) -> f32 {
        (self.bound * self.scale()) as f32
    }
}

/// Consecutive rows of one source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk {
    pub(super) source: usize,
    pub(super) rows: Range<usize>,
}

/// All rows of all sources in chunks of about `positions`.
pub(super) fn chunks(rasters: &Rasters, positions: usize) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for (source, Source { own, .. }) in rasters.sources.iter().enumerate() {
        let rows = positions.div_ceil(own.width).max(1);
        let starts = (0..own.height).step_by(rows);
        chunks.extend(starts.map(|y| Chunk { source, rows: y..(y + rows).min(own.height) }));
    }
    chunks
}

/// Searches chunks, one after another, and keeps what may enter the pool.
#[derive(Debug)]
pub(super) struct Finder {
    kernel: Kernel,
    pub(super) pool: PoolBuilder,
    /// Where an image is one candidate: its nearest position in each chunk.
    nearest: Vec<Candidate>,
    /// Where the terms lie in sources of this stride and area.
    offsets: Vec<u32>,
    offsets_of: (usize, usize),
    /// Terms of one position that were computed.
    pub(super) computed: u64,
}

impl Finder {
    pub(super) fn new(kernel: Kernel, rule: PoolRule) -> Self {
        Self {
            kernel,
            pool: PoolBuilder::new(rule),
            nearest: Vec::new(),
            offsets: Vec::new(),
            offsets_of: (0, 0),
            computed: 0,
        }
    }

    /// Begins a search.
    pub(super) fn restart(&mut self, search: &Search) {
        self.pool.restart(search.bound);
        self.nearest.clear();
        self.offsets_of = (0, 0);
    }

    /// Searches one chunk.
    pub(super) fn search(&mut self, rasters: &Rasters, search: &Search, chunk: &Chunk, shared: &Limit) {
        let source = &rasters.sources[chunk.source];
        if search.bars.images.contains(&source.image) {
            return;
        }
        let Search { query, .. } = search;
        if self.offsets_of != (source.stride, source.area) {
            query.offsets(source, &mut self.offsets);
            self.offsets_of = (source.stride, source.area);
        }
        let windows = Windows {
            values: &source.values,
            squares: &source.squares,
            offsets: &self.offsets,
            context: &query.context,
            shells: &query.shells,
        };
        let scale = search.scale();
        let best_only = self.pool.keep() == Keep::Best;
        let mut best: Option<Candidate> = None;
        let mut limit = shared.get();
        let mut sums = [0.0; LANES];
        for y in chunk.rows.clone() {
            limit = limit.min(shared.get());
            let mut x = 0;
            while x < source.own.width {
                let left = source.own.width - x;
                let near =
                    self.kernel.block(&windows, (source.corner(Pixel { y, x }), left), limit, &mut sums);
                self.computed += (near.terms * left.min(LANES)) as u64;
                let mut lanes = source.usable(Pixel { y, x }, near.lanes);
                if lanes != 0 {
                    for &(image, at) in &search.bars.pixels {
                        if image == source.image && at.y == y && (x..x + LANES).contains(&at.x) {
                            lanes &= !(1 << (at.x - x));
                        }
                    }
                }
                // The least sum comes first, so that the limit is tight early.
                while let Some(lane) = least(lanes, &sums) {
                    lanes &= !(1 << lane);
                    if sums[lane] > limit {
                        break;
                    }
                    let at = Pixel { y, x: x + lane };
                    let distance = if sums[lane] == 0.0 { 0.0 } else { query.exact_distance(source, at) };
                    let found = Candidate { distance, image: source.image, source: at };
                    if best_only {
                        if best.is_none_or(|best| found.order(&best).is_lt()) {
                            best = Some(found);
                            // Positions of this image that are farther are no candidates; shared is what holds for all.
                            limit = limit.min((distance * scale) as f32);
                            if let Some(factor) = self.pool.nearest_factor() {
                                shared.lower((distance * factor * scale) as f32);
                            }
                        }
                    } else {
                        self.pool.offer(found);
                        let bound = (self.pool.bound() * scale) as f32;
                        if bound < limit {
                            limit = bound;
                            shared.lower(bound);
                        }
                    }
                }
                x += LANES;
            }
        }
        self.nearest.extend(best);
    }

    /// Adds what another finder found.
    pub(super) fn merge(&mut self, other: &Self) {
        self.pool.merge(&other.pool);
        self.nearest.extend_from_slice(&other.nearest);
    }

    /// The pool, after all chunks.
    pub(super) fn finish(&mut self) -> &[Candidate] {
        self.nearest.sort_unstable_by(|a, b| a.image.cmp(&b.image).then(a.order(b)));
        for of_image in self.nearest.chunk_by(|a, b| a.image == b.image) {
            self.pool.offer(of_image[0]);
        }
        self.nearest.clear();
        self.pool.finish()
    }
}

/// The lane of the least sum among some lanes; the first of several.
fn least(mut lanes: u64, sums: &[f32; LANES]) -> Option<usize> {
    let mut least: Option<usize> = None;
    while lanes != 0 {
        let lane = lanes.trailing_zeros() as usize;
        lanes &= lanes - 1;
        if least.is_none_or(|least| sums[lane] < sums[least]) {
            least = Some(lane);
        }
    }
    least
}
