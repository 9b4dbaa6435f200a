//! Kernels, running sums, draws and histograms, compared with their plain definitions.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::context::{pairs, Metric, Range, RunningContext, Terms};
use super::draw::{Distances, Draw, Histogram, BLOCK};
use super::fill::{DrawRule, Sampler, Settings};
use super::kernel::HammingScan;
use super::*;
use crate::canvas::{Canvas, Trace};
use crate::pixels::quota::{ShiftCounts, SourceCounts};
use crate::pool::{Candidate, Keep, PoolBuilder, PoolRule};
use crate::random::{KeyedRandom, Stream};
use crate::simd::InstructionSet;

static GO_ON: AtomicBool = AtomicBool::new(false);

const NEAREST: DrawRule = DrawRule::Pool(PoolRule::NEAREST);

const SETTINGS: Settings = Settings {
    gamma: None,
    metric: Metric::Chebyshev,
    radius: 0,
    rule: NEAREST,
    instructions: InstructionSet::Portable,
};

/// A small store of tokens with few different values, so that there are many ties, or with any; and some canvases.
#[derive(Debug, Clone)]
struct Case {
    grid: Extent,
    bits: usize,
    count: usize,
    planes: Vec<u8>,
    canvases: Vec<Vec<u8>>,
    known: Vec<bool>,
    cell: Pixel,
    gamma: Option<usize>,
    metric: Metric,
}

fn cases(most: usize) -> impl Strategy<Value = Case> {
    (1_usize..6, 1_usize..7, 1_usize..=MOST_BITS, 2..=most, any::<u32>()).prop_map(
        |(height, width, bits, count, salt)| {
            let grid = Extent::new(height, width);
            let mut state = u64::from(salt) + 1;
            let mut random = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize
            };
            let bytes = bits.div_ceil(8);
            let unused = |line: usize| if line % bytes == bytes - 1 { bytes * 8 - bits } else { 0 };
            let levels = [1, 2, 256][salt as usize % 3];
            let mut byte = |line: usize| (random() % levels) as u8 & (0xFF >> unused(line));
            let lines = grid.area() * bytes;
            let planes = (0..lines * count).map(|at| byte(at / count)).collect();
            let canvases = (0..9).map(|_| (0..lines).map(&mut byte).collect()).collect();
            let known = (0..grid.area()).map(|_| byte(0) % 3 > 0 || levels == 1).collect();
            let cell = grid.pixel(salt as usize % grid.area());
            let gamma = [None, Some(1), Some(2), Some(4)][salt as usize / 3 % 4];
            let metric = [Metric::Chebyshev, Metric::Euclidean][salt as usize / 12 % 2];
            Case { grid, bits, count, planes, canvases, known, cell, gamma, metric }
        },
    )
}

impl Case {
    fn tokens(&self) -> Tokens<'_> {
        Tokens::new(&self.planes, self.count, self.grid, self.bits).unwrap()
    }

    fn range(&self) -> Range {
        Range::new(self.gamma, self.metric, &self.tokens()).unwrap()
    }

    fn sampler(&self, radius: usize, rule: DrawRule, instructions: InstructionSet) -> Sampler<'_> {
        let settings = Settings { gamma: self.gamma, metric: self.metric, radius, rule, instructions };
        Sampler::new(self.tokens(), &settings).unwrap()
    }

    /// The nearest place of each image, and its distance in bits, by the definition.
    fn nearest(&self, canvas: &[u8], known: &[bool], cell: Pixel, radius: usize) -> Vec<Candidate> {
        let tokens = self.tokens();
        let context = self.range().cells(self.grid, known, cell);
        let image = |id: u32| {
            let candidate = |source| {
                let pairs = pairs(self.grid, &context, cell, source);
                let distance = f64::from(reference(&tokens, ImageId(id), canvas, &pairs));
                Candidate { distance, image: ImageId(id), source }
            };
            let places = self.grid.square(cell, radius).pixels();
            places.map(candidate).min_by(Candidate::order).unwrap()
        };
        (0..self.count as u32).map(image).collect()
    }
}

/// What a fill writes of a canvas: its bytes, image ids, ys, xs, distances and pool sizes.
type Filled = (Vec<u8>, Vec<i32>, Vec<i32>, Vec<i32>, Vec<f32>, Vec<i32>);

fn fill(case: &Case, sampler: &Sampler, cells: &[Pixel], bars: bool) -> Vec<Filled> {
    let area = case.grid.area();
    let blank = || (vec![0; area], vec![0; area], vec![0; area], vec![0.0; area], vec![0; area]);
    let mut filled: Vec<Filled> = case
        .canvases
        .iter()
        .map(|bytes| {
            let (image_id, y, x, distance, pool_size) = blank();
            (bytes.clone(), image_id, y, x, distance, pool_size)
        })
        .collect();
    let canvas = |(sample, filled)| {
        let (pixels, image_id, y, x, distance, pool_size): &mut Filled = filled;
        Canvas {
            random: KeyedRandom { seed: 5, sample },
            barred: (bars && sample == 1).then_some(ImageId(0)),
            pixels,
            trace: Trace { image_id, y, x, distance, pool_size },
            barred_shift: None,
            sources: SourceCounts::default(),
            shifts: ShiftCounts::default(),
            fallbacks: 0,
        }
    };
    let mut canvases: Vec<Canvas> = (0..).zip(&mut filled).map(canvas).collect();
    sampler.fill((cells, 0), &case.known, &mut canvases, &GO_ON).unwrap();
    filled
}

proptest! {
    #[test]
    fn every_kernel_counts_the_bits_that_differ(case in cases(600), salt in any::<usize>()) {
        let tokens = case.tokens();
        let context = case.range().cells(case.grid, &case.known, case.cell);
        let place = case.grid.pixel(salt % case.grid.area());
        let terms = Terms::moved(&tokens, &context, case.cell, place);
        let canvases: Vec<&[u8]> = case.canvases.iter().map(Vec::as_slice).collect();
        let scan = HammingScan::new(&tokens, &terms, &canvases);
        let pairs = pairs(case.grid, &context, case.cell, place);
        let first = salt % case.count;
        let distances = |canvas: &&[u8]| -> Vec<u16> {
            let ids = first as u32..case.count as u32;
            ids.map(|id| reference(&tokens, ImageId(id), canvas, &pairs) as u16).collect()
        };
        let expected: Vec<Vec<u16>> = canvases.iter().map(distances).collect();
        let nearest: Vec<u16> = expected.iter().map(|sums| *sums.iter().min().unwrap()).collect();
        for instructions in InstructionSet::available() {
            let mut sums = vec![vec![77; case.count - first]; canvases.len()];
            let mut least = Vec::new();
            for (canvas, sums) in sums[..5].iter_mut().enumerate() {
                least.extend(scan.run(instructions, (canvas, first), [&mut sums[..]]));
            }
            let abreast: &mut [Vec<u16>; 4] = (&mut sums[5..]).try_into().unwrap();
            least.extend(scan.run(instructions, (5, first), abreast.each_mut().map(Vec::as_mut_slice)));
            prop_assert_eq!(&sums, &expected, "{:?}", instructions);
            prop_assert_eq!(&least, &nearest, "{:?}", instructions);
        }
    }

    #[test]
    fn running_sums_are_those_of_each_context(case in cases(150), salts in prop::collection::vec(any::<u64>(), 6)) {
        // Masks and cells that share much, little or nothing with those before.
        let tokens = case.tokens();
        for instructions in InstructionSet::available() {
            let mut running = RunningContext::default();
            let mut sums = vec![0; case.count];
            for &salt in &salts {
                let known: Vec<bool> =
                    (0..case.grid.area()).map(|at| salt >> (at % 64) & 1 == 1 || case.known[at]).collect();
                let cell = case.grid.pixel(salt as usize % case.grid.area());
                let context = case.range().cells(case.grid, &known, cell);
                let terms = running.advance(&tokens, context.clone());
                HammingScan::new(&tokens, &terms, &[&case.canvases[0]]).run(instructions, (0, 0), [&mut sums[..]]);
                let same = pairs(case.grid, &context, cell, cell);
                for (id, &sum) in (0..).zip(&sums) {
                    let expected = reference(&tokens, ImageId(id), &case.canvases[0], &same);
                    prop_assert_eq!(u32::from(sum), expected);
                }
            }
        }
    }

    #[test]
    fn a_fill_draws_from_the_pool_of_the_definition(
        case in cases(60),
        radius in 0_usize..3,
        epsilon in 0.0..0.6_f64,
        k_min in 1_usize..80,
    ) {
        let rule = PoolRule::new(epsilon, k_min, Keep::Best).unwrap();
        let cells: Vec<Pixel> = case.grid.pixels().filter(|&cell| !case.known[case.grid.flat(cell)]).collect();
        let found: Vec<Vec<Filled>> = InstructionSet::available()
            .into_iter()
            .map(|instructions| {
                fill(&case, &case.sampler(radius, DrawRule::Pool(rule), instructions), &cells, true)
            })
            .collect();
        for other in &found[1..] {
            prop_assert_eq!(other, &found[0]);
        }
        for (sample, start) in case.canvases.iter().enumerate() {
            let mut canvas = start.clone();
            let mut known = case.known.clone();
            let (bytes, image_id, y, x, distance, pool_size) = &found[0][sample];
            for &cell in &cells {
                let flat = case.grid.flat(cell);
                let mut pool = PoolBuilder::new(rule);
                let candidates = case.nearest(&canvas, &known, cell, radius);
                candidates.into_iter().skip(usize::from(sample == 1)).for_each(|candidate| pool.offer(candidate));
                let members = pool.finish();
                let random = KeyedRandom { seed: 5, sample: sample as u64 };
                let drawn = members[random.index(Stream::Pixel { sweep: 0 }, flat as u32, members.len())];
                let compared = case.range().cells(case.grid, &known, cell).len() * case.bits;
                prop_assert_eq!(pool_size[flat], members.len() as i32);
                prop_assert_eq!(image_id[flat], drawn.image.0 as i32);
                prop_assert_eq!(Pixel { y: y[flat] as usize, x: x[flat] as usize }, drawn.source);
                prop_assert_eq!(distance[flat], drawn.distance as f32 / compared.max(1) as f32);
                let width = case.tokens().width();
                for (at, byte) in case.tokens().value(drawn.image, drawn.source).enumerate() {
                    canvas[flat * width + at] = byte;
                }
                known[flat] = true;
            }
            prop_assert_eq!(bytes, &canvas);
        }
    }

    #[test]
    fn distributions_are_the_formula(case in cases(60), flip in 0.0005..0.5_f64, radius in 0_usize..2) {
        let case = Case { bits: case.bits.min(8), ..case };
        let width = 1;
        let lines = case.grid.area() * width;
        let unused = 0xFF >> (8 - case.bits);
        let planes = case.planes[..lines * case.count].iter().map(|byte| byte & unused).collect();
        let canvases: Vec<Vec<u8>> =
            case.canvases.iter().map(|bytes| bytes[..lines].iter().map(|byte| byte & unused).collect()).collect();
        let case = Case { planes, canvases, ..case };
        let sampler = case.sampler(radius, NEAREST, InstructionSet::best());
        let histogram = Histogram::new(flip, case.count).unwrap();
        let canvases: Vec<&[u8]> = case.canvases.iter().map(Vec::as_slice).collect();
        let barred: Vec<_> = (0..canvases.len()).map(|sample| (sample == 1).then_some(ImageId(1))).collect();
        let found =
            sampler.distributions((case.cell, &case.known), &canvases, &barred, &histogram, &GO_ON).unwrap();
        for (sample, found) in found.iter().enumerate() {
            let candidates = case.nearest(canvases[sample], &case.known, case.cell, radius);
            let least = candidates.iter().enumerate().filter(|(id, _)| sample != 1 || *id != 1);
            let least = least.map(|(_, one)| one.distance).fold(f64::INFINITY, f64::min);
            let mut expected = vec![0.0; 1 << case.bits];
            for one in candidates.iter().filter(|one| sample != 1 || one.image.0 != 1) {
                let token = usize::from(case.tokens().value(one.image, one.source).next().unwrap());
                let weight = (flip / (1.0 - flip)).powf(one.distance - least);
                for (value, expected) in expected.iter_mut().enumerate() {
                    let differ = (value ^ token).count_ones() as i32;
                    *expected += weight * flip.powi(differ) * (1.0 - flip).powi(case.bits as i32 - differ);
                }
            }
            let total: f64 = expected.iter().sum();
            prop_assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((found - expected / total).abs() <= 1e-12, "{found} {expected} {total}");
            }
        }
    }
}

/// Tokens of one byte on a grid of 1×2, the second cell to be drawn.
fn two_cells(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

#[test]
fn a_histogram_draws_each_token_as_often_as_its_distribution_says() {
    // Distances 0, 1, 1, 3 from the canvas's 0b000.
    let planes = two_cells(&[0b000, 0b001, 0b100, 0b111], &[0b01, 0b10, 0b10, 0b11]);
    let grid = Extent::new(1, 2);
    let tokens = Tokens::new(&planes, 4, grid, 3).unwrap();
    let settings = Settings { gamma: Some(1), rule: DrawRule::Histogram { flip: 0.2 }, ..SETTINGS };
    let sampler = Sampler::new(tokens, &settings).unwrap();
    let histogram = Histogram::new(0.2, 4).unwrap();
    let cell = Pixel { y: 0, x: 1 };
    let known = [true, false];
    let canvas = vec![0, 0];
    let expected =
        sampler.distributions((cell, &known), &[&canvas], &[None], &histogram, &GO_ON).unwrap().remove(0);

    const MANY: u64 = 20_000;
    let mut counts = [0_u32; 8];
    for sample in 0..MANY {
        let mut pixels = canvas.clone();
        let (mut image_id, mut y, mut x) = ([0; 2], [0; 2], [0; 2]);
        let (mut distance, mut pool_size) = ([0.0; 2], [0; 2]);
        let trace = Trace {
            image_id: &mut image_id,
            y: &mut y,
            x: &mut x,
            distance: &mut distance,
            pool_size: &mut pool_size,
        };
        let random = KeyedRandom { seed: 9, sample };
        let mut canvases = [Canvas {
            random,
            barred: None,
            pixels: &mut pixels,
            trace,
            barred_shift: None,
            sources: SourceCounts::default(),
            shifts: ShiftCounts::default(),
            fallbacks: 0,
        }];
        sampler.fill((&[cell], 0), &known, &mut canvases, &GO_ON).unwrap();
        counts[usize::from(pixels[1])] += 1;
        assert_eq!(pool_size[1], 4);
    }
    // Chi-squared with 7 degrees of freedom: 24.3 is exceeded once in a thousand.
    let chi = |(&count, p): (&u32, &f64)| (f64::from(count) - p * MANY as f64).powi(2) / (p * MANY as f64);
    let chi: f64 = counts.iter().zip(&expected).map(chi).sum();
    assert!(chi < 24.3, "{chi}");
}

#[test]
fn without_flips_a_histogram_is_the_pool_of_the_nearest() {
    let planes = two_cells(&[1, 0, 0, 7], &[3, 1, 2, 0]);
    let case = Case {
        grid: Extent::new(1, 2),
        bits: 3,
        count: 4,
        planes,
        canvases: vec![vec![0, 0]; 3],
        known: vec![true, false],
        cell: Pixel { y: 0, x: 1 },
        gamma: None,
        metric: Metric::Chebyshev,
    };
    let filled = |rule| fill(&case, &case.sampler(0, rule, InstructionSet::Portable), &[case.cell], true);
    assert_eq!(filled(NEAREST), filled(DrawRule::Histogram { flip: 0.0 }));
}

#[test]
fn a_block_s_least_leaves_the_barred_image_out() {
    let mut distances = Distances::new(BLOCK + 3, Some(BLOCK + 1));
    distances.sums.fill(9);
    distances.sums[BLOCK + 1] = 2;
    distances.set_block_least(0, 9);
    distances.set_block_least(BLOCK, 2);
    assert_eq!(distances.nearest(), 9);
    let rule = Draw::Pool(PoolRule::new(0.0, 1, Keep::Best).unwrap());
    for sample in 0..50 {
        let drawn = distances.draw(&rule, KeyedRandom { seed: 0, sample }, 0, 0);
        assert_eq!((drawn.distance, drawn.pool_size), (9, BLOCK + 2));
        assert_ne!(drawn.image, BLOCK + 1);
    }
}

#[test]
fn an_interrupted_fill_ends() {
    let planes = vec![0; 4];
    let tokens = Tokens::new(&planes, 4, Extent::new(1, 1), 1).unwrap();
    let sampler = Sampler::new(tokens, &SETTINGS).unwrap();
    let stop = AtomicBool::new(true);
    let cell = Pixel { y: 0, x: 0 };
    let error = sampler.distances((cell, &[false]), &[&[0]], &stop).unwrap_err();
    assert_eq!(error, crate::Error::Interrupted);
}

#[test]
fn bad_arguments_are_refused() {
    let extent = Extent::new(2, 2);
    let message =
        |planes: &[u8], count, grid, bits| Tokens::new(planes, count, grid, bits).unwrap_err().to_string();
    assert_eq!(message(&[0; 4], 1, extent, 0), "bits must be in 1..=64, got 0");
    assert_eq!(message(&[0; 4], 1, extent, 65), "bits must be in 1..=64, got 65");
    assert_eq!(message(&[], 0, extent, 1), "token count must be in 1..=2147483647, got 0");
    assert_eq!(message(&[0; 7], 1, extent, 9), "planes must be 8 bytes, got 7");
    assert_eq!(
        message(&[], 1, Extent::new(1 << 14, 1 << 13), 1),
        "grid must be of 1 to 67108864 cells, got 16384×8192"
    );
    let planes = vec![0; 8 * 32 * 32];
    let tokens = Tokens::new(&planes, 1, Extent::new(32, 32), 64).unwrap();
    let message = |gamma| Range::new(gamma, Metric::Chebyshev, &tokens).unwrap_err().to_string();
    assert_eq!(message(Some(0)), "gamma must be at least 1 or None, got 0");
    assert!(Range::new(None, Metric::Chebyshev, &tokens).is_ok());
    let planes = vec![0; 8 * 32 * 33];
    let tokens = Tokens::new(&planes, 1, Extent::new(32, 33), 64).unwrap();
    let error = Range::new(None, Metric::Chebyshev, &tokens).unwrap_err().to_string();
    assert_eq!(error, "gamma must be so that at most 1023 cells are in range, got 1055");
    let message = |flip| Histogram::new(flip, 1).unwrap_err().to_string();
    assert_eq!(message(0.6), "flip must be a probability in 0…0.5, got 0.6");
    assert_eq!(message(f64::NAN), "flip must be a probability in 0…0.5, got NaN");
    let planes = vec![0; 3];
    let tokens = Tokens::new(&planes, 1, Extent::new(1, 1), 17).unwrap();
    let sampler = Sampler::new(tokens, &SETTINGS).unwrap();
    let at = (Pixel { y: 0, x: 0 }, &[false][..]);
    let histogram = Histogram::new(0.1, 1).unwrap();
    let error = sampler.distributions(at, &[&[0; 3]], &[None], &histogram, &GO_ON).unwrap_err();
    assert_eq!(error.to_string(), "bits must be at most 16, as all tokens are listed, got 17");
}
