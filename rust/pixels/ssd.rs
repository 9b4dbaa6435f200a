//! Masked, Gaussian-weighted sums of squared differences between one window of a canvas and many windows of sources.
//!
//! `d = Σ_δ G(δ) · Σ_c (canvas(p+δ) − source(q+δ))² / (C · Σ_δ G(δ))`, over the known taps δ (Efros and Leung 1999).
//!
//! **Arithmetic.** Squared differences of one shell (taps of equal weight) are added as integers, exactly. The scan
//! weights and adds the shells in single precision, one lane per image; the relative error of such a distance has a known
//! bound (`Probe::slack`), and a distance of 0 is exactly 0. Distances of candidates that may enter the pool are then
//! recomputed from the same integers in double precision (`Probe::exact_distance`). The results of this module are
//! therefore the same on every instruction set and equal to the plain [`reference()`], and the scan can be fast.
//!
//! **Pruning.** Distances only grow with taps. The heaviest shells come first, and once all lanes are beyond what the pool
//! can still take, the rest of their window is skipped. With a bound that is never below the finished pool's, the pool
//! is the same; [`offer_group`] starts from the bound of the pool so far, and tightens it as it goes.

mod reference;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use reference::reference;

use super::added::AddedHere;
use super::bars::{barred_at, Bars};
use super::planes::{Group, Inside, PlaneLine, GROUP_IMAGES};
use super::probe::{Probe, ShellTerms, SourceLines};
use crate::geometry::Pixel;
use crate::pool::{Candidate, Keep, PoolBuilder};
use crate::simd::InstructionSet;

/// When a scan of one group may skip work.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Sums above this are not needed; a window is skipped once all of its lanes are above.
    limit: f32,
    /// If the nearest candidate alone bounds the pool: each sum found lowers the limit to itself times this.
    tighten: Option<f32>,
    /// Whether a lane is finished at its first sum of 0.
    first_zero: bool,
}

impl Limits {
    /// No work is skipped.
    const NONE: Self = Self { limit: f32::INFINITY, tighten: None, first_zero: false };
}

/// The result of a scan of one group.
#[derive(Debug)]
struct GroupSums {
    /// Indices of the source positions that were not skipped, ascending.
    kept: Vec<usize>,
    /// `rows[i][lane]`: unnormalised distances at source position `kept[i]`. May be longer than `kept`.
    rows: Vec<[f32; GROUP_IMAGES]>,
    /// The least of each lane.
    best: [f32; GROUP_IMAGES],
    /// The least of all.
    least: f32,
    /// Terms of one lane that were computed.
    terms: usize,
}

impl Default for GroupSums {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            rows: Vec::new(),
            best: [f32::INFINITY; GROUP_IMAGES],
            least: f32::INFINITY,
            terms: 0,
        }
    }
}

/// The result of one window.
struct Outcome {
    /// Terms that were computed.
    terms: usize,
    /// Whether these were all, and the row holds their sums.
    whole: bool,
}

/// Scans all source positions of one group. Sums start at `floors`, one row for each source position or one for all: at what
/// is added to distances, at least 0, or at infinity for lanes without a candidate.
fn scan(
    instructions: InstructionSet,
    probe: &Probe,
    (group, barred): (Group, &[(Pixel, u64)]),
    context: &[i16],
    floors: &[[f32; GROUP_IMAGES]],
    limits: Limits,
    sums: &mut GroupSums,
) {
    let Group { lines, inside, masked, .. } = group;
    assert!(lines.len() >= probe.region.area() && lines.len().is_multiple_of(probe.region.area()));
    assert_eq!(context.len(), probe.canvas_bytes.len());
    assert!([1, probe.sources.len()].contains(&floors.len()));
    sums.rows.resize(probe.sources.len(), [0.0; GROUP_IMAGES]);
    let windows = GroupWindows { group: lines, inside, masked, barred, probe, context, floors };
    match instructions {
        // SAFETY: the CPU has the features of an instruction set that is `available`. `Probe::new` took the lines of a
        // place from `region`, whose area × channels is the length of a group, so they index the group from its base on;
        // there are as many of them for each source as terms in `context`, which is as long as the last shell's end.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { x86::scan_avx512(windows, limits, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { x86::scan_avx2(windows, limits, sums) },
        InstructionSet::Portable => scan_portable(windows, limits, sums),
    }
}

/// The windows of a group around one pixel.
#[derive(Clone, Copy)]
struct GroupWindows<'a> {
    group: &'a [PlaneLine],
    inside: Option<&'a Inside>,
    masked: Option<(u64, &'a [bool])>,
    /// Lanes whose source pixel is barred, by its position, ascending.
    barred: &'a [(Pixel, u64)],
    probe: &'a Probe,
    context: &'a [i16],
    floors: &'a [[f32; GROUP_IMAGES]],
}

/// One window of all lanes: which lines of which group its terms read.
#[derive(Clone, Copy)]
struct GroupWindow<'a> {
    group: &'a [PlaneLine],
    lines: &'a [u32],
    context: &'a [i16],
    shells: &'a [ShellTerms],
}

impl<'a> GroupWindows<'a> {
    fn window(&self, source: usize) -> GroupWindow<'a> {
        let Self { group, probe, context, .. } = *self;
        let SourceLines { row, base } = probe.places[source];
        GroupWindow {
            group: &group[base..],
            lines: &probe.lines[row..][..context.len()],
            context,
            shells: &probe.shells,
        }
    }

    /// Where the sums of a source position start.
    fn floor(&self, source: usize) -> &'a [f32; GROUP_IMAGES] {
        &self.floors[if self.floors.len() == 1 { 0 } else { source }]
    }

    /// The lanes that have a pixel at a source position that may be copied; one bit each.
    fn lanes(&self, source: usize) -> u64 {
        let position = self.probe.sources[source];
        let inside = self.inside.map_or(u64::MAX, |inside| inside.lanes(position));
        let unusable = match self.masked {
            Some((lane, usable)) if !usable[self.probe.region.flat(position)] => lane,
            _ => 0,
        };
        inside & !unusable & !barred_at(position, self.barred)
    }
}

/// Runs `compare(window, floor, limit, row)` for each source position in turn, within the limits. Inlined into its callers,
/// so that the compiler can use their instructions.
#[inline(always)]
fn scan_sources(
    windows: GroupWindows,
    mut limits: Limits,
    sums: &mut GroupSums,
    mut compare: impl FnMut(GroupWindow, &[f32; GROUP_IMAGES], f32, &mut [f32; GROUP_IMAGES]) -> Outcome,
) {
    let GroupSums { kept, rows, best, least, terms: computed } = sums;
    kept.clear();
    *best = [f32::INFINITY; GROUP_IMAGES];
    *least = f32::INFINITY;
    *computed = 0;
    let lane_of = |(lane, &floor): (usize, &f32)| u64::from(floor < f32::INFINITY) << lane;
    let candidates = windows.floors[0].iter().enumerate().map(lane_of).fold(0, |lanes, lane| lanes | lane);
    for source in 0..rows.len() {
        let lanes = windows.lanes(source);
        if candidates & lanes == 0 {
            continue;
        }
        let row = &mut rows[kept.len()];
        let outcome = compare(windows.window(source), windows.floor(source), limits.limit, row);
        *computed += outcome.terms;
        if !outcome.whole {
            continue;
        }
        if candidates & !lanes != 0 {
            for (lane, sum) in row.iter_mut().enumerate() {
                *sum = if lanes >> lane & 1 == 1 { *sum } else { f32::INFINITY };
            }
        }
        kept.push(source);
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

/// The least of all lanes, found by halves, so that no comparison depends on the one before.
#[inline(always)]
fn least_of(row: &[f32; GROUP_IMAGES]) -> f32 {
    let mut least = *row;
    let mut width = GROUP_IMAGES / 2;
    while width > 0 {
        for lane in 0..width {
            let other = least[lane + width];
            least[lane] = if other < least[lane] { other } else { least[lane] };
        }
        width /= 2;
    }
    least[0]
}

fn scan_portable(windows: GroupWindows, limits: Limits, sums: &mut GroupSums) {
    scan_sources(windows, limits, sums, portable);
}

/// One window of all lanes.
fn portable(
    window: GroupWindow,
    floor: &[f32; GROUP_IMAGES],
    limit: f32,
    row: &mut [f32; GROUP_IMAGES],
) -> Outcome {
    let GroupWindow { group, lines, context, shells } = window;
    *row = *floor;
    let mut start = 0;
    for shell in shells {
        let mut squares = [0_i32; GROUP_IMAGES];
        for (&line, &value) in lines[start..shell.end].iter().zip(&context[start..shell.end]) {
            let bytes = &group[line as usize].0;
            for lane in 0..GROUP_IMAGES {
                let difference = i32::from(i16::from(bytes[lane]) - value);
                squares[lane] += difference * difference;
            }
        }
        for lane in 0..GROUP_IMAGES {
            row[lane] += shell.weight_f32 * squares[lane] as f32;
        }
        start = shell.end;
        if shell.check && row.iter().all(|&sum| sum > limit) {
            return Outcome { terms: start, whole: false };
        }
    }
    Outcome { terms: start, whole: true }
}

/// Buffers of a scan, kept between pixels, and counters of its work.
#[derive(Debug, Default)]
pub struct ScanBuffers {
    context: Vec<i16>,
    floors: Vec<[f32; GROUP_IMAGES]>,
    sums: GroupSums,
    barred: Vec<(Pixel, u64)>,
    /// Terms that were computed.
    pub computed: u64,
    /// Terms that would have been computed without pruning.
    pub total: u64,
}

/// Scans one group without skipping any work; returns the least sum. For benchmarks.
pub fn scan_plainly(
    instructions: InstructionSet,
    probe: &Probe,
    group: Group,
    canvas: &[u8],
    buffers: &mut ScanBuffers,
) -> f32 {
    probe.context(canvas, &mut buffers.context);
    let ScanBuffers { context, sums, .. } = buffers;
    scan(instructions, probe, (group, &[]), context, &[[0.0; GROUP_IMAGES]], Limits::NONE, sums);
    buffers.sums.least
}

/// Scans one group of images around one pixel of one canvas and offers the near candidates to the pool.
///
/// A canvas is given by its bytes and what must not be copied to the pixel; `added` to distances are those of the group,
/// whose first lane is the numbered image of the shortlist.
pub fn offer_group(
    instructions: InstructionSet,
    probe: &Probe,
    group: Group,
    (canvas, bars, added): (&[u8], &Bars, Option<(AddedHere, usize)>),
    pool: &mut PoolBuilder,
    buffers: &mut ScanBuffers,
) {
    let ScanBuffers { context, floors, sums, barred, computed, total } = buffers;
    let ids = group.ids;
    probe.context(canvas, context);
    bars.lanes(ids, barred);
    // 1. Lanes past the last image and lanes of barred images start at infinity: they hold no candidate.
    let mut floor = [f32::INFINITY; GROUP_IMAGES];
    floor[..ids.len()].fill(0.0);
    for lane in bars.images.iter().filter_map(|id| ids.binary_search(id).ok()) {
        floor[lane] = f32::INFINITY;
    }
    match added {
        Some((added, first)) => added.floors(first, &probe.sources, probe.norm, &floor, floors),
        None => {
            floors.clear();
            floors.push(floor);
        }
    }
    // 2. Scan in single precision. Limits are widened by the scan's relative error, so no member of the pool is lost.
    let slack = 1.0 + probe.slack();
    let scale = probe.norm * slack * slack;
    let limit = |pool: &PoolBuilder| (pool.bound() * scale) as f32;
    let best_only = pool.keep() == Keep::Best;
    let limits = Limits {
        limit: limit(pool),
        tighten: pool.nearest_factor().map(|factor| (factor * slack * slack * slack * slack) as f32),
        first_zero: best_only,
    };
    scan(instructions, probe, (group, barred), context, floors, limits, sums);
    *computed += (sums.terms * ids.len()) as u64;
    *total += probe.terms(ids.len()) as u64;
    if sums.least > limits.limit || sums.least == f32::INFINITY {
        return;
    }

    // 3. Recompute the distances of what may still enter the pool in double precision, and offer them.
    let exact = |source: usize, lane: usize, sum: f32| {
        let at = probe.sources[source];
        let window = if sum == 0.0 { 0.0 } else { probe.exact_distance(group.lines, lane, source, context) };
        let beside = added.map_or(0.0, |(added, first)| added.distance(first + lane, at));
        Candidate { distance: window + beside, image: ids[lane], source: at }
    };
    if best_only {
        let GroupSums { kept, rows, best, .. } = sums;
        // An image's nearest position: among those within the slack of its least sum, or the first at distance 0.
        let nearest = |lane: usize, least: f32| {
            let near = least * (slack * slack) as f32;
            let mut nearest: Option<Candidate> = None;
            for (&source, row) in kept.iter().zip(rows.iter()) {
                if row[lane] <= near {
                    let new = exact(source, lane, row[lane]);
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
        let GroupSums { kept, rows, .. } = sums;
        let flat = rows[..kept.len()].as_flattened_mut();
        offer_near(flat, limit, pool, |at, sum| exact(kept[at / GROUP_IMAGES], at % GROUP_IMAGES, sum));
    }
}

/// Offers every candidate whose sum may still enter the pool, with its `exact` distance. The least sums come first, so
/// that the bound is tight early.
fn offer_near(
    sums: &mut [f32],
    limit: impl Fn(&PoolBuilder) -> f32,
    pool: &mut PoolBuilder,
    exact: impl Fn(usize, f32) -> Candidate,
) {
    for _ in 0..pool.missing().max(1) {
        let Some((at, &least)) = sums.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)) else { return };
        if least == f32::INFINITY {
            return;
        }
        pool.offer(exact(at, least));
        sums[at] = f32::INFINITY;
    }
    for (at, &sum) in sums.iter().enumerate() {
        if sum <= limit(pool) && sum.is_finite() {
            pool.offer(exact(at, sum));
        }
    }
}

#[cfg(test)]
mod tests;
