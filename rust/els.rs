//! Analytic score machines (Kamb and Ganguli, "An analytic theory of creativity in convolutional diffusion models").
//!
//! A noisy canvas x = a·x₀ + b·ε is denoised pixel by pixel: x̂₀(p) = Σ w·φ(q) over patches of training images,
//! w ∝ exp(−‖x_p − a·φ_q‖² / 2b²), one softmax over all images. The [`machine`] decides which patches a pixel is compared
//! with; a `tile` is sixteen images; the `kernel` computes distances; `sums` adds weights.
//!
//! **Skipping.** Tiles are scanned in rounds. After a round, the sum of weights Z of a pixel has a lower bound. In the next
//! round, patches whose weight is below `tolerance` · Z / (number of patches) are skipped: together they are less than
//! `tolerance` of the sum.
//!
//! **Sampling.** Each round is a systematic sample of the tiles. If weights are spread over many patches, as at high noise,
//! the first rounds are enough: a canvas is done when the standard error of its noise estimate is below `sampling`.
//!
//! The result of a canvas depends on neither threads nor other canvases: parts of a round are fixed, and merged in order.

mod background;
mod kernel;
pub mod machine;
mod rescored;
mod sliding;
mod state;
mod sums;
#[cfg(test)]
mod tests;
mod tile;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::f64::consts::LOG2_E;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::corpus::{Corpus, ImageId};
use crate::error::{require, Error, Result};
use crate::geometry::Pixel;
use crate::simd::InstructionSet;
use background::first_places;
use kernel::{scan, ScanInput};
use machine::{Frame, Machine, Region};
use sliding::SlidingBuffers;
use state::State;
use sums::{NearPatch, Totals, WeightSums};
use tile::{commonest_pixel, Tile};
use vector::LANES;

/// Images per tile, one per lane of a vector. It is the same on every instruction set, so that sums have one order.
pub const TILE_IMAGES: usize = LANES;

/// One evaluation of the score.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub machine: Machine,
    /// Side of a window, odd; whole images have none.
    pub window: usize,
    /// a and b of x = a·x₀ + b·ε.
    pub signal: f64,
    pub noise: f64,
}

/// How exact the result must be.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Largest share of a pixel's weight that may be skipped; 0 skips nothing.
    pub tolerance: f64,
    /// A sample of the images is enough if the standard error of ε is at most this; 0 scans all images.
    pub sampling: f64,
    /// Which systematic sample comes first.
    pub rotation: usize,
    /// How many of each pixel's heaviest patches are returned.
    pub sources: usize,
}

/// A patch and its share of the weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeavyPatch {
    pub image: ImageId,
    /// Flat index of its centre.
    pub at: u32,
    pub weight: f64,
}

/// The result for one canvas.
#[derive(Debug, Clone)]
pub struct Denoised {
    /// `(H, W, C)`: x̂₀.
    pub mean: Vec<f64>,
    /// `(H, W)`: logarithm of the sum of exp(−d² / 2b²).
    pub log_sum: Vec<f64>,
    /// `(H, W)`: entropy of the weights, nats.
    pub entropy: Vec<f64>,
    /// `(H, W)` lists of the heaviest patches, heaviest first.
    pub sources: Vec<Vec<HeavyPatch>>,
    /// Bound on the share of any pixel's weight that was skipped.
    pub skipped: f64,
    /// Estimated standard error of ε, root mean square, if only a sample of the images was scanned; else 0.
    pub standard_error: f64,
    /// How many images were scanned.
    pub images: usize,
    /// Share of patches that were weighed, not skipped.
    pub weighed: f64,
}

/// Share of the tiles that is scanned after each round, in units of 1 / `STRIDE`.
const ROUNDS: [usize; 7] = [1, 8, 16, 32, 64, 128, STRIDE];
const STRIDE: usize = 256;
/// Parts of a round: the units of work of threads, and the groups whose variance the standard error is estimated from.
const PARTS: usize = 32;
/// Errors of samples are estimated from this share on: a smaller one has too few groups.
const FIRST_SAMPLE: usize = 8;

/// Denoises canvases `(B, H, W, C)` in the frame of the corpus by the images `ids`, in any order. The more similar
/// neighbours in that order are, the faster it is, and the better a sample.
pub fn denoise(
    instructions: InstructionSet,
    (corpus, ids): (&Corpus, &[ImageId]),
    canvases: &[f32],
    step: Step,
    effort: Effort,
    cancel: &AtomicBool,
) -> Result<Vec<Denoised>> {
    check(corpus, ids, canvases, step, effort)?;
    let plan = Plan::new(instructions, corpus, ids, step, effort);
    let mut states: Vec<State> =
        canvases.chunks_exact(plan.canvas_len()).map(|canvas| State::new(&plan, canvas)).collect();
    let order = tile_order(ids.len().div_ceil(TILE_IMAGES), effort.rotation);
    let mut scanned = 0;
    for share in ROUNDS {
        let end = order.partition_point(|&(place, _)| place < share);
        let tiles = &order[scanned..end];
        if tiles.is_empty() {
            continue;
        }
        // Each part compares its tiles with all canvases that are not done. Every part is itself a systematic sample of the
        // round.
        let count = tiles.len().min(PARTS);
        let parts: Vec<Vec<Totals>> = (0..count)
            .into_par_iter()
            .map(|part| plan.part(tiles.iter().skip(part).step_by(count), &states, cancel))
            .collect::<Result<_>>()?;
        let images = tiles.iter().map(|&(_, tile)| plan.tile_ids(tile).len()).sum();
        for part in parts {
            let open = states.iter_mut().filter(|state| !state.done);
            open.zip(part).for_each(|(state, totals)| state.totals.merge(totals));
        }
        scanned = end;
        let last = scanned == order.len();
        for state in states.iter_mut().filter(|state| !state.done) {
            state.tiles = scanned;
            state.close_round(&plan, images, last, share >= FIRST_SAMPLE);
        }
    }
    for state in &mut states {
        if step.noise < rescored::NOISE {
            rescored::rescore(&plan, state);
        }
        if effort.sources > 0 {
            plan.add_background(state, &order);
        }
    }
    Ok(states.iter().map(|state| state.finish(&plan)).collect())
}

fn check(corpus: &Corpus, ids: &[ImageId], canvases: &[f32], step: Step, effort: Effort) -> Result<()> {
    let (extent, channels) = (corpus.extent(), corpus.channels());
    require(channels == 1 || channels == 3, "channels", "1 or 3", channels)?;
    require(!ids.is_empty(), "images", "at least one", 0)?;
    let mut seen = vec![false; corpus.count()];
    for id in ids {
        let fresh = seen.get_mut(id.index()).is_some_and(|seen| !std::mem::replace(seen, true));
        require(fresh, "images", "those of the corpus, none twice", id.0)?;
    }
    require(
        canvases.len().is_multiple_of(extent.area() * channels),
        "canvases",
        format!("of {}×{}×{channels} numbers each", extent.height, extent.width),
        canvases.len(),
    )?;
    let largest = canvases.iter().fold(0.0_f32, |most, x| if x.abs() <= most { most } else { x.abs() });
    require(largest <= LARGEST, "canvases", format!("finite, within ±{LARGEST}"), largest)?;
    let widest = 2 * extent.height.max(extent.width) - 1;
    require(
        step.window % 2 == 1 && step.window <= widest,
        "window",
        format!("odd, in 1…{widest}"),
        step.window,
    )?;
    require(step.signal > 0.0 && step.signal <= 1.0, "signal", "above 0, at most 1", step.signal)?;
    require(
        step.noise >= LEAST_NOISE && step.noise <= 1.0,
        "noise",
        format!("in {LEAST_NOISE}…1"),
        step.noise,
    )?;
    require((0.0..1.0).contains(&effort.tolerance), "tolerance", "at least 0, below 1", effort.tolerance)?;
    require(effort.sources <= MOST_SOURCES, "sources", format!("in 0..={MOST_SOURCES}"), effort.sources)?;
    require(effort.sampling >= 0.0, "sampling", "at least 0", effort.sampling)
}

/// Patches returned per pixel at most: more would be a list of the corpus.
const MOST_SOURCES: usize = 1024;

/// Beyond these, single precision could not distinguish near patches from far ones.
const LARGEST: f32 = 1e3;
const LEAST_NOISE: f64 = 1e-3;

/// Tiles and their place in the order of rounds, 0…`STRIDE` − 1, by place.
fn tile_order(tiles: usize, rotation: usize) -> Vec<(usize, usize)> {
    let place = |tile: usize| {
        let residue = (tile + rotation) % STRIDE;
        residue.reverse_bits() >> (usize::BITS - STRIDE.ilog2())
    };
    let mut order: Vec<_> = (0..tiles).map(|tile| (place(tile), tile)).collect();
    order.sort_unstable();
    order
}

/// What is the same for all canvases of one call.
struct Plan<'a> {
    instructions: InstructionSet,
    corpus: &'a Corpus<'a>,
    ids: &'a [ImageId],
    step: Step,
    effort: Effort,
    /// How many of each pixel's nearest patches are kept.
    nearest: usize,
    frame: Frame,
    regions: Vec<Region>,
    /// Exponents per squared distance, to base 2.
    gain: f64,
    background: Vec<u8>,
    /// `(H, W)`: patches that each pixel is compared with, per image.
    partners: Vec<f64>,
}

impl<'a> Plan<'a> {
    fn new(
        instructions: InstructionSet,
        corpus: &'a Corpus<'a>,
        ids: &'a [ImageId],
        step: Step,
        effort: Effort,
    ) -> Self {
        let frame = Frame::new(step.machine, step.window, corpus.extent());
        let partners = frame.extent.pixels().map(|pixel| {
            let (rows, columns) = frame.partners(pixel.y, pixel.x);
            (rows.len() * columns.len()) as f64
        });
        Self {
            instructions,
            corpus,
            ids,
            step,
            effort,
            nearest: if step.noise < rescored::NOISE {
                effort.sources.max(rescored::COUNT)
            } else {
                effort.sources
            },
            frame,
            regions: frame.regions(),
            // Rounded as in the kernel, so that all weights use the same number.
            gain: f64::from((LOG2_E / (2.0 * step.noise * step.noise)) as f32),
            background: commonest_pixel(corpus, ids),
            partners: partners.collect(),
        }
    }

    fn channels(&self) -> usize {
        self.corpus.channels()
    }

    fn canvas_len(&self) -> usize {
        self.frame.extent.area() * self.channels()
    }

    /// The value that a canvas is compared with for a byte of an image.
    fn level(&self, byte: u8) -> f64 {
        self.step.signal * (f64::from(byte) / 127.5 - 1.0)
    }

    fn tile_ids(&self, tile: usize) -> &[ImageId] {
        let start = tile * TILE_IMAGES;
        &self.ids[start..self.ids.len().min(start + TILE_IMAGES)]
    }

    /// The sums of all canvases that are not done over some tiles.
    fn part<'t>(
        &self,
        tiles: impl Iterator<Item = &'t (usize, usize)>,
        states: &[State],
        cancel: &AtomicBool,
    ) -> Result<Vec<Totals>> {
        let open: Vec<&State> = states.iter().filter(|state| !state.done).collect();
        let mut sums: Vec<WeightSums> =
            open.iter().map(|state| WeightSums::after(&state.totals, self.gain as f32)).collect();
        let mut tile = self.tile();
        let mut buffers = SlidingBuffers::default();
        let mut plain = vec![0.0; self.frame.extent.area()];
        for &(_, index) in tiles {
            tile.load(self.corpus, self.tile_ids(index));
            plain.iter_mut().zip(&tile.plain).for_each(|(sum, &count)| *sum += f64::from(count));
            for (state, sums) in open.iter().zip(&mut sums) {
                if cancel.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                scan(self.instructions, self.view(state, &tile), sums, &mut buffers);
                sums.count_terms(self.regions.len());
            }
        }
        let plain = self.partner_sums(&plain);
        let centre: Vec<f64> = self.background.iter().map(|&byte| self.level(byte)).collect();
        let finish = |(state, sums): (&&State, WeightSums)| {
            let mut totals = sums.finish();
            for (pixel, &count) in plain.iter().enumerate().filter(|(_, &count)| count > 0.0) {
                totals.add_alike(pixel, -self.gain * state.background[pixel], count, &centre);
            }
            totals.close_group();
            totals
        };
        Ok(open.iter().zip(sums).map(finish).collect())
    }

    fn view<'v>(&'v self, state: &'v State, tile: &'v Tile) -> ScanInput<'v> {
        ScanInput {
            extent: self.frame.extent,
            bordered: self.frame.bordered(),
            side: self.frame.window(),
            regions: &self.regions,
            ours: &state.canvas,
            tile,
            limits: &state.limits,
        }
    }

    /// `(H, W)`: sums over the positions that each pixel is compared with.
    fn partner_sums(&self, numbers: &[f64]) -> Vec<f64> {
        let width = self.frame.extent.width;
        let mut known = std::collections::HashMap::new();
        let pixels = self.frame.extent.pixels();
        let sum = |pixel: Pixel| {
            let (rows, columns) = self.frame.partners(pixel.y, pixel.x);
            *known.entry((rows.start, rows.end, columns.start, columns.end)).or_insert_with(|| {
                rows.map(|y| numbers[y * width..][columns.clone()].iter().sum::<f64>()).sum()
            })
        };
        pixels.map(sum).collect()
    }

    fn tile(&self) -> Tile {
        Tile::new(self.frame, self.step.signal as f32, &self.background)
    }

    /// Adds patches of background to a canvas's heaviest patches where they belong: those of the images with the least ids.
    fn add_background(&self, state: &mut State, order: &[(usize, usize)]) {
        let mut scanned: Vec<ImageId> =
            order[..state.tiles].iter().flat_map(|&(_, tile)| self.tile_ids(tile)).copied().collect();
        scanned.sort_unstable();
        let tiles = scanned.chunks(TILE_IMAGES);
        let State { totals, background, .. } = state;
        let needed = |pixel: usize| (totals.alike[pixel] as usize).min(self.effort.sources);
        let places = first_places(self.corpus, tiles, &mut self.tile(), &self.frame, needed);
        for (pixel, (places, &distance)) in places.iter().zip(background.iter()).enumerate() {
            for &(image, at) in places {
                totals.nearest.offer(pixel, NearPatch { distance: distance as f32, image, at });
            }
        }
    }
}
