//! The fill of tokens, and the distribution of a single cell.
//!
//! For each cell p, in order:
//! 1. the context: the known cells around p, within the range γ;
//! 2. distances: bits in which the context of the canvas differs from that of each image;
//! 3. the pool, or the weights of a histogram;
//! 4. a draw from it;
//! 5. the copy: token and trace are written together.
//!
//! Canvases are independent of each other. Some of them are compared with one block of images after another together, so
//! that the block is read while it is in a core's own cache.

use std::array;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::context::{Metric, Range, RunningContext, Terms};
use super::draw::{Distances, Draw, Histogram, BLOCK};
use super::kernel::HammingScan;
use super::Tokens;
use crate::canvas::Canvas;
use crate::corpus::ImageId;
use crate::error::{check, require, Result};
use crate::geometry::Pixel;
use crate::pool::PoolRule;
use crate::simd::InstructionSet;

/// Canvases per task at most: as many as a core's own cache holds beside a block of the planes.
pub(crate) const CANVASES_PER_TASK: usize = 32;

/// Canvases that are compared with a group of images while it is in registers.
const CANVASES_PER_PASS: usize = 4;

/// Bits of a token at most for a distribution, which lists all values.
const LISTED_BITS: usize = 16;

/// The settings of a run of tokens: how contexts are compared and what is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Observation range γ in cells; `None` sees everything.
    pub gamma: Option<usize>,
    pub metric: Metric,
    /// Largest Chebyshev distance between a cell and its source. Of each image only the nearest position is a candidate,
    /// in a tie the first in (y, x) order.
    pub radius: usize,
    pub rule: DrawRule,
    pub instructions: InstructionSet,
}

/// What a source is drawn from.
#[derive(Debug, Clone, Copy)]
pub enum DrawRule {
    Pool(PoolRule),
    /// A histogram with the bit-flip probability `flip`.
    Histogram {
        flip: f64,
    },
}

/// Fills canvases from the tokens of a corpus.
#[derive(Debug, Clone)]
pub struct Sampler<'a> {
    pub(super) tokens: Tokens<'a>,
    pub(super) range: Range,
    radius: usize,
    draw: Draw,
    instructions: InstructionSet,
}

/// What is compared for one cell, the same for all canvases.
pub(crate) struct Surroundings {
    /// Number of bits that are compared.
    bits: usize,
    /// The positions of sources, in (y, x) order, and the terms of a scan for each of them.
    positions: Vec<Pixel>,
    terms: Vec<Terms>,
}

/// The distances of one canvas from all images around one cell: of each image that of its nearest position.
pub(crate) struct CanvasDistances {
    distances: Distances,
    /// Index of that position; empty if there is only one.
    nearest_position: Vec<u32>,
}

/// Updates the distances of a block of images from image `first` on, for `C` canvases from canvas `canvas` on, by one scan
/// per position.
fn update_block<const C: usize>(
    found: &mut [CanvasDistances; C],
    instructions: InstructionSet,
    scans: &[HammingScan],
    (canvas, first): (usize, usize),
    cancel: &AtomicBool,
) -> Result<()> {
    let end = (first + BLOCK).min(found[0].distances.sums.len());
    let sums = found.each_mut().map(|found| &mut found.distances.sums[first..end]);
    let mut least = scans[0].run(instructions, (canvas, first), sums);
    if scans.len() > 1 {
        for found in &mut *found {
            found.nearest_position[first..end].fill(0);
        }
        let mut others = [[0; BLOCK]; C];
        for (position, scan) in (1..).zip(&scans[1..]) {
            check(cancel)?;
            let sums = others.each_mut().map(|sums| &mut sums[..end - first]);
            let other_least = scan.run(instructions, (canvas, first), sums);
            for (least, other) in least.iter_mut().zip(other_least) {
                *least = other.min(*least);
            }
            for (found, others) in found.iter_mut().zip(&others) {
                found.keep_nearer(position, first, &others[..end - first]);
            }
        }
    }
    for (found, least) in found.iter_mut().zip(least) {
        found.distances.set_block_least(first, least);
    }
    Ok(())
}

impl CanvasDistances {
    /// Keeps the lesser of the present distances and those of another position, from image `first` on.
    fn keep_nearer(&mut self, position: u32, first: usize, others: &[u16]) {
        let sums = &mut self.distances.sums[first..];
        for ((sum, nearest), &other) in sums.iter_mut().zip(&mut self.nearest_position[first..]).zip(others) {
            *nearest = if other < *sum { position } else { *nearest };
            *sum = other.min(*sum);
        }
    }

    /// The nearest position of an image.
    fn position(&self, surroundings: &Surroundings, image: usize) -> Pixel {
        surroundings.positions[self.nearest_position.get(image).map_or(0, |&index| index as usize)]
    }
}

impl<'a> Sampler<'a> {
    pub fn new(tokens: Tokens<'a>, settings: &Settings) -> Result<Self> {
        let draw = match settings.rule {
            DrawRule::Pool(rule) => Draw::Pool(rule),
            DrawRule::Histogram { flip } => Draw::Histogram(Histogram::new(flip, tokens.count())?),
        };
        let range = Range::new(settings.gamma, settings.metric, &tokens)?;
        Ok(Self { tokens, range, radius: settings.radius, draw, instructions: settings.instructions })
    }

    pub fn tokens(&self) -> &Tokens<'a> {
        &self.tokens
    }

    /// Distances of some canvases before their first scan, given the image that is barred for each.
    pub(crate) fn empty_distances(
        &self,
        barred: impl Iterator<Item = Option<ImageId>>,
    ) -> Vec<CanvasDistances> {
        let count = self.tokens.count();
        let empty = |barred: Option<ImageId>| CanvasDistances {
            distances: Distances::new(count, barred.map(ImageId::index)),
            nearest_position: if self.radius > 0 { vec![0; count] } else { Vec::new() },
        };
        barred.map(empty).collect()
    }

    pub(crate) fn surroundings(
        &self,
        running: &mut RunningContext,
        known: &[bool],
        cell: Pixel,
    ) -> Surroundings {
        let tokens = &self.tokens;
        let context = self.range.cells(tokens.grid(), known, cell);
        let bits = context.len() * tokens.bits();
        let positions: Vec<Pixel> = tokens.grid().square(cell, self.radius).pixels().collect();
        let terms = if self.radius == 0 {
            vec![running.advance(tokens, context)]
        } else {
            positions.iter().map(|&position| Terms::moved(tokens, &context, cell, position)).collect()
        };
        Surroundings { bits, positions, terms }
    }

    /// Updates the distances of the canvases of one task from all images.
    pub(crate) fn scan<'c>(
        &self,
        surroundings: &Surroundings,
        canvases: impl Iterator<Item = &'c [u8]>,
        found: &mut [CanvasDistances],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let canvases: Vec<&[u8]> = canvases.collect();
        let scan = |terms| HammingScan::new(&self.tokens, terms, &canvases);
        let scans: Vec<HammingScan> = surroundings.terms.iter().map(scan).collect();
        let (passes, others) = found[..canvases.len()].as_chunks_mut::<CANVASES_PER_PASS>();
        let following = passes.len() * CANVASES_PER_PASS;
        for first in (0..self.tokens.count()).step_by(BLOCK) {
            check(cancel)?;
            for (index, found) in passes.iter_mut().enumerate() {
                let at = (index * CANVASES_PER_PASS, first);
                update_block(found, self.instructions, &scans, at, cancel)?;
            }
            for (index, found) in others.iter_mut().enumerate() {
                let at = (following + index, first);
                update_block(array::from_mut(found), self.instructions, &scans, at, cancel)?;
            }
        }
        Ok(())
    }

    /// Fills `cells`, none of them twice, of canvases of `(h, w, Y)` bytes. In later sweeps than 0 they are drawn again.
    pub fn fill(
        &self,
        (cells, sweep): (&[Pixel], u16),
        known: &[bool],
        canvases: &mut [Canvas],
        cancel: &AtomicBool,
    ) -> Result<()> {
        let fill = |canvases: &mut [Canvas]| {
            let mut found = self.empty_distances(canvases.iter().map(|canvas| canvas.barred));
            let mut running = RunningContext::default();
            let mut known = known.to_vec();
            for &cell in cells {
                // 1. The context.
                let surroundings = self.surroundings(&mut running, &known, cell);
                // 2. Distances.
                let bytes = canvases.iter().map(|canvas| &*canvas.pixels);
                self.scan(&surroundings, bytes, &mut found, cancel)?;
                for (canvas, found) in canvases.iter_mut().zip(&found) {
                    // 3. to 5. Pool or weights, draw and copy.
                    self.draw(canvas, (cell, sweep), &surroundings, found);
                }
                known[self.tokens.grid().flat(cell)] = true;
            }
            Ok(())
        };
        canvases.par_chunks_mut(canvases_per_task(canvases.len())).try_for_each(fill)
    }

    /// Draws a source and copies its token into the canvas, together with its trace.
    fn draw(
        &self,
        canvas: &mut Canvas,
        (cell, sweep): (Pixel, u16),
        surroundings: &Surroundings,
        found: &CanvasDistances,
    ) {
        let width = self.tokens.width();
        let flat = self.tokens.grid().flat(cell);
        let drawn = found.distances.draw(&self.draw, canvas.random, sweep, flat);
        let source = found.position(surroundings, drawn.image);
        let token = &mut canvas.pixels[flat * width..][..width];
        for (own, byte) in token.iter_mut().zip(self.tokens.value(ImageId(drawn.image as u32), source)) {
            *own = byte;
        }
        self.draw.flip_bits(canvas.random, sweep, flat, self.tokens.bits(), token);
        canvas.trace.image_id[flat] = drawn.image as i32;
        canvas.trace.y[flat] = source.y as i32;
        canvas.trace.x[flat] = source.x as i32;
        canvas.trace.distance[flat] = f32::from(drawn.distance) / surroundings.bits.max(1) as f32;
        canvas.trace.pool_size[flat] = drawn.pool_size as i32;
    }

    /// Calls `result` with the distances of each canvas around one cell.
    fn for_each_canvas<T: Send>(
        &self,
        (cell, known): (Pixel, &[bool]),
        canvases: &[&[u8]],
        barred: &[Option<ImageId>],
        cancel: &AtomicBool,
        result: impl Fn(CanvasDistances, &Surroundings) -> T + Sync,
    ) -> Result<Vec<T>> {
        let surroundings = self.surroundings(&mut RunningContext::default(), known, cell);
        let size = canvases_per_task(canvases.len());
        let task = |(canvases, barred): (&[&[u8]], &[Option<ImageId>])| {
            let mut found = self.empty_distances(barred.iter().copied());
            self.scan(&surroundings, canvases.iter().copied(), &mut found, cancel)?;
            Ok(found.into_iter().map(|found| result(found, &surroundings)).collect())
        };
        let parts = canvases.par_chunks(size).zip(barred.par_chunks(size)).map(task);
        Ok(parts.collect::<Result<Vec<Vec<T>>>>()?.into_iter().flatten().collect())
    }

    /// The distances of each canvas from all images around one cell, in bits.
    pub fn distances(
        &self,
        at: (Pixel, &[bool]),
        canvases: &[&[u8]],
        cancel: &AtomicBool,
    ) -> Result<Vec<Vec<u16>>> {
        let none_barred = vec![None; canvases.len()];
        self.for_each_canvas(at, canvases, &none_barred, cancel, |found, _| found.distances.sums)
    }

    /// The probability of each of the `2^b` tokens at one cell of each canvas, by a histogram.
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
        self.for_each_canvas(at, canvases, barred, cancel, |found, surroundings| {
            let value = |image: usize| {
                let position = found.position(surroundings, image);
                let bytes = self.tokens.value(ImageId(image as u32), position);
                bytes.enumerate().fold(0, |value, (at, byte)| value | usize::from(byte) << (8 * at))
            };
            histogram.distribution(&found.distances, bits, (0..self.tokens.count()).map(value))
        })
    }
}

/// Canvases per task, so that all threads have some.
fn canvases_per_task(canvases: usize) -> usize {
    canvases.div_ceil(rayon::current_num_threads()).clamp(1, CANVASES_PER_TASK)
}
