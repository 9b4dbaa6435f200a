//! Borders between sources by minimum cuts: which pixel is copied from which image, chosen jointly.
//!
//! 1. [`flow`]: maximum flow and minimum cut of a grid.
//! 2. [`montage`]: a canvas as a labelling of its pixels by (image, displacement), and the energy of its seams.
//! 3. [`expansion`]: one label takes the pixels that lower the energy most: one cut.
//! 4. [`seams`]: the borders of a grown canvas, cut anew.

pub mod expansion;
pub mod flow;
pub mod montage;
pub mod seams;
