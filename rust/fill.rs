//! One stage for a batch of canvases: scan, pool, draw, write — pixel after pixel.
//!
//! A canvas that has a shortlist owns its candidates: its images are gathered once a stage, and canvases run side by
//! side. Canvases without one share all images: these stream by once a pixel, for the whole batch. Either way a
//! group of planes meets a canvas in [`ssd::offer_group`], and what comes out is a pool.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::corpus::{Corpus, ImageId};
use crate::error::{Error, Result};
use crate::geometry::{Pixel, Rect};
use crate::planes::{Planes, LANES};
use crate::pool::{Builder, Candidate, Rule};
use crate::sample::{Keyed, Stream};
use crate::ssd::{self, Path, Probe, Reach, Scratch};
use crate::window::Window;

/// Images that one task streams past a pixel: few enough for their windows to stay in a core's own cache.
const STREAM_IMAGES: usize = 4 * LANES;

/// Scans smaller than this (in terms) are not worth splitting over threads: some 100 µs of work.
const SPLIT_TERMS: usize = 1 << 21;

/// How sources are compared and chosen; the same for all pixels of a run.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    pub corpus: Corpus<'a>,
    pub window: &'a Window,
    /// Largest Chebyshev distance between a pixel and its source.
    pub radius: usize,
    pub rule: Rule,
    pub path: Path,
}

/// A canvas in the making, with its trace. All slices are row-major over the frame.
#[derive(Debug)]
pub struct Canvas<'a> {
    pub random: Keyed,
    /// An image that must not serve this canvas.
    pub barred: Option<ImageId>,
    /// `(H, W, C)` bytes.
    pub pixels: &'a mut [u8],
    pub trace: Trace<'a>,
}

/// Where each pixel of a canvas came from, `(H, W)` each.
#[derive(Debug)]
pub struct Trace<'a> {
    pub image_id: &'a mut [i32],
    pub y: &'a mut [i32],
    pub x: &'a mut [i32],
    pub distance: &'a mut [f32],
    pub pool_size: &'a mut [i32],
}

impl<'a> Model<'a> {
    fn reach(&self) -> Reach<'a> {
        Reach {
            extent: self.corpus.extent(),
            channels: self.corpus.channels(),
            radius: self.radius,
            window: self.window,
        }
    }

    /// Probes of a stage's pixels, each under the mask as it is when its turn comes, over planes of `region`
    /// (by default just what that pixel's scan reads).
    fn probes(&self, pixels: &[Pixel], known: &[bool], region: Option<Rect>) -> Vec<Probe> {
        let reach = self.reach();
        let mut known = known.to_vec();
        let probe = |&pixel: &Pixel| {
            let probe = Probe::new(&reach, &known, pixel, region.unwrap_or_else(|| reach.region(pixel)));
            known[reach.extent.flat(pixel)] = true;
            probe
        };
        pixels.iter().map(probe).collect()
    }

    /// Copies a drawn member of the pool into the canvas, and notes it in the trace.
    fn write(&self, canvas: &mut Canvas, pixel: Pixel, pool: &[Candidate]) {
        let extent = self.corpus.extent();
        let channels = self.corpus.channels();
        let flat = extent.flat(pixel);
        let drawn = pool[canvas.random.index(Stream::Pixel, flat as u32, pool.len())];
        canvas.pixels[flat * channels..][..channels]
            .copy_from_slice(self.corpus.value(drawn.image, drawn.source));
        canvas.trace.image_id[flat] = drawn.image.0 as i32;
        canvas.trace.y[flat] = drawn.source.y as i32;
        canvas.trace.x[flat] = drawn.source.x as i32;
        canvas.trace.distance[flat] = drawn.distance as f32;
        canvas.trace.pool_size[flat] = pool.len() as i32;
    }

    /// The pool of a pixel over already gathered images.
    fn pool(
        &self,
        probe: &Probe,
        planes: &Planes,
        canvas: (&[u8], Option<ImageId>),
        scratch: &mut Scratch,
    ) -> Builder {
        let scan = |mut pool: Builder, scratch: &mut Scratch, group: usize| {
            ssd::offer_group(self.path, probe, planes.group(group), canvas, &mut pool, scratch);
            pool
        };
        let empty = || Builder::new(self.rule);
        if rayon::current_num_threads() > 1 && probe.terms(planes.ids().len()) >= SPLIT_TERMS {
            (0..planes.groups())
                .into_par_iter()
                .fold(
                    || (empty(), Scratch::default()),
                    |(pool, mut scratch), group| (scan(pool, &mut scratch, group), scratch),
                )
                .map(|(pool, _)| pool)
                .reduce(empty, Builder::merge)
        } else {
            (0..planes.groups()).fold(empty(), |pool, group| scan(pool, scratch, group))
        }
    }

    /// Fills the stage's `pixels`, canvas `b` from the images `shortlists[b]` (ascending ids).
    pub fn fill_from_shortlists(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        canvases: &mut [Canvas],
        shortlists: &[Vec<ImageId>],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let frame = self.corpus.extent().frame();
        let probes = self.probes(pixels, known, Some(frame));
        let fill = |(planes, scratch): &mut (Planes, Scratch), canvas: &mut Canvas, ids: &[ImageId]| {
            planes.gather(&self.corpus, ids.iter().copied(), frame);
            for probe in &probes {
                check(cancel)?;
                let pool = self.pool(probe, planes, (canvas.pixels, canvas.barred), scratch);
                self.write(canvas, probe.pixel(), &pool.finish());
            }
            Ok(())
        };
        if canvases.len() >= rayon::current_num_threads() {
            canvases
                .par_iter_mut()
                .zip(shortlists)
                .try_for_each_init(Default::default, |buffers, (canvas, ids)| fill(buffers, canvas, ids))
        } else {
            let mut buffers = Default::default();
            canvases.iter_mut().zip(shortlists).try_for_each(|(canvas, ids)| fill(&mut buffers, canvas, ids))
        }
    }

    /// Fills the stage's `pixels`, every canvas from all images.
    pub fn fill_from_all(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        canvases: &mut [Canvas],
        cancel: &AtomicBool,
    ) -> Result<()> {
        for probe in self.probes(pixels, known, None) {
            let views: Vec<_> = canvases.iter().map(|canvas| (&*canvas.pixels, canvas.barred)).collect();
            let pools = self.pools_over_all(&probe, &views, cancel)?;
            let write = |(canvas, pool): (&mut Canvas, Builder)| {
                self.write(canvas, probe.pixel(), &pool.finish());
            };
            canvases.par_iter_mut().zip(pools).for_each(write);
        }
        Ok(())
    }

    /// One pool a canvas, over all images: each image's window is gathered once for the whole batch.
    fn pools_over_all(
        &self,
        probe: &Probe,
        canvases: &[(&[u8], Option<ImageId>)],
        cancel: &AtomicBool,
    ) -> Result<Vec<Builder>> {
        let count = self.corpus.count();
        let empty = || vec![Builder::new(self.rule); canvases.len()];
        let stream = |(mut pools, mut planes, mut scratch): (Vec<Builder>, Planes, Scratch), chunk: usize| {
            check(cancel)?;
            let first = chunk * STREAM_IMAGES;
            let ids = first..(first + STREAM_IMAGES).min(count);
            planes.gather(&self.corpus, ids.map(|id| ImageId(id as u32)), probe.region());
            for (&canvas, pool) in canvases.iter().zip(&mut pools) {
                for group in 0..planes.groups() {
                    ssd::offer_group(self.path, probe, planes.group(group), canvas, pool, &mut scratch);
                }
            }
            Ok((pools, planes, scratch))
        };
        let merge =
            |a: Vec<Builder>, b: Vec<Builder>| Ok(a.into_iter().zip(b).map(|(a, b)| a.merge(b)).collect());
        (0..count.div_ceil(STREAM_IMAGES))
            .into_par_iter()
            .try_fold(|| (empty(), Planes::default(), Scratch::default()), stream)
            .map(|part| part.map(|(pools, _, _)| pools))
            .try_reduce(empty, merge)
    }

    /// The pool of one pixel of one canvas: over `shortlist` (ascending ids), or over every image.
    pub fn candidate_pool(
        &self,
        canvas: &[u8],
        known: &[bool],
        pixel: Pixel,
        shortlist: Option<&[ImageId]>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Candidate>> {
        let reach = self.reach();
        let probe = Probe::new(&reach, known, pixel, reach.region(pixel));
        let pool = match shortlist {
            Some(ids) => {
                let mut planes = Planes::default();
                planes.gather(&self.corpus, ids.iter().copied(), probe.region());
                self.pool(&probe, &planes, (canvas, None), &mut Scratch::default())
            }
            None => self.pools_over_all(&probe, &[(canvas, None)], cancel)?.remove(0),
        };
        Ok(pool.finish())
    }
}

fn check(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
