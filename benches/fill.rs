//! A whole MNIST-sized canvas from shortlists, and one pixel of a batch from all images.

mod common;

use std::hint::black_box;
use std::sync::atomic::AtomicBool;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use npgen::canvas::{Canvas, Trace};
use npgen::corpus::{Corpus, ImageId};
use npgen::geometry::{Extent, Rect};
use npgen::order::fill_order;
use npgen::pixels::quota::{Quotas, ShiftCounts, SourceCounts};
use npgen::pixels::scan::{Scan, WorkCounter};
use npgen::pixels::settings::Settings;
use npgen::pixels::window::Window;
use npgen::pool::{Keep, PoolRule};
use npgen::random::KeyedRandom;
use npgen::simd::InstructionSet;

const COUNT: usize = 2_000;
const BATCH: usize = 16;

/// Arrays of a batch, as Python would hold them.
struct Arrays {
    pixels: Vec<u8>,
    ids: [Vec<i32>; 4],
    distance: Vec<f32>,
}

impl Arrays {
    fn new(bytes: &[u8], area: usize) -> Self {
        let ids = std::array::from_fn(|_| vec![0; BATCH * area]);
        Self { pixels: bytes[..BATCH * area].to_vec(), ids, distance: vec![0.0; BATCH * area] }
    }

    fn canvases(&mut self, area: usize) -> Vec<Canvas<'_>> {
        let [image_id, y, x, pool_size] = self.ids.each_mut().map(|ids| ids.chunks_exact_mut(area));
        let rows = self.pixels.chunks_exact_mut(area).zip(self.distance.chunks_exact_mut(area));
        let ids = image_id.zip(y).zip(x.zip(pool_size));
        rows.zip(ids)
            .zip(0..)
            .map(|(((pixels, distance), ((image_id, y), (x, pool_size))), sample)| Canvas {
                random: KeyedRandom { seed: 0, sample },
                barred: None,
                pixels,
                trace: Trace { image_id, y, x, distance, pool_size },
                barred_shift: None,
                sources: SourceCounts::default(),
                shifts: ShiftCounts::default(),
                fallbacks: 0,
            })
            .collect()
    }
}

fn fills(criterion: &mut Criterion) {
    let extent = Extent::new(28, 28);
    let bytes = common::images(COUNT, extent, 1);
    let settings = Settings {
        frame: extent,
        window: Window::new(9, 9.0 / 6.4, extent).unwrap(),
        radius: 2,
        rule: PoolRule::new(0.1, 1, Keep::Best).unwrap(),
        quotas: Quotas::default(),
        corpus_tolerance: false,
        instructions: InstructionSet::best(),
    };
    let scan = Scan {
        corpus: Corpus::new(&bytes, COUNT, extent, 1).unwrap(),
        elsewhere: 0,
        settings: &settings,
        sweep: 0,
        work: &WorkCounter::default(),
        rasters: None,
    };
    let mut known = vec![false; extent.area()];
    let seed = Rect { y: 10, x: 10, height: 8, width: 8 };
    seed.pixels().for_each(|pixel| known[extent.flat(pixel)] = true);
    let never = AtomicBool::new(false);
    let order = fill_order(extent, &known, 9, &never).unwrap();
    let shortlists: Vec<Vec<ImageId>> =
        (0..BATCH).map(|b| (0..100).map(|k| ImageId((b * 100 + k) as u32)).collect()).collect();

    let mut group = criterion.benchmark_group("fill");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("16 canvases of 28×28, K = 100", |bencher| {
        let mut arrays = Arrays::new(&bytes, extent.area());
        bencher.iter(|| {
            let mut canvases = arrays.canvases(extent.area());
            scan.fill(&order.pixels, &known, &mut canvases, Some(&shortlists), None, &never).unwrap();
            black_box(&canvases);
        });
    });
    group.bench_function("one ring of 16 canvases of 28×28, all 2,000 images", |bencher| {
        let mut arrays = Arrays::new(&bytes, extent.area());
        bencher.iter(|| {
            let mut canvases = arrays.canvases(extent.area());
            let ring = &order.pixels[..order.stages[1]];
            scan.fill(ring, &known, &mut canvases, None, None, &never).unwrap();
            black_box(&canvases);
        });
    });
    group.finish();
}

criterion_group!(benches, fills);
criterion_main!(benches);
