//! Distances that are added to those of windows: what is known of a candidate beside its window.
//!
//! `d = d_SSD + a / 256`, with a whole number `a` for each candidate: of a listed image k, at the source q of the pixel p.
//! Python makes them, from embeddings of places or from a coarser canvas. As they are whole numbers, candidates have the
//! same distances on every instruction set, and the scan may stop as before: sums start at them and only grow.

use super::planes::GROUP_IMAGES;
use crate::error::{require, Result};
use crate::geometry::Pixel;

/// Added distances are in units of 1/256 squared grey levels: exact in double precision.
const UNITS: f64 = 256.0;

/// The added distances of one canvas in one stage.
#[derive(Debug, Clone, Copy)]
pub struct Added<'a> {
    /// `(K, P, 2R + 1, 2R + 1)`: images of the shortlist by ascending id, pixels of the stage, and where the source lies,
    /// from `R` above and left of the pixel to `R` below and right.
    values: &'a [u32],
    pixels: usize,
    radius: usize,
}

impl<'a> Added<'a> {
    /// For `images` listed images and the `pixels` of a stage.
    pub fn new(values: &'a [u32], images: usize, pixels: usize, radius: usize) -> Result<Self> {
        let parts = [images, pixels, Self::side(radius), Self::side(radius)];
        let expected = parts.into_iter().fold(1, usize::saturating_mul); // a radius may be anything
        require(values.len() == expected, "added", format!("of {expected} numbers"), values.len())?;
        Ok(Self { values, pixels, radius })
    }

    /// Number of places of a source along each axis, `2R + 1`.
    pub fn side(radius: usize) -> usize {
        radius.saturating_mul(2).saturating_add(1)
    }

    /// Those for one pixel: the `index`-th of the stage.
    pub fn at(self, pixel: Pixel, index: usize) -> AddedHere<'a> {
        AddedHere { added: self, pixel, index }
    }
}

/// The added distances of one canvas at one pixel.
#[derive(Debug, Clone, Copy)]
pub struct AddedHere<'a> {
    added: Added<'a>,
    pixel: Pixel,
    index: usize,
}

impl AddedHere<'_> {
    /// That of image `slot` of the shortlist at a source within the radius, in squared grey levels.
    pub fn distance(&self, slot: usize, source: Pixel) -> f64 {
        let Added { values, pixels, radius } = self.added;
        let side = 2 * radius + 1;
        let (dy, dx) = (source.y + radius - self.pixel.y, source.x + radius - self.pixel.x);
        f64::from(values[((slot * pixels + self.index) * side + dy) * side + dx]) / UNITS
    }

    /// Writes where the sums of a group's lanes start at each source: at the added distance times `norm`, or at infinity
    /// as in `floor`. Lane 0 is image `first` of the shortlist.
    pub(super) fn floors(
        &self,
        first: usize,
        sources: &[Pixel],
        norm: f64,
        floor: &[f32; GROUP_IMAGES],
        floors: &mut Vec<[f32; GROUP_IMAGES]>,
    ) {
        floors.clear();
        floors.extend(sources.iter().map(|&source| {
            let mut row = *floor;
            for (lane, sum) in row.iter_mut().enumerate().filter(|(_, sum)| sum.is_finite()) {
                *sum = (self.distance(first + lane, source) * norm) as f32;
            }
            row
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_that_of_image_pixel_and_source() {
        let values: Vec<u32> = (0..2 * 3 * 9).map(|value| value * 128).collect();
        let here = Added::new(&values, 2, 3, 1).unwrap().at(Pixel { y: 5, x: 7 }, 2);
        assert_eq!(here.distance(1, Pixel { y: 4, x: 6 }), 45.0 / 2.0);
        assert_eq!(here.distance(1, Pixel { y: 6, x: 7 }), 52.0 / 2.0);
        assert_eq!(here.distance(0, Pixel { y: 5, x: 7 }), 22.0 / 2.0);
    }

    #[test]
    fn sums_start_at_what_is_added_and_barred_lanes_at_infinity() {
        let values = [0, 256, 512, 768];
        let mut floor = [f32::INFINITY; GROUP_IMAGES];
        floor[..3].fill(0.0);
        floor[1] = f32::INFINITY;
        let mut floors = Vec::new();
        let pixel = Pixel { y: 0, x: 0 };
        Added::new(&values, 4, 1, 0).unwrap().at(pixel, 0).floors(1, &[pixel], 10.0, &floor, &mut floors);
        assert_eq!(floors[0][..4], [10.0, f32::INFINITY, 30.0, f32::INFINITY]);
    }

    #[test]
    fn other_numbers_of_them_are_refused() {
        let message = |radius| Added::new(&[0; 8], 1, 1, radius).unwrap_err().to_string();
        assert_eq!(message(1), "added must be of 9 numbers, got 8");
        assert_eq!(message(usize::MAX), format!("added must be of {} numbers, got 8", usize::MAX));
    }
}
