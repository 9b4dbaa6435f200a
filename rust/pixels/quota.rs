//! The quota: how many of the pixels in one window may come from the same image.

use std::num::NonZeroUsize;

use crate::error::{Error, Result};
use crate::geometry::{Extent, Pixel};

/// At most this many pixels of a window may come from one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    most: NonZeroUsize,
    /// Pixels of a window without its centre.
    window_pixels: usize,
}

impl Quota {
    /// At most `most` pixels of a window of side `window` per image.
    pub fn new(most: usize, window: usize) -> Result<Self> {
        let most = NonZeroUsize::new(most).ok_or_else(|| Error::invalid("quota", "at least 1 or None", 0))?;
        Ok(Self { most, window_pixels: window.saturating_mul(window).saturating_sub(1) })
    }

    /// Whether the quota limits a draw from `candidates` images. It does not where the window could use up all of
    /// them, as nothing would be left to draw from.
    pub fn limits(&self, candidates: usize) -> bool {
        candidates > self.window_pixels / self.most
    }

    /// The images that are used up, ascending, given the source image of each known pixel of a window.
    pub fn used_up<T: Ord + Copy>(&self, sources: impl Iterator<Item = T>) -> Vec<T> {
        let mut sources: Vec<T> = sources.collect();
        sources.sort_unstable();
        let full = sources.chunk_by(|a, b| a == b).filter(|same| same.len() >= self.most.get());
        full.map(|same| same[0]).collect()
    }
}

/// The known pixels of the window of side `2·half + 1` around `pixel`, without `pixel` itself.
pub fn known_in_window(
    frame: Extent,
    known: &[bool],
    pixel: Pixel,
    half: usize,
) -> impl Iterator<Item = Pixel> + '_ {
    let window = frame.square(pixel, half).pixels();
    window.filter(move |&other| other != pixel && known[frame.flat(other)])
}

/// For each pixel of one canvas `(H, W)`: how many pixels of its window came from the same image as it did, of those
/// known when it was drawn; 0 where nothing was drawn. `order` lists the drawn pixels, `known` is the mask before them.
pub fn served_counts(
    image_id: &[i32],
    frame: Extent,
    order: &[Pixel],
    known: &[bool],
    half: usize,
) -> Vec<i64> {
    let mut known = known.to_vec();
    let mut counts = vec![0; frame.area()];
    for &pixel in order {
        let flat = frame.flat(pixel);
        let same = |other: &Pixel| image_id[frame.flat(*other)] == image_id[flat];
        counts[flat] = known_in_window(frame, &known, pixel, half).filter(same).count() as i64;
        known[flat] = true;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_limits_only_where_images_would_be_left() {
        let quota = Quota::new(3, 5).unwrap(); // 24 pixels use up 8 images
        assert!(!quota.limits(8));
        assert!(quota.limits(9));
        assert_eq!(Quota::new(0, 5).unwrap_err().to_string(), "quota must be at least 1 or None, got 0");
        assert!(!Quota::new(1, usize::MAX).unwrap().limits(usize::MAX - 1));
    }

    #[test]
    fn images_are_used_up_at_the_quota() {
        let quota = Quota::new(2, 5).unwrap();
        assert_eq!(quota.used_up([7, 3, 5, 3, 5, 5].into_iter()), [3, 5]);
        assert!(quota.used_up([1, 2, 3].into_iter()).is_empty());
    }

    #[test]
    fn counts_are_of_the_pixels_known_at_the_time() {
        let frame = Extent::new(1, 4);
        let pixel = |x| Pixel { y: 0, x };
        let known = [true, false, false, false];
        // Drawn from the right: pixel 3 sees nothing, pixel 2 sees pixel 3, pixel 1 sees pixels 0 and 2.
        let counts = served_counts(&[9, 9, 9, 9], frame, &[pixel(3), pixel(2), pixel(1)], &known, 1);
        assert_eq!(counts, [0, 2, 1, 0]);
        assert!(known_in_window(frame, &[true; 4], pixel(1), 1).eq([pixel(0), pixel(2)]));
    }
}
