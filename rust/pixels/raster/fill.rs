//! One stage for a batch of canvases, and single pools, where sources are searched in raster order.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::super::bars::Bars;
use super::super::scan::Scan;
use super::kernel::Kernel;
use super::query::{BorderedCanvas, WindowMap};
use super::search::{chunks, Finder, Limit, Search};
use super::team::{Leave, Team};
use super::Rasters;
use crate::canvas::Canvas;
use crate::error::{check, Result};
use crate::geometry::Pixel;
use crate::pool::{Candidate, PoolBuilder};

/// Positions of a chunk: few enough to even out the speeds of threads, enough for taking one to cost little.
const CHUNK: usize = 2_048;

/// Pixels that are filled between two looks at the flag that ends the work.
const UNCHECKED: usize = 8;

/// What the filling of one canvas keeps from pixel to pixel.
struct Workspace {
    window: WindowMap,
    canvas: BorderedCanvas,
    finder: Finder,
    bounds: PoolBuilder,
}

impl Workspace {
    fn new(scan: &Scan) -> Self {
        Self {
            window: WindowMap::new(&scan.settings.window),
            canvas: BorderedCanvas::default(),
            finder: scan.finder(),
            bounds: scan.new_pool(),
        }
    }
}

impl Scan<'_> {
    fn finder(&self) -> Finder {
        Finder::new(Kernel::of(self.settings.instructions), self.settings.rule)
    }

    /// Fills canvases from all images: side by side where there is one for each thread, the rest one after another, each
    /// by all threads together.
    pub(crate) fn fill_by_rasters(
        &self,
        rasters: &Rasters,
        (pixels, known): (&[Pixel], &[bool]),
        canvases: &mut [Canvas],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let threads = rayon::current_num_threads();
        let (side_by_side, rest) = canvases.split_at_mut(canvases.len() / threads * threads);
        let alone = || (Team::new(rasters, chunks(rasters, usize::MAX), Vec::new()), Workspace::new(self));
        side_by_side
            .par_iter_mut()
            .with_max_len(1)
            .try_for_each_init(alone, |(team, workspace), canvas| {
                self.fill_canvas(team, workspace, (pixels, known), canvas, cancel)
            })?;
        if rest.is_empty() {
            return Ok(());
        }
        let helpers = (1..threads).map(|_| self.finder()).collect();
        let team = Team::new(rasters, chunks(rasters, CHUNK), helpers);
        rayon::scope(|scope| {
            (1..threads).for_each(|helper| {
                let team = &team;
                scope.spawn(move |_| team.help(helper - 1));
            });
            let _leave = Leave(&team);
            let mut workspace = Workspace::new(self);
            rest.iter_mut().try_for_each(|canvas| {
                self.fill_canvas(&team, &mut workspace, (pixels, known), canvas, cancel)
            })
        })
    }

    fn fill_canvas(
        &self,
        team: &Team,
        workspace: &mut Workspace,
        (pixels, known): (&[Pixel], &[bool]),
        canvas: &mut Canvas,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let Workspace { window, canvas: bordered, finder, bounds } = workspace;
        let (frame, channels, rasters) = (self.settings.frame, self.corpus.channels(), team.rasters());
        bordered.copy((frame, rasters.half), canvas.pixels, known)?;
        let mut terms = 0;
        for (number, &pixel) in pixels.iter().enumerate() {
            if number % UNCHECKED == 0 {
                check(cancel)?;
            }
            let redrawn = bordered.knows(pixel);
            // 1. The query window. 2. and 3. Distances and pool.
            let pool = team.search(finder, |search| {
                search.query.read(window, bordered, pixel, channels);
                self.set_limits(rasters, search, canvas, (pixel, redrawn), bounds);
                terms += search.query.len();
            });
            // 4. and 5. Draw and copy.
            self.draw(canvas, (pixel, redrawn), pool)?;
            let flat = frame.flat(pixel);
            bordered.set(pixel, &canvas.pixels[flat * channels..][..channels]);
        }
        let of_quads = |terms: u64| terms * channels as u64 / rasters.quads as u64;
        let computed = std::mem::take(&mut finder.computed) + team.computed();
        self.work.count(of_quads(computed), of_quads((terms * rasters.positions()) as u64));
        Ok(())
    }

    /// Sets what must not be copied to a pixel, and the bound of its pool.
    fn set_limits(
        &self,
        rasters: &Rasters,
        search: &mut Search,
        canvas: &Canvas,
        (pixel, redrawn): (Pixel, bool),
        bounds: &mut PoolBuilder,
    ) {
        let half = rasters.half;
        self.bar(&mut search.bars, canvas, None, (pixel, redrawn), search.query.taps(pixel, half));
        let is_known = |neighbour| search.query.taps(pixel, half).any(|tap| tap == neighbour);
        bounds.restart(f64::INFINITY);
        for (image, source) in self.continuations(canvas, pixel, is_known).into_iter().flatten() {
            if search.bars.allow(image, source) {
                let distance = search.query.exact_distance(&rasters.sources[image.index()], source);
                bounds.offer(Candidate { distance, image, source });
            }
        }
        search.bound = bounds.bound();
    }

    /// The pools of one pixel over all images, one per canvas.
    pub(crate) fn raster_pools(
        &self,
        rasters: &Rasters,
        (pixel, known): (Pixel, &[bool]),
        canvases: &[Canvas],
    ) -> Result<Vec<Vec<Candidate>>> {
        let frame = self.settings.frame;
        let taps = self.settings.window.taps(frame, known, pixel);
        let pool = |canvas: &Canvas| {
            let taps = taps.offsets.iter().filter_map(|&offset| frame.step(pixel, offset));
            let mut bars = Bars::default();
            self.bar(&mut bars, canvas, None, (pixel, known[frame.flat(pixel)]), taps);
            self.raster_pool(rasters, (canvas.pixels, known, pixel), bars)
        };
        canvases.iter().map(pool).collect()
    }

    /// The pool of one pixel of one canvas over all images.
    pub(crate) fn raster_pool(
        &self,
        rasters: &Rasters,
        (canvas, known, pixel): (&[u8], &[bool], Pixel),
        bars: Bars,
    ) -> Result<Vec<Candidate>> {
        let mut bordered = BorderedCanvas::default();
        bordered.copy((self.settings.frame, rasters.half), canvas, known)?;
        let mut search = Search { bars, bound: f64::INFINITY, ..Search::default() };
        let window = WindowMap::new(&self.settings.window);
        search.query.read(&window, &bordered, pixel, self.corpus.channels());
        let limit = Limit::new(f32::INFINITY);
        let finder = || {
            let mut finder = self.finder();
            finder.restart(&search);
            finder
        };
        let mut merged = chunks(rasters, CHUNK)
            .par_iter()
            .fold(finder, |mut finder, chunk| {
                finder.search(rasters, &search, chunk, &limit);
                finder
            })
            .reduce(finder, |mut finder, other| {
                finder.merge(&other);
                finder
            });
        Ok(merged.finish().to_vec())
    }
}
