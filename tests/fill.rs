//! Fills through the crate's public interface: the same bytes on any number of threads and any instruction set.

#[path = "../benches/common/mod.rs"]
mod common;

use std::sync::atomic::AtomicBool;

use npgen::canvas::{Canvas, Trace};
use npgen::corpus::{Corpus, ImageId};
use npgen::geometry::{Extent, Offset, Rect};
use npgen::order::{fill_order, FillOrder};
use npgen::pixels::quota::{Quota, Quotas, ShiftCounts, SourceCounts};
use npgen::pixels::scan::{Scan, WorkCounter};
use npgen::pixels::settings::Settings;
use npgen::pixels::window::Window;
use npgen::pool::{Keep, PoolRule};
use npgen::random::KeyedRandom;
use npgen::simd::InstructionSet;
use npgen::Error;
use rayon::ThreadPoolBuilder;

const EXTENT: Extent = Extent { height: 12, width: 11 };
const CHANNELS: usize = 3;
/// Enough for one canvas's scan to be split over threads, too.
const COUNT: usize = 1_500;

struct Scene {
    bytes: Vec<u8>,
    /// `(N, 2)` height and width of each image, or none.
    sizes: Option<Vec<i32>>,
    settings: Settings,
    known: Vec<bool>,
    order: FillOrder,
    work: WorkCounter,
}

/// The filled canvases of a batch, with their traces.
#[derive(Debug, PartialEq)]
struct Outcome {
    pixels: Vec<Vec<u8>>,
    ids: Vec<[Vec<i32>; 4]>,
    distance: Vec<Vec<f32>>,
}

impl Scene {
    fn new(quota: Option<usize>) -> Self {
        let mut known = vec![false; EXTENT.area()];
        let seed = Rect { y: 4, x: 4, height: 4, width: 4 };
        seed.pixels().for_each(|pixel| known[EXTENT.flat(pixel)] = true);
        Self {
            bytes: common::images(COUNT, EXTENT, CHANNELS),
            sizes: None,
            settings: Settings {
                frame: EXTENT,
                window: Window::new(7, 1.2, EXTENT).unwrap(),
                radius: 2,
                rule: PoolRule::new(0.1, 3, Keep::Best).unwrap(),
                quotas: Quotas {
                    window: quota.map(|most| Quota::of_window(most, 7).unwrap()),
                    ..Quotas::default()
                },
                corpus_tolerance: false,
                instructions: InstructionSet::best(),
            },
            order: fill_order(EXTENT, &known, 7, &AtomicBool::new(false)).unwrap(),
            known,
            work: WorkCounter::default(),
        }
    }

    /// Images of sizes from 1×1 to the whole frame, extended by edge replication; sources at any position.
    fn of_several_sizes() -> Self {
        let mut scene = Self::new(Some(2));
        scene.bytes.truncate(200 * EXTENT.area() * CHANNELS); // enough, as each has more positions
        let side = |k: usize, limit: usize| (1 + k % limit) as i32;
        let sizes = (0..scene.count()).flat_map(|k| [side(k / 3, EXTENT.height), side(k / 2, EXTENT.width)]);
        let sizes: Vec<i32> = sizes.collect();
        let images = scene.bytes.chunks_exact_mut(EXTENT.area() * CHANNELS);
        for (image, size) in images.zip(sizes.chunks_exact(2)) {
            let own = Extent::new(size[0] as usize, size[1] as usize);
            for pixel in EXTENT.pixels() {
                let edge = EXTENT.flat(own.step_clamped(pixel, Offset { dy: 0, dx: 0 })) * CHANNELS;
                image.copy_within(edge..edge + CHANNELS, EXTENT.flat(pixel) * CHANNELS);
            }
        }
        scene.sizes = Some(sizes);
        scene.settings.radius = usize::MAX;
        scene
    }

    fn count(&self) -> usize {
        self.bytes.len() / (EXTENT.area() * CHANNELS)
    }

    /// Fills `batch` canvases: canvas `b` starts as a copy of image `b`, which is barred.
    fn fill(
        &self,
        (instructions, threads, batch): (InstructionSet, usize, usize),
        shortlists: Option<&[Vec<ImageId>]>,
        cancel: bool,
    ) -> Result<Outcome, Error> {
        let area = EXTENT.area();
        let mut outcome = Outcome {
            pixels: self.bytes.chunks(area * CHANNELS).take(batch).map(<[u8]>::to_vec).collect(),
            ids: (0..batch).map(|_| std::array::from_fn(|_| vec![0; area])).collect(),
            distance: vec![vec![0.0; area]; batch],
        };
        let rows = outcome.pixels.iter_mut().zip(&mut outcome.ids).zip(&mut outcome.distance);
        let mut canvases: Vec<Canvas> = rows
            .zip(0_u32..)
            .map(|(((pixels, [image_id, y, x, pool_size]), distance), sample)| Canvas {
                random: KeyedRandom { seed: 5, sample: sample.into() },
                barred: Some(ImageId(sample)),
                pixels,
                trace: Trace { image_id, y, x, distance, pool_size },
                barred_shift: None,
                sources: SourceCounts::default(),
                shifts: ShiftCounts::default(),
                fallbacks: 0,
            })
            .collect();
        let cancel = AtomicBool::new(cancel);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let corpus = Corpus::new(&self.bytes, self.count(), EXTENT, CHANNELS).unwrap();
        let settings = Settings { instructions, ..self.settings.clone() };
        let scan = Scan {
            corpus: self.sizes.as_ref().map_or(corpus, |sizes| corpus.with_sizes(sizes).unwrap()),
            elsewhere: 0,
            settings: &settings,
            sweep: 0,
            work: &self.work,
            rasters: None,
        };
        pool.install(|| {
            scan.fill(&self.order.pixels, &self.known, &mut canvases, shortlists, None, &cancel)
        })?;
        drop(canvases);
        Ok(outcome)
    }
}

#[test]
fn threads_batches_instruction_sets_and_routes_agree() {
    check_agreement(&Scene::new(None));
    check_agreement(&Scene::new(Some(2)));
}

#[test]
fn sources_lie_inside_images_of_several_sizes() {
    let scene = Scene::of_several_sizes();
    check_agreement(&scene);
    let sizes = scene.sizes.as_ref().unwrap();
    let outcome = scene.fill((InstructionSet::best(), 2, 3), None, false).unwrap();
    for [image_id, y, x, pool_size] in &outcome.ids {
        for pixel in &scene.order.pixels {
            let at = EXTENT.flat(*pixel);
            let size = &sizes[2 * image_id[at] as usize..][..2];
            assert!(pool_size[at] > 0 && y[at] < size[0] && x[at] < size[1]);
        }
    }
}

#[test]
fn canvases_of_the_same_images_are_filled_as_each_alone() {
    let scene = Scene::new(Some(2));
    let lists = [1, 2].map(|step| (0..COUNT as u32).step_by(step).map(ImageId).collect::<Vec<_>>());
    let mixed: Vec<_> = [0, 1, 0, 1, 0].map(|which: usize| lists[which].clone()).into();
    let alike =
        lists.map(|list| scene.fill((InstructionSet::best(), 2, 5), Some(&vec![list; 5]), false).unwrap());
    for threads in [1, 2, 8] {
        let outcome = scene.fill((InstructionSet::best(), threads, 5), Some(&mixed), false).unwrap();
        for k in 0..5 {
            assert_eq!(outcome.pixels[k], alike[k % 2].pixels[k]);
            assert_eq!(outcome.ids[k], alike[k % 2].ids[k]);
        }
    }
}

fn check_agreement(scene: &Scene) {
    let everything: Vec<ImageId> = (0..scene.count() as u32).map(ImageId).collect();
    let lists = vec![everything; 3];
    let best = InstructionSet::best();
    let expected = scene.fill((best, 1, 3), None, false).unwrap();
    for threads in [1, 2, 5] {
        assert_eq!(scene.fill((best, threads, 3), None, false).unwrap(), expected);
        assert_eq!(scene.fill((best, threads, 3), Some(&lists), false).unwrap(), expected);
    }
    for instructions in InstructionSet::available() {
        let outcome = scene.fill((instructions, 2, 3), Some(&lists), false).unwrap();
        assert_eq!(outcome, expected, "{instructions:?}");
    }
    let alone = scene.fill((best, 2, 1), None, false).unwrap();
    assert_eq!(alone.pixels[0], expected.pixels[0]);
    assert_eq!(alone.ids[0], expected.ids[0]);
}

#[test]
fn no_image_serves_more_of_a_window_than_its_quota() {
    let quota = 2;
    let scene = Scene::new(Some(quota));
    let outcome = scene.fill((InstructionSet::best(), 2, 3), None, false).unwrap();
    let free = Scene::new(None).fill((InstructionSet::best(), 2, 3), None, false).unwrap();
    for (image_id, free_id) in outcome.ids.iter().zip(&free.ids) {
        let fewest = |image_id: &[i32]| {
            let mut known = scene.known.clone();
            let mut fewest = true;
            for &pixel in &scene.order.pixels {
                let taps = scene.settings.window.taps(EXTENT, &known, pixel);
                let own = image_id[EXTENT.flat(pixel)];
                let seen = taps.offsets.iter().filter_map(|&offset| EXTENT.step(pixel, offset));
                fewest &= seen.filter(|&tap| image_id[EXTENT.flat(tap)] == own).count() < quota;
                known[EXTENT.flat(pixel)] = true;
            }
            fewest
        };
        assert!(fewest(&image_id[0]));
        assert!(!fewest(&free_id[0]));
    }
}

#[test]
fn no_image_gives_more_of_the_frame_than_its_quota() {
    let most = 9;
    let mut scene = Scene::new(None);
    scene.settings.quotas.frame = Some(Quota::of_frame(most, EXTENT).unwrap());
    let given = |image_id: &[i32], image: i32| image_id.iter().filter(|&&id| id == image).count();
    let largest = |image_id: &[i32]| image_id.iter().map(|&image| given(image_id, image)).max().unwrap();
    // In this scene all seeds are of image 0, which is not counted where it is barred.
    for lists in [None, Some(vec![(0..COUNT as u32).map(ImageId).collect::<Vec<_>>(); 2])] {
        let outcome = scene.fill((InstructionSet::best(), 2, 2), lists.as_deref(), false).unwrap();
        let drawn = |ids: &[i32]| -> Vec<i32> {
            scene.order.pixels.iter().map(|&pixel| ids[EXTENT.flat(pixel)]).collect()
        };
        assert!(outcome.ids.iter().all(|[image_id, ..]| largest(&drawn(image_id)) <= most));
    }
    let free = Scene::new(None).fill((InstructionSet::best(), 2, 2), None, false).unwrap();
    assert!(largest(&free.ids[0][0]) > most);
    check_agreement(&scene);
}

#[test]
fn a_raised_flag_ends_the_work() {
    let scene = Scene::new(None);
    let lists = vec![vec![ImageId(5)]; 2];
    assert_eq!(scene.fill((InstructionSet::best(), 2, 2), None, true), Err(Error::Interrupted));
    assert_eq!(scene.fill((InstructionSet::best(), 2, 2), Some(&lists), true), Err(Error::Interrupted));
}
