//! Which sources may serve a pixel of a canvas: the images, the rule, and the scans that find the pool.
//!
//! A canvas that has a shortlist owns its candidates, gathered beforehand. Canvases without one share all images: these
//! stream by once a pixel, for the whole batch. Either way a group of planes meets a canvas in [`ssd::offer_group`],
//! and what comes out is a pool.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use crate::canvas::Canvas;
use crate::corpus::{Corpus, ImageId};
use crate::error::{check, Result};
use crate::geometry::{Extent, Offset, Pixel, Rect};
use crate::pixels::planes::{Planes, LANES};
use crate::pixels::probe::{Probe, Reach};
use crate::pixels::ssd::{self, Scratch};
use crate::pixels::window::Window;
use crate::pool::{Builder, Candidate, Keep, Rule};
use crate::simd::Path;

/// Images that one task streams past a pixel: few enough for their windows to stay in a core's own cache.
const STREAM_IMAGES: usize = 4 * LANES;

/// Parts that a stream over all images is cut into for each thread: enough to even out their speeds, few enough for
/// merging their pools to cost little.
const PARTS: usize = 4;

/// Probes that one task prepares.
const PROBES: usize = 16;

/// Scans smaller than this (in terms) are not worth splitting over threads: some 100 µs of work.
const SPLIT_TERMS: usize = 1 << 21;

/// How sources are compared and chosen; the same for all pixels of a run.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    pub corpus: Corpus<'a>,
    /// Frame of the canvases.
    pub frame: Extent,
    pub window: &'a Window,
    /// Largest Chebyshev distance between a pixel and its source.
    pub radius: usize,
    pub rule: Rule,
    /// How many images there are besides these, which other processes look at.
    pub elsewhere: usize,
    /// How many of the pixels that a window sees may come from one image.
    pub quota: Option<usize>,
    /// Whether ε is relative to the nearest window of all images, wherever it lies (the paper's R_SSD), and not to the
    /// nearest candidate alone.
    pub literal: bool,
    /// 0 while canvases are filled, then the number of the sweep that visits them again.
    pub sweep: u16,
    pub path: Path,
    pub account: &'a Account,
}

/// How much work scans did, and how much there was to do: in tap·channel·candidate terms.
#[derive(Debug, Default)]
pub struct Account {
    done: AtomicU64,
    total: AtomicU64,
}

impl Account {
    /// Terms computed, and terms there would have been without pruning.
    pub fn terms(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    pub(crate) fn settle(&self, scratch: &mut Scratch) {
        self.done.fetch_add(std::mem::take(&mut scratch.done), Ordering::Relaxed);
        self.total.fetch_add(std::mem::take(&mut scratch.total), Ordering::Relaxed);
    }
}

/// What a scan needs to know of a canvas: its bytes, the images that must not serve the pixel, and a bound that its pool
/// is known not to pass.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pixels: &'a [u8],
    barred: Vec<ImageId>,
    bound: f64,
}

/// A share of a stream over all images: what it has found for each canvas, and its buffers. Kept from pixel to pixel: where
/// nearly all is background, ties make pools of thousands, and giving these back to the system each time has threads wait
/// for each other's page faults.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pools: Vec<Builder>,
    planes: Planes,
    scratch: Scratch,
}

impl Part {
    pub(crate) fn several() -> Vec<Self> {
        (0..PARTS * rayon::current_num_threads()).map(|_| Self::default()).collect()
    }
}

/// The pool of canvas `index` over all parts, in order, made in `pool`'s memory.
pub(crate) fn merged<'p>(pool: &'p mut Builder, parts: &[Part], index: usize) -> &'p [Candidate] {
    pool.begin(f64::INFINITY);
    parts.iter().for_each(|part| pool.merge(&part.pools[index]));
    pool.finish()
}

impl<'a> Model<'a> {
    fn reach(&self) -> Reach<'a> {
        Reach {
            frame: self.frame,
            source: self.corpus.extent(),
            channels: self.corpus.channels(),
            radius: self.radius,
            window: self.window,
        }
    }

    /// Probes of a stage's pixels, each under the mask as it is when its turn comes, over planes of `region`
    /// (by default just what that pixel's scan reads).
    pub(crate) fn probes(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        region: Option<Rect>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Probe>> {
        let reach = self.reach();
        let fill = |known: &mut [bool], pixel| known[self.frame.flat(pixel)] = true;
        let part = |(index, part): (usize, &[Pixel])| {
            check(cancel)?;
            let mut known = known.to_vec();
            pixels[..index * PROBES].iter().for_each(|&pixel| fill(&mut known, pixel));
            let probe = |&pixel: &Pixel| {
                let probe = Probe::new(&reach, &known, pixel, region.unwrap_or_else(|| reach.region(pixel)));
                fill(&mut known, pixel);
                probe
            };
            Ok(part.iter().map(probe).collect())
        };
        let parts = pixels.par_chunks(PROBES).enumerate().map(part).collect::<Result<Vec<Vec<_>>>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// What a scan needs of a canvas. The bound comes from the sources of the pixel's four neighbours, moved along with
    /// it: what served next door mostly serves well here. Candidates are the images of a shortlist, or all.
    pub(crate) fn view<'c>(
        &self,
        probe: &Probe,
        canvas: &'c Canvas,
        shortlist: Option<&[ImageId]>,
    ) -> View<'c> {
        let barred = self.barred(probe, canvas, shortlist);
        let serves = |image| shortlist.is_none_or(|ids| ids.binary_search(&image).is_ok());
        let mut pool = Builder::new(self.rule);
        let mut seen: Vec<(ImageId, Pixel)> = Vec::with_capacity(4);
        for (dy, dx) in [(-1, 0), (0, -1), (0, 1), (1, 0)] {
            let offset = Offset { dy, dx };
            let Some(neighbour) = self.frame.step(probe.pixel(), offset) else { continue };
            let at = self.frame.flat(neighbour);
            let there = Pixel { y: canvas.trace.y[at] as usize, x: canvas.trace.x[at] as usize };
            let image = ImageId(canvas.trace.image_id[at] as u32);
            // A caller's trace need not be one of ours: what is no candidate must not bound the pool.
            if image.index() >= self.corpus.count() {
                continue;
            }
            let Some(source) = self.corpus.own(image).step(there, Offset { dy: -dy, dx: -dx }) else {
                continue;
            };
            // One candidate bounds the pool once; under the rule "best" an image is one candidate.
            let one_each = self.rule.keep() == Keep::Best;
            let again = seen.iter().any(|&(i, q)| i == image && (one_each || q == source));
            let known = probe.taps().offsets.contains(&offset);
            if probe.is_source(source) && known && !again && !barred.contains(&image) && serves(image) {
                seen.push((image, source));
                let candidate = (image, source);
                let bytes = (&*canvas.pixels, self.frame);
                let distance = ssd::reference(&self.corpus, candidate, bytes, probe.pixel(), probe.taps());
                pool.offer(Candidate { distance, image, source });
            }
        }
        View { pixels: canvas.pixels, barred, bound: pool.bound() }
    }

    /// Images that must not serve a pixel: the canvas's own, and those that have served as much of its window as they
    /// may. Where the candidates are so few that all of them could be used up, the quota sets no limit.
    fn barred(&self, probe: &Probe, canvas: &Canvas, shortlist: Option<&[ImageId]>) -> Vec<ImageId> {
        let mut barred: Vec<ImageId> = canvas.barred.into_iter().collect();
        let Some(quota) = self.quota else { return barred };
        let own = |own: &ImageId| shortlist.is_none_or(|ids| ids.binary_search(own).is_ok());
        let choice = shortlist.map_or(self.corpus.count() + self.elsewhere, <[ImageId]>::len)
            - usize::from(canvas.barred.as_ref().is_some_and(own));
        let window = (2 * self.window.half() + 1).pow(2) - 1;
        if choice <= window / quota {
            return barred;
        }
        let tap = |&offset: &Offset| self.frame.step(probe.pixel(), offset);
        let source = |tap: Pixel| u32::try_from(canvas.trace.image_id[self.frame.flat(tap)]).ok();
        let mut sources: Vec<u32> = probe.taps().offsets.iter().filter_map(tap).filter_map(source).collect();
        sources.sort_unstable();
        let spent = sources.chunk_by(|a, b| a == b).filter(|same| same.len() >= quota);
        barred.extend(spent.map(|same| ImageId(same[0])));
        barred
    }

    /// The pools of a pixel over already gathered images, one a canvas: each group of planes meets all canvases while it is
    /// near.
    pub(crate) fn pools_of(
        &self,
        probe: &Probe,
        planes: &Planes,
        views: &[View],
        scratch: &mut Scratch,
    ) -> Vec<Builder> {
        let scan = |mut pools: Vec<Builder>, scratch: &mut Scratch, group: usize| {
            for (view, pool) in views.iter().zip(&mut pools) {
                let canvas = (view.pixels, &view.barred[..]);
                ssd::offer_group(self.path, probe, planes.group(group), canvas, pool, scratch);
            }
            pools
        };
        let empty = || {
            let begun = |view: &View| {
                let mut pool = Builder::new(self.rule);
                pool.begin(view.bound);
                pool
            };
            views.iter().map(begun).collect::<Vec<_>>()
        };
        let merge = |mut pools: Vec<Builder>, others: Vec<Builder>| {
            pools.iter_mut().zip(&others).for_each(|(pool, other)| pool.merge(other));
            pools
        };
        let terms = views.len() * probe.terms(planes.ids().len());
        if rayon::current_num_threads() > 1 && terms >= SPLIT_TERMS {
            (0..planes.groups())
                .into_par_iter()
                .fold(
                    || (empty(), Scratch::default()),
                    |(pools, mut scratch), group| (scan(pools, &mut scratch, group), scratch),
                )
                .map(|(pools, mut scratch)| {
                    self.account.settle(&mut scratch);
                    pools
                })
                .reduce(empty, merge)
        } else {
            (0..planes.groups()).fold(empty(), |pools, group| scan(pools, scratch, group))
        }
    }

    /// The pool of a pixel of one canvas; see [`Self::pools_of`].
    pub(crate) fn pool(&self, probe: &Probe, planes: &Planes, view: &View, scratch: &mut Scratch) -> Builder {
        self.pools_of(probe, planes, std::slice::from_ref(view), scratch).remove(0)
    }

    /// The same with all windows of all images for candidates, of which the nearest counts alone.
    pub(crate) fn anywhere(&self) -> Self {
        let longest = |extent: Extent| extent.height.max(extent.width);
        let radius = longest(self.frame).max(longest(self.corpus.extent()));
        Self { radius, rule: Rule::NEAREST, literal: false, ..*self }
    }

    /// A pixel's probe over planes of just what its scan reads.
    pub(crate) fn probe(&self, known: &[bool], pixel: Pixel) -> Probe {
        let reach = self.reach();
        Probe::new(&reach, known, pixel, reach.region(pixel))
    }

    /// What of a pool, in order, is within (1 + ε) of the nearest window anywhere; failing that, its first `k_min`.
    /// And whether it failed.
    pub(crate) fn literally<'p>(&self, pool: &'p [Candidate], nearest: f64) -> (&'p [Candidate], bool) {
        let near = self.rule.near(nearest);
        let within = pool.partition_point(|candidate| candidate.distance <= near);
        (&pool[..within.max(self.rule.k_min()).min(pool.len())], within == 0)
    }

    /// Scans all images, each part its share of them: each image's window is gathered once for the whole batch.
    pub(crate) fn scan_all(
        &self,
        probe: &Probe,
        views: &[View],
        parts: &mut [Part],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let count = self.corpus.count();
        let chunks = count.div_ceil(STREAM_IMAGES);
        // Where there are too few images to divide, canvases are.
        let across = chunks.min(parts.len());
        let (share, canvases) = (chunks.div_ceil(across), views.len().div_ceil(parts.len() / across));
        let stream = |(index, part): (usize, &mut Part)| {
            let Part { pools, planes, scratch } = part;
            pools.resize(views.len(), Builder::new(self.rule));
            for (view, pool) in views.iter().zip(&mut *pools) {
                pool.begin(view.bound);
            }
            let (at, first_canvas) = (index % across, index / across * canvases);
            for chunk in at * share..((at + 1) * share).min(chunks) {
                let own = views.iter().zip(&mut *pools).skip(first_canvas).take(canvases);
                if own.len() == 0 {
                    break;
                }
                let first = chunk * STREAM_IMAGES;
                let ids = first..(first + STREAM_IMAGES).min(count);
                planes.gather(&self.corpus, ids.map(|id| ImageId(id as u32)), probe.region());
                for (view, pool) in own {
                    check(cancel)?;
                    for group in 0..planes.groups() {
                        let canvas = (view.pixels, &view.barred[..]);
                        ssd::offer_group(self.path, probe, planes.group(group), canvas, pool, scratch);
                    }
                }
            }
            self.account.settle(scratch);
            Ok(())
        };
        parts.par_iter_mut().with_max_len(1).enumerate().try_for_each(stream)
    }

    /// The pools of one pixel over all images, one a canvas.
    pub fn pools(
        &self,
        pixel: Pixel,
        known: &[bool],
        canvases: &[Canvas],
        cancel: &AtomicBool,
    ) -> Result<Vec<Vec<Candidate>>> {
        let probe = self.probe(known, pixel);
        let views: Vec<View> = canvases.par_iter().map(|canvas| self.view(&probe, canvas, None)).collect();
        let mut parts = Part::several();
        self.scan_all(&probe, &views, &mut parts, cancel)?;
        let pool = |index| merged(&mut Builder::new(self.rule), &parts, index).to_vec();
        Ok((0..canvases.len()).into_par_iter().map(pool).collect())
    }

    /// The pool of one pixel of one canvas: over `shortlist` (ascending ids), or over every image; never of those `barred`.
    pub fn candidate_pool(
        &self,
        (canvas, known, pixel): (&[u8], &[bool], Pixel),
        shortlist: Option<&[ImageId]>,
        barred: Vec<ImageId>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Candidate>> {
        let view = View { pixels: canvas, barred, bound: f64::INFINITY };
        let over_all = |model: &Self, probe: &Probe, view: &View| -> Result<Builder> {
            let mut parts = Part::several();
            model.scan_all(probe, std::slice::from_ref(view), &mut parts, cancel)?;
            let mut pool = Builder::new(model.rule);
            merged(&mut pool, &parts, 0);
            Ok(pool)
        };
        let probe = self.probe(known, pixel);
        let mut pool = match shortlist {
            Some(ids) => {
                let mut planes = Planes::default();
                planes.gather(&self.corpus, ids.iter().copied(), probe.region());
                self.pool(&probe, &planes, &view, &mut Scratch::default())
            }
            None => over_all(self, &probe, &view)?,
        };
        let pool = pool.finish();
        if !self.literal {
            return Ok(pool.to_vec());
        }
        let anywhere = self.anywhere();
        let mut nearest = over_all(&anywhere, &anywhere.probe(known, pixel), &view)?;
        Ok(nearest.finish().first().map_or(pool, |first| self.literally(pool, first.distance).0).to_vec())
    }

    /// Seconds of each of `repeats` scans of one pixel over the images `ids`, gathered beforehand whole, as for a stage,
    /// on one thread: of the bare kernel, or (`pooled`) of pruned scan and pool, as a fill does it. With the size of the pool, 0 for none.
    pub fn time_scan(
        &self,
        (canvas, known, pixel): (&[u8], &[bool], Pixel),
        ids: &[ImageId],
        repeats: usize,
        pooled: bool,
    ) -> (Vec<f64>, usize) {
        let reach = self.reach();
        let frame = reach.source.frame();
        let probe = Probe::new(&reach, known, pixel, frame);
        let mut planes = Planes::default();
        planes.gather(&self.corpus, ids.iter().copied(), frame);
        let view = View { pixels: canvas, barred: Vec::new(), bound: f64::INFINITY };
        let mut scratch = Scratch::default();
        let mut size = 0;
        let mut once = || {
            let start = Instant::now();
            if pooled {
                size = self.pool(&probe, &planes, &view, &mut scratch).finish().len();
            } else {
                for group in 0..planes.groups() {
                    black_box(ssd::scan_plainly(
                        self.path,
                        &probe,
                        planes.group(group),
                        canvas,
                        &mut scratch,
                    ));
                }
            }
            start.elapsed().as_secs_f64()
        };
        let seconds = (0..repeats).map(|_| once()).collect();
        (seconds, size)
    }
}
