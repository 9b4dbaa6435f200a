//! What must not be copied to a pixel, by the image that is barred and by quotas; and what follows from its neighbours.

use rayon::prelude::*;

use super::quota::{Quotas, Shift, ShiftCounts, SourceCounts};
use super::scan::Scan;
use crate::canvas::Canvas;
use crate::corpus::ImageId;
use crate::geometry::{Offset, Pixel};
use crate::pool::Keep;

/// What must not be copied to a pixel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bars {
    pub images: Vec<ImageId>,
    /// Single pixels of images.
    pub pixels: Vec<(ImageId, Pixel)>,
}

impl Bars {
    /// Whether a source pixel may be copied.
    pub fn allow(&self, image: ImageId, source: Pixel) -> bool {
        !self.images.contains(&image) && !self.pixels.contains(&(image, source))
    }

    /// Lists the lanes of a group of images, one bit each, that are barred at single positions, ascending by these.
    pub(crate) fn lanes(&self, ids: &[ImageId], lanes: &mut Vec<(Pixel, u64)>) {
        lanes.clear();
        let lane = |&(id, at): &(ImageId, Pixel)| Some((at, 1 << ids.binary_search(&id).ok()?));
        lanes.extend(self.pixels.iter().filter_map(lane));
        lanes.sort_unstable();
    }
}

/// The lanes that are barred at a position, from a list that [`Bars::lanes`] made.
pub(crate) fn barred_at(position: Pixel, lanes: &[(Pixel, u64)]) -> u64 {
    let from = lanes.partition_point(|&(at, _)| at < position);
    lanes[from..].iter().take_while(|&&(at, _)| at == position).fold(0, |all, &(_, lane)| all | lane)
}

impl Scan<'_> {
    /// Counts the known pixels of each image and each shift on each canvas, if a quota needs it.
    pub(crate) fn count_sources(&self, canvases: &mut [Canvas], known: &[bool]) {
        if let Some(quota) = self.settings.quotas.copy {
            canvases.par_iter_mut().for_each(|canvas| {
                let frame = self.settings.frame;
                let known = frame.pixels().filter(|&pixel| known[frame.flat(pixel)]);
                canvas.shifts = ShiftCounts::new(quota, known.filter_map(|pixel| canvas.shift(frame, pixel)));
            });
        }
        if self.settings.quotas.frame.is_some() {
            canvases.par_iter_mut().for_each(|canvas| {
                canvas.sources = SourceCounts::new(canvas.trace.image_id, known);
            });
        }
    }

    /// The source pixels that follow those of a pixel's known neighbours, by the same step as the pixel follows them.
    ///
    /// They are different candidates: under [`Keep::Best`] an image is one.
    pub(crate) fn continuations(
        &self,
        canvas: &Canvas,
        pixel: Pixel,
        is_known: impl Fn(Pixel) -> bool,
    ) -> [Option<(ImageId, Pixel)>; 4] {
        let one_each = self.settings.rule.keep() == Keep::Best;
        let mut found: [Option<(ImageId, Pixel)>; 4] = [None; 4];
        for (at, (dy, dx)) in [(-1, 0), (0, -1), (0, 1), (1, 0)].into_iter().enumerate() {
            let neighbour = self.settings.frame.step(pixel, Offset { dy, dx });
            let Some(neighbour) = neighbour.filter(|&neighbour| is_known(neighbour)) else { continue };
            let flat = self.settings.frame.flat(neighbour);
            // The caller's trace may hold anything: only true candidates may bound the pool.
            let image =
                usize::try_from(canvas.trace.image_id[flat]).ok().filter(|&id| id < self.corpus.count());
            let Some(image) = image.map(|id| ImageId(id as u32)) else { continue };
            let there = Pixel { y: canvas.trace.y[flat] as usize, x: canvas.trace.x[flat] as usize };
            let follow = self.corpus.own(image).step(there, Offset { dy: -dy, dx: -dx });
            let Some(source) = follow.filter(|&source| self.corpus.serves(image, source)) else { continue };
            let same =
                |&(other, position): &(ImageId, Pixel)| other == image && (one_each || position == source);
            if !found.iter().flatten().any(same) {
                found[at] = Some((image, source));
            }
        }
        found
    }

    /// Lists what must not be copied to a pixel: the canvas's barred image and shift, images that a quota has used up,
    /// and the continuations of shifts that one has used up. `taps` are the known pixels of its window.
    pub(crate) fn bar(
        &self,
        bars: &mut Bars,
        canvas: &Canvas,
        shortlist: Option<&[ImageId]>,
        (pixel, redrawn): (Pixel, bool),
        taps: impl Iterator<Item = Pixel>,
    ) {
        bars.images.clear();
        bars.images.extend(canvas.barred);
        bars.pixels.clear();
        let follow = |shift: Shift| shift.source(&self.corpus, pixel);
        bars.pixels.extend(canvas.barred_shift.and_then(follow));
        if self.settings.quotas == Quotas::default() {
            return;
        }
        let listed = |id: &ImageId| shortlist.is_none_or(|ids| ids.binary_search(id).is_ok());
        let images = shortlist.map_or(self.corpus.count() + self.elsewhere, <[ImageId]>::len);
        let candidates = images - usize::from(canvas.barred.as_ref().is_some_and(listed));
        let Quotas { window, frame, copy } = self.settings.quotas.in_effect(candidates);
        let extent = self.settings.frame;
        if let Some(quota) = window {
            let source =
                |tap: Pixel| u32::try_from(canvas.trace.image_id[extent.flat(tap)]).ok().map(ImageId);
            bars.images.extend(quota.used_up(taps.filter_map(source)));
        }
        if let Some(quota) = frame {
            let redrawn = redrawn.then(|| canvas.trace.image_id[extent.flat(pixel)]);
            bars.images.extend(canvas.sources.used_up(quota, redrawn));
        }
        if copy.is_some() {
            let redrawn = redrawn.then(|| canvas.shift(extent, pixel)).flatten();
            bars.pixels.extend(canvas.shifts.used_up(redrawn).filter_map(follow));
        }
    }
}
