//! The scans that find the pool of a pixel.
//!
//! A canvas with a shortlist is compared with the images of its shortlist, gathered beforehand. Canvases without one share
//! a scan of all images, which are read once per pixel for the whole batch. In both cases a group of planes is
//! compared with a canvas in [`ssd::offer_group`], and the result is a pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use super::added::{Added, AddedHere};
use super::all_images::AllImages;
use super::bars::Bars;
use super::planes::{Planes, GROUP_IMAGES};
use super::probe::Probe;
use super::raster::Rasters;
use super::settings::Settings;
use super::ssd::{self, ScanBuffers};
use crate::canvas::Canvas;
use crate::corpus::{Corpus, ImageId};
use crate::error::{check, Result};
use crate::geometry::{Pixel, Rect};
use crate::pool::{Candidate, PoolBuilder};

/// Images that one task compares with a pixel at a time: few enough for their windows to fit a core's own cache.
const CACHED_IMAGES: usize = 4 * GROUP_IMAGES;

/// Tasks per thread of a scan of all images: enough to even out the speeds of threads, few enough for merging their pools
/// to cost little.
const TASKS_PER_THREAD: usize = 4;

/// Probes that one task prepares.
const PROBES: usize = 16;

/// Scans of fewer terms than this, some 100 µs of work, are not split over threads.
const SPLIT_TERMS: usize = 1 << 21;

/// The images of a run and its settings.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    pub corpus: Corpus<'a>,
    /// Number of images of the whole corpus that are not in `corpus`, but scanned by other processes.
    pub elsewhere: usize,
    pub settings: &'a Settings,
    /// 0 while canvases are filled, then the number of the sweep that draws their pixels again.
    pub sweep: u16,
    pub work: &'a WorkCounter,
    /// The images once more, for scans of all of them at all positions, where they are few.
    pub rasters: Option<&'a Rasters>,
}

/// How much work scans did and how much they skipped, in terms: tap · channel · candidate.
#[derive(Debug, Default)]
pub struct WorkCounter {
    computed: AtomicU64,
    total: AtomicU64,
}

impl WorkCounter {
    /// Terms that were computed, and terms that would have been computed without pruning.
    pub fn terms(&self) -> (u64, u64) {
        (self.computed.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// Adds terms that were computed, and terms that would have been.
    pub(crate) fn count(&self, computed: u64, total: u64) {
        self.computed.fetch_add(computed, Ordering::Relaxed);
        self.total.fetch_add(total, Ordering::Relaxed);
    }

    /// Adds the counters of some buffers, and resets them.
    pub(crate) fn add(&self, buffers: &mut ScanBuffers) {
        self.count(std::mem::take(&mut buffers.computed), std::mem::take(&mut buffers.total));
    }
}

/// What a scan reads of a canvas.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// `(H, W, C)` bytes.
    pub(crate) pixels: &'a [u8],
    pub(crate) bars: Bars,
    /// A bound that the finished pool is known not to exceed.
    pub(crate) bound: f64,
    /// What is added to the distances of its candidates, if these are of a shortlist.
    pub(crate) added: Option<AddedHere<'a>>,
}

/// One task of a scan of all images: the pools it finds over its images, one per canvas, and its buffers.
///
/// Tasks are kept from pixel to pixel. Where most of an image is background, ties make pools of thousands of candidates;
/// if their memory were freed each time, threads would wait for each other's page faults.
#[derive(Debug, Default)]
pub(crate) struct ScanTask {
    pools: Vec<PoolBuilder>,
    planes: Planes,
    buffers: ScanBuffers,
}

impl ScanTask {
    /// As many tasks as this thread pool needs.
    pub(crate) fn all() -> Vec<Self> {
        (0..TASKS_PER_THREAD * rayon::current_num_threads()).map(|_| Self::default()).collect()
    }
}

/// The pool of canvas `index` over all tasks, in order, built in the memory of `pool`.
pub(crate) fn merged<'p>(pool: &'p mut PoolBuilder, tasks: &[ScanTask], index: usize) -> &'p [Candidate] {
    pool.restart(f64::INFINITY);
    tasks.iter().for_each(|task| pool.merge(&task.pools[index]));
    pool.finish()
}

impl<'a> Scan<'a> {
    /// The same scan with other settings.
    pub(crate) fn with<'s>(&self, settings: &'s Settings) -> Scan<'s>
    where
        'a: 's,
    {
        Scan { settings, ..*self }
    }

    /// The settings for the nearest window of all images, wherever it lies.
    pub(crate) fn anywhere(&self) -> Settings {
        self.settings.anywhere(self.corpus.extent())
    }

    /// The images in raster order, if this scan goes over all of their positions.
    pub(crate) fn rasters(&self) -> Option<&'a Rasters> {
        let everywhere = self.settings.everywhere(self.corpus.extent());
        self.rasters.filter(|_| everywhere && self.settings.window.half() > 0)
    }

    /// An empty pool.
    pub(crate) fn new_pool(&self) -> PoolBuilder {
        PoolBuilder::new(self.settings.rule)
    }

    /// The probe of a pixel, over planes of just the region that its scan reads.
    pub(crate) fn probe(&self, known: &[bool], pixel: Pixel) -> Probe {
        let region = self.settings.region(self.corpus.extent(), pixel);
        Probe::new(self.settings, &self.corpus, known, pixel, region)
    }

    /// The probes of a stage's pixels, each under the mask at its turn, over planes of `region` (by default just the
    /// region that the scan of the pixel reads).
    pub(crate) fn probes(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        region: Option<Rect>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Probe>> {
        let fill = |known: &mut [bool], pixel| known[self.settings.frame.flat(pixel)] = true;
        let part = |(index, part): (usize, &[Pixel])| {
            check(cancel)?;
            let mut known = known.to_vec();
            pixels[..index * PROBES].iter().for_each(|&pixel| fill(&mut known, pixel));
            let probe = |&pixel: &Pixel| {
                let region = region.unwrap_or_else(|| self.settings.region(self.corpus.extent(), pixel));
                let probe = Probe::new(self.settings, &self.corpus, &known, pixel, region);
                fill(&mut known, pixel);
                probe
            };
            Ok(part.iter().map(probe).collect())
        };
        let parts = pixels.par_chunks(PROBES).enumerate().map(part).collect::<Result<Vec<Vec<_>>>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// What a scan reads of a canvas. Candidates are the images of a shortlist, or all images.
    ///
    /// The bound comes from the sources of the pixel's four neighbours, shifted by the same step as the pixel: a source
    /// that fits a neighbour mostly fits here, too.
    pub(crate) fn target<'c>(
        &self,
        probe: &Probe,
        canvas: &'c Canvas,
        shortlist: Option<&[ImageId]>,
        added: Option<AddedHere<'c>>,
    ) -> Target<'c> {
        let frame = self.settings.frame;
        let mut bars = Bars::default();
        let taps = probe.taps().offsets.iter().filter_map(|&offset| frame.step(probe.pixel(), offset));
        self.bar(&mut bars, canvas, shortlist, (probe.pixel(), probe.redrawn()), taps);
        let listed = |image| shortlist.is_none_or(|ids| ids.binary_search(&image).is_ok());
        let taps = || probe.taps().offsets.iter().filter_map(|&offset| frame.step(probe.pixel(), offset));
        let is_known = |neighbour| taps().any(|tap| tap == neighbour);
        let mut pool = self.new_pool();
        for (image, source) in self.continuations(canvas, probe.pixel(), is_known).into_iter().flatten() {
            if probe.is_source(source) && bars.allow(image, source) && listed(image) {
                let (candidate, bytes) = ((image, source), (&*canvas.pixels, frame));
                let window = ssd::reference(&self.corpus, candidate, bytes, probe.pixel(), probe.taps());
                let slot = |ids: &[ImageId]| ids.partition_point(|&id| id < image);
                let beside = added.map_or(0.0, |added| added.distance(shortlist.map_or(0, slot), source));
                pool.offer(Candidate { distance: window + beside, image, source });
            }
        }
        Target { pixels: canvas.pixels, bars, bound: pool.bound(), added }
    }

    /// The pools of a pixel over gathered images, one per canvas: each group of planes is compared with all canvases while
    /// it is in cache.
    pub(crate) fn pools_of(
        &self,
        probe: &Probe,
        planes: &Planes,
        targets: &[Target],
        buffers: &mut ScanBuffers,
    ) -> Vec<PoolBuilder> {
        let scan = |mut pools: Vec<PoolBuilder>, buffers: &mut ScanBuffers, group: usize| {
            for (target, pool) in targets.iter().zip(&mut pools) {
                self.offer(probe, planes, group, target, pool, buffers);
            }
            pools
        };
        let empty = || {
            let restarted = |target: &Target| {
                let mut pool = self.new_pool();
                pool.restart(target.bound);
                pool
            };
            targets.iter().map(restarted).collect::<Vec<_>>()
        };
        let merge = |mut pools: Vec<PoolBuilder>, others: Vec<PoolBuilder>| {
            pools.iter_mut().zip(&others).for_each(|(pool, other)| pool.merge(other));
            pools
        };
        let terms = targets.len() * probe.terms(planes.ids().len());
        if rayon::current_num_threads() > 1 && terms >= SPLIT_TERMS {
            (0..planes.groups())
                .into_par_iter()
                .fold(
                    || (empty(), ScanBuffers::default()),
                    |(pools, mut buffers), group| (scan(pools, &mut buffers, group), buffers),
                )
                .map(|(pools, mut buffers)| {
                    self.work.add(&mut buffers);
                    pools
                })
                .reduce(empty, merge)
        } else {
            (0..planes.groups()).fold(empty(), |pools, group| scan(pools, buffers, group))
        }
    }

    fn offer(
        &self,
        probe: &Probe,
        planes: &Planes,
        group: usize,
        target: &Target,
        pool: &mut PoolBuilder,
        buffers: &mut ScanBuffers,
    ) {
        let added = target.added.map(|added| (added, group * GROUP_IMAGES));
        let canvas = (target.pixels, &target.bars, added);
        ssd::offer_group(self.settings.instructions, probe, planes.group(group), canvas, pool, buffers);
    }

    /// The pool of a pixel of one canvas; see [`Self::pools_of`].
    pub(crate) fn pool(
        &self,
        probe: &Probe,
        planes: &Planes,
        target: &Target,
        buffers: &mut ScanBuffers,
    ) -> PoolBuilder {
        self.pools_of(probe, planes, std::slice::from_ref(target), buffers).remove(0)
    }

    /// Scans all images, each task a share of them: the windows of each image are gathered once for the whole batch.
    pub(crate) fn scan_all(
        &self,
        probe: &Probe,
        targets: &[Target],
        tasks: &mut [ScanTask],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let count = self.corpus.count();
        let chunks = count.div_ceil(CACHED_IMAGES);
        // If there are fewer chunks of images than tasks, canvases are divided, too.
        let across = chunks.min(tasks.len());
        let (share, canvases) = (chunks.div_ceil(across), targets.len().div_ceil(tasks.len() / across));
        let run = |(index, task): (usize, &mut ScanTask)| {
            let ScanTask { pools, planes, buffers } = task;
            pools.resize(targets.len(), self.new_pool());
            for (target, pool) in targets.iter().zip(&mut *pools) {
                pool.restart(target.bound);
            }
            let (at, first_canvas) = (index % across, index / across * canvases);
            for chunk in at * share..((at + 1) * share).min(chunks) {
                let own = targets.iter().zip(&mut *pools).skip(first_canvas).take(canvases);
                if own.len() == 0 {
                    break;
                }
                let first = chunk * CACHED_IMAGES;
                let ids = first..(first + CACHED_IMAGES).min(count);
                planes.gather(&self.corpus, ids.map(|id| ImageId(id as u32)), probe.region());
                for (target, pool) in own {
                    check(cancel)?;
                    for group in 0..planes.groups() {
                        self.offer(probe, planes, group, target, pool, buffers);
                    }
                }
            }
            self.work.add(buffers);
            Ok(())
        };
        tasks.par_iter_mut().with_max_len(1).enumerate().try_for_each(run)
    }

    /// The pools of one pixel over all images, one per canvas.
    pub fn pools(
        &self,
        pixel: Pixel,
        known: &[bool],
        canvases: &mut [Canvas],
        cancel: &AtomicBool,
    ) -> Result<Vec<Vec<Candidate>>> {
        self.count_sources(canvases, known);
        let mut all = AllImages::new(self);
        all.scan(self, (pixel, known), canvases, cancel)?;
        let pool = |index| all.pool(&mut self.new_pool(), index).to_vec();
        Ok((0..canvases.len()).into_par_iter().map(pool).collect())
    }

    /// The pool of one pixel of one canvas, over `shortlist` (ascending ids) or over all images, without what is barred; with
    /// what is `added` to the distances of a shortlist.
    pub fn candidate_pool(
        &self,
        (canvas, known, pixel): (&[u8], &[bool], Pixel),
        shortlist: Option<&[ImageId]>,
        bars: Bars,
        added: Option<Added>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Candidate>> {
        let added = added.map(|added| added.at(pixel, 0));
        let target = Target { pixels: canvas, bars, bound: f64::INFINITY, added };
        let over_all = |scan: &Scan| -> Result<Vec<Candidate>> {
            if let Some(rasters) = scan.rasters() {
                return scan.raster_pool(rasters, (canvas, known, pixel), target.bars.clone());
            }
            let mut tasks = ScanTask::all();
            scan.scan_all(&scan.probe(known, pixel), std::slice::from_ref(&target), &mut tasks, cancel)?;
            Ok(merged(&mut scan.new_pool(), &tasks, 0).to_vec())
        };
        let pool = match shortlist {
            Some(ids) => {
                let probe = self.probe(known, pixel);
                let mut planes = Planes::default();
                planes.gather(&self.corpus, ids.iter().copied(), probe.region());
                self.pool(&probe, &planes, &target, &mut ScanBuffers::default()).finish().to_vec()
            }
            None => over_all(self)?,
        };
        if !self.settings.corpus_tolerance {
            return Ok(pool);
        }
        let anywhere = self.anywhere();
        let nearest = over_all(&self.with(&anywhere))?;
        let within = |first: &Candidate| self.settings.rule.members(&pool, first.distance).0.to_vec();
        Ok(nearest.first().map_or_else(|| pool.clone(), within))
    }
}
