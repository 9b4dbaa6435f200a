//! The known taps of one pixel of a canvas, and where they lie in a source.

use super::super::window::Window;
use super::{quad_of, Quad, Source};
use crate::error::{refill, Result};
use crate::geometry::{Extent, Pixel};

/// A search checks whether it may stop after at least this many terms.
const CHECK_TERMS: usize = 2;

/// The whole window, heaviest shell first, as offsets from its upper left corner.
#[derive(Debug, Clone, Default)]
pub(super) struct WindowMap {
    /// (down, right) of each tap.
    taps: Vec<(u32, u32)>,
    /// Weight and end in `taps` of each shell.
    shells: Vec<(f64, usize)>,
}

impl WindowMap {
    pub(super) fn new(window: &Window) -> Self {
        let half = window.half() as isize;
        let mut map = Self::default();
        for (weight, offsets) in window.shells() {
            map.taps
                .extend(offsets.iter().map(|offset| ((offset.dy + half) as u32, (offset.dx + half) as u32)));
            map.shells.push((weight, map.taps.len()));
        }
        map
    }
}

/// A canvas with a border as wide as half a window, of which nothing is known.
#[derive(Debug, Clone, Default)]
pub(super) struct BorderedCanvas {
    half: usize,
    stride: usize,
    area: usize,
    known: Vec<bool>,
    /// Bytes of each quad of channels, in raster order.
    values: Vec<[u8; 4]>,
    /// `Σ_c b² − 256 b` of each quad.
    terms: Vec<i32>,
}

impl BorderedCanvas {
    /// Copies a canvas `(H, W, C)` and its mask.
    pub(super) fn copy(
        &mut self,
        (extent, half): (Extent, usize),
        pixels: &[u8],
        known: &[bool],
    ) -> Result<()> {
        let channels = pixels.len() / extent.area().max(1);
        let quads = channels.div_ceil(4);
        (self.half, self.stride) = (half, extent.width + 2 * half);
        self.area = self.stride * (extent.height + 2 * half);
        refill(&mut self.known, "a canvas", self.area, false)?;
        refill(&mut self.values, "a canvas", quads * self.area, [0; 4])?;
        refill(&mut self.terms, "a canvas", quads * self.area, 0)?;
        for pixel in extent.pixels() {
            let flat = extent.flat(pixel);
            if known[flat] {
                self.set(pixel, &pixels[flat * channels..][..channels]);
            }
        }
        Ok(())
    }

    fn at(&self, pixel: Pixel) -> usize {
        (pixel.y + self.half) * self.stride + pixel.x + self.half
    }

    /// Whether a pixel is known.
    pub(super) fn knows(&self, pixel: Pixel) -> bool {
        self.known[self.at(pixel)]
    }

    /// Makes a pixel known.
    pub(super) fn set(&mut self, pixel: Pixel, bytes: &[u8]) {
        let at = self.at(pixel);
        self.known[at] = true;
        for (quad, bytes) in bytes.chunks(4).enumerate() {
            let mut value = [0; 4];
            value[..bytes.len()].copy_from_slice(bytes);
            let linear: i32 = bytes.iter().map(|&byte| i32::from(byte)).sum();
            self.values[quad * self.area + at] = value;
            self.terms[quad * self.area + at] = quad_of(bytes).1 - 256 * linear;
        }
    }
}

/// The terms of one shell: they end at `end`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RasterShell {
    pub(super) end: usize,
    pub(super) weight: f64,
    pub(super) weight_f32: f32,
    /// What the canvas alone adds to the shell's sum of squares.
    pub(super) constant: i32,
    /// Whether a search checks after this shell if it may stop.
    pub(super) check: bool,
}

/// What a search needs of one pixel of one canvas. A *term* is one tap in one quad of channels.
#[derive(Debug, Clone, Default)]
pub(super) struct RasterQuery {
    /// The known taps, as (down, right, quad) from the upper left corner of the window.
    terms: Vec<(u32, u32, u32)>,
    /// The canvas's bytes at each term.
    pub(super) context: Vec<[u8; 4]>,
    pub(super) shells: Vec<RasterShell>,
    /// `C · Σ_δ G(δ)`; 1 if there are no taps, as every distance is 0 then.
    pub(super) norm: f64,
}

impl RasterQuery {
    /// Reads the known taps around a pixel, reusing memory.
    pub(super) fn read(&mut self, map: &WindowMap, canvas: &BorderedCanvas, pixel: Pixel, channels: usize) {
        self.terms.clear();
        self.context.clear();
        self.shells.clear();
        let corner = pixel.y * canvas.stride + pixel.x;
        let quads = channels.div_ceil(4);
        let (mut start, mut checked, mut total) = (0, 0, 0.0);
        for &(weight, end) in &map.shells {
            let before = self.terms.len();
            let mut constant = 0;
            for &(down, right) in &map.taps[start..end] {
                let at = corner + down as usize * canvas.stride + right as usize;
                if canvas.known[at] {
                    for quad in 0..quads {
                        let at = quad * canvas.area + at;
                        self.terms.push((down, right, quad as u32));
                        self.context.push(canvas.values[at]);
                        constant += canvas.terms[at];
                    }
                }
            }
            start = end;
            let end = self.terms.len();
            if end > before {
                let check = end - checked >= CHECK_TERMS;
                if check {
                    checked = end;
                }
                total += weight * ((end - before) / quads) as f64;
                let weight_f32 = weight as f32;
                self.shells.push(RasterShell { end, weight, weight_f32, constant, check });
            }
        }
        self.norm = if self.terms.is_empty() { 1.0 } else { channels as f64 * total };
    }

    /// The known pixels of the window around `pixel`.
    pub(super) fn taps(&self, pixel: Pixel, half: usize) -> impl Iterator<Item = Pixel> + '_ {
        let taps = self.terms.iter().filter(|term| term.2 == 0);
        taps.map(move |&(down, right, _)| Pixel {
            y: pixel.y + down as usize - half,
            x: pixel.x + right as usize - half,
        })
    }

    /// Number of terms.
    pub(super) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Where the terms lie in a source, from the upper left corner of a window.
    pub(super) fn offsets(&self, source: &Source, offsets: &mut Vec<u32>) {
        let (stride, area) = (source.stride as u32, source.area as u32);
        offsets.clear();
        offsets.extend(self.terms.iter().map(|&(down, right, quad)| quad * area + down * stride + right));
    }

    /// Bound on the relative error of a sum in single precision; see [`super::super::probe::Probe::slack`].
    pub(super) fn slack(&self) -> f64 {
        (self.shells.len() + 4) as f64 * f64::from(f32::EPSILON)
    }

    /// The distance of one window in double precision, equal to that of [`super::super::ssd::reference`].
    pub(super) fn exact_distance(&self, source: &Source, position: Pixel) -> f64 {
        let corner = source.corner(position);
        let mut start = 0;
        let mut sum = 0.0;
        for shell in &self.shells {
            let mut squares = shell.constant;
            for (&(down, right, quad), ours) in
                self.terms[start..shell.end].iter().zip(&self.context[start..shell.end])
            {
                let at =
                    corner + quad as usize * source.area + down as usize * source.stride + right as usize;
                squares += source.squares[at] - 2 * dot(&source.values[at], ours);
            }
            sum += shell.weight * f64::from(squares);
            start = shell.end;
        }
        sum / self.norm
    }
}

/// Product of a source's quad and a canvas's.
pub(super) fn dot(theirs: &Quad, ours: &[u8; 4]) -> i32 {
    (0..4).map(|channel| i32::from(theirs[channel]) * i32::from(ours[channel])).sum()
}
