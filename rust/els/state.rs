//! One canvas, with its sums between rounds.

use std::f64::consts::LN_2;

use super::sums::{NearPatch, Totals};
use super::vector::LANES;
use super::{Denoised, HeavyPatch, Plan};
use crate::geometry::Pixel;

/// One canvas that is being denoised.
pub struct State {
    /// `(H + border, W + border, C)`.
    pub canvas: Vec<f32>,
    /// `(H, W)`: squared distance of each window to background.
    pub background: Vec<f64>,
    pub totals: Totals,
    pub limits: Vec<f32>,
    /// `(H, W)`: bound on the share of the weight that was skipped.
    pub skipped: Vec<f64>,
    /// How many tiles, in their order, and how many images were scanned.
    pub tiles: usize,
    pub images: usize,
    pub standard_error: f64,
    pub done: bool,
}

impl State {
    /// `canvas` is `(H, W, C)`.
    pub fn new(plan: &Plan, canvas: &[f32]) -> Self {
        let (frame, channels, area) = (plan.frame, plan.channels(), plan.frame.extent.area());
        let (extent, bordered) = (frame.extent, frame.bordered());
        let mut framed = vec![0.0; channels * bordered.area()];
        let mut squares = vec![0.0; bordered.area()];
        let mut at = 0;
        for y in frame.shown(extent.height) {
            for x in frame.shown(extent.width) {
                if let (Some(y), Some(x)) = (y, x) {
                    for channel in 0..channels {
                        let value = canvas[(y * extent.width + x) * channels + channel];
                        framed[at * channels + channel] = value;
                        squares[at] += (f64::from(value) - plan.level(plan.background[channel])).powi(2);
                    }
                }
                at += 1;
            }
        }
        let window = |pixel: Pixel| {
            let rows = squares[pixel.y * bordered.width..].chunks(bordered.width).take(frame.window());
            rows.map(|row| row[pixel.x..][..frame.window()].iter().sum::<f64>()).sum()
        };
        Self {
            canvas: framed,
            background: extent.pixels().map(window).collect(),
            totals: Totals::new(channels, area, plan.nearest),
            limits: vec![f32::INFINITY; area],
            skipped: vec![0.0; area],
            tiles: 0,
            images: 0,
            standard_error: 0.0,
            done: false,
        }
    }

    /// Updates bounds and errors after a round over `images` images, and sets the limits of the next round.
    pub fn close_round(&mut self, plan: &Plan, images: usize, last: bool, sampled: bool) {
        let (step, effort) = (plan.step, plan.effort);
        self.images += images;
        for (pixel, limit) in self.limits.iter_mut().enumerate() {
            if limit.is_finite() {
                // In the worst case, every patch of the round was skipped at the limit.
                let patches = plan.partners[pixel] * images as f64;
                self.skipped[pixel] +=
                    patches * (-plan.gain * f64::from(*limit) - self.totals.log2_sum(pixel)).exp2();
            }
        }
        if sampled || last {
            let share = self.images as f64 / plan.ids.len() as f64;
            // The sums hold signal · pixel.
            let error = self.totals.standard_error(share, step.signal) / step.noise;
            self.done = last || error <= effort.sampling;
            self.standard_error = error;
        }
        if effort.tolerance > 0.0 && !self.done {
            for (pixel, limit) in self.limits.iter_mut().enumerate() {
                let patches = plan.partners[pixel] * plan.ids.len() as f64;
                let exponent = self.totals.log2_sum(pixel) + (effort.tolerance / patches).log2();
                *limit = (-exponent / plan.gain) as f32;
            }
        }
    }

    pub fn finish(&self, plan: &Plan) -> Denoised {
        let pixels = 0..self.limits.len();
        let totals = &self.totals;
        let heavy = |source: &NearPatch, pixel: usize| HeavyPatch {
            image: source.image,
            at: source.at,
            weight: (-plan.gain * f64::from(source.distance) - totals.log2_sum(pixel)).exp2(),
        };
        let patches = plan.partners.iter().sum::<f64>() * self.images as f64;
        Denoised {
            mean: pixels
                .clone()
                .flat_map(|pixel| totals.means(pixel))
                .map(|mean| mean / plan.step.signal)
                .collect(),
            log_sum: pixels.clone().map(|pixel| LN_2 * totals.log2_sum(pixel)).collect(),
            entropy: pixels.clone().map(|pixel| totals.entropy(pixel)).collect(),
            sources: pixels
                .map(|pixel| {
                    let named = totals.nearest.of(pixel).iter().take(plan.effort.sources);
                    named.map(|source| heavy(source, pixel)).collect()
                })
                .collect(),
            skipped: self.skipped.iter().copied().fold(0.0, f64::max),
            standard_error: self.standard_error,
            images: self.images,
            weighed: (totals.added * LANES as u64) as f64 / patches,
        }
    }
}
