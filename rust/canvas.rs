//! A canvas: an image that is being filled, with its trace.

use crate::corpus::ImageId;
use crate::geometry::{Extent, Pixel};
use crate::pixels::quota::{Shift, ShiftCounts, SourceCounts};
use crate::random::KeyedRandom;

/// An image that is being filled. All slices are row-major over the frame.
#[derive(Debug)]
pub struct Canvas<'a> {
    pub random: KeyedRandom,
    /// The image that must not be copied to this canvas.
    pub barred: Option<ImageId>,
    /// The shift by which nothing must be copied to it: its seed patch's, if that image is not barred as a whole.
    pub barred_shift: Option<Shift>,
    /// `(H, W, C)` bytes.
    pub pixels: &'a mut [u8],
    pub trace: Trace<'a>,
    /// How many known pixels come from each image; kept only where a quota of the frame needs it.
    pub sources: SourceCounts,
    /// How many come from each image by each shift; kept only where a quota needs it.
    pub shifts: ShiftCounts,
    /// Number of draws so far for which no candidate was near enough, so that the pool was the nearest `k_min`.
    pub fallbacks: i32,
}

impl Canvas<'_> {
    /// The shift of a pixel of the frame, if it has a source.
    pub fn shift(&self, frame: Extent, pixel: Pixel) -> Option<Shift> {
        let flat = frame.flat(pixel);
        let Trace { image_id, y, x, .. } = &self.trace;
        let shift = |source: i32, at: usize| source.wrapping_sub(at as i32);
        let (dy, dx) = (shift(y[flat], pixel.y), shift(x[flat], pixel.x));
        (image_id[flat] >= 0).then(|| Shift { image: image_id[flat], dy, dx })
    }
}

/// The source of each pixel of a canvas, `(H, W)` each.
#[derive(Debug)]
pub struct Trace<'a> {
    pub image_id: &'a mut [i32],
    pub y: &'a mut [i32],
    pub x: &'a mut [i32],
    pub distance: &'a mut [f32],
    pub pool_size: &'a mut [i32],
}
