//! One cell's distances over 20,000 images, a causal context of range 5 of two-byte tokens: whole, and from the cell before.

mod common;

use std::hint::black_box;
use std::sync::atomic::AtomicBool;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use npgen::canvas::{Canvas, Trace};
use npgen::geometry::{Extent, Pixel};
use npgen::pixels::quota::{ShiftCounts, SourceCounts};
use npgen::pool::{Keep, PoolRule};
use npgen::random::KeyedRandom;
use npgen::simd::InstructionSet;
use npgen::tokens::context::{Metric, Range};
use npgen::tokens::fill::{DrawRule, Sampler, Settings};
use npgen::tokens::Tokens;

const COUNT: usize = 20_000;
const BITS: usize = 14;

fn scans(criterion: &mut Criterion) {
    let grid = Extent::new(16, 16);
    let width = BITS.div_ceil(8);
    let bytes = common::images(COUNT, grid, width);
    let lines = grid.area() * width;
    let unused = |line: usize| if line % width == width - 1 { width * 8 - BITS } else { 0 };
    let plane = |line: usize| bytes[line..].iter().step_by(lines).map(move |byte| byte >> unused(line));
    let planes: Vec<u8> = (0..lines).flat_map(plane).collect();
    let tokens = Tokens::new(&planes, COUNT, grid, BITS).unwrap();
    let settings = Settings {
        gamma: Some(5),
        metric: Metric::Chebyshev,
        radius: 0,
        rule: DrawRule::Pool(PoolRule::new(0.1, 1, Keep::Best).unwrap()),
        instructions: InstructionSet::best(),
    };
    let range = Range::new(settings.gamma, settings.metric, &tokens).unwrap();
    let cell = Pixel { y: 8, x: 8 };
    let known: Vec<bool> = grid.pixels().map(|pixel| pixel < cell).collect();
    let canvas: Vec<u8> = planes.chunks_exact(COUNT).map(|line| line[7]).collect();
    let compared = range.cells(grid, &known, cell).len() * tokens.width();
    let never = AtomicBool::new(false);

    let mut group = criterion.benchmark_group("tokens");
    group.throughput(Throughput::Bytes((compared * COUNT) as u64));
    for instructions in InstructionSet::available() {
        let sampler = Sampler::new(tokens, &Settings { instructions, ..settings }).unwrap();
        group.bench_function(format!("distances, {instructions:?}"), |bencher| {
            bencher.iter(|| black_box(sampler.distances((cell, &known), &[&canvas], &never).unwrap()));
        });
    }
    group.throughput(Throughput::Elements(8));
    let sampler = Sampler::new(tokens, &settings).unwrap();
    let cells: Vec<Pixel> = grid.pixels().collect();
    group.sample_size(10);
    group.bench_function("fill of 8 canvases of 16×16", |bencher| {
        bencher.iter(|| {
            let area = grid.area();
            let mut pixels = vec![0; 8 * canvas.len()];
            let mut ids = [(); 4].map(|()| vec![0; 8 * area]);
            let mut distance = vec![0.0; 8 * area];
            let [image_id, y, x, pool_size] = ids.each_mut().map(|ids| ids.chunks_exact_mut(area));
            let traces = image_id.zip(y).zip(x.zip(pool_size)).zip(distance.chunks_exact_mut(area));
            let mut canvases: Vec<Canvas> = (0..)
                .zip(pixels.chunks_exact_mut(canvas.len()))
                .zip(traces)
                .map(|((sample, pixels), (((image_id, y), (x, pool_size)), distance))| Canvas {
                    random: KeyedRandom { seed: 0, sample },
                    barred: None,
                    pixels,
                    trace: Trace { image_id, y, x, distance, pool_size },
                    barred_shift: None,
                    sources: SourceCounts::default(),
                    shifts: ShiftCounts::default(),
                    fallbacks: 0,
                })
                .collect();
            sampler.fill((&cells, 0), &vec![false; area], &mut canvases, &never).unwrap();
            black_box(&canvases);
        });
    });
    group.finish();
}

criterion_group!(benches, scans);
criterion_main!(benches);
