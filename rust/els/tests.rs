use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::tile::unit;
use super::vector::{Block, Mask, Portable, Vector};
use super::*;
use crate::geometry::Extent;

/// The definition in double precision, for one canvas: x̂₀ (H, W, C), logarithms of sums and entropies (H, W).
fn reference(corpus: &Corpus, ids: &[ImageId], canvas: &[f32], step: Step) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (extent, channels) = (corpus.extent(), corpus.channels());
    let (height, width) = (extent.height as isize, extent.width as isize);
    let torus = step.machine == Machine::Equivariant;
    let reach = match step.machine {
        Machine::Ideal => height.max(width),
        _ => step.window as isize / 2,
    };
    let inside = |at: isize, len: isize| at >= reach && at + reach < len;
    let comparable = |a: isize, b: isize, len: isize| match step.machine {
        Machine::Ideal | Machine::Local => a == b,
        Machine::Equivariant => true,
        Machine::EquivariantBorders => a == b || (inside(a, len) && inside(b, len)),
    };
    let flat = |y: isize, x: isize| -> Option<usize> {
        let (y, x) = if torus { (y.rem_euclid(height), x.rem_euclid(width)) } else { (y, x) };
        ((0..height).contains(&y) && (0..width).contains(&x)).then(|| (y * width + x) as usize)
    };
    let theirs =
        |id: ImageId, at: usize, c: usize| f64::from(corpus.image(id)[at * channels + c]) / 127.5 - 1.0;
    let (mut means, mut log_sums, mut entropies) = (Vec::new(), Vec::new(), Vec::new());
    for (py, px) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let mut logits = Vec::new();
        for &id in ids {
            for (qy, qx) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                if !comparable(py, qy, height) || !comparable(px, qx, width) {
                    continue;
                }
                let mut distance = 0.0;
                for (dy, dx) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx))) {
                    for c in 0..channels {
                        let x = flat(py + dy, px + dx).map_or(0.0, |at| f64::from(canvas[at * channels + c]));
                        let phi = flat(qy + dy, qx + dx).map_or(0.0, |at| theirs(id, at, c));
                        distance += (x - step.signal * phi).powi(2);
                    }
                }
                let at = (qy * width + qx) as usize;
                logits.push((-distance / (2.0 * step.noise * step.noise), id, at));
            }
        }
        let most = logits.iter().map(|&(logit, ..)| logit).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|&(logit, ..)| (logit - most).exp()).sum();
        for c in 0..channels {
            let weighted = logits.iter().map(|&(logit, id, at)| (logit - most).exp() * theirs(id, at, c));
            means.push(weighted.sum::<f64>() / sum);
        }
        log_sums.push(most + sum.ln());
        let surprise = logits.iter().map(|&(logit, ..)| (logit - most).exp() * (logit - most));
        entropies.push(sum.ln() - surprise.sum::<f64>() / sum);
    }
    (means, log_sums, entropies)
}

/// A small corpus with much background, canvases that are noisy images of it, and a step.
#[derive(Debug, Clone)]
struct Case {
    extent: Extent,
    channels: usize,
    images: Vec<u8>,
    ids: Vec<ImageId>,
    canvases: Vec<f32>,
    step: Step,
}

impl Case {
    fn with<T>(&self, run: impl FnOnce(&Corpus) -> T) -> T {
        let count = self.images.len() / (self.extent.area() * self.channels);
        run(&Corpus::new(&self.images, count, self.extent, self.channels).unwrap())
    }

    fn denoise(&self, instructions: InstructionSet, effort: Effort) -> Vec<Denoised> {
        self.with(|corpus| {
            denoise(
                instructions,
                (corpus, &self.ids),
                &self.canvases,
                self.step,
                effort,
                &AtomicBool::new(false),
            )
            .unwrap()
        })
    }
}

fn cases() -> impl Strategy<Value = Case> {
    // Few cases have lines longer than a word of marks, as the definition is slow for these.
    let sizes = prop_oneof![
        15 => (1_usize..9, 1_usize..9, 1_usize..40),
        1 => (Just(1_usize), 60_usize..80, 1_usize..3),
    ];
    let settings = (prop::bool::ANY, 0_usize..4, 0_usize..5, 0_usize..4, any::<u32>());
    (sizes, settings).prop_map(|((height, width, count), (colour, machine, reach, noise, salt))| {
        let (extent, channels) = (Extent::new(height, width), if colour { 3 } else { 1 });
        let mut state = u64::from(salt) + 1;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let len = extent.area() * channels;
        let ink = random() % 5;
        let images: Vec<u8> =
            (0..count * len).map(|_| if random() % 5 < ink { (random() % 256) as u8 } else { 0 }).collect();
        let mut ids: Vec<_> = (0..count as u32).filter(|_| random() % 4 > 0).map(ImageId).collect();
        if ids.is_empty() {
            ids.push(ImageId(0));
        }
        let noise: f64 = [0.05, 0.3, 0.7, 0.996][noise];
        let signal = (1.0 - noise * noise).sqrt();
        let canvases = (0..2 * len)
            .map(|at| {
                let gauss = (0..12).map(|_| random() as f64 / (1_u64 << 31) as f64).sum::<f64>() - 6.0;
                (signal * f64::from(unit(images[at % images.len()])) + noise * gauss) as f32
            })
            .collect();
        let window = (2 * reach + 1).min(2 * height.max(width) - 1);
        let step = Step { machine: Machine::ALL[machine], window, signal, noise };
        Case { extent, channels, images, ids, canvases, step }
    })
}

/// The error that single precision may cause.
const SINGLE: f64 = 1e-5;

const EXACT: Effort = Effort { tolerance: 0.0, sampling: 0.0, rotation: 0, sources: 0 };

/// Relative error, root mean square, of a canvas's noise estimate ε = (x − a·x̂₀) / b.
fn error(canvas: &[f32], step: Step, found: &[f64], expected: &[f64]) -> f64 {
    let off: f64 = found.iter().zip(expected).map(|(a, b)| (step.signal * (a - b)).powi(2)).sum();
    let whole = canvas.iter().zip(expected).map(|(&x, mean)| (f64::from(x) - step.signal * mean).powi(2));
    (off / whole.sum::<f64>()).sqrt()
}

proptest! {
    #[test]
    fn all_instruction_sets_agree_with_the_definition(case in cases()) {
        for instructions in InstructionSet::available() {
            for effort in [EXACT, Effort { tolerance: 1e-6, rotation: 3, ..EXACT }] {
                let found = case.denoise(instructions, effort);
                for (found, canvas) in found.iter().zip(case.canvases.chunks(case.extent.area() * case.channels)) {
                    let (means, log_sums, entropies) =
                        case.with(|corpus| reference(corpus, &case.ids, canvas, case.step));
                    let error = error(canvas, case.step, &found.mean, &means);
                    prop_assert!(error < SINGLE, "{instructions:?} {error}");
                    for (a, b) in found.log_sum.iter().zip(&log_sums) {
                        prop_assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} {b}");
                    }
                    for (a, b) in found.entropy.iter().zip(&entropies) {
                        prop_assert!((a - b).abs() < 100.0 * SINGLE, "{a} {b}");
                    }
                    prop_assert!(found.skipped <= effort.tolerance);
                    prop_assert_eq!(found.images, case.ids.len());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_tolerance_bounds_the_error(case in cases(), tolerance in prop::sample::select(vec![1e-3, 1e-2, 0.3])) {
        let exact = case.denoise(InstructionSet::Portable, EXACT);
        for instructions in InstructionSet::available() {
            for (found, exact) in case.denoise(instructions, Effort { tolerance, ..EXACT }).iter().zip(&exact) {
                prop_assert!(found.skipped <= tolerance);
                for (a, b) in found.mean.iter().zip(&exact.mean) {
                    // The skipped patches and those that get their share may differ by all of −1…1.
                    prop_assert!((a - b).abs() <= 2.0 * found.skipped + 2.0 * SINGLE, "{instructions:?} {a} {b}");
                }
            }
        }
    }
}

#[test]
fn exp2_is_good_to_two_parts_in_ten_million() {
    let powers = |exponents: [f32; LANES]| {
        let mut out = Block::ZERO;
        // SAFETY: plain Rust.
        unsafe { Portable::load(&Block(exponents)).exp2(Mask::MAX).store(&mut out) };
        out.0
    };
    for base in -125_000..126_000 {
        let exponents: [f32; LANES] =
            std::array::from_fn(|lane| base as f32 / 1000.0 + lane as f32 / 17_000.0);
        for (power, exponent) in powers(exponents).into_iter().zip(exponents) {
            let exact = f64::from(exponent).exp2();
            assert!((f64::from(power) / exact - 1.0).abs() < 2e-7, "{exponent}");
        }
    }
    assert_eq!(powers([-1e9; LANES]), [f32::MIN_POSITIVE; LANES]);
}
