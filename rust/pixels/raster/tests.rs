use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::super::bars::Bars;
use super::super::quota::{Quota, Quotas, Shift, ShiftCounts, SourceCounts};
use super::super::scan::{Scan, WorkCounter};
use super::super::settings::Settings;
use super::super::ssd::reference;
use super::super::window::Window;
use super::kernel::{Kernel, Windows};
use super::query::{BorderedCanvas, RasterQuery, WindowMap};
use super::*;
use crate::canvas::{Canvas, Trace};
use crate::geometry::Rect;
use crate::order::fill_order;
use crate::pool::{Candidate, Keep, PoolBuilder, PoolRule};
use crate::random::KeyedRandom;
use crate::simd::InstructionSet;

/// A few sources of any size, and a canvas of another; few grey levels, so that there are many ties and zeros, or extremes.
#[derive(Debug, Clone)]
struct Case {
    source: Extent,
    frame: Extent,
    channels: usize,
    images: Vec<u8>,
    sizes: Option<Vec<i32>>,
    canvas: Vec<u8>,
    known: Vec<bool>,
    pixel: Pixel,
    side: usize,
    sigma: f64,
    bars: Bars,
    /// Which pixels of the last image may serve; the first one always.
    usable: Option<Vec<bool>>,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1_usize..90, 1_usize..90, 3_usize..14, 3_usize..14);
    (sizes, 1_usize..7, 1_usize..5, any::<u32>()).prop_map(
        |((tall, wide, height, width), channels, count, salt)| {
            let (source, frame) = (Extent::new(tall, wide), Extent::new(height, width));
            let mut state = u64::from(salt) + 1;
            let mut random = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize
            };
            let levels: &[u8] =
                [&[0, 255][..], &[0, 0, 0, 1, 2], &[0, 17, 80, 200, 255], &[7]][salt as usize % 4];
            let mut bytes =
                |len: usize| -> Vec<u8> { (0..len).map(|_| levels[random() % levels.len()]).collect() };
            let mut images = bytes(count * source.area() * channels);
            let canvas = bytes(frame.area() * channels);
            let sizes = (salt % 2 == 0).then(|| {
                let sides = (0..count).flat_map(|_| [1 + random() % tall, 1 + random() % wide]);
                let sizes: Vec<i32> = sides.map(|side| side as i32).collect();
                for (image, size) in
                    images.chunks_exact_mut(source.area() * channels).zip(sizes.chunks_exact(2))
                {
                    let own = Extent::new(size[0] as usize, size[1] as usize);
                    for at in source.pixels() {
                        let edge = source.flat(own.step_clamped(at, Offset { dy: 0, dx: 0 })) * channels;
                        image.copy_within(edge..edge + channels, source.flat(at) * channels);
                    }
                }
                sizes
            });
            let known = (0..frame.area()).map(|_| random() % 3 > 0).collect();
            let pixel = frame.pixel(random() % frame.area());
            let side = 3 + 2 * (random() % ((height.min(width) - 1) / 2));
            let sigma = [side as f64 / 6.4, 0.05, 10.0][random() % 3];
            let mut image = || ImageId((random() % count) as u32);
            let barred = if count > 1 { vec![image()] } else { Vec::new() };
            // Of the first row and column, which every source has.
            let pixels = (0..5).map(|_| (image(), Pixel { y: 0, x: 0 })).collect();
            let bars = Bars { images: barred, pixels };
            let usable =
                (salt % 3 == 0).then(|| (0..source.area()).map(|at| at == 0 || random() % 3 > 0).collect());
            Case { source, frame, channels, images, sizes, canvas, known, pixel, side, sigma, bars, usable }
        },
    )
}

impl Case {
    fn corpus(&self) -> Corpus<'_> {
        let count = self.images.len() / (self.source.area() * self.channels);
        let corpus = Corpus::new(&self.images, count, self.source, self.channels).unwrap();
        let corpus = self.sizes.as_ref().map_or(corpus, |sizes| corpus.with_sizes(sizes).unwrap());
        self.usable.as_ref().map_or(corpus, |usable| corpus.with_mask(usable).unwrap())
    }

    fn settings(&self, rule: PoolRule, instructions: InstructionSet) -> Settings {
        Settings {
            frame: self.frame,
            window: Window::new(self.side, self.sigma, self.frame).unwrap(),
            radius: usize::MAX,
            rule,
            quotas: Quotas::default(),
            corpus_tolerance: false,
            instructions,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_instruction_set_is_within_its_slack_of_the_reference(case in cases()) {
        let corpus = case.corpus();
        for instructions in InstructionSet::available() {
            let settings = case.settings(PoolRule::NEAREST, instructions);
            let taps = settings.window.taps(case.frame, &case.known, case.pixel);
            let rasters = Rasters::new(&corpus, settings.window.half()).unwrap();
            let mut canvas = BorderedCanvas::default();
            canvas.copy((case.frame, rasters.half), &case.canvas, &case.known).unwrap();
            let mut query = RasterQuery::default();
            query.read(&WindowMap::new(&settings.window), &canvas, case.pixel, case.channels);
            assert!(query.taps(case.pixel, rasters.half).eq(
                taps.offsets.iter().map(|&offset| case.frame.step(case.pixel, offset).unwrap())));
            for source in &rasters.sources {
                let mut offsets = Vec::new();
                query.offsets(source, &mut offsets);
                let windows = Windows {
                    values: &source.values,
                    squares: &source.squares,
                    offsets: &offsets,
                    context: &query.context,
                    shells: &query.shells,
                };
                for y in 0..source.own.height {
                    for x in (0..source.own.width).step_by(LANES) {
                        let mut sums = [0.0; LANES];
                        let left = source.own.width - x;
                        let corner = source.corner(Pixel { y, x });
                        let near = Kernel::of(instructions).block(&windows, (corner, left), f32::INFINITY, &mut sums);
                        assert_eq!(near.lanes.count_ones() as usize, left.min(LANES));
                        assert_eq!(near.terms, query.len());
                        for (lane, &sum) in sums.iter().enumerate().take(left) {
                            let (at, bytes) = (Pixel { y, x: x + lane }, (&case.canvas[..], case.frame));
                            let exact = reference(&corpus, (source.image, at), bytes, case.pixel, &taps);
                            assert_eq!(query.exact_distance(source, at), exact);
                            let scanned = f64::from(sum) / query.norm;
                            assert!((scanned - exact).abs() <= query.slack() * exact, "{instructions:?} {scanned} {exact}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_finds_the_pool_of_the_definition(
        case in cases(),
        epsilon in 0.0..0.5_f64,
        k_min in 1_usize..20,
        all in any::<bool>(),
        threads in 1_usize..4,
    ) {
        let corpus = case.corpus();
        let rule = PoolRule::new(epsilon, k_min, if all { Keep::All } else { Keep::Best }).unwrap();
        let taps = case.settings(rule, InstructionSet::Portable).window.taps(case.frame, &case.known, case.pixel);
        let mut expected = PoolBuilder::new(rule);
        for image in corpus.ids() {
            let may_serve = |at: &Pixel| case.bars.allow(image, *at) && corpus.serves(image, *at);
            let candidates = corpus.own(image).pixels().filter(may_serve).map(|source| {
                let bytes = (&case.canvas[..], case.frame);
                let distance = reference(&corpus, (image, source), bytes, case.pixel, &taps);
                Candidate { distance, image, source }
            });
            if all {
                candidates.for_each(|candidate| expected.offer(candidate));
            } else {
                candidates.min_by(Candidate::order).into_iter().for_each(|candidate| expected.offer(candidate));
            }
        }
        let expected = expected.finish();
        for instructions in InstructionSet::available() {
            let settings = case.settings(rule, instructions);
            let rasters = Rasters::new(&corpus, settings.window.half()).unwrap();
            let window = (&case.canvas[..], &case.known[..], case.pixel);
            let work = WorkCounter::default();
            for rasters in [Some(&rasters), None] {
                let scan = Scan { corpus, elsewhere: 0, settings: &settings, sweep: 0, work: &work, rasters };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let never = AtomicBool::new(false);
                let found = pool.install(|| scan.candidate_pool(window, None, case.bars.clone(), None, &never)).unwrap();
                assert_eq!(found, expected, "{instructions:?}, rasters: {}", rasters.is_some());
            }
        }
    }
}

/// The settings of some fills: of how many sources, in which sweep, by which rules.
#[derive(Debug, Clone, Copy)]
struct Fill {
    rule: PoolRule,
    quotas: Quotas,
    corpus_tolerance: bool,
    sweep: u16,
    batch: usize,
}

/// Pixels and traces of a batch of canvases, filled in rasters or in planes.
fn filled(
    case: &Case,
    fill: Fill,
    (instructions, threads): (InstructionSet, usize),
    by_rasters: bool,
) -> Vec<Vec<u8>> {
    let corpus = case.corpus();
    let Fill { rule, quotas, corpus_tolerance, sweep, batch } = fill;
    let settings = Settings { quotas, corpus_tolerance, ..case.settings(rule, instructions) };
    let rasters = Rasters::new(&corpus, settings.window.half()).unwrap();
    let never = AtomicBool::new(false);
    let frame = case.frame;
    let mut seeded = vec![false; frame.area()];
    let seed = Rect { y: 1, x: 1, height: 2, width: 2 };
    seed.pixels().for_each(|pixel| seeded[frame.flat(pixel)] = true);
    let order = fill_order(frame, &seeded, case.side, &never).unwrap().pixels;
    let known = if sweep > 0 { vec![true; frame.area()] } else { seeded };
    let area = frame.area();
    let mut pixels = vec![case.canvas.clone(); batch];
    let mut numbers: Vec<[Vec<i32>; 4]> =
        (0..batch).map(|_| std::array::from_fn(|_| vec![0; area])).collect();
    let mut distances = vec![vec![0.0; area]; batch];
    let rows = pixels.iter_mut().zip(&mut numbers).zip(&mut distances);
    let mut canvases: Vec<Canvas> = rows
        .zip(0..)
        .map(|(((pixels, [image_id, y, x, pool_size]), distance), sample)| Canvas {
            random: KeyedRandom { seed: 3, sample },
            barred: None,
            barred_shift: Some(Shift { image: 0, dy: 0, dx: 0 }).filter(|_| sample == 0),
            pixels,
            trace: Trace { image_id, y, x, distance, pool_size },
            sources: SourceCounts::default(),
            shifts: ShiftCounts::default(),
            fallbacks: 0,
        })
        .collect();
    let rasters = by_rasters.then_some(&rasters);
    let work = WorkCounter::default();
    let scan = Scan { corpus, elsewhere: 0, settings: &settings, sweep, work: &work, rasters };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| scan.fill(&order, &known, &mut canvases, None, None, &never)).unwrap();
    drop(canvases);
    let bytes_of = |k: usize| {
        let numbers = numbers[k].iter().flatten().flat_map(|number| number.to_le_bytes());
        let distances = distances[k].iter().flat_map(|distance| distance.to_le_bytes());
        pixels[k].iter().copied().chain(numbers).chain(distances).collect()
    };
    (0..batch).map(bytes_of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn fills_are_those_of_planes(
        case in cases(),
        epsilon in 0.0..0.5_f64,
        k_min in 1_usize..4,
        all in any::<bool>(),
        corpus_tolerance in any::<bool>(),
        sweep in 0_u16..2,
        (batch, threads) in (1_usize..4, 1_usize..4),
        (window, frame, copy) in (0_usize..6, 0_usize..30, 0_usize..12),
    ) {
        let limited = |most: usize| (most > 0).then_some(most);
        let corpus = case.corpus();
        let usable = |image: ImageId| corpus.own(image).pixels().filter(|&at| corpus.serves(image, at)).count();
        let positions = corpus.ids().map(usable).min().unwrap();
        let quotas = Quotas {
            window: limited(window).map(|most| Quota::of_window(most, case.side).unwrap()),
            frame: limited(frame).map(|most| Quota::of_frame(most, case.frame).unwrap()),
            copy: limited(copy)
                .filter(|most| positions > case.frame.area() / most + 1)
                .map(|most| Quota::of_shift(most, case.frame).unwrap()),
        };
        prop_assume!(positions > 1); // the barred shift leaves a pixel
        let rule = PoolRule::new(epsilon, k_min, if all { Keep::All } else { Keep::Best }).unwrap();
        let fill = Fill { rule, quotas, corpus_tolerance, sweep, batch };
        let expected = filled(&case, fill, (InstructionSet::Portable, 1), false);
        for instructions in InstructionSet::available() {
            assert_eq!(filled(&case, fill, (instructions, threads), true), expected, "{instructions:?}");
            assert_eq!(filled(&case, fill, (instructions, threads), false), expected, "{instructions:?}, planes");
        }
    }
}

#[test]
fn rasters_suit_few_large_sources() {
    let suits = |count: usize, extent: Extent, window: usize, channels: usize| {
        let bytes = vec![0; count * extent.area() * channels];
        let corpus = Corpus::new(&bytes, count, extent, channels).unwrap();
        let settings = Settings {
            frame: extent,
            window: Window::new(window, 1.0, extent).unwrap(),
            radius: usize::MAX,
            rule: PoolRule::NEAREST,
            quotas: Quotas::default(),
            corpus_tolerance: false,
            instructions: InstructionSet::Portable,
        };
        Rasters::suit(&settings, &corpus)
    };
    assert!(suits(1, Extent::new(160, 160), 15, 3));
    assert!(suits(40, Extent::new(28, 28), 9, 1));
    assert!(!suits(64, Extent::new(28, 28), 9, 1));
    assert!(!suits(1, Extent::new(20, 20), 9, 17));
}
