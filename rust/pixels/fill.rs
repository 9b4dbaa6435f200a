//! One stage for a batch of canvases: scan, pool, draw, write — pixel after pixel.
//!
//! Canvases that have shortlists run side by side, each over its own images. Canvases without one go from pixel to pixel
//! together, as all images stream by once a pixel.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use crate::canvas::Canvas;
use crate::corpus::ImageId;
use crate::error::{check, Result};
use crate::geometry::Pixel;
use crate::pixels::planes::Planes;
use crate::pixels::scan::{merged, Model, Part, View};
use crate::pixels::ssd::Scratch;
use crate::pool::{Builder, Candidate};
use crate::random::Stream;

/// A canvas, and the images that may serve it.
type Listed<'l, 'c> = (&'l mut Canvas<'c>, &'l [ImageId]);

impl Model<'_> {
    /// Copies a drawn member of the pool into the canvas, and notes it in the trace.
    fn write(&self, canvas: &mut Canvas, pixel: Pixel, pool: &[Candidate]) {
        let channels = self.corpus.channels();
        let flat = self.frame.flat(pixel);
        let stream = Stream::Pixel { sweep: self.sweep };
        let drawn = pool[canvas.random.index(stream, flat as u32, pool.len())];
        canvas.pixels[flat * channels..][..channels]
            .copy_from_slice(self.corpus.value(drawn.image, drawn.source));
        canvas.trace.image_id[flat] = drawn.image.0 as i32;
        canvas.trace.y[flat] = drawn.source.y as i32;
        canvas.trace.x[flat] = drawn.source.x as i32;
        canvas.trace.distance[flat] = drawn.distance as f32;
        canvas.trace.pool_size[flat] = pool.len() as i32;
    }

    /// Fills the stage's `pixels` from shortlists or all images, with ε relative to the nearest window anywhere.
    pub fn fill_literally(
        &self,
        pixels: &[Pixel],
        known: &[bool],
        canvases: &mut [Canvas],
        shortlists: Option<&[Vec<ImageId>]>,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let anywhere = self.anywhere();
        let mut known = known.to_vec();
        let (mut far, mut near) = (Part::several(), Part::several());
        for &pixel in pixels {
            let probe = anywhere.probe(&known, pixel);
            let views: Vec<View> =
                canvases.par_iter().map(|canvas| anywhere.view(&probe, canvas, None)).collect();
            anywhere.scan_all(&probe, &views, &mut far, cancel)?;
            let probe = self.probe(&known, pixel);
            if shortlists.is_none() {
                let views: Vec<View> =
                    canvases.par_iter().map(|canvas| self.view(&probe, canvas, None)).collect();
                self.scan_all(&probe, &views, &mut near, cancel)?;
            }
            let write = |(planes, scratch): &mut (Planes, Scratch), (index, canvas): (usize, &mut Canvas)| {
                let nearest = merged(&mut Builder::new(anywhere.rule), &far, index)[0].distance;
                let mut pool = Builder::new(self.rule);
                let pool = match shortlists {
                    Some(lists) => {
                        planes.gather(&self.corpus, lists[index].iter().copied(), probe.region());
                        let view = self.view(&probe, canvas, Some(&lists[index]));
                        pool = self.pool(&probe, planes, &view, scratch);
                        self.account.settle(scratch);
                        pool.finish()
                    }
                    None => merged(&mut pool, &near, index),
                };
                let (pool, failed) = self.literally(pool, nearest);
                canvas.fallbacks += i32::from(failed);
                self.write(canvas, pixel, pool);
            };
            canvases.par_iter_mut().enumerate().for_each_init(Default::default, write);
            known[self.frame.flat(pixel)] = true;
        }
        Ok(())
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
        let probes = self.probes(pixels, known, Some(frame), cancel)?;
        let fill = |(planes, scratch): &mut (Planes, Scratch), together: &mut [Listed]| {
            let ids = together[0].1;
            planes.gather(&self.corpus, ids.iter().copied(), frame);
            for probe in &probes {
                check(cancel)?;
                let views: Vec<View> =
                    together.iter().map(|(canvas, _)| self.view(probe, canvas, Some(ids))).collect();
                let pools = self.pools_of(probe, planes, &views, scratch);
                for ((canvas, _), mut pool) in together.iter_mut().zip(pools) {
                    self.write(canvas, probe.pixel(), pool.finish());
                }
            }
            self.account.settle(scratch);
            Ok(())
        };
        let threads = rayon::current_num_threads();
        let side_by_side = canvases.len() >= threads;
        let mut listed: Vec<Listed> = canvases.iter_mut().zip(shortlists.iter().map(Vec::as_slice)).collect();
        // Canvases of the same images go together, as far as all threads still have some.
        listed.sort_by_key(|&(_, ids)| ids);
        let most = listed.len().div_ceil(threads).max(1);
        let same = listed.chunk_by_mut(|a, b| a.1 == b.1);
        let parts: Vec<&mut [Listed]> = same.flat_map(|part| part.chunks_mut(most)).collect();
        if side_by_side {
            parts.into_par_iter().try_for_each_init(Default::default, fill)
        } else {
            let mut buffers = Default::default();
            parts.into_iter().try_for_each(|part| fill(&mut buffers, part))
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
        let mut parts = Part::several();
        let mut pools = vec![Builder::new(self.rule); canvases.len()];
        for probe in self.probes(pixels, known, None, cancel)? {
            let views: Vec<View> =
                canvases.par_iter().map(|canvas| self.view(&probe, canvas, None)).collect();
            self.scan_all(&probe, &views, &mut parts, cancel)?;
            let write = |(index, (canvas, pool)): (usize, (&mut Canvas, &mut Builder))| {
                self.write(canvas, probe.pixel(), merged(pool, &parts, index));
            };
            canvases.par_iter_mut().zip(&mut pools).enumerate().for_each(write);
        }
        Ok(())
    }
}
