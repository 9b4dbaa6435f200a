//! npgen's core: the scans and draws that make an image out of pixels of other images.
//!
//! **Shared by all samplers**, in the order of the data:
//! 1. [`geometry`]: extents, pixels and offsets; all arithmetic between (y, x) and flat indices.
//! 2. [`corpus`]: a borrowed view of the source images, `(N, H, W, C)` bytes.
//! 3. [`shortlist`]: the K images whose embeddings are nearest to a query.
//! 4. [`order`]: which pixel is filled when.
//! 5. [`pool`]: which candidates are near enough to be drawn, and their total order.
//! 6. [`random`]: random numbers that depend on their key alone.
//! 7. [`canvas`]: an image that is being filled, with its trace.
//! 8. [`entropy`]: how mixed the sources of a finished image are.
//! 9. [`simd`]: the instruction set that all kernels run on.
//! 10. [`timing`]: timed scans for benchmarks. [`error`]: the error type.
//!
//! **Samplers**, each with its own kernels:
//! - [`pixels`]: pixels are copied from sources with similar windows (the paper's sampler).
//! - [`cuts`]: the borders between sources, by minimum cuts.
//! - [`tokens`]: the same for images of a few bits per cell, by Hamming distance.
//! - [`els`]: analytic score machines, a softmax over all patches of all images.
//!
//! `python` converts arrays, releases the GIL and calls the rest; nothing here calls back into Python.
//!
//! Shape letters: `N` images of `H`×`W`×`C`, `B` canvases, `D` embedding width, `K` shortlist length, `w` window
//! side, `R` locality radius, `T` known taps, `P` pixels of a stage.

pub mod canvas;
pub mod corpus;
pub mod cuts;
pub mod els;
pub mod entropy;
pub mod error;
pub mod geometry;
pub mod order;
pub mod pixels;
pub mod pool;
#[cfg(feature = "python")]
mod python;
pub mod random;
pub mod shortlist;
pub mod simd;
pub mod timing;
pub mod tokens;

pub use error::{Error, Result};
