//! Masked, Gaussian-weighted sums of squared differences between one window of a canvas and many windows of sources.
//!
//! `d = Σ_δ G(δ) · Σ_c (canvas(p+δ) − source(q+δ))² / (C · Σ_δ G(δ))`, over the known taps δ (Efros and Leung 1999).
//!
//! **Arithmetic.** Squared differences of one shell (taps of equal weight) add up as integers, exactly. The scan
//! weighs and adds the shells in single precision, one lane an image, and so misses the true distance by a known
//! relative error at most ([`Probe::slack`]); a distance of 0 is exactly 0. Who may enter the pool is then
//! *settled*: recomputed from the same integers in double precision. What leaves this module is thus the same on
//! every instruction set and equal to the plain reference, while the scan is free to be fast.

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Pixel, Rect};
use crate::planes::{Lanes, LANES};
use crate::pool::{Builder, Candidate, Keep};
use crate::window::{Taps, Window};

/// The end of a shell in the list of terms, and its weight.
#[derive(Debug, Clone, Copy)]
struct Span {
    end: usize,
    weight: f64,
    weight_f32: f32,
}

/// Everything about the scan of one pixel that all canvases of a batch share.
///
/// A *term* is one tap in one channel.
#[derive(Debug)]
pub struct Probe {
    pixel: Pixel,
    /// Source positions q, in (y, x) order: `Q` of them.
    sources: Vec<Pixel>,
    /// Byte of the canvas that each term reads, `(T·C,)`.
    canvas_bytes: Vec<usize>,
    /// Line of a group of planes that each term reads, `(Q, T·C)`.
    lines: Vec<u32>,
    spans: Vec<Span>,
    /// `C · Σ_δ G(δ)`; 1 without taps, when every distance is 0.
    norm: f64,
    region: Rect,
}

/// Where a pixel's candidates lie and which part of them is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    pub extent: Extent,
    pub channels: usize,
    /// Largest Chebyshev distance between a pixel and its source.
    pub radius: usize,
    pub window: &'a Window,
}

impl Reach<'_> {
    /// The part of the sources that a scan of `pixel` reads.
    pub fn region(&self, pixel: Pixel) -> Rect {
        self.extent.square(pixel, self.radius.saturating_add(self.window.half()))
    }
}

impl Probe {
    /// Prepares the scan of `pixel` under the mask `known`, over planes that hold `region` of each source.
    pub fn new(reach: &Reach, known: &[bool], pixel: Pixel, region: Rect) -> Self {
        let Reach { extent, channels, radius, window } = *reach;
        let taps = window.taps(extent, known, pixel);
        let per_channel = |at: usize| (0..channels).map(move |channel| at * channels + channel);
        let canvas_bytes = taps
            .offsets
            .iter()
            .flat_map(|&offset| per_channel(extent.flat(extent.step_clamped(pixel, offset))))
            .collect();
        let sources: Vec<Pixel> = extent.square(pixel, radius).pixels().collect();
        let mut lines = Vec::with_capacity(sources.len() * taps.offsets.len() * channels);
        for &source in &sources {
            for &offset in &taps.offsets {
                let at = region.flat(extent.step_clamped(source, offset));
                lines.extend(per_channel(at).map(|line| line as u32));
            }
        }
        let spans = taps
            .shells
            .iter()
            .map(|&(weight, end)| Span { end: end * channels, weight, weight_f32: weight as f32 })
            .collect();
        let norm = if taps.offsets.is_empty() { 1.0 } else { channels as f64 * taps.total_weight() };
        Self { pixel, sources, canvas_bytes, lines, spans, norm, region }
    }

    pub fn pixel(&self) -> Pixel {
        self.pixel
    }

    pub fn region(&self) -> Rect {
        self.region
    }

    /// Tap·channel·candidate terms of a scan of `images` sources.
    pub fn terms(&self, images: usize) -> usize {
        self.lines.len() * images
    }

    /// What the canvas holds at the known taps, `(T·C,)`.
    pub fn context(&self, canvas: &[u8], context: &mut Vec<i16>) {
        context.clear();
        context.extend(self.canvas_bytes.iter().map(|&byte| i16::from(canvas[byte])));
    }

    /// Relative error of a scanned distance at most: half an ulp for each weight, each integer, each product and
    /// each sum, rounded up generously.
    fn slack(&self) -> f64 {
        (self.spans.len() + 4) as f64 * f64::from(f32::EPSILON)
    }

    fn lines_of(&self, source: usize) -> &[u32] {
        &self.lines[source * self.canvas_bytes.len()..][..self.canvas_bytes.len()]
    }

    /// The distance of one lane's window, in double precision.
    fn settle(&self, group: &[Lanes], lane: usize, source: usize, context: &[i16]) -> f64 {
        let lines = self.lines_of(source);
        let mut start = 0;
        let mut sum = 0.0;
        for span in &self.spans {
            let squares: u64 = lines[start..span.end]
                .iter()
                .zip(&context[start..span.end])
                .map(|(&line, &value)| square(group[line as usize].0[lane], value))
                .sum();
            sum += span.weight * squares as f64;
            start = span.end;
        }
        sum / self.norm
    }
}

fn square(byte: u8, value: i16) -> u64 {
    let difference = i64::from(byte) - i64::from(value);
    (difference * difference) as u64
}

/// The definition, in plain double precision: what every kernel is held to.
pub fn reference(
    corpus: &Corpus,
    candidate: (ImageId, Pixel),
    canvas: &[u8],
    pixel: Pixel,
    taps: &Taps,
) -> f64 {
    let (image, source) = candidate;
    let extent = corpus.extent();
    let mut start = 0;
    let mut sum = 0.0;
    for &(weight, end) in &taps.shells {
        let mut squares = 0;
        for &offset in &taps.offsets[start..end] {
            let theirs = corpus.value(image, extent.step_clamped(source, offset));
            let ours = &canvas[extent.flat(extent.step_clamped(pixel, offset)) * corpus.channels()..];
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

/// Instruction sets a scan can run on. All give the same pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust over fixed lanes; the compiler makes SSE2 or NEON of it.
    Portable,
}

impl Path {
    /// The paths this machine can run, fastest first.
    pub fn available() -> Vec<Self> {
        let mut paths = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                paths.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                paths.push(Self::Avx2);
            }
        }
        paths.push(Self::Portable);
        paths
    }

    /// The fastest path of this machine.
    pub fn best() -> Self {
        Self::available()[0]
    }
}

/// Unnormalised single-precision distances of one group: `sums[q][lane]`, for all `Q` sources.
pub fn scan(path: Path, probe: &Probe, group: &[Lanes], context: &[i16], sums: &mut Vec<[f32; LANES]>) {
    assert_eq!(group.len(), probe.region.area() * (group.len() / probe.region.area()));
    assert_eq!(context.len(), probe.canvas_bytes.len());
    sums.resize(probe.sources.len(), [0.0; LANES]);
    for (source, out) in sums.iter_mut().enumerate() {
        let lines = probe.lines_of(source);
        match path {
            // SAFETY: a path is only made where the CPU has its features (`available`); `lines` index `group`
            // because `Probe::new` took them from `region`, whose area × channels is the length of a group.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { x86::avx512(group, lines, context, &probe.spans, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Path::Avx2 => unsafe { x86::avx2(group, lines, context, &probe.spans, out) },
            Path::Portable => portable(group, lines, context, &probe.spans, out),
        }
    }
}

fn portable(group: &[Lanes], lines: &[u32], context: &[i16], spans: &[Span], out: &mut [f32; LANES]) {
    *out = [0.0; LANES];
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
            out[lane] += span.weight_f32 * squares[lane] as f32;
        }
        start = span.end;
    }
}

/// Buffers of a scan, kept between pixels.
#[derive(Debug, Default)]
pub struct Scratch {
    context: Vec<i16>,
    sums: Vec<[f32; LANES]>,
}

/// Scans one group of images around one pixel of one canvas and offers the near ones to the pool.
///
/// A canvas is its bytes and the image, if any, that must not serve it.
pub fn offer_group(
    path: Path,
    probe: &Probe,
    (group, ids): (&[Lanes], &[ImageId]),
    (canvas, barred): (&[u8], Option<ImageId>),
    pool: &mut Builder,
    scratch: &mut Scratch,
) {
    let Scratch { context, sums } = scratch;
    probe.context(canvas, context);
    scan(path, probe, group, context, sums);
    let slack = 1.0 + probe.slack();
    let candidate = |lane: usize, source: usize, distance: f64| Candidate {
        distance,
        image: ids[lane],
        source: probe.sources[source],
    };
    let settle = |lane: usize, source: usize, sum: f32| {
        let exact = if sum == 0.0 { 0.0 } else { probe.settle(group, lane, source, context) };
        candidate(lane, source, exact)
    };
    // Lanes past the last image and the barred image are as far as can be.
    let absent = |lane: usize| lane >= ids.len() || Some(ids[lane]) == barred;
    match pool.keep() {
        Keep::All => {
            for lane in (0..LANES).filter(|&lane| absent(lane)) {
                sums.iter_mut().for_each(|row| row[lane] = f32::INFINITY);
            }
            let flat = sums.as_flattened_mut();
            offer_near(flat, probe.norm * slack * slack, pool, |at, sum| settle(at % LANES, at / LANES, sum));
        }
        Keep::Best => {
            let mut best = [f32::INFINITY; LANES];
            for row in sums.iter() {
                for lane in 0..LANES {
                    best[lane] = best[lane].min(row[lane]);
                }
            }
            for lane in (0..LANES).filter(|&lane| absent(lane)) {
                best[lane] = f32::INFINITY;
            }
            offer_near(&mut best, probe.norm * slack * slack, pool, |lane, least| {
                let limit = least * (slack * slack) as f32;
                (0..sums.len())
                    .filter(|&source| sums[source][lane] <= limit)
                    .map(|source| settle(lane, source, least))
                    .min_by(Candidate::order)
                    .expect("the least sum lies within its own limit")
            });
        }
    }
}

/// Settles and offers every sum that may still enter the pool; the smallest first, so that the bound is tight early.
/// A pool bound times `scale` bounds the sums from above.
fn offer_near(sums: &mut [f32], scale: f64, pool: &mut Builder, settle: impl Fn(usize, f32) -> Candidate) {
    for _ in 0..pool.missing().max(1) {
        let Some((at, &least)) = sums.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)) else { return };
        if least == f32::INFINITY {
            return;
        }
        pool.offer(settle(at, least));
        sums[at] = f32::INFINITY;
    }
    let limit = |pool: &Builder| (pool.bound() * scale) as f32;
    for (at, &sum) in sums.iter().enumerate() {
        if sum <= limit(pool) && sum.is_finite() {
            pool.offer(settle(at, sum));
        }
    }
}

#[cfg(test)]
mod tests;
