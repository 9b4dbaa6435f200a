//! Masked, Gaussian-weighted sums of squared differences between one window of a canvas and many windows of sources.
//!
//! `d = Σ_δ G(δ) · Σ_c (canvas(p+δ) − source(q+δ))² / (C · Σ_δ G(δ))`, over the known taps δ (Efros and Leung 1999).
//!
//! **Arithmetic.** Squared differences of one shell (taps of equal weight) add up as integers, exactly. The scan
//! weighs and adds the shells in single precision, one lane an image, and so misses the true distance by a known
//! relative error at most (`Probe::slack`); a distance of 0 is exactly 0. Who may enter the pool is then
//! *settled*: recomputed from the same integers in double precision. What leaves this module is thus the same on
//! every instruction set and equal to the plain reference, while the scan is free to be fast.
//!
//! **Pruning.** Distances only grow with taps. The heaviest shells come first, and once all lanes of a line have passed
//! what the pool could still take, the rest of their window is left out. With a bound that is never below the pool's
//! final one the pool is the same; [`offer_group`] starts from the pool so far, and tightens it as it goes.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::probe::{square, Place, Probe, Span};

use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Pixel};
use crate::pixels::planes::{Group, Inside, Lanes, LANES};
use crate::pixels::window::Taps;
use crate::pool::{Builder, Candidate, Keep};
use crate::simd::Path;

/// The definition, in plain double precision: what every kernel is held to. The canvas is its bytes and its frame.
pub fn reference(
    corpus: &Corpus,
    candidate: (ImageId, Pixel),
    (canvas, frame): (&[u8], Extent),
    pixel: Pixel,
    taps: &Taps,
) -> f64 {
    let (image, source) = candidate;
    let mut start = 0;
    let mut sum = 0.0;
    for &(weight, end) in &taps.shells {
        let mut squares = 0;
        for &offset in &taps.offsets[start..end] {
            let theirs = corpus.value(image, corpus.own(image).step_clamped(source, offset));
            let ours = &canvas[frame.flat(frame.step_clamped(pixel, offset)) * corpus.channels()..];
            for (&theirs, &ours) in theirs.iter().zip(ours) {
                squares += square(theirs, i16::from(ours));
            }
        }
        sum += weight * squares as f64;
        start = end;
    }
    let norm = corpus.channels() as f64 * taps.total_weight();
    if norm > 0.0 {
        sum / norm
    } else {
        0.0
    }
}

/// When a scan of one group may leave work out.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Sums above this are of no interest; lanes that are all above it are given up.
    limit: f32,
    /// If only the nearest count: a sum found lowers the limit to itself times this.
    tighten: Option<f32>,
    /// Whether a lane is done with its first sum of 0.
    first_zero: bool,
}

impl Limits {
    /// No work is left out.
    const NONE: Self = Self { limit: f32::INFINITY, tighten: None, first_zero: false };
}

/// Sums of one group: what a scan leaves behind.
#[derive(Debug)]
struct Sums {
    /// The sources that were not given up, ascending.
    live: Vec<usize>,
    /// `rows[i][lane]`: unnormalised distances at source `live[i]`. May be longer than `live`.
    rows: Vec<[f32; LANES]>,
    /// The least of each lane.
    best: [f32; LANES],
    /// The least of all.
    least: f32,
    /// Terms of one lane that were computed.
    terms: usize,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            live: Vec::new(),
            rows: Vec::new(),
            best: [f32::INFINITY; LANES],
            least: f32::INFINITY,
            terms: 0,
        }
    }
}

/// What became of one window.
struct Outcome {
    /// Terms computed.
    terms: usize,
    /// Whether all of them were, and the row holds their sums.
    whole: bool,
}

/// Scans all sources of one group. `floor` is 0, or infinite for lanes that are no candidates anywhere.
fn scan(
    path: Path,
    probe: &Probe,
    group: Group,
    context: &[i16],
    floor: &[f32; LANES],
    limits: Limits,
    sums: &mut Sums,
) {
    let Group { lines, inside, .. } = group;
    assert!(lines.len() >= probe.region.area() && lines.len().is_multiple_of(probe.region.area()));
    assert_eq!(context.len(), probe.canvas_bytes.len());
    sums.rows.resize(probe.sources.len(), [0.0; LANES]);
    let windows = Windows { group: lines, inside, probe, context };
    match path {
        // SAFETY: a path is only made where the CPU has its features (`available`); the lines of a place index the group
        // from its base on because `Probe::new` took them from `region`, whose area × channels is the length of a group;
        // there are as many for each source as terms in `context`, which is as long as the last span's end.
        #[cfg(target_arch = "x86_64")]
        Path::Avx512 => unsafe { x86::scan_avx512(windows, floor, limits, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Path::Avx2 => unsafe { x86::scan_avx2(windows, floor, limits, sums) },
        Path::Portable => scan_portable(windows, floor, limits, sums),
    }
}

/// The windows of a group around one pixel.
#[derive(Clone, Copy)]
struct Windows<'a> {
    group: &'a [Lanes],
    inside: Option<&'a Inside>,
    probe: &'a Probe,
    context: &'a [i16],
}

/// One window of all lanes: which lines of which group its terms read.
#[derive(Clone, Copy)]
struct Lined<'a> {
    group: &'a [Lanes],
    lines: &'a [u32],
    context: &'a [i16],
    spans: &'a [Span],
}

impl<'a> Windows<'a> {
    fn window(&self, source: usize) -> Lined<'a> {
        let Self { group, probe, context, .. } = *self;
        let Place { row, base } = probe.places[source];
        Lined {
            group: &group[base..],
            lines: &probe.lines[row..][..context.len()],
            context,
            spans: &probe.spans,
        }
    }

    /// The lanes that have a pixel at a source position, one bit each.
    fn lanes(&self, source: usize) -> u64 {
        self.inside.map_or(u64::MAX, |inside| inside.lanes(self.probe.sources[source]))
    }
}

/// Runs `compare(window, limit, row)` for source after source, minding the limits. Inlined into its callers, so that the
/// compiler may use their instructions.
#[inline(always)]
fn scan_sources(
    windows: Windows,
    floor: &[f32; LANES],
    mut limits: Limits,
    sums: &mut Sums,
    mut compare: impl FnMut(Lined, f32, &mut [f32; LANES]) -> Outcome,
) {
    let Sums { live, rows, best, least, terms: computed } = sums;
    live.clear();
    *best = [f32::INFINITY; LANES];
    *least = f32::INFINITY;
    *computed = 0;
    let lane_of = |(lane, &floor): (usize, &f32)| u64::from(floor == 0.0) << lane;
    let candidates = floor.iter().enumerate().map(lane_of).fold(0, |lanes, lane| lanes | lane);
    for source in 0..rows.len() {
        let lanes = windows.lanes(source);
        if candidates & lanes == 0 {
            continue;
        }
        let row = &mut rows[live.len()];
        let outcome = compare(windows.window(source), limits.limit, row);
        *computed += outcome.terms;
        if !outcome.whole {
            continue;
        }
        if candidates & !lanes != 0 {
            for (lane, sum) in row.iter_mut().enumerate() {
                *sum = if lanes >> lane & 1 == 1 { *sum } else { f32::INFINITY };
            }
        }
        live.push(source);
        for (best, &sum) in best.iter_mut().zip(row.iter()) {
            *best = if sum < *best { sum } else { *best };
        }
        let row_least = least_of(row);
        if row_least < *least {
            *least = row_least;
            if let Some(factor) = limits.tighten {
                limits.limit = limits.limit.min(row_least * factor);
            }
        }
        if limits.first_zero
            && row_least == 0.0
            && best.iter().filter(|&&best| best == 0.0).count() == candidates.count_ones() as usize
        {
            return;
        }
    }
}

/// The least of all lanes, found by halves: no lane waits for the one before.
#[inline(always)]
fn least_of(row: &[f32; LANES]) -> f32 {
    let mut least = *row;
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let other = least[lane + width];
            least[lane] = if other < least[lane] { other } else { least[lane] };
        }
        width /= 2;
    }
    least[0]
}

fn scan_portable(windows: Windows, floor: &[f32; LANES], limits: Limits, sums: &mut Sums) {
    scan_sources(windows, floor, limits, sums, |window, limit, row| portable(window, floor, limit, row));
}

/// One window of all lanes.
fn portable(window: Lined, floor: &[f32; LANES], limit: f32, row: &mut [f32; LANES]) -> Outcome {
    let Lined { group, lines, context, spans } = window;
    *row = *floor;
    let mut start = 0;
    for span in spans {
        let mut squares = [0_i32; LANES];
        for (&line, &value) in lines[start..span.end].iter().zip(&context[start..span.end]) {
            let bytes = &group[line as usize].0;
            for lane in 0..LANES {
                let difference = i32::from(i16::from(bytes[lane]) - value);
                squares[lane] += difference * difference;
            }
        }
        for lane in 0..LANES {
            row[lane] += span.weight_f32 * squares[lane] as f32;
        }
        start = span.end;
        if span.check && row.iter().all(|&sum| sum > limit) {
            return Outcome { terms: start, whole: false };
        }
    }
    Outcome { terms: start, whole: true }
}

/// Buffers of a scan, kept between pixels, and an account of its work.
#[derive(Debug, Default)]
pub struct Scratch {
    context: Vec<i16>,
    sums: Sums,
    /// Terms computed.
    pub done: u64,
    /// Terms there would be without pruning.
    pub total: u64,
}

/// The bare scan of one group, no work left out; returns the least sum.
pub fn scan_plainly(path: Path, probe: &Probe, group: Group, canvas: &[u8], scratch: &mut Scratch) -> f32 {
    probe.context(canvas, &mut scratch.context);
    scan(path, probe, group, &scratch.context, &[0.0; LANES], Limits::NONE, &mut scratch.sums);
    scratch.sums.least
}

/// Scans one group of images around one pixel of one canvas and offers the near ones to the pool.
///
/// A canvas is its bytes and the images that must not serve the pixel.
pub fn offer_group(
    path: Path,
    probe: &Probe,
    group: Group,
    (canvas, barred): (&[u8], &[ImageId]),
    pool: &mut Builder,
    scratch: &mut Scratch,
) {
    let Scratch { context, sums, done, total } = scratch;
    let ids = group.ids;
    probe.context(canvas, context);
    // Lanes past the last image and barred images are as far as can be.
    let mut floor = [f32::INFINITY; LANES];
    floor[..ids.len()].fill(0.0);
    for lane in barred.iter().filter_map(|id| ids.binary_search(id).ok()) {
        floor[lane] = f32::INFINITY;
    }
    let slack = 1.0 + probe.slack();
    let scale = probe.norm * slack * slack;
    let limit = |pool: &Builder| (pool.bound() * scale) as f32;
    let best_only = pool.keep() == Keep::Best;
    let limits = Limits {
        limit: limit(pool),
        tighten: pool.nearest_factor().map(|factor| (factor * slack * slack * slack * slack) as f32),
        first_zero: best_only,
    };
    scan(path, probe, group, context, &floor, limits, sums);
    *done += (sums.terms * ids.len()) as u64;
    *total += probe.terms(ids.len()) as u64;
    if sums.least > limits.limit || sums.least == f32::INFINITY {
        return;
    }

    let settle = |source: usize, lane: usize, sum: f32| Candidate {
        distance: if sum == 0.0 { 0.0 } else { probe.settle(group.lines, lane, source, context) },
        image: ids[lane],
        source: probe.sources[source],
    };
    if best_only {
        let Sums { live, rows, best, .. } = sums;
        // An image's nearest position: among those within the slack of its least sum, or the first at distance 0.
        let nearest = |lane: usize, least: f32| {
            let near = least * (slack * slack) as f32;
            let mut nearest: Option<Candidate> = None;
            for (&source, row) in live.iter().zip(rows.iter()) {
                if row[lane] <= near {
                    let new = settle(source, lane, row[lane]);
                    if least == 0.0 {
                        return new;
                    }
                    if nearest.is_none_or(|nearest| new.distance < nearest.distance) {
                        nearest = Some(new);
                    }
                }
            }
            nearest.expect("the least sum lies within its own limit")
        };
        offer_near(best, limit, pool, nearest);
    } else {
        let Sums { live, rows, .. } = sums;
        let flat = rows[..live.len()].as_flattened_mut();
        offer_near(flat, limit, pool, |at, sum| settle(live[at / LANES], at % LANES, sum));
    }
}

/// Settles and offers every sum that may still enter the pool; the smallest first, so that the bound is tight early.
fn offer_near(
    sums: &mut [f32],
    limit: impl Fn(&Builder) -> f32,
    pool: &mut Builder,
    settle: impl Fn(usize, f32) -> Candidate,
) {
    for _ in 0..pool.missing().max(1) {
        let Some((at, &least)) = sums.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)) else { return };
        if least == f32::INFINITY {
            return;
        }
        pool.offer(settle(at, least));
        sums[at] = f32::INFINITY;
    }
    for (at, &sum) in sums.iter().enumerate() {
        if sum <= limit(pool) && sum.is_finite() {
            pool.offer(settle(at, sum));
        }
    }
}

#[cfg(test)]
mod tests;
