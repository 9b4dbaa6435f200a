//! The sampler of pixels: each pixel of a canvas is a copy of a source pixel with a similar window.
//!
//! 1. [`window`]: the Gaussian window, and its taps that are known at a pixel.
//! 2. [`planes`]: some source images, position-major: one byte of each image side by side.
//! 3. [`probe`]: everything about the scan of one pixel that all canvases of a batch share.
//! 4. [`ssd`]: distances of the window of a canvas from windows of sources; candidates for the pool.
//! 5. [`scan`]: the settings of a run, and the scans that find the pool of a pixel.
//! 6. [`fill`]: scan, pool, draw, write: one stage for a batch of canvases.

pub mod fill;
pub mod planes;
pub mod probe;
pub mod scan;
pub mod ssd;
pub mod window;
