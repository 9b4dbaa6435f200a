//! The Gaussian window, restricted to the taps that are known.
//!
//! A *tap* is one offset of the window. Taps at the same radius have the same weight; together they are a *shell*. The
//! squared differences of a shell are added as integers, exactly and in any order. Only the sums of the few shells of a
//! window are added in floating point.

use std::collections::BTreeMap;

use crate::error::{require, Result};
use crate::geometry::{check_window, Extent, Offset, Pixel};

/// Exponents of the Gaussian are limited to this value, so that an outer tap of a narrow window has a weight above 0 in
/// single precision. Beside any nearer tap it is below rounding (e⁻⁶⁰ ≈ 10⁻²⁶).
const MAX_EXPONENT: f64 = 60.0;

/// All taps of one radius.
#[derive(Debug, Clone, PartialEq)]
struct Shell {
    weight: f64,
    offsets: Vec<Offset>,
}

/// A w×w Gaussian window without its centre, heaviest shell first.
#[derive(Debug, Clone)]
pub struct Window {
    half: usize,
    shells: Vec<Shell>,
}

/// The known taps of a window at one pixel, heaviest shell first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taps {
    pub offsets: Vec<Offset>,
    /// Weight and end in `offsets` of each shell that has a known tap.
    pub shells: Vec<(f64, usize)>,
}

impl Window {
    /// A window of odd `side` with standard deviation `sigma` in pixels: `G(δ) = exp(−‖δ‖² / 2σ²)`.
    pub fn new(side: usize, sigma: f64, extent: Extent) -> Result<Self> {
        check_window(side, extent)?;
        require(sigma.is_finite() && sigma > 0.0, "sigma", "a positive number", sigma)?;
        let half = side / 2;
        let reach = -(half as isize)..=half as isize;
        let mut by_radius: BTreeMap<usize, Vec<Offset>> = BTreeMap::new();
        for dy in reach.clone() {
            for dx in reach.clone() {
                let offset = Offset { dy, dx };
                by_radius.entry(offset.squared_length()).or_default().push(offset);
            }
        }
        by_radius.remove(&0);
        let shells = by_radius
            .into_iter()
            .map(|(squared, offsets)| {
                let exponent = squared as f64 / (2.0 * sigma * sigma);
                Shell { weight: (-exponent.min(MAX_EXPONENT)).exp(), offsets }
            })
            .collect();
        Ok(Self { half, shells })
    }

    /// A window without taps: every distance is 0.
    pub fn empty() -> Self {
        Self { half: 0, shells: Vec::new() }
    }

    /// `(w − 1) / 2`
    pub fn half(&self) -> usize {
        self.half
    }

    /// Weight and offsets of each shell, heaviest first.
    pub(super) fn shells(&self) -> impl Iterator<Item = (f64, &[Offset])> {
        self.shells.iter().map(|shell| (shell.weight, &shell.offsets[..]))
    }

    /// The taps of the window at `pixel` that are inside the frame and known.
    pub fn taps(&self, extent: Extent, known: &[bool], pixel: Pixel) -> Taps {
        let mut taps = Taps::default();
        for shell in &self.shells {
            let before = taps.offsets.len();
            taps.offsets.extend(
                shell
                    .offsets
                    .iter()
                    .filter(|&&offset| extent.step(pixel, offset).is_some_and(|tap| known[extent.flat(tap)])),
            );
            if taps.offsets.len() > before {
                taps.shells.push((shell.weight, taps.offsets.len()));
            }
        }
        taps
    }
}

impl Taps {
    /// Upper left and lower right corner of the smallest rectangle that holds all taps and the centre.
    pub fn corners(&self) -> [Offset; 2] {
        let (mut low, mut high) = (Offset { dy: 0, dx: 0 }, Offset { dy: 0, dx: 0 });
        for &Offset { dy, dx } in &self.offsets {
            low = Offset { dy: low.dy.min(dy), dx: low.dx.min(dx) };
            high = Offset { dy: high.dy.max(dy), dx: high.dx.max(dx) };
        }
        [low, high]
    }

    /// `Σ_δ G(δ)` over the known taps.
    pub fn total_weight(&self) -> f64 {
        let mut start = 0;
        let mut total = 0.0;
        for &(weight, end) in &self.shells {
            total += weight * (end - start) as f64;
            start = end;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_known_inside_and_heaviest_first() {
        let extent = Extent::new(9, 9);
        let window = Window::new(5, 5.0 / 6.4, extent).unwrap();
        let mut known = vec![true; 81];
        known[extent.flat(Pixel { y: 0, x: 1 })] = false;
        let taps = window.taps(extent, &known, Pixel { y: 0, x: 0 });
        assert_eq!(taps.offsets.len(), 7);
        assert_eq!(taps.offsets[0], Offset { dy: 1, dx: 0 });
        assert!(taps.shells.windows(2).all(|pair| pair[0].0 > pair[1].0));
        assert_eq!(taps.shells.last().unwrap().1, 7);
    }

    #[test]
    fn the_full_window_sums_to_the_gaussian_less_its_centre() {
        let extent = Extent::new(20, 20);
        let sigma = 9.0 / 6.4;
        let window = Window::new(9, sigma, extent).unwrap();
        let taps = window.taps(extent, &[true; 400], Pixel { y: 10, x: 10 });
        let mut expected = 0.0;
        for dy in -4..=4_i32 {
            for dx in -4..=4_i32 {
                if (dy, dx) != (0, 0) {
                    expected += (-f64::from(dy * dy + dx * dx) / (2.0 * sigma * sigma)).exp();
                }
            }
        }
        assert_eq!(taps.offsets.len(), 80);
        assert!((taps.total_weight() - expected).abs() < 1e-12);
    }

    #[test]
    fn bad_windows_are_refused() {
        let extent = Extent::new(8, 9);
        let message = |side, sigma| Window::new(side, sigma, extent).unwrap_err().to_string();
        assert_eq!(message(4, 1.0), "window must be odd, in 3..=8 (the image is 8×9), got 4");
        assert_eq!(message(1, 1.0), "window must be odd, in 3..=8 (the image is 8×9), got 1");
        assert_eq!(message(9, 1.0), "window must be odd, in 3..=8 (the image is 8×9), got 9");
        assert_eq!(message(3, f64::NAN), "sigma must be a positive number, got NaN");
    }
}
