//! npgen's core: the scans and draws that make an image out of pixels of other images.
//!
//! The modules follow the data, in this order:
//!
//! 1. [`geometry`] — extents, pixels and offsets: all y/x/flat arithmetic.
//! 2. [`corpus`] — a borrowed view of `(N, H, W, C)` bytes; [`planes`] — some of its images, position-major.
//! 3. [`shortlist`] — the K images whose embeddings lie nearest to a query.
//! 4. [`order`] — which pixel is filled when.
//! 5. [`window`] — the Gaussian window, cut down to the taps that are known.
//! 6. [`ssd`] — masked, Gaussian-weighted sums of squared differences.
//! 7. [`pool`] — who is near enough to be copied, in a total order.
//! 8. [`sample`] — keyed random numbers.
//! 9. [`canvas`] — a canvas in the making; [`model`] — which sources may serve one of its pixels.
//! 10. [`fill`] — scan, pool, draw, write: one stage for a batch of canvases.
//! 11. [`entropy`] — how mixed the sources of a finished image are.
//! 12. [`els`] — analytic score machines: softmax over all patches of all images.
//! 13. [`tokens`] — the same retrieval among images of a few bits a cell, by Hamming distance.
//!
//! `python` converts, releases the GIL and delegates; nothing here calls back into Python.
//!
//! Shape letters are those of the design: `N` images of `H`×`W`×`C`, `B` canvases, `D` embedding width,
//! `K` shortlist length, `w` window side, `R` locality radius, `T` known taps, `P` pixels of a stage.

pub mod canvas;
pub mod corpus;
pub mod els;
pub mod entropy;
pub mod error;
pub mod fill;
pub mod geometry;
pub mod model;
pub mod order;
pub mod planes;
pub mod pool;
#[cfg(feature = "python")]
mod python;
pub mod sample;
pub mod shortlist;
pub mod ssd;
pub mod tokens;
pub mod window;

pub use error::{Error, Result};
