//! One stage for a batch of canvases.
//!
//! For each pixel p of the stage, in fill order (sections 2.2 and 2.4 of the paper):
//! 1. the query window ω(p): the known pixels around p in the canvas;
//! 2. distances d_SSD: Gaussian-weighted squared differences of ω(p) and the windows of candidates;
//! 3. the pool Ω(p): candidates within (1 + ε) of the nearest, and the `k_min` nearest;
//! 4. a uniform draw from the pool;
//! 5. the copy: pixel and trace are written together.
//!
//! Canvases with shortlists run side by side, each over its own images. Canvases without one go from pixel to pixel
//! together, so that each image is read once per pixel for all of them.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::added::Added;
use super::all_images::AllImages;
use super::planes::Planes;
use super::quota::Quotas;
use super::scan::{merged, Scan, ScanTask, Target};
use super::ssd::ScanBuffers;
use crate::canvas::Canvas;
use crate::corpus::ImageId;
use crate::error::{check, Error, Result};
use crate::geometry::Pixel;
use crate::pool::{Candidate, PoolBuilder};
use crate::random::Stream;

/// A canvas, its shortlist and what is added to the distances of its candidates.
type Listed<'l, 'c> = (&'l mut Canvas<'c>, &'l [ImageId], Option<Added<'l>>);

/// Planes and buffers of one thread.
type Workspace = (Planes, ScanBuffers);

impl Scan<'_> {
    /// Fills the stage's `pixels`: canvas `b` from the images `shortlists[b]` (ascending ids), or all canvases from all
    /// images. `added[b]` is added to the distances of the candidates of canvas `b`; none where there are no shortlists, or
    /// where ε is relative to all images.
    pub fn fill(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        canvases: &mut [Canvas],
        shortlists: Option<&[Vec<ImageId>]>,
        added: Option<&[Added]>,
        cancel: &AtomicBool,
    ) -> Result<()> {
        self.count_sources(canvases, known);
        match shortlists {
            _ if self.settings.corpus_tolerance => {
                self.fill_by_corpus_tolerance(pixels, known, canvases, shortlists, cancel)
            }
            Some(lists) => self.fill_from_shortlists(pixels, known, canvases, (lists, added), cancel),
            None => self.fill_from_all(pixels, known, canvases, cancel),
        }
    }

    fn fill_from_shortlists(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        canvases: &mut [Canvas],
        (shortlists, added): (&[Vec<ImageId>], Option<&[Added]>),
        cancel: &AtomicBool,
    ) -> Result<()> {
        let frame = self.corpus.extent().frame();
        let probes = self.probes(pixels, known, Some(frame), cancel)?;
        let fill = |(planes, buffers): &mut Workspace, group: &mut [Listed]| {
            let ids = group[0].1;
            planes.gather(&self.corpus, ids.iter().copied(), frame);
            for (index, probe) in probes.iter().enumerate() {
                check(cancel)?;
                // 1. Query windows.
                let targets = group.iter().map(|(canvas, _, added)| {
                    let added = added.map(|added| added.at(probe.pixel(), index));
                    self.target(probe, canvas, Some(ids), added)
                });
                let targets: Vec<Target> = targets.collect();
                // 2. and 3. Distances and pools.
                let pools = self.pools_of(probe, planes, &targets, buffers);
                for ((canvas, ..), mut pool) in group.iter_mut().zip(pools) {
                    // 4. and 5. Draw and copy.
                    self.draw(canvas, (probe.pixel(), probe.redrawn()), pool.finish())?;
                }
            }
            self.work.add(buffers);
            Ok(())
        };
        let threads = rayon::current_num_threads();
        let side_by_side = canvases.len() >= threads;
        let added = (0..canvases.len()).map(|b| added.map(|added| added[b]));
        let lists = shortlists.iter().map(Vec::as_slice);
        let listed = canvases.iter_mut().zip(lists).zip(added);
        let mut listed: Vec<Listed> = listed.map(|((canvas, ids), added)| (canvas, ids, added)).collect();
        // Canvases with the same shortlist share planes, as long as there is a group for each thread.
        listed.sort_by_key(|&(_, ids, _)| ids);
        let most = listed.len().div_ceil(threads).max(1);
        let same = listed.chunk_by_mut(|a, b| a.1 == b.1);
        let groups: Vec<&mut [Listed]> = same.flat_map(|same| same.chunks_mut(most)).collect();
        if side_by_side {
            groups.into_par_iter().try_for_each_init(Default::default, fill)
        } else {
            let mut workspace = Default::default();
            groups.into_iter().try_for_each(|group| fill(&mut workspace, group))
        }
    }

    fn fill_from_all(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        canvases: &mut [Canvas],
        cancel: &AtomicBool,
    ) -> Result<()> {
        if let Some(rasters) = self.rasters() {
            return self.fill_by_rasters(rasters, (pixels, known), canvases, cancel);
        }
        let mut tasks = ScanTask::all();
        let mut pools = vec![self.new_pool(); canvases.len()];
        for probe in self.probes(pixels, known, None, cancel)? {
            // 1. Query windows.
            let targets: Vec<Target> =
                canvases.par_iter().map(|canvas| self.target(&probe, canvas, None, None)).collect();
            // 2. Distances.
            self.scan_all(&probe, &targets, &mut tasks, cancel)?;
            let draw = |(index, (canvas, pool)): (usize, (&mut Canvas, &mut PoolBuilder))| {
                // 3. Pools; 4. and 5. draw and copy.
                self.draw(canvas, (probe.pixel(), probe.redrawn()), merged(pool, &tasks, index))
            };
            canvases.par_iter_mut().zip(&mut pools).enumerate().try_for_each(draw)?;
        }
        Ok(())
    }

    /// As `fill_from_shortlists` or `fill_from_all`, with ε relative to the nearest window of all images, wherever it lies.
    fn fill_by_corpus_tolerance(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        canvases: &mut [Canvas],
        shortlists: Option<&[Vec<ImageId>]>,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let anywhere = self.anywhere();
        let anywhere = self.with(&anywhere);
        let mut known = known.to_vec();
        let mut nearest = AllImages::new(&anywhere);
        let mut candidates = shortlists.is_none().then(|| AllImages::new(self));
        for &pixel in pixels {
            // 1. Query windows, and the distance of the nearest window of all images.
            nearest.scan(&anywhere, (pixel, &known), canvases, cancel)?;
            let redrawn = known[self.settings.frame.flat(pixel)];
            let probe = shortlists.map(|_| self.probe(&known, pixel));
            if let Some(candidates) = &mut candidates {
                // 2. Distances of candidates, where these are of all images.
                candidates.scan(self, (pixel, &known), canvases, cancel)?;
            }
            let draw = |(planes, buffers): &mut Workspace, (index, canvas): (usize, &mut Canvas)| {
                let mut nearest_pool = anywhere.new_pool();
                let least = nearest.pool(&mut nearest_pool, index).first().ok_or_else(nothing_left)?.distance;
                let mut pool = self.new_pool();
                let candidates = match (shortlists, &probe, &candidates) {
                    (Some(lists), Some(probe), _) => {
                        // 2. Distances of candidates, where these are of a shortlist.
                        planes.gather(&self.corpus, lists[index].iter().copied(), probe.region());
                        let target = self.target(probe, canvas, Some(&lists[index]), None);
                        pool = self.pool(probe, planes, &target, buffers);
                        self.work.add(buffers);
                        pool.finish()
                    }
                    (.., Some(all)) => all.pool(&mut pool, index),
                    _ => unreachable!("canvases have shortlists, or candidates are of all images"),
                };
                // 3. The pool, relative to that nearest window.
                let (members, near_enough) = self.settings.rule.members(candidates, least);
                canvas.fallbacks += i32::from(!near_enough);
                // 4. and 5. Draw and copy.
                self.draw(canvas, (pixel, redrawn), members)
            };
            canvases.par_iter_mut().enumerate().try_for_each_init(Default::default, draw)?;
            known[self.settings.frame.flat(pixel)] = true;
        }
        Ok(())
    }

    /// Draws a member of the pool and copies its pixel into the canvas, together with its trace. An error where the pool
    /// is empty, as everything is barred.
    pub(crate) fn draw(
        &self,
        canvas: &mut Canvas,
        (pixel, redrawn): (Pixel, bool),
        pool: &[Candidate],
    ) -> Result<()> {
        if pool.is_empty() {
            return Err(nothing_left());
        }
        let channels = self.corpus.channels();
        let frame = self.settings.frame;
        let flat = frame.flat(pixel);
        let stream = Stream::Pixel { sweep: self.sweep };
        let drawn = pool[canvas.random.index(stream, flat as u32, pool.len())];
        canvas.pixels[flat * channels..][..channels]
            .copy_from_slice(self.corpus.value(drawn.image, drawn.source));
        let Quotas { frame: of_frame, copy, .. } = self.settings.quotas;
        if redrawn && of_frame.is_some() {
            canvas.sources.remove(canvas.trace.image_id[flat]);
        }
        if redrawn && copy.is_some() {
            canvas.shift(frame, pixel).into_iter().for_each(|shift| canvas.shifts.remove(shift));
        }
        canvas.trace.image_id[flat] = drawn.image.0 as i32;
        canvas.trace.y[flat] = drawn.source.y as i32;
        canvas.trace.x[flat] = drawn.source.x as i32;
        canvas.trace.distance[flat] = drawn.distance as f32;
        canvas.trace.pool_size[flat] = pool.len() as i32;
        if of_frame.is_some() {
            canvas.sources.add(drawn.image.0 as i32);
        }
        if copy.is_some() {
            canvas.shift(frame, pixel).into_iter().for_each(|shift| canvas.shifts.add(shift));
        }
        Ok(())
    }
}

/// Every candidate of a pixel is barred.
fn nothing_left() -> Error {
    Error::invalid("candidates", "left to each pixel by quotas and masks", "none")
}
