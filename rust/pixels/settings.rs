//! The settings of a run, the same for all of its pixels.

use super::quota::Quotas;
use super::window::Window;
use crate::geometry::{Extent, Pixel, Rect};
use crate::pool::PoolRule;
use crate::simd::InstructionSet;

/// How windows are compared and which candidates may be copied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Frame of the canvases.
    pub frame: Extent,
    pub window: Window,
    /// Largest Chebyshev distance between a pixel and its source, `R`.
    pub radius: usize,
    pub rule: PoolRule,
    pub quotas: Quotas,
    /// Whether ε is relative to the nearest window of all images, wherever it lies (the paper's R_SSD). Otherwise it
    /// is relative to the nearest candidate.
    pub corpus_tolerance: bool,
    pub instructions: InstructionSet,
}

impl Settings {
    /// Settings for the nearest window at any position of sources with the frame `source`: a pool of the nearest
    /// candidate and of those at the same distance.
    pub fn anywhere(&self, source: Extent) -> Self {
        let longest = |extent: Extent| extent.height.max(extent.width);
        Self {
            radius: longest(self.frame).max(longest(source)),
            rule: PoolRule::NEAREST,
            corpus_tolerance: false,
            ..self.clone()
        }
    }

    /// Whether every position of sources with the frame `source` is a candidate of every pixel.
    pub fn everywhere(&self, source: Extent) -> bool {
        let Extent { height, width } = self.frame;
        self.radius >= height.max(width).max(source.height).max(source.width)
    }

    /// The part of sources with the frame `source` that a scan of `pixel` reads.
    pub fn region(&self, source: Extent, pixel: Pixel) -> Rect {
        source.square(pixel, self.radius.saturating_add(self.window.half()))
    }
}
