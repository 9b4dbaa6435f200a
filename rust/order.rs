//! The fill order of pixels (section 2.3 of the paper).
//!
//! Pixels are filled from the known ones outward, in rings of equal Chebyshev distance; in a ring always the pixel whose
//! window holds the most known pixels, ties by (y, x). The order depends on the frame, the mask and the window alone, so all
//! canvases of a batch share the order and, at each step, the known mask.

use std::sync::atomic::AtomicBool;

use crate::error::{check, require, reserved, Result};
use crate::geometry::check_window;
use crate::geometry::{Extent, Pixel};
use crate::random::{KeyedRandom, Stream};

/// Unknown pixels in the order in which they are filled, cut into stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillOrder {
    pub pixels: Vec<Pixel>,
    /// Stage `s` is `pixels[stages[s]..stages[s + 1]]`, one ring. The first number is 0.
    pub stages: Vec<usize>,
}

/// The fill order of a frame with the mask `known` (row-major).
pub fn fill_order(extent: Extent, known: &[bool], window: usize, cancel: &AtomicBool) -> Result<FillOrder> {
    check_window(window, extent)?;
    require(known.len() == extent.area(), "known", format!("{} flags", extent.area()), known.len())?;
    require(known.contains(&true), "known", "a mask with at least one known pixel", "none")?;

    let (unknown, ends) = rings(extent, known)?;
    let mut overlap = Overlap::new(extent, known, window / 2)?;
    let mut order = FillOrder { pixels: reserved("a fill order", unknown.len())?, stages: vec![0] };
    for bounds in ends.windows(2) {
        let mut ring = unknown[bounds[0]..bounds[1]].to_vec();
        while !ring.is_empty() {
            check(cancel)?;
            // The first pixel with the largest overlap. The ring is in (y, x) order, also after removals.
            let mut next = 0;
            for (index, &pixel) in ring.iter().enumerate().skip(1) {
                if overlap.at(pixel) > overlap.at(ring[next]) {
                    next = index;
                }
            }
            let pixel = ring.remove(next);
            overlap.fill(pixel);
            order.pixels.push(pixel);
        }
        order.stages.push(order.pixels.len());
    }
    Ok(order)
}

/// Shuffles `pixels` into the order in which a sweep draws them again (Fisher and Yates). All orders are equally likely; the
/// order depends on seed and sweep alone, so all canvases of a run share it.
pub fn sweep_order(pixels: &mut [Pixel], seed: u64, sweep: u16) {
    let random = KeyedRandom { seed, sample: u64::from(sweep) };
    for last in (1..pixels.len()).rev() {
        pixels.swap(last, random.index(Stream::SweepOrder, last as u32, last + 1));
    }
}

/// Unknown pixels by Chebyshev distance to the known set (1, 2, …), each ring in (y, x) order: ring `r` is the part from
/// `ends[r]` to `ends[r + 1]`.
fn rings(extent: Extent, known: &[bool]) -> Result<(Vec<Pixel>, Vec<usize>)> {
    const FAR: u32 = u32::MAX;
    let mut distance: Vec<u32> = reserved("a fill order", extent.area())?;
    distance.extend(known.iter().map(|&known| if known { 0 } else { FAR }));
    let mut queue: Vec<Pixel> = reserved("a fill order", extent.area())?;
    queue.extend(extent.pixels().filter(|&pixel| known[extent.flat(pixel)]));
    let seeds = queue.len();
    let mut at = 0;
    while let Some(&pixel) = queue.get(at) {
        at += 1;
        for neighbour in extent.square(pixel, 1).pixels() {
            if distance[extent.flat(neighbour)] == FAR {
                distance[extent.flat(neighbour)] = distance[extent.flat(pixel)] + 1;
                queue.push(neighbour);
            }
        }
    }
    // The queue is in the order of distances.
    queue.drain(..seeds);
    let mut ends = vec![0];
    let mut start = 0;
    while start < queue.len() {
        let ring = |pixel: &Pixel| distance[extent.flat(*pixel)];
        let end = queue.partition_point(|pixel| ring(pixel) <= ring(&queue[start]));
        queue[start..end].sort_unstable();
        ends.push(end);
        start = end;
    }
    Ok((queue, ends))
}

/// How many known pixels each pixel's window holds.
struct Overlap {
    extent: Extent,
    half: usize,
    counts: Vec<u32>,
}

impl Overlap {
    fn new(extent: Extent, known: &[bool], half: usize) -> Result<Self> {
        let mut counts = reserved("a fill order", extent.area())?;
        counts.resize(extent.area(), 0);
        let mut overlap = Self { extent, half, counts };
        for pixel in extent.pixels().filter(|&p| known[extent.flat(p)]) {
            overlap.fill(pixel);
        }
        Ok(overlap)
    }

    fn at(&self, pixel: Pixel) -> u32 {
        self.counts[self.extent.flat(pixel)]
    }

    fn fill(&mut self, pixel: Pixel) {
        for neighbour in self.extent.square(pixel, self.half).pixels() {
            self.counts[self.extent.flat(neighbour)] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);
    use crate::geometry::Rect;

    fn seeded(extent: Extent, seed: Rect) -> Vec<bool> {
        let mut known = vec![false; extent.area()];
        for pixel in seed.pixels() {
            known[extent.flat(pixel)] = true;
        }
        known
    }

    #[test]
    fn a_centred_seed_grows_ring_by_ring() {
        let extent = Extent::new(28, 28);
        let known = seeded(extent, Rect { y: 10, x: 10, height: 8, width: 8 });
        let order = fill_order(extent, &known, 9, &GO_ON).unwrap();
        assert_eq!(order.pixels.len(), 28 * 28 - 64);
        assert_eq!(order.stages.len(), 11);
        assert_eq!(order.stages[1], 36);
        // The middle of the upper edge comes first: four of its window's rows are half full, ties by (y, x).
        assert_eq!(order.pixels[0], Pixel { y: 9, x: 13 });
    }

    #[test]
    fn a_full_frame_has_no_stage() {
        let order = fill_order(Extent::new(3, 3), &[true; 9], 3, &GO_ON).unwrap();
        assert_eq!(order, FillOrder { pixels: vec![], stages: vec![0] });
    }

    #[test]
    fn holes_are_filled_from_their_rim() {
        let extent = Extent::new(9, 9);
        let mut known = vec![true; 81];
        for pixel in (Rect { y: 2, x: 2, height: 5, width: 5 }).pixels() {
            known[extent.flat(pixel)] = false;
        }
        let order = fill_order(extent, &known, 3, &GO_ON).unwrap();
        assert_eq!(order.stages, vec![0, 16, 24, 25]);
        assert_eq!(order.pixels[24], Pixel { y: 4, x: 4 });
    }

    #[test]
    fn a_sweep_holds_every_pixel_once_in_an_order_of_its_own() {
        let extent = Extent::new(6, 7);
        let sweep = |seed, sweep| {
            let mut pixels: Vec<Pixel> = extent.pixels().collect();
            sweep_order(&mut pixels, seed, sweep);
            pixels
        };
        let first = sweep(1, 1);
        assert_eq!(first, sweep(1, 1));
        assert_ne!(first, sweep(1, 2));
        assert_ne!(first, sweep(2, 1));
        let mut sorted = first;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(extent.pixels()));
    }

    #[test]
    fn a_sweep_s_order_is_uniform() {
        let mut counts = [0_u32; 6];
        for seed in 0..6_000 {
            let mut pixels: Vec<Pixel> = Extent::new(1, 3).pixels().collect();
            sweep_order(&mut pixels, seed, 1);
            counts[pixels[0].x * 2 + usize::from(pixels[1].x > pixels[2].x)] += 1;
        }
        // Chi-squared with 5 degrees of freedom: 20.5 is exceeded once in a thousand.
        let chi: f64 = counts.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 20.5, "{chi}");
    }

    #[test]
    fn bad_masks_and_windows_are_refused() {
        let extent = Extent::new(4, 4);
        let message =
            |known: &[bool], window| fill_order(extent, known, window, &GO_ON).unwrap_err().to_string();
        assert_eq!(message(&[true; 15], 3), "known must be 16 flags, got 15");
        assert_eq!(message(&[false; 16], 3), "known must be a mask with at least one known pixel, got none");
        assert_eq!(message(&[true; 16], 5), "window must be odd, in 3..=4 (the image is 4×4), got 5");
    }
}
