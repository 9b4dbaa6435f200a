//! A canvas: an image that is being filled, with its trace.

use crate::corpus::ImageId;
use crate::pixels::quota::SourceCounts;
use crate::random::KeyedRandom;

/// An image that is being filled. All slices are row-major over the frame.
#[derive(Debug)]
pub struct Canvas<'a> {
    pub random: KeyedRandom,
    /// The image that must not be copied to this canvas.
    pub barred: Option<ImageId>,
    /// `(H, W, C)` bytes.
    pub pixels: &'a mut [u8],
    pub trace: Trace<'a>,
    /// How many known pixels come from each image; kept only where a quota of the frame needs it.
    pub sources: SourceCounts,
    /// Number of draws so far for which no candidate was near enough, so that the pool was the nearest `k_min`.
    pub fallbacks: i32,
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
