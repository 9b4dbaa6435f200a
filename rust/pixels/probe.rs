//! What the scan of one pixel needs to know, prepared once for all canvases of a batch.

use crate::geometry::{Extent, Pixel, Rect};
use crate::pixels::planes::Lanes;
use crate::pixels::window::{Taps, Window};

pub(super) fn square(byte: u8, value: i16) -> u64 {
    let difference = i64::from(byte) - i64::from(value);
    (difference * difference) as u64
}

/// A scan looks whether it may stop after every so many terms: rarely enough to cost little.
const CHECK_TERMS: usize = 4;

/// The end of a shell in the list of terms, its weight, and whether a scan looks up from its work there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) end: usize,
    pub(super) weight: f64,
    pub(super) weight_f32: f32,
    pub(super) check: bool,
}

/// Where the lines of a source position are listed: `lines[row..]`, each moved on by `base`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) base: usize,
}

/// Everything about the scan of one pixel that all canvases of a batch share.
///
/// A *term* is one tap in one channel.
#[derive(Debug)]
pub struct Probe {
    pub(super) pixel: Pixel,
    pub(super) taps: Taps,
    /// Source positions q, in (y, x) order: `Q` of them.
    pub(super) sources: Vec<Pixel>,
    /// Byte of the canvas that each term reads, `(T·C,)`.
    pub(super) canvas_bytes: Vec<usize>,
    /// Lines of a group of planes that the terms read, `(·, T·C)`: one row for all positions whose window lies inside the
    /// frame, and one for each of the others.
    pub(super) lines: Vec<u32>,
    /// Which row each source position has, and how many lines farther on it reads, `(Q,)`.
    pub(super) places: Vec<Place>,
    pub(super) spans: Vec<Span>,
    /// `C · Σ_δ G(δ)`; 1 without taps, when every distance is 0.
    pub(super) norm: f64,
    pub(super) region: Rect,
}

/// Where a pixel's candidates lie and which part of them is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// Frame of the canvases.
    pub frame: Extent,
    /// Frame of the sources; another one only where a source may lie anywhere in it.
    pub source: Extent,
    pub channels: usize,
    /// Largest Chebyshev distance between a pixel and its source.
    pub radius: usize,
    pub window: &'a Window,
}

impl Reach<'_> {
    /// The part of the sources that a scan of `pixel` reads.
    pub fn region(&self, pixel: Pixel) -> Rect {
        self.source.square(pixel, self.radius.saturating_add(self.window.half()))
    }
}

impl Probe {
    /// Prepares the scan of `pixel` under the mask `known`, over planes that hold `region` of each source.
    pub fn new(reach: &Reach, known: &[bool], pixel: Pixel, region: Rect) -> Self {
        let Reach { frame, source, channels, radius, window } = *reach;
        let taps = window.taps(frame, known, pixel);
        let per_channel = |at: usize| (0..channels).map(move |channel| at * channels + channel);
        let canvas_bytes: Vec<usize> = taps
            .offsets
            .iter()
            .flat_map(|&offset| per_channel(frame.flat(frame.step_clamped(pixel, offset))))
            .collect();
        let sources: Vec<Pixel> = source.square(pixel, radius).pixels().collect();
        // A source may be as large as it likes: what is listed grows with its edges, not with its area.
        let mut lines: Vec<u32> = Vec::new();
        let mut inner: Option<(usize, usize)> = None;
        let corners = taps.corners();
        let mut place = |&position: &Pixel| {
            let whole = corners.iter().all(|&corner| source.step(position, corner).is_some());
            let at = region.flat(position) * channels;
            if let (true, Some((row, first))) = (whole, inner) {
                return Place { row, base: at - first };
            }
            let row = lines.len();
            for &offset in &taps.offsets {
                let tap = region.flat(source.step_clamped(position, offset));
                lines.extend(per_channel(tap).map(|line| line as u32));
            }
            if whole {
                inner = Some((row, at));
            }
            Place { row, base: 0 }
        };
        let places = sources.iter().map(&mut place).collect();
        let mut checked = 0;
        let spans = taps
            .shells
            .iter()
            .map(|&(weight, end)| {
                let end = end * channels;
                let check = end - checked >= CHECK_TERMS && end < canvas_bytes.len();
                if check {
                    checked = end;
                }
                Span { end, weight, weight_f32: weight as f32, check }
            })
            .collect();
        let norm = if taps.offsets.is_empty() { 1.0 } else { channels as f64 * taps.total_weight() };
        Self { pixel, taps, sources, canvas_bytes, lines, places, spans, norm, region }
    }

    /// Whether a position lies within the locality radius.
    pub fn is_source(&self, position: Pixel) -> bool {
        self.sources.binary_search(&position).is_ok()
    }

    /// The known taps of the window.
    pub fn taps(&self) -> &Taps {
        &self.taps
    }

    pub fn pixel(&self) -> Pixel {
        self.pixel
    }

    pub fn region(&self) -> Rect {
        self.region
    }

    /// Tap·channel·candidate terms of a scan of `images` sources.
    pub fn terms(&self, images: usize) -> usize {
        self.sources.len() * self.canvas_bytes.len() * images
    }

    /// What the canvas holds at the known taps, `(T·C,)`.
    pub(super) fn context(&self, canvas: &[u8], context: &mut Vec<i16>) {
        context.clear();
        context.extend(self.canvas_bytes.iter().map(|&byte| i16::from(canvas[byte])));
    }

    /// Relative error of a scanned distance at most: half an ulp for each weight, each integer, each product and
    /// each sum, rounded up generously.
    pub(super) fn slack(&self) -> f64 {
        (self.spans.len() + 4) as f64 * f64::from(f32::EPSILON)
    }

    /// The distance of one lane's window, in double precision.
    pub(super) fn settle(&self, group: &[Lanes], lane: usize, source: usize, context: &[i16]) -> f64 {
        let Place { row, base } = self.places[source];
        let lines = &self.lines[row..][..context.len()];
        let mut start = 0;
        let mut sum = 0.0;
        for span in &self.spans {
            let squares: u64 = lines[start..span.end]
                .iter()
                .zip(&context[start..span.end])
                .map(|(&line, &value)| square(group[base + line as usize].0[lane], value))
                .sum();
            sum += span.weight * squares as f64;
            start = span.end;
        }
        sum / self.norm
    }
}
