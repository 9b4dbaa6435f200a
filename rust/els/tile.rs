//! A tile: sixteen images side by side, position-major, with their border.

use std::ops::Range;

use super::machine::Frame;
use super::vector::{Block, Mask, LANES};
use crate::corpus::{Corpus, ImageId};
use crate::geometry::Extent;

/// Maps a byte, 0…255, to −1…1.
pub fn unit(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

/// Some images of the corpus, prepared for a scan.
///
/// All patches that show nothing but background are equal, so they are counted here and weighed once: on corpora of glyphs,
/// these are most patches.
pub struct Tile {
    frame: Frame,
    /// `(H + border, W + border, C)`: signal · pixel.
    pub blocks: Vec<Block>,
    /// `(H, W)`: images whose patch at a position is more than background.
    pub alive: Vec<Mask>,
    /// `(H, W)`: how many images' patch at a position is all background.
    pub plain: Vec<u32>,
    /// Rows and columns of all positions where any image is alive.
    pub bounds: (Range<usize>, Range<usize>),
    pub ids: Vec<ImageId>,
    values: [f32; 256],
    background: Vec<u8>,
    /// `(H + border, W + border)`: images whose pixel is not background; no image in a border of zeros.
    ink: Vec<Mask>,
}

impl Tile {
    /// `background` is a pixel's C bytes.
    pub fn new(frame: Frame, signal: f32, background: &[u8]) -> Self {
        let area = frame.bordered().area();
        Self {
            frame,
            blocks: vec![Block::ZERO; background.len() * area],
            alive: vec![0; frame.extent.area()],
            plain: vec![0; frame.extent.area()],
            bounds: (0..0, 0..0),
            ids: Vec::with_capacity(LANES),
            values: std::array::from_fn(|byte| signal * unit(byte as u8)),
            background: background.to_vec(),
            ink: vec![0; area],
        }
    }

    /// Loads up to `LANES` images of the corpus.
    pub fn load(&mut self, corpus: &Corpus, ids: &[ImageId]) {
        assert!((1..=LANES).contains(&ids.len()) && corpus.channels() == self.background.len());
        self.ids.clear();
        self.ids.extend(ids);
        // Lanes after the last image repeat it, and are never alive.
        let images: [&[u8]; LANES] = std::array::from_fn(|lane| corpus.image(ids[lane.min(ids.len() - 1)]));
        let present = Mask::MAX >> (LANES - ids.len());
        let (extent, channels) = (self.frame.extent, corpus.channels());
        let mut at = 0;
        for y in self.frame.shown(extent.height) {
            for x in self.frame.shown(extent.width) {
                if let (Some(y), Some(x)) = (y, x) {
                    let pixel = (y * extent.width + x) * channels;
                    let mut ink = 0;
                    for (channel, &background) in self.background.iter().enumerate() {
                        let bytes: [u8; LANES] = std::array::from_fn(|lane| images[lane][pixel + channel]);
                        self.blocks[at * channels + channel].0 =
                            bytes.map(|byte| self.values[usize::from(byte)]);
                        for (lane, byte) in bytes.into_iter().enumerate() {
                            ink |= Mask::from(byte != background) << lane;
                        }
                    }
                    self.ink[at] = ink & present;
                }
                at += 1;
            }
        }
        self.find_alive(present);
    }

    fn find_alive(&mut self, present: Mask) {
        let (extent, bordered, window) = (self.frame.extent, self.frame.bordered(), self.frame.window());
        let mut seen = self.ink.clone();
        spread(&mut seen, 1, window);
        spread(&mut seen, bordered.width, window);
        for y in 0..extent.height {
            let row = &seen[y * bordered.width..][..extent.width];
            self.alive[y * extent.width..][..extent.width].copy_from_slice(row);
        }
        for (plain, alive) in self.plain.iter_mut().zip(&self.alive) {
            *plain = (present & !alive).count_ones();
        }
        self.bounds = bounds(extent, |y, x| self.alive[y * extent.width + x] != 0);
    }
}

/// Replaces each mask by the union of `window` masks, `step` apart, itself the first. Masks near the end of a line mix with
/// the next line, but these are not the windows of any pixel.
fn spread(masks: &mut [Mask], step: usize, window: usize) {
    let mut reach = 1;
    while reach < window {
        let further = reach.min(window - reach) * step;
        for at in 0..masks.len() - further {
            masks[at] |= masks[at + further];
        }
        reach = (2 * reach).min(window);
    }
}

/// The smallest ranges of rows and columns that hold all marked positions.
fn bounds(extent: Extent, marked: impl Fn(usize, usize) -> bool) -> (Range<usize>, Range<usize>) {
    let around = |len: usize, any: &dyn Fn(usize) -> bool| {
        let start = (0..len).find(|&at| any(at)).unwrap_or(len);
        start..(start..len).rev().find(|&at| any(at)).map_or(start, |last| last + 1)
    };
    (
        around(extent.height, &|y| (0..extent.width).any(|x| marked(y, x))),
        around(extent.width, &|x| (0..extent.height).any(|y| marked(y, x))),
    )
}

/// The most frequent pixel of some images, which is likely to fill whole patches. In a tie, the lesser bytes win.
pub fn commonest_pixel(corpus: &Corpus, ids: &[ImageId]) -> Vec<u8> {
    let mut counts = std::collections::BTreeMap::<&[u8], usize>::new();
    for &id in &ids[..ids.len().min(64)] {
        for pixel in corpus.image(id).chunks_exact(corpus.channels()) {
            *counts.entry(pixel).or_default() += 1;
        }
    }
    let most = counts.values().copied().max().unwrap_or(0);
    counts
        .into_iter()
        .find(|&(_, count)| count == most)
        .map_or(vec![0; corpus.channels()], |(pixel, _)| pixel.to_vec())
}
