//! One pixel's scan at one setting (K = 300, R = 2, w = 9, RGB), on each instruction set.

mod common;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use npgen::corpus::Corpus;
use npgen::geometry::{Extent, Pixel};
use npgen::pixels::planes::Planes;
use npgen::pixels::probe::Probe;
use npgen::pixels::quota::Quotas;
use npgen::pixels::settings::Settings;
use npgen::pixels::ssd::{scan_plainly, ScanBuffers};
use npgen::pixels::window::Window;
use npgen::pool::PoolRule;
use npgen::simd::InstructionSet;
use std::hint::black_box;

const COUNT: usize = 300;
const CHANNELS: usize = 3;

fn scans(criterion: &mut Criterion) {
    let extent = Extent::new(32, 32);
    let bytes = common::images(COUNT, extent, CHANNELS);
    let corpus = Corpus::new(&bytes, COUNT, extent, CHANNELS).unwrap();
    let settings = Settings {
        frame: extent,
        window: Window::new(9, 9.0 / 6.4, extent).unwrap(),
        radius: 2,
        rule: PoolRule::NEAREST,
        quotas: Quotas::default(),
        corpus_tolerance: false,
        instructions: InstructionSet::best(),
    };
    let pixel = Pixel { y: 11, x: 15 };
    let known: Vec<bool> = extent.pixels().map(|p| p > pixel).collect();
    let mut planes = Planes::default();
    planes.gather(&corpus, corpus.ids(), extent.frame());
    let probe = Probe::new(&settings, &corpus, &known, pixel, extent.frame());
    let canvas = &bytes[..extent.area() * CHANNELS];

    let mut group = criterion.benchmark_group("ssd");
    group.throughput(Throughput::Elements(probe.terms(COUNT) as u64));
    for instructions in InstructionSet::available() {
        group.bench_function(format!("{instructions:?}"), |bencher| {
            let mut buffers = ScanBuffers::default();
            bencher.iter(|| {
                for group in 0..planes.groups() {
                    black_box(scan_plainly(instructions, &probe, planes.group(group), canvas, &mut buffers));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scans);
criterion_main!(benches);
