//! The exact K nearest of as many keys as MNIST has images.

mod common;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use npgen::geometry::Extent;
use npgen::shortlist::{shortlist, Rows};
use npgen::simd::InstructionSet;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;

const COUNT: usize = 60_000;
const WIDTH: usize = 128;
const BATCH: usize = 64;

fn shortlists(criterion: &mut Criterion) {
    let rows = |count| -> Vec<f32> {
        let bytes = common::images(count, Extent::new(8, 16), 1);
        bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect()
    };
    let (keys, queries) = (rows(COUNT), rows(BATCH));
    let (instructions, go_on) = (InstructionSet::best(), AtomicBool::new(false));
    let mut group = criterion.benchmark_group("shortlist");
    group.throughput(Throughput::Elements((COUNT * BATCH * WIDTH) as u64));
    group.sample_size(20);
    group.bench_function("top-100 of 60,000 for 64 queries", |bencher| {
        bencher.iter(|| {
            let keys = Rows::new("keys", &keys, WIDTH).unwrap();
            let queries = Rows::new("queries", &queries, WIDTH).unwrap();
            black_box(shortlist(instructions, (keys, queries), 100, &[None; BATCH], None, &go_on).unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, shortlists);
criterion_main!(benches);
