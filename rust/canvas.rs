//! A canvas in the making.

use crate::corpus::ImageId;
use crate::random::Keyed;

/// A canvas in the making, with its trace. All slices are row-major over the frame.
#[derive(Debug)]
pub struct Canvas<'a> {
    pub random: Keyed,
    /// An image that must not serve this canvas.
    pub barred: Option<ImageId>,
    /// `(H, W, C)` bytes.
    pub pixels: &'a mut [u8],
    pub trace: Trace<'a>,
    /// Draws so far where no candidate was near enough, so that the nearest `k_min` had to do.
    pub fallbacks: i32,
}

/// Where each pixel of a canvas came from, `(H, W)` each.
#[derive(Debug)]
pub struct Trace<'a> {
    pub image_id: &'a mut [i32],
    pub y: &'a mut [i32],
    pub x: &'a mut [i32],
    pub distance: &'a mut [f32],
    pub pool_size: &'a mut [i32],
}
