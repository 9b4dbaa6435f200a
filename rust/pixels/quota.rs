//! Quotas: how many pixels may come from the same image, of those in one window and of those in the whole frame; and how many
//! may come from one image by one shift.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use crate::corpus::{Corpus, ImageId};
use crate::error::{Error, Result};
use crate::geometry::{Extent, Offset, Pixel};

/// At most this many pixels of a region may come from one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    most: NonZeroUsize,
    /// Pixels of the region without the one that is drawn.
    others: usize,
}

impl Quota {
    /// At most `most` pixels of a region of `area` pixels; `name` is the setting's.
    fn new(name: &'static str, most: usize, area: usize) -> Result<Self> {
        let most = NonZeroUsize::new(most).ok_or_else(|| Error::invalid(name, "at least 1 or None", 0))?;
        Ok(Self { most, others: area.saturating_sub(1) })
    }

    /// At most `most` pixels of a window of side `window` per image.
    pub fn of_window(most: usize, window: usize) -> Result<Self> {
        Self::new("quota", most, window.saturating_mul(window))
    }

    /// At most `most` pixels of the frame per image.
    pub fn of_frame(most: usize, frame: Extent) -> Result<Self> {
        Self::new("frame_quota", most, frame.area())
    }

    /// At most `most` pixels of the frame per image and shift.
    pub fn of_shift(most: usize, frame: Extent) -> Result<Self> {
        Self::new("copy_quota", most, frame.area())
    }

    /// How many images, or shifts, the pixels of the region can use up at once.
    fn most_used_up(&self) -> usize {
        self.others / self.most
    }

    /// Whether an image is used up that gave so many pixels.
    fn is_used_up(&self, given: usize) -> bool {
        given >= self.most.get()
    }

    /// The images that are used up, ascending, given the source image of each known pixel of the region.
    pub fn used_up<T: Ord + Copy>(&self, sources: impl Iterator<Item = T>) -> Vec<T> {
        let mut sources: Vec<T> = sources.collect();
        sources.sort_unstable();
        let full = sources.chunk_by(|a, b| a == b).filter(|same| self.is_used_up(same.len()));
        full.map(|same| same[0]).collect()
    }
}

/// The quotas of a run. Each is in effect only where it leaves an image to draw from, whatever the canvas shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    pub window: Option<Quota>,
    pub frame: Option<Quota>,
    /// Per image and shift. Whether it leaves a pixel to draw does not depend on the canvas: it is set only where it does.
    pub copy: Option<Quota>,
}

impl Quotas {
    /// The quotas that are in effect for a draw from `candidates` images: that of the frame where it can't use up all of
    /// them, and that of the window where both together can't.
    pub fn in_effect(&self, candidates: usize) -> Self {
        let frame = self.frame.filter(|quota| candidates > quota.most_used_up());
        let by_frame = frame.map_or(0, |quota| quota.most_used_up());
        let window = self.window.filter(|quota| candidates > quota.most_used_up() + by_frame);
        Self { window, frame, copy: self.copy }
    }
}

/// How many known pixels of a canvas come from each image.
///
/// Counting is incremental: to count all pixels of the frame at each draw would cost as much as the draw.
#[derive(Debug, Clone, Default)]
pub struct SourceCounts {
    /// Image ids, ascending, and their pixels.
    counts: Vec<(i32, usize)>,
}

impl SourceCounts {
    /// Counts the known pixels of a canvas, given the source image of each pixel.
    pub fn new(image_id: &[i32], known: &[bool]) -> Self {
        let mut ids: Vec<i32> =
            image_id.iter().zip(known).filter_map(|(&id, &known)| known.then_some(id)).collect();
        ids.sort_unstable();
        Self { counts: ids.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect() }
    }

    /// Counts one more pixel of an image.
    pub fn add(&mut self, image: i32) {
        match self.counts.binary_search_by_key(&image, |&(id, _)| id) {
            Ok(at) => self.counts[at].1 += 1,
            Err(at) => self.counts.insert(at, (image, 1)),
        }
    }

    /// Counts one pixel of an image less.
    pub fn remove(&mut self, image: i32) {
        if let Ok(at) = self.counts.binary_search_by_key(&image, |&(id, _)| id) {
            self.counts[at].1 -= 1;
        }
    }

    /// The images that are used up, ascending; `redrawn` is the source of the pixel that is drawn again, which does not
    /// count.
    pub fn used_up(&self, quota: Quota, redrawn: Option<i32>) -> impl Iterator<Item = ImageId> + '_ {
        let own = move |id: i32| usize::from(Some(id) == redrawn);
        let full =
            self.counts.iter().filter(move |&&(id, given)| id >= 0 && quota.is_used_up(given - own(id)));
        full.map(|&(id, _)| ImageId(id as u32))
    }
}

/// A pixel's source less the pixel itself. Pixels of one image and one shift are a part of that image, copied as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shift {
    pub image: i32,
    pub dy: i32,
    pub dx: i32,
}

impl Shift {
    /// The source of another pixel by the same shift, if there is such a pixel.
    pub fn source(&self, corpus: &Corpus, pixel: Pixel) -> Option<(ImageId, Pixel)> {
        let image = usize::try_from(self.image).ok().filter(|&image| image < corpus.count())?;
        let image = ImageId(image as u32);
        let source = corpus.own(image).step(pixel, Offset { dy: self.dy as isize, dx: self.dx as isize })?;
        Some((image, source))
    }
}

/// How many known pixels of a canvas come from each image by each shift, and which of these are used up.
#[derive(Debug, Clone, Default)]
pub struct ShiftCounts {
    most: usize,
    counts: HashMap<Shift, usize>,
    full: Vec<Shift>,
}

impl ShiftCounts {
    /// Counts the shifts of known pixels.
    pub fn new(quota: Quota, shifts: impl Iterator<Item = Shift>) -> Self {
        let mut counts = Self { most: quota.most.get(), ..Self::default() };
        shifts.for_each(|shift| counts.add(shift));
        counts
    }

    /// Counts one more pixel.
    pub fn add(&mut self, shift: Shift) {
        let count = self.counts.entry(shift).or_default();
        *count += 1;
        if *count == self.most {
            self.full.push(shift);
        }
    }

    /// Counts one pixel less.
    pub fn remove(&mut self, shift: Shift) {
        let Some(count) = self.counts.get_mut(&shift) else { return };
        if *count == self.most {
            self.full.retain(|&full| full != shift);
        }
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&shift);
        }
    }

    /// The shifts that are used up; `redrawn` is that of the pixel that is drawn again, which does not count.
    pub fn used_up(&self, redrawn: Option<Shift>) -> impl Iterator<Item = Shift> + '_ {
        let counts = move |shift: &Shift| Some(*shift) != redrawn || self.counts[shift] > self.most;
        self.full.iter().copied().filter(counts)
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
    use proptest::prelude::*;

    #[test]
    fn a_quota_is_in_effect_only_where_images_would_be_left() {
        let window = Some(Quota::of_window(3, 5).unwrap()); // 24 pixels use up 8 images
        let frame = Some(Quota::of_frame(20, Extent::new(9, 9)).unwrap()); // 80 pixels use up 4 images
        let both = Quotas { window, frame, copy: None };
        let in_effect = |candidates| {
            let quotas = both.in_effect(candidates);
            (quotas.window.is_some(), quotas.frame.is_some())
        };
        assert_eq!(
            [4, 5, 12, 13].map(in_effect),
            [(false, false), (false, true), (false, true), (true, true)]
        );
        let alone = Quotas { window, ..Quotas::default() };
        assert_eq!(alone.in_effect(8), Quotas::default());
        assert_eq!(alone.in_effect(9), alone);
        let huge = Quotas { window: Some(Quota::of_window(1, usize::MAX).unwrap()), ..Quotas::default() };
        assert_eq!(huge.in_effect(usize::MAX - 1), Quotas::default());
    }

    #[test]
    fn quotas_of_nothing_are_refused() {
        let message = |quota: Result<Quota>| quota.unwrap_err().to_string();
        assert_eq!(message(Quota::of_window(0, 5)), "quota must be at least 1 or None, got 0");
        assert_eq!(
            message(Quota::of_frame(0, Extent::new(4, 4))),
            "frame_quota must be at least 1 or None, got 0"
        );
    }

    #[test]
    fn images_are_used_up_at_the_quota() {
        let quota = Quota::of_window(2, 5).unwrap();
        assert_eq!(quota.used_up([7, 3, 5, 3, 5, 5].into_iter()), [3, 5]);
        assert!(quota.used_up([1, 2, 3].into_iter()).is_empty());
    }

    proptest! {
        #[test]
        fn counts_that_grow_are_those_of_the_whole_canvas(
            ids in prop::collection::vec(-1_i32..6, 12),
            draws in prop::collection::vec((0_usize..12, 0_i32..6), 0..40),
            most in 1_usize..6,
        ) {
            let quota = Quota::of_frame(most, Extent::new(3, 4)).unwrap();
            let (mut ids, mut known) = (ids, vec![false; 12]);
            known[..5].fill(true);
            let mut counts = SourceCounts::new(&ids, &known);
            for (at, id) in draws {
                let redrawn = known[at].then_some(ids[at]);
                let others = (0..12).filter(|&p| p != at && known[p] && ids[p] >= 0).map(|p| ImageId(ids[p] as u32));
                prop_assert!(counts.used_up(quota, redrawn).eq(quota.used_up(others)));
                redrawn.into_iter().for_each(|id| counts.remove(id));
                counts.add(id);
                (ids[at], known[at]) = (id, true);
            }
        }
    }

    #[test]
    fn shifts_are_used_up_at_the_quota() {
        let quota = Quota::of_shift(2, Extent::new(4, 4)).unwrap();
        let shift = |dx| Shift { image: 0, dy: 0, dx };
        let used_up = |counts: &ShiftCounts, redrawn| counts.used_up(redrawn).collect::<Vec<_>>();
        let mut counts = ShiftCounts::new(quota, [1, 2, 1, 3].map(shift).into_iter());
        assert_eq!(used_up(&counts, None), [shift(1)]);
        assert_eq!(used_up(&counts, Some(shift(1))), []);
        counts.add(shift(1));
        counts.add(shift(3));
        assert_eq!(used_up(&counts, Some(shift(1))), [shift(1), shift(3)]);
        counts.remove(shift(1));
        counts.remove(shift(3));
        counts.remove(shift(3));
        counts.remove(shift(3));
        assert_eq!(used_up(&counts, None), [shift(1)]);
        let message = Quota::of_shift(0, Extent::new(4, 4)).unwrap_err().to_string();
        assert_eq!(message, "copy_quota must be at least 1 or None, got 0");
    }

    #[test]
    fn a_shift_leads_to_the_pixels_that_an_image_has() {
        let bytes = [0; 12];
        let corpus = Corpus::new(&bytes, 2, Extent::new(2, 3), 1).unwrap().with_sizes(&[2, 3, 1, 2]).unwrap();
        let source = |image, dy, dx| Shift { image, dy, dx }.source(&corpus, Pixel { y: 1, x: 1 });
        assert_eq!(source(0, -1, 1), Some((ImageId(0), Pixel { y: 0, x: 2 })));
        assert_eq!([source(1, 0, 0), source(0, -2, 0), source(2, 0, 0), source(-1, 0, 0)], [None; 4]);
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
