//! Sources in raster order, for scans whose lanes run over neighbouring positions of one source.
//!
//! Where a corpus has few sources, and these are large, lanes that each stand for an image would mostly be empty. Here a
//! lane is a position instead: the windows of 64 neighbouring positions read 64 neighbouring values for each tap. Every
//! source is extended by edge replication to half a window beyond its edges, so that all of its windows read plain
//! memory, those at the border, too.
//!
//! 1. [`Rasters`]: the sources, prepared once.
//! 2. [`query`]: the known taps of one pixel of a canvas, and where they lie in a source.
//! 3. [`kernel`]: squared differences of 64 windows at a time, on each instruction set.
//! 4. [`search`]: the candidates of one pixel that may enter its pool.
//! 5. [`team`]: several threads that search for one pixel together.
//! 6. [`fill`]: the pixels of a stage, one after another.
//!
//! Results are those of the planes' scan, to the last bit: sums of squares are integers, shells are added in the same order,
//! and what may enter the pool is recomputed in double precision ([`super::ssd`]).

pub(super) mod fill;
pub(super) mod kernel;
pub(super) mod query;
pub(super) mod search;
pub(super) mod team;
#[cfg(test)]
mod tests;

use super::planes::GROUP_IMAGES;
use super::settings::Settings;
use crate::corpus::{Corpus, ImageId};
use crate::error::{require, reserved, Result};
use crate::geometry::{Extent, Offset, Pixel};

/// Up to four channels of one pixel, as the kernels multiply them: 128 less than their bytes.
pub(super) type Quad = [i8; 4];

/// Positions that the widest kernel compares at once.
pub(super) const LANES: usize = 64;

/// Limits of a raster search: beyond them the sum of a shell might not fit 32 bits.
const WIDEST_WINDOW: usize = 255;
const MOST_CHANNELS: usize = 16;

/// One source image, extended by edge replication.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) image: ImageId,
    /// The image itself, without the border.
    pub(super) own: Extent,
    /// Values of a row, border included.
    pub(super) stride: usize,
    /// Values of one quad of channels, border included.
    pub(super) area: usize,
    /// Quads of channels, each in raster order.
    pub(super) values: Vec<Quad>,
    /// Sum of the squares of each quad's bytes.
    pub(super) squares: Vec<i32>,
    /// Which pixels of the image may serve, `(H, W)` of its own size; None where all may.
    pub(super) usable: Option<Vec<bool>>,
}

/// All sources of a corpus in raster order: 8 bytes for each pixel and four channels.
#[derive(Debug)]
pub struct Rasters {
    pub(super) half: usize,
    /// Quads of channels: one for up to four channels.
    pub(super) quads: usize,
    pub(super) sources: Vec<Source>,
}

/// The value of up to four channels, and the sum of their squares. Missing channels are 0.
pub(super) fn quad_of(bytes: &[u8]) -> (Quad, i32) {
    let mut quad = [i8::MIN; 4];
    let mut squares = 0;
    for (value, &byte) in quad.iter_mut().zip(bytes) {
        *value = (byte ^ 0x80) as i8;
        squares += i32::from(byte) * i32::from(byte);
    }
    (quad, squares)
}

impl Rasters {
    /// Whether a run scans all images at all positions, and lanes of positions are fuller than lanes of images.
    pub fn suit(settings: &Settings, corpus: &Corpus) -> bool {
        let Extent { height, width } = corpus.extent();
        let of_positions = corpus.count() * height * width.next_multiple_of(LANES / 4);
        let of_images = corpus.count().next_multiple_of(GROUP_IMAGES) * height * width;
        let window = 2 * settings.window.half() + 1;
        let small = (3..=WIDEST_WINDOW).contains(&window) && corpus.channels() <= MOST_CHANNELS;
        let scans_all = settings.corpus_tolerance || settings.everywhere(corpus.extent());
        scans_all && small && corpus.count() < GROUP_IMAGES && of_positions <= of_images
    }

    /// Copies the images of a corpus; an error where memory is short.
    pub fn new(corpus: &Corpus, half: usize) -> Result<Self> {
        let quads = corpus.channels().div_ceil(4);
        let sources =
            corpus.ids().map(|image| Source::new(corpus, image, half, quads)).collect::<Result<Vec<_>>>()?;
        let largest = sources.iter().map(|source| source.values.len()).max().unwrap_or(0);
        require(largest <= u32::MAX as usize, "image size", "at most 2³² pixels, borders included", largest)?;
        Ok(Self { half, quads, sources })
    }

    /// Positions of all sources.
    pub(super) fn positions(&self) -> usize {
        self.sources.iter().map(|source| source.own.area()).sum()
    }
}

impl Source {
    fn new(corpus: &Corpus, image: ImageId, half: usize, quads: usize) -> Result<Self> {
        let own = corpus.own(image);
        let (stride, rows) = (own.width + 2 * half, own.height + 2 * half);
        let area = stride * rows;
        // The last block of the last row reads up to a block beyond it.
        let len = quads * area + LANES;
        let mut values: Vec<Quad> = reserved("a source", len)?;
        let mut squares: Vec<i32> = reserved("a source", len)?;
        for quad in 0..quads {
            for y in 0..rows {
                for x in 0..stride {
                    let beyond = Offset { dy: y as isize - half as isize, dx: x as isize - half as isize };
                    let at = own.step_clamped(Pixel { y: 0, x: 0 }, beyond);
                    let bytes = &corpus.value(image, at)[4 * quad..];
                    let (value, square) = quad_of(&bytes[..bytes.len().min(4)]);
                    values.push(value);
                    squares.push(square);
                }
            }
        }
        values.resize(len, [0; 4]);
        squares.resize(len, 0);
        let usable = match corpus.mask(image) {
            Some(mask) => {
                let mut usable = reserved("a source", own.area())?;
                usable.extend(own.pixels().map(|pixel| mask[corpus.extent().flat(pixel)]));
                Some(usable)
            }
            None => None,
        };
        Ok(Self { image, own, stride, area, values, squares, usable })
    }

    /// Of some lanes, one bit each and the first at a position, those that may serve.
    pub(super) fn usable(&self, position: Pixel, mut lanes: u64) -> u64 {
        let Some(usable) = &self.usable else { return lanes };
        let first = self.own.flat(position);
        let mut left = lanes;
        while left != 0 {
            let lane = left.trailing_zeros();
            left &= left - 1;
            if !usable[first + lane as usize] {
                lanes &= !(1 << lane);
            }
        }
        lanes
    }

    /// Index of the upper left corner of the window of half-side `half` around a position.
    pub(super) fn corner(&self, position: Pixel) -> usize {
        position.y * self.stride + position.x
    }
}
