//! Some images of the corpus, position-major: for every position and channel, one byte of each image side by side.
//!
//! A scan compares one window with the same window of many images. With `(y, x, channel, image)` order its inner
//! loop runs over contiguous bytes, one lane an image, and no lane ever waits for another.

use crate::corpus::{Corpus, ImageId};
use crate::geometry::Rect;

/// Images side by side in one plane row: one cache line, and two 32-byte loads of the widest kernel.
pub const LANES: usize = 64;

/// One cache line of a plane: the same position and channel of `LANES` images.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Lanes(pub [u8; LANES]);

/// Position-major copy of a region of some images.
///
/// Stored as groups of `LANES` images; within a group `(y, x, channel)` lines follow each other, so that all a scan
/// of one group touches is one short, dense piece of memory.
#[derive(Debug, Default)]
pub struct Planes {
    ids: Vec<ImageId>,
    lines: Vec<Lanes>,
    lines_per_group: usize,
}

impl Planes {
    /// Copies `region` of the images `ids` (in ascending order, so that lanes are in pool order), reusing memory.
    pub fn gather(&mut self, corpus: &Corpus, ids: impl Iterator<Item = ImageId>, region: Rect) {
        self.ids.clear();
        self.ids.extend(ids);
        debug_assert!(self.ids.is_sorted());
        let channels = corpus.channels();
        let row_bytes = region.width * channels;
        self.lines_per_group = region.area() * channels;
        self.lines.clear();
        self.lines.resize(self.lines_per_group * self.groups(), Lanes([0; LANES]));
        let groups = self.lines.chunks_exact_mut(self.lines_per_group);
        for (group, ids) in groups.zip(self.ids.chunks(LANES)) {
            for (row, lines) in group.chunks_exact_mut(row_bytes).enumerate() {
                let from = (region.y + row) * corpus.extent().width + region.x;
                for (lane, &id) in ids.iter().enumerate() {
                    let bytes = &corpus.image(id)[from * channels..][..row_bytes];
                    for (line, &byte) in lines.iter_mut().zip(bytes) {
                        line.0[lane] = byte;
                    }
                }
            }
        }
    }

    /// The images, lane by lane: image `k` is lane `k % LANES` of group `k / LANES`.
    pub fn ids(&self) -> &[ImageId] {
        &self.ids
    }

    pub fn groups(&self) -> usize {
        self.ids.len().div_ceil(LANES)
    }

    /// Lines of one group, in `(y, x, channel)` order, and the ids of its lanes.
    pub fn group(&self, group: usize) -> (&[Lanes], &[ImageId]) {
        let ids = &self.ids[group * LANES..];
        (&self.lines[group * self.lines_per_group..][..self.lines_per_group], &ids[..ids.len().min(LANES)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Extent;

    #[test]
    fn lanes_hold_the_images_bytes() {
        let (n, extent, channels) = (70, Extent::new(3, 4), 2);
        let bytes: Vec<u8> = (0..n * extent.area() * channels).map(|i| (i * 7 % 251) as u8).collect();
        let corpus = Corpus::new(&bytes, n, extent, channels).unwrap();
        let region = Rect { y: 1, x: 1, height: 2, width: 3 };
        let mut planes = Planes::default();
        planes.gather(&corpus, corpus.ids(), region);
        assert_eq!(planes.groups(), 2);
        for k in 0..n {
            let (lines, ids) = planes.group(k / LANES);
            let id = ids[k % LANES];
            for pixel in region.pixels() {
                for channel in 0..channels {
                    let line = lines[region.flat(pixel) * channels + channel];
                    assert_eq!(line.0[k % LANES], corpus.value(id, pixel)[channel]);
                }
            }
        }
    }
}
