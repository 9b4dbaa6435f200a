//! The nearest patches, rescored in double precision.
//!
//! At low noise, exponents are so large that the rounding error of a distance in single precision matters in its weight;
//! but then few patches hold all the weight.

use super::state::State;
use super::sums::NearPatch;
use super::Plan;
use crate::geometry::Pixel;

/// Below this noise, the nearest patches are rescored.
pub const NOISE: f64 = 0.35;
/// How many patches are rescored per pixel.
pub const COUNT: usize = 16;

/// Corrects the sums of a canvas after all tiles, before its patches of background are looked up.
pub fn rescore(plan: &Plan, state: &mut State) {
    let extent = plan.frame.extent;
    let shown: [Vec<_>; 2] =
        [extent.height, extent.width].map(|len| plan.frame.shown(len).collect::<Vec<Option<usize>>>());
    for pixel in extent.pixels() {
        let at = pixel.y * extent.width + pixel.x;
        let mut found = state.totals.nearest.of(at).to_vec();
        for source in &mut found {
            let exact = distance(plan, &state.canvas, &shown, pixel, source);
            let middle = &plan.corpus.image(source.image)[source.at as usize * plan.channels()..];
            let centre = middle[..plan.channels()].iter().map(|&byte| plan.level(byte));
            state.totals.correct(at, -plan.gain * f64::from(source.distance), -plan.gain * exact, centre);
            source.distance = exact as f32;
        }
        state.totals.nearest.replace(at, found);
    }
}

/// Squared distance of a pixel's window to a patch.
fn distance(
    plan: &Plan,
    canvas: &[f32],
    [rows, columns]: &[Vec<Option<usize>>; 2],
    pixel: Pixel,
    source: &NearPatch,
) -> f64 {
    let (frame, channels, image) = (plan.frame, plan.channels(), plan.corpus.image(source.image));
    let (width, bordered) = (frame.extent.width, frame.bordered());
    let (top, left) = (source.at as usize / width, source.at as usize % width);
    let mut sum = 0.0;
    for down in 0..frame.window() {
        for across in 0..frame.window() {
            let ours = (pixel.y + down) * bordered.width + pixel.x + across;
            let theirs = rows[top + down].zip(columns[left + across]);
            for channel in 0..channels {
                let level =
                    theirs.map_or(0.0, |(y, x)| plan.level(image[(y * width + x) * channels + channel]));
                sum += (f64::from(canvas[ours * channels + channel]) - level).powi(2);
            }
        }
    }
    sum
}
