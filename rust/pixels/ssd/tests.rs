use proptest::prelude::*;

use super::super::added::Added;
use super::super::bars::Bars;
use super::super::planes::Planes;
use super::super::quota::Quotas;
use super::super::settings::Settings;
use super::super::window::{Taps, Window};
use super::*;
use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Offset};
use crate::pool::PoolRule;

/// A small corpus and canvas with few grey levels, so that there are many ties and zeros, or with extremes.
#[derive(Debug, Clone)]
struct Case {
    extent: Extent,
    channels: usize,
    images: Vec<u8>,
    canvas: Vec<u8>,
    known: Vec<bool>,
    pixel: Pixel,
    side: usize,
    sigma: f64,
    radius: usize,
    /// `(N, 2)` height and width of each image, or none.
    sizes: Option<Vec<i32>>,
}

/// Extends each image from its own frame to the common one by edge replication.
fn extend(images: &mut [u8], extent: Extent, channels: usize, sizes: &[i32]) {
    for (image, size) in images.chunks_exact_mut(extent.area() * channels).zip(sizes.chunks_exact(2)) {
        let own = Extent::new(size[0] as usize, size[1] as usize);
        for at in extent.pixels() {
            let inside = extent.flat(own.step_clamped(at, Offset { dy: 0, dx: 0 })) * channels;
            image.copy_within(inside..inside + channels, extent.flat(at) * channels);
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (3_usize..12, 3_usize..12, 1_usize..4, 1_usize..150, 0_usize..5, any::<u32>()).prop_map(
        |(height, width, channels, count, radius, salt)| {
            let radius = if radius == 4 { usize::MAX } else { radius }; // anywhere
            let extent = Extent::new(height, width);
            let mut state = u64::from(salt) + 1;
            let mut random = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize
            };
            let levels: &[u8] = [&[0, 255][..], &[0, 0, 0, 1, 2], &[0, 17, 80, 200, 255]][salt as usize % 3];
            let mut bytes =
                |len: usize| -> Vec<u8> { (0..len).map(|_| levels[random() % levels.len()]).collect() };
            let mut images = bytes(count * extent.area() * channels);
            let canvas = bytes(extent.area() * channels);
            let known = (0..extent.area()).map(|_| random() % 3 > 0).collect();
            let pixel = extent.pixel(random() % extent.area());
            let sides = (height.min(width) - 1) / 2;
            let side = 3 + 2 * (random() % sides);
            let sigma = [side as f64 / 6.4, 0.05, 10.0][random() % 3];
            let mut sized = || {
                let sides = (0..count).flat_map(|_| [1 + random() % height, 1 + random() % width]);
                let sizes: Vec<i32> = sides.map(|side| side as i32).collect();
                extend(&mut images, extent, channels, &sizes);
                sizes
            };
            let sizes = (salt % 2 == 0).then(&mut sized);
            Case { extent, channels, images, canvas, known, pixel, side, sigma, radius, sizes }
        },
    )
}

impl Case {
    fn with<T>(&self, run: impl FnOnce(&Corpus, &Probe, &Planes, &Taps) -> T) -> T {
        let count = self.images.len() / (self.extent.area() * self.channels);
        let mut corpus = Corpus::new(&self.images, count, self.extent, self.channels).unwrap();
        if let Some(sizes) = &self.sizes {
            corpus = corpus.with_sizes(sizes).unwrap();
        }
        let window = Window::new(self.side, self.sigma, self.extent).unwrap();
        let settings = Settings {
            frame: self.extent,
            window,
            radius: self.radius,
            rule: PoolRule::NEAREST,
            quotas: Quotas::default(),
            corpus_tolerance: false,
            instructions: InstructionSet::Portable,
        };
        let region = settings.region(self.extent, self.pixel);
        let probe = Probe::new(&settings, &corpus, &self.known, self.pixel, region);
        let mut planes = Planes::default();
        planes.gather(&corpus, corpus.ids(), region);
        run(&corpus, &probe, &planes, &settings.window.taps(self.extent, &self.known, self.pixel))
    }
}

proptest! {
    #[test]
    fn every_instruction_set_is_within_its_slack_of_the_reference(case in cases()) {
        case.with(|corpus, probe, planes, taps| {
            let mut context = Vec::new();
            probe.context(&case.canvas, &mut context);
            for group in 0..planes.groups() {
                let group = planes.group(group);
                let candidate = |lane: usize, at: Pixel| {
                    let own = corpus.own(group.ids[lane]);
                    at.y < own.height && at.x < own.width
                };
                let anyone = |&&at: &&Pixel| (0..group.ids.len()).any(|lane| candidate(lane, at));
                for instructions in InstructionSet::available() {
                    let mut sums = GroupSums::default();
                    let floors = [[0.0; GROUP_IMAGES]];
                    scan(instructions, probe, (group, &[]), &context, &floors, Limits::NONE, &mut sums);
                    assert_eq!(sums.kept.len(), probe.sources.iter().filter(anyone).count());
                    assert_eq!(sums.terms * probe.sources.len(), probe.terms(sums.kept.len()));
                    for (&source, row) in sums.kept.iter().zip(&sums.rows) {
                        for (lane, &id) in group.ids.iter().enumerate() {
                            let at = probe.sources[source];
                            if !candidate(lane, at) {
                                assert_eq!(row[lane], f32::INFINITY);
                                continue;
                            }
                            let exact = reference(corpus, (id, at), (&case.canvas, case.extent), case.pixel, taps);
                            let scanned = f64::from(row[lane]) / probe.norm;
                            assert!((scanned - exact).abs() <= probe.slack() * exact, "{instructions:?} {scanned} {exact}");
                            assert_eq!(probe.exact_distance(group.lines, lane, source, &context), exact);
                        }
                    }
                }
            }
        });
    }

    #[test]
    fn every_instruction_set_finds_the_pool_of_the_definition(
        case in cases(),
        epsilon in 0.0..0.5_f64,
        k_min in 1_usize..20,
        bar in any::<bool>(),
        all in any::<bool>(),
        ceiling in any::<bool>(),
        most_added in 0_u32..3,
    ) {
        let keep = if all { Keep::All } else { Keep::Best };
        let rule = PoolRule::new(epsilon, k_min, keep).unwrap();
        let barred = bar.then_some(ImageId(0));
        let bars = Bars { images: barred.into_iter().collect(), pixels: Vec::new() };
        case.with(|corpus, probe, planes, taps| {
            // Few values, so that there are ties; 0: nothing is added. Without a radius there is no place for a source.
            let radius = case.radius.min(16);
            let (side, count) = (2 * radius + 1, planes.ids().len());
            let values: Vec<u32> =
                (0..count * side * side).map(|at| at as u32 * 37 % 5 * most_added * 40_000).collect();
            let added = Added::new(&values, count, 1, radius).unwrap().at(case.pixel, 0);
            let added = (most_added > 0).then_some(added);
            let mut expected = PoolBuilder::new(rule);
            for id in corpus.ids().filter(|&id| Some(id) != barred) {
                // The image alone, at its own size: what is beyond must not matter.
                let own = corpus.own(id);
                let cut: Vec<u8> = own.pixels().flat_map(|at| corpus.value(id, at)).copied().collect();
                let alone = Corpus::new(&cut, 1, own, case.channels).unwrap();
                let near = |at: &Pixel| {
                    at.y.abs_diff(case.pixel.y).max(at.x.abs_diff(case.pixel.x)) <= case.radius
                };
                let candidates = own.pixels().filter(near).map(|source| {
                    let window = (&case.canvas[..], case.extent);
                    let window = reference(&alone, (ImageId(0), source), window, case.pixel, taps);
                    let distance = window + added.map_or(0.0, |added| added.distance(id.index(), source));
                    Candidate { distance, image: id, source }
                });
                match keep {
                    Keep::All => candidates.for_each(|candidate| expected.offer(candidate)),
                    Keep::Best => candidates.min_by(Candidate::order).into_iter().for_each(|it| expected.offer(it)),
                }
            }
            // The tightest bound that is allowed beforehand.
            let bound = if ceiling { expected.bound() } else { f64::INFINITY };
            let expected = expected.finish();
            for instructions in InstructionSet::available() {
                let mut pool = PoolBuilder::new(rule);
                pool.restart(bound);
                for group in 0..planes.groups() {
                    let added = added.map(|added| (added, group * GROUP_IMAGES));
                    let canvas = (&case.canvas[..], &bars, added);
                    let buffers = &mut ScanBuffers::default();
                    offer_group(instructions, probe, planes.group(group), canvas, &mut pool, buffers);
                }
                assert_eq!(pool.finish(), expected, "{instructions:?}");
            }
        });
    }
}
