//! Scan, draw, write: cell after cell of a batch of canvases.
//!
//! Canvases are independent of each other. A few of them go together, over block after block of images, so that what is read
//! of the planes serves all of them while it is in a core's own cache.

use std::array;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use rayon::prelude::*;

use super::context::{Range, Running, Terms};
use super::draw::{Distances, Draw, Histogram, BLOCK};
use super::kernel::{Kernel, Scan};
use super::Tokens;
use crate::canvas::Canvas;
use crate::corpus::ImageId;
use crate::error::{check, require, Result};
use crate::geometry::Pixel;

/// Canvases that go together at most: what a core's own cache holds beside a block of the planes.
const TOGETHER: usize = 32;

/// Canvases of these that what was read serves while it is in a register.
const ABREAST: usize = 4;

/// Bits of a token at most for which all values are listed.
const LISTED_BITS: usize = 16;

/// How tokens are compared and chosen; the same for all cells of a run.
#[derive(Debug, Clone, Copy)]
pub struct Sampler<'a> {
    pub tokens: Tokens<'a>,
    pub range: Range,
    /// Largest Chebyshev distance between a cell and its source; of each image its nearest place counts, the first in (y, x)
    /// order where several are.
    pub radius: usize,
    pub kernel: Kernel,
}

/// What is around a cell, the same for all canvases of a batch.
struct Around {
    /// Bits that are compared.
    bits: usize,
    /// Where sources may lie, in (y, x) order, and the terms of a scan for each of these places.
    places: Vec<Pixel>,
    terms: Vec<Terms>,
}

/// One canvas's distances around one cell: of each image its nearest place.
struct View {
    distances: Distances,
    /// Which of the places that is; empty where there is only one.
    nearest_place: Vec<u32>,
}

/// Brings a block of images up to date for `C` canvases, the first of them `canvas`, by a scan for each place.
fn update<const C: usize>(
    views: &mut [View; C],
    kernel: Kernel,
    scans: &[Scan],
    (canvas, first): (usize, usize),
    cancel: &AtomicBool,
) -> Result<()> {
    let end = (first + BLOCK).min(views[0].distances.sums.len());
    let sums = views.each_mut().map(|view| &mut view.distances.sums[first..end]);
    let mut least = scans[0].run(kernel, (canvas, first), sums);
    if scans.len() > 1 {
        for view in &mut *views {
            view.nearest_place[first..end].fill(0);
        }
        let mut others = [[0; BLOCK]; C];
        for (place, scan) in (1..).zip(&scans[1..]) {
            check(cancel)?;
            let found =
                scan.run(kernel, (canvas, first), others.each_mut().map(|sums| &mut sums[..end - first]));
            for (least, found) in least.iter_mut().zip(found) {
                *least = found.min(*least);
            }
            for (view, others) in views.iter_mut().zip(&others) {
                view.keep_nearer(place, first, &others[..end - first]);
            }
        }
    }
    for (view, least) in views.iter_mut().zip(least) {
        view.distances.settle(first, least);
    }
    Ok(())
}

impl View {
    /// Takes the distances of another place where they are less, from image `first` on.
    fn keep_nearer(&mut self, place: u32, first: usize, others: &[u16]) {
        let sums = &mut self.distances.sums[first..];
        for ((sum, nearest), &other) in sums.iter_mut().zip(&mut self.nearest_place[first..]).zip(others) {
            *nearest = if other < *sum { place } else { *nearest };
            *sum = other.min(*sum);
        }
    }

    /// Where an image's nearest surroundings are.
    fn place(&self, around: &Around, image: usize) -> Pixel {
        around.places[self.nearest_place.get(image).map_or(0, |&place| place as usize)]
    }
}

impl Sampler<'_> {
    /// Views of `count` canvases from which nothing was scanned yet.
    fn views(&self, barred: impl Iterator<Item = Option<ImageId>>) -> Vec<View> {
        let count = self.tokens.count();
        let view = |barred: Option<ImageId>| View {
            distances: Distances::new(count, barred.map(ImageId::index)),
            nearest_place: if self.radius > 0 { vec![0; count] } else { Vec::new() },
        };
        barred.map(view).collect()
    }

    fn around(&self, running: &mut Running, known: &[bool], cell: Pixel) -> Around {
        let tokens = &self.tokens;
        let context = self.range.cells(tokens.grid(), known, cell);
        let bits = context.len() * tokens.bits();
        let places: Vec<Pixel> = tokens.grid().square(cell, self.radius).pixels().collect();
        let terms = if self.radius == 0 {
            vec![running.towards(tokens, context)]
        } else {
            places.iter().map(|&place| Terms::moved(tokens, &context, cell, place)).collect()
        };
        Around { bits, places, terms }
    }

    /// Brings the distances of all images up to date, for canvases that go together.
    fn scan<'c>(
        &self,
        around: &Around,
        canvases: impl Iterator<Item = &'c [u8]>,
        views: &mut [View],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let canvases: Vec<&[u8]> = canvases.collect();
        let scan = |terms| Scan::new(&self.tokens, terms, &canvases);
        let scans: Vec<Scan> = around.terms.iter().map(scan).collect();
        let (abreast, others) = views[..canvases.len()].as_chunks_mut::<ABREAST>();
        let following = abreast.len() * ABREAST;
        for first in (0..self.tokens.count()).step_by(BLOCK) {
            check(cancel)?;
            for (index, views) in abreast.iter_mut().enumerate() {
                update(views, self.kernel, &scans, (index * ABREAST, first), cancel)?;
            }
            for (index, view) in others.iter_mut().enumerate() {
                update(array::from_mut(view), self.kernel, &scans, (following + index, first), cancel)?;
            }
        }
        Ok(())
    }

    /// Fills `cells`, none of them twice, of canvases of `(h, w, Y)` bytes; in later sweeps, fills them again.
    pub fn fill(
        &self,
        (cells, sweep): (&[Pixel], u16),
        known: &[bool],
        draw: &Draw,
        canvases: &mut [Canvas],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let fill = |canvases: &mut [Canvas]| {
            let mut views = self.views(canvases.iter().map(|canvas| canvas.barred));
            let mut running = Running::default();
            let mut known = known.to_vec();
            for &cell in cells {
                let around = self.around(&mut running, &known, cell);
                self.scan(&around, canvases.iter().map(|canvas| &*canvas.pixels), &mut views, cancel)?;
                for (canvas, view) in canvases.iter_mut().zip(&views) {
                    self.write(canvas, (cell, sweep), &around, view, draw);
                }
                known[self.tokens.grid().flat(cell)] = true;
            }
            Ok(())
        };
        canvases.par_chunks_mut(together(canvases.len())).try_for_each(fill)
    }

    /// Copies a drawn token into the canvas, and notes it in the trace.
    fn write(
        &self,
        canvas: &mut Canvas,
        (cell, sweep): (Pixel, u16),
        around: &Around,
        view: &View,
        draw: &Draw,
    ) {
        let width = self.tokens.width();
        let flat = self.tokens.grid().flat(cell);
        let drawn = view.distances.draw(draw, canvas.random, sweep, flat);
        let source = view.place(around, drawn.image);
        let token = &mut canvas.pixels[flat * width..][..width];
        for (own, byte) in token.iter_mut().zip(self.tokens.value(ImageId(drawn.image as u32), source)) {
            *own = byte;
        }
        draw.finish(canvas.random, sweep, flat, self.tokens.bits(), token);
        canvas.trace.image_id[flat] = drawn.image as i32;
        canvas.trace.y[flat] = source.y as i32;
        canvas.trace.x[flat] = source.x as i32;
        canvas.trace.distance[flat] = f32::from(drawn.distance) / around.bits.max(1) as f32;
        canvas.trace.pool_size[flat] = drawn.choice as i32;
    }

    /// What `of` makes of each canvas's view of one cell.
    fn each<T: Send>(
        &self,
        (cell, known): (Pixel, &[bool]),
        canvases: &[&[u8]],
        barred: &[Option<ImageId>],
        cancel: &AtomicBool,
        of: impl Fn(View, &Around) -> T + Sync,
    ) -> Result<Vec<T>> {
        let around = self.around(&mut Running::default(), known, cell);
        let size = together(canvases.len());
        let look = |(canvases, barred): (&[&[u8]], &[Option<ImageId>])| {
            let mut views = self.views(barred.iter().copied());
            self.scan(&around, canvases.iter().copied(), &mut views, cancel)?;
            Ok(views.into_iter().map(|view| of(view, &around)).collect())
        };
        let parts = canvases.par_chunks(size).zip(barred.par_chunks(size)).map(look);
        Ok(parts.collect::<Result<Vec<Vec<T>>>>()?.into_iter().flatten().collect())
    }

    /// The distances, in bits, of all images from what is around one cell of each canvas.
    pub fn distances(
        &self,
        at: (Pixel, &[bool]),
        canvases: &[&[u8]],
        cancel: &AtomicBool,
    ) -> Result<Vec<Vec<u16>>> {
        let nobody = vec![None; canvases.len()];
        self.each(at, canvases, &nobody, cancel, |view, _| view.distances.sums)
    }

    /// Seconds of each of `repeats` scans of all images for one cell of all canvases, on one thread, in memory that is kept.
    pub fn time_scan(
        &self,
        (cell, known): (Pixel, &[bool]),
        canvases: &[&[u8]],
        repeats: usize,
        cancel: &AtomicBool,
    ) -> Result<Vec<f64>> {
        let around = self.around(&mut Running::default(), known, cell);
        let mut views = self.views(std::iter::repeat_n(None, TOGETHER));
        let mut once = || {
            let start = Instant::now();
            for canvases in canvases.chunks(TOGETHER) {
                self.scan(&around, canvases.iter().copied(), &mut views, cancel)?;
                black_box(&views);
            }
            Ok(start.elapsed().as_secs_f64())
        };
        (0..repeats).map(|_| once()).collect()
    }

    /// How likely each of the `2^b` tokens is to be drawn for one cell of each canvas.
    pub fn distributions(
        &self,
        at: (Pixel, &[bool]),
        canvases: &[&[u8]],
        barred: &[Option<ImageId>],
        histogram: &Histogram,
        cancel: &AtomicBool,
    ) -> Result<Vec<Vec<f64>>> {
        let bits = self.tokens.bits();
        require(
            bits <= LISTED_BITS,
            "bits",
            format!("at most {LISTED_BITS}, as all tokens are listed"),
            bits,
        )?;
        self.each(at, canvases, barred, cancel, |view, around| {
            let value = |image: usize| {
                let bytes = self.tokens.value(ImageId(image as u32), view.place(around, image));
                bytes.enumerate().fold(0, |value, (at, byte)| value | usize::from(byte) << (8 * at))
            };
            histogram.distribution(&view.distances, bits, (0..self.tokens.count()).map(value))
        })
    }
}

/// How many of some canvases go together.
fn together(canvases: usize) -> usize {
    canvases.div_ceil(rayon::current_num_threads()).clamp(1, TOGETHER)
}
