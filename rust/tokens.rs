//! The sampler of tokens: images are grids of cells of a few bits each, compared by Hamming distance.
//!
//! It works as that of pixels (Zhao and Basu, arXiv 2506.21731): a cell of a canvas is a copy of a cell of a source whose
//! context differs in few bits from the known cells around it,
//! `d(n, q) = Σ_δ popcount(canvas(p+δ) XOR z_n(q+δ))` over the known cells p+δ within the range γ of p.
//!
//! 1. [`context`]: the cells that are compared, and the terms that turn the sums over one context into those over the next.
//! 2. `kernel`: XOR and popcount over one plane after another, images side by side.
//! 3. [`draw`]: the draw of a source, from a pool or by the weights of a histogram.
//! 4. [`fill`]: scan, draw, copy, cell after cell; and the distribution of one cell.
//!
//! All distances are integers, so every instruction set gives the same ones.

pub mod context;
pub mod draw;
pub mod fill;
mod kernel;
#[cfg(test)]
mod tests;

use crate::corpus::ImageId;
use crate::error::{require, Result};
use crate::geometry::{Extent, Pixel};

/// Bits of a token at most.
pub const MOST_BITS: usize = 64;

/// Cells of a grid at most: the position of a draw in its stream, 64 per cell, is a 32-bit number.
const MOST_CELLS: usize = 1 << 26;

/// Tokens of `N` images: `(h, w, Y, N)` bytes, C-contiguous, possibly a memory map. The same byte of the same cell is side
/// by side for all images; unused bits of a token's last byte are 0.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    planes: &'a [u8],
    grid: Extent,
    bits: usize,
    count: usize,
}

impl<'a> Tokens<'a> {
    /// A view of `planes`, whose length must be `h · w · ⌈bits / 8⌉ · count`.
    pub fn new(planes: &'a [u8], count: usize, grid: Extent, bits: usize) -> Result<Self> {
        require((1..=MOST_BITS).contains(&bits), "bits", format!("in 1..={MOST_BITS}"), bits)?;
        require((1..=i32::MAX as usize).contains(&count), "token count", "in 1..=2147483647", count)?;
        let cells = grid.height.saturating_mul(grid.width);
        require(
            (1..=MOST_CELLS).contains(&cells),
            "grid",
            format!("of 1 to {MOST_CELLS} cells"),
            format!("{}×{}", grid.height, grid.width),
        )?;
        let expected = (cells * bits.div_ceil(8)).saturating_mul(count);
        require(planes.len() == expected, "planes", format!("{expected} bytes"), planes.len())?;
        Ok(Self { planes, grid, bits, count })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn grid(&self) -> Extent {
        self.grid
    }

    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Bytes of a token, `Y`.
    pub fn width(&self) -> usize {
        self.bits.div_ceil(8)
    }

    /// Index of a byte of a cell: among the planes, and in a canvas of `(h, w, Y)` bytes.
    fn line(&self, cell: Pixel, byte: usize) -> usize {
        self.grid.flat(cell) * self.width() + byte
    }

    /// The `Y` bytes of one cell of one image.
    pub fn value(&self, id: ImageId, cell: Pixel) -> impl Iterator<Item = u8> + 'a {
        let Self { planes, count, .. } = *self;
        let first = self.line(cell, 0);
        (first..first + self.width()).map(move |line| planes[line * count + id.index()])
    }
}

/// The definition, bit by bit, which tests compare the kernels with. `pairs` are cells of the canvas, `(h, w, Y)` bytes,
/// with the cells of the image that they are compared with.
pub fn reference(tokens: &Tokens, image: ImageId, canvas: &[u8], pairs: &[(Pixel, Pixel)]) -> u32 {
    let mut distance = 0;
    for &(ours, theirs) in pairs {
        for (byte, value) in tokens.value(image, theirs).enumerate() {
            for bit in 0..8 {
                let own = canvas[tokens.line(ours, byte)] >> bit & 1;
                distance += u32::from(own != value >> bit & 1);
            }
        }
    }
    distance
}
