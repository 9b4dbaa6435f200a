//! Timed scans, for benchmarks: seconds of single scans on one thread, without draws.

use std::hint::black_box;
use std::iter::repeat_n;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::corpus::ImageId;
use crate::error::Result;
use crate::geometry::Pixel;
use crate::pixels::bars::Bars;
use crate::pixels::planes::Planes;
use crate::pixels::probe::Probe;
use crate::pixels::scan::{Scan, Target};
use crate::pixels::ssd::{self, ScanBuffers};
use crate::tokens::context::RunningContext;
use crate::tokens::fill::{Sampler, CANVASES_PER_TASK};

/// Seconds of each of `repeats` scans of one pixel over the images `ids`, gathered beforehand whole, as for a stage.
/// With `pooled` these are pruned scans with a pool, as in a fill, else the bare kernel. Also the size of the pool; 0
/// without.
pub fn time_pixel_scan(
    scan: &Scan,
    (canvas, known, pixel): (&[u8], &[bool], Pixel),
    ids: &[ImageId],
    repeats: usize,
    pooled: bool,
) -> (Vec<f64>, usize) {
    let frame = scan.corpus.extent().frame();
    let probe = Probe::new(scan.settings, &scan.corpus, known, pixel, frame);
    let mut planes = Planes::default();
    planes.gather(&scan.corpus, ids.iter().copied(), frame);
    let target = Target { pixels: canvas, bars: Bars::default(), bound: f64::INFINITY, added: None };
    let mut buffers = ScanBuffers::default();
    let mut size = 0;
    let mut once = || {
        let start = Instant::now();
        if pooled {
            size = scan.pool(&probe, &planes, &target, &mut buffers).finish().len();
        } else {
            for group in 0..planes.groups() {
                let group = planes.group(group);
                let instructions = scan.settings.instructions;
                black_box(ssd::scan_plainly(instructions, &probe, group, canvas, &mut buffers));
            }
        }
        start.elapsed().as_secs_f64()
    };
    let seconds = (0..repeats).map(|_| once()).collect();
    (seconds, size)
}

/// Seconds of each of `repeats` scans of all images for one cell of all canvases, in memory that is kept.
pub fn time_token_scan(
    sampler: &Sampler,
    (cell, known): (Pixel, &[bool]),
    canvases: &[&[u8]],
    repeats: usize,
    cancel: &AtomicBool,
) -> Result<Vec<f64>> {
    let surroundings = sampler.surroundings(&mut RunningContext::default(), known, cell);
    let mut found = sampler.empty_distances(repeat_n(None, CANVASES_PER_TASK));
    let mut once = || {
        let start = Instant::now();
        for canvases in canvases.chunks(CANVASES_PER_TASK) {
            sampler.scan(&surroundings, canvases.iter().copied(), &mut found, cancel)?;
            black_box(&found);
        }
        Ok(start.elapsed().as_secs_f64())
    };
    (0..repeats).map(|_| once()).collect()
}
