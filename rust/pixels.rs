//! The sampler of pixels: each pixel of a canvas is a copy of a source pixel with a similar window.
//!
//! 1. [`settings`]: how windows are compared and which candidates may be copied; [`quota`]: how many pixels per image, in a
//!    window and in the frame.
//! 2. [`window`]: the Gaussian window, and its taps that are known at a pixel.
//! 3. [`planes`]: some source images, position-major: one byte of each image side by side.
//! 4. [`probe`]: everything about the scan of one pixel that all canvases of a batch share.
//! 5. [`ssd`]: distances of the window of a canvas from windows of sources; candidates for the pool. [`added`]: what is
//!    added to them.
//! 6. [`bars`]: what must not be copied to a pixel.
//! 7. [`scan`]: the scans that find the pool of a pixel.
//! 8. [`raster`]: the same for few large sources, with positions side by side; [`all_images`]: either of the two.
//! 9. [`fill`]: scan, pool, draw, copy: one stage for a batch of canvases.

pub mod added;
mod all_images;
pub mod bars;
pub mod fill;
pub mod planes;
pub mod probe;
pub mod quota;
pub mod raster;
pub mod scan;
pub mod settings;
pub mod ssd;
pub mod window;
