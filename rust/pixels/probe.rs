//! What the scan of one pixel needs, prepared once for all canvases of a batch.

use super::planes::PlaneLine;
use super::settings::Settings;
use super::window::Taps;
use crate::corpus::Corpus;
use crate::geometry::{Pixel, Rect};

/// The squared difference of a byte of a source and a value of a canvas.
pub(super) fn square(byte: u8, value: i16) -> u64 {
    let difference = i64::from(byte) - i64::from(value);
    (difference * difference) as u64
}

/// A scan checks whether it may stop after at least this many terms: rarely enough for the check to cost little.
const CHECK_TERMS: usize = 4;

/// The terms of one shell: they follow those of the shell before and end at `end`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShellTerms {
    pub(super) end: usize,
    pub(super) weight: f64,
    pub(super) weight_f32: f32,
    /// Whether a scan checks after this shell if it may stop.
    pub(super) check: bool,
}

/// Where the lines of a source position are listed: `lines[row..]`, `base` to be added to each.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceLines {
    pub(super) row: usize,
    pub(super) base: usize,
}

/// Everything about the scan of one pixel that all canvases of a batch share.
///
/// A *term* is one tap in one channel.
#[derive(Debug)]
pub struct Probe {
    pub(super) pixel: Pixel,
    /// Whether the pixel is known already, so that it is drawn again.
    redrawn: bool,
    pub(super) taps: Taps,
    /// Source positions q, in (y, x) order: `Q` of them.
    pub(super) sources: Vec<Pixel>,
    /// The byte of the canvas that each term reads, `(T·C,)`.
    pub(super) canvas_bytes: Vec<usize>,
    /// Lines of a group of planes that the terms read, `(·, T·C)`: one row shared by all positions whose window lies
    /// inside the frame, and one row for each other position.
    pub(super) lines: Vec<u32>,
    /// The row of each source position, and what is to be added to its lines, `(Q,)`.
    pub(super) places: Vec<SourceLines>,
    pub(super) shells: Vec<ShellTerms>,
    /// `C · Σ_δ G(δ)`; 1 if there are no taps, as every distance is 0 then.
    pub(super) norm: f64,
    pub(super) region: Rect,
}

impl Probe {
    /// Prepares the scan of `pixel` under the mask `known`, over planes that hold `region` of each source.
    pub fn new(settings: &Settings, corpus: &Corpus, known: &[bool], pixel: Pixel, region: Rect) -> Self {
        let Settings { frame, radius, .. } = *settings;
        let (source, channels) = (corpus.extent(), corpus.channels());
        let taps = settings.window.taps(frame, known, pixel);
        let per_channel = |at: usize| (0..channels).map(move |channel| at * channels + channel);
        let canvas_bytes: Vec<usize> = taps
            .offsets
            .iter()
            .flat_map(|&offset| per_channel(frame.flat(frame.step_clamped(pixel, offset))))
            .collect();
        let sources: Vec<Pixel> = source.square(pixel, radius).pixels().collect();
        // Sources may be large, so the list grows with their circumference, not with their area.
        let mut lines: Vec<u32> = Vec::new();
        let mut inner: Option<(usize, usize)> = None;
        let corners = taps.corners();
        let mut place = |&position: &Pixel| {
            let whole = corners.iter().all(|&corner| source.step(position, corner).is_some());
            let at = region.flat(position) * channels;
            if let (true, Some((row, first))) = (whole, inner) {
                return SourceLines { row, base: at - first };
            }
            let row = lines.len();
            for &offset in &taps.offsets {
                let tap = region.flat(source.step_clamped(position, offset));
                lines.extend(per_channel(tap).map(|line| line as u32));
            }
            if whole {
                inner = Some((row, at));
            }
            SourceLines { row, base: 0 }
        };
        let places = sources.iter().map(&mut place).collect();
        let mut checked = 0;
        let shells = taps
            .shells
            .iter()
            .map(|&(weight, end)| {
                let end = end * channels;
                let check = end - checked >= CHECK_TERMS && end < canvas_bytes.len();
                if check {
                    checked = end;
                }
                ShellTerms { end, weight, weight_f32: weight as f32, check }
            })
            .collect();
        let norm = if taps.offsets.is_empty() { 1.0 } else { channels as f64 * taps.total_weight() };
        let redrawn = known[frame.flat(pixel)];
        Self { pixel, redrawn, taps, sources, canvas_bytes, lines, places, shells, norm, region }
    }

    /// Whether a position is a source position.
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

    /// Whether the pixel is known already, so that it is drawn again.
    pub fn redrawn(&self) -> bool {
        self.redrawn
    }

    pub fn region(&self) -> Rect {
        self.region
    }

    /// Number of terms, tap · channel · candidate, of a scan of `images` sources.
    pub fn terms(&self, images: usize) -> usize {
        self.sources.len() * self.canvas_bytes.len() * images
    }

    /// Reads the bytes of the canvas at the known taps, `(T·C,)`.
    pub(super) fn context(&self, canvas: &[u8], context: &mut Vec<i16>) {
        context.clear();
        context.extend(self.canvas_bytes.iter().map(|&byte| i16::from(canvas[byte])));
    }

    /// Bound on the relative error of a scanned distance: half a unit in the last place for each weight, integer, product
    /// and sum, rounded up generously.
    pub(super) fn slack(&self) -> f64 {
        (self.shells.len() + 4) as f64 * f64::from(f32::EPSILON)
    }

    /// The distance of one lane's window in double precision, equal to that of [`reference`](super::ssd::reference).
    pub(super) fn exact_distance(
        &self,
        group: &[PlaneLine],
        lane: usize,
        source: usize,
        context: &[i16],
    ) -> f64 {
        let SourceLines { row, base } = self.places[source];
        let lines = &self.lines[row..][..context.len()];
        let mut start = 0;
        let mut sum = 0.0;
        for shell in &self.shells {
            let squares: u64 = lines[start..shell.end]
                .iter()
                .zip(&context[start..shell.end])
                .map(|(&line, &value)| square(group[base + line as usize].0[lane], value))
                .sum();
            sum += shell.weight * squares as f64;
            start = shell.end;
        }
        sum / self.norm
    }
}
