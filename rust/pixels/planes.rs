//! Some images of the corpus, position-major: for every position and channel, one byte of each image side by side.
//!
//! A scan compares one window with the same window of many images. In `(y, x, channel, image)` order its inner loop runs
//! over contiguous bytes, one lane per image, and the lanes are independent of each other.

use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Pixel, Rect};

/// Images side by side in one group: one cache line, and two 32-byte loads of the widest kernel.
pub const GROUP_IMAGES: usize = 64;

/// One cache line: the bytes of `GROUP_IMAGES` images at the same position and channel.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct PlaneLine(pub [u8; GROUP_IMAGES]);

/// Which images of a group hold a position, where images are of several sizes: one bit per lane.
///
/// Every image fills the upper left of the common frame, so rows and columns can be looked up separately.
#[derive(Debug, Clone)]
pub struct Inside {
    rows: Vec<u64>,
    columns: Vec<u64>,
}

impl Inside {
    fn new(extent: Extent, images: impl Iterator<Item = Extent>) -> Self {
        let mut inside = Self { rows: vec![0; extent.height], columns: vec![0; extent.width] };
        for (lane, own) in images.enumerate() {
            inside.rows[..own.height].iter_mut().for_each(|lanes| *lanes |= 1 << lane);
            inside.columns[..own.width].iter_mut().for_each(|lanes| *lanes |= 1 << lane);
        }
        inside
    }

    /// The lanes whose images hold a position of the common frame.
    pub fn lanes(&self, position: Pixel) -> u64 {
        self.rows[position.y] & self.columns[position.x]
    }
}

/// Up to `GROUP_IMAGES` images, one per lane.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// In `(y, x, channel)` order.
    pub lines: &'a [PlaneLine],
    /// The image of each lane, ascending.
    pub ids: &'a [ImageId],
    /// None where all images are of one size.
    pub inside: Option<&'a Inside>,
    /// The lane of an image of which only some pixels may serve, one bit, and which may, in the order of the lines.
    pub masked: Option<(u64, &'a [bool])>,
}

/// Position-major copy of a region of some images.
///
/// Stored as groups of `GROUP_IMAGES` images; within a group the lines are in `(y, x, channel)` order, so a scan of one
/// group reads one short, dense piece of memory.
#[derive(Debug, Default)]
pub struct Planes {
    ids: Vec<ImageId>,
    region: Option<Rect>,
    lines: Vec<PlaneLine>,
    lines_per_group: usize,
    /// One per group, or none at all.
    inside: Vec<Inside>,
    /// Group and lane of an image of which only some pixels of the region may serve, and which may.
    masked: Option<(usize, u64)>,
    usable: Vec<bool>,
}

impl Planes {
    /// Copies `region` of the images `ids` (in ascending order, so that lanes are in pool order), reusing memory.
    ///
    /// Does nothing if the same region of the same ids is held already, so planes must always be given the same corpus.
    pub fn gather(&mut self, corpus: &Corpus, ids: impl Iterator<Item = ImageId> + Clone, region: Rect) {
        if self.region == Some(region) && ids.clone().eq(self.ids.iter().copied()) {
            return;
        }
        self.region = Some(region);
        self.ids.clear();
        self.ids.extend(ids);
        debug_assert!(self.ids.is_sorted());
        let channels = corpus.channels();
        let row_bytes = region.width * channels;
        self.lines_per_group = region.area() * channels;
        self.lines.clear();
        self.lines.resize(self.lines_per_group * self.groups(), PlaneLine([0; GROUP_IMAGES]));
        let groups = self.lines.chunks_exact_mut(self.lines_per_group);
        for (group, ids) in groups.zip(self.ids.chunks(GROUP_IMAGES)) {
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
        let masked = |&(_, &id): &(usize, &ImageId)| corpus.mask(id).is_some();
        self.masked = self.ids.iter().enumerate().find(masked).map(|(k, &id)| {
            self.usable.clear();
            self.usable.extend(region.pixels().map(|pixel| corpus.serves(id, pixel)));
            (k / GROUP_IMAGES, 1 << (k % GROUP_IMAGES))
        });
        self.inside.clear();
        if !corpus.is_of_one_size() {
            let inside = |ids: &[ImageId]| Inside::new(corpus.extent(), ids.iter().map(|&id| corpus.own(id)));
            self.inside.extend(self.ids.chunks(GROUP_IMAGES).map(inside));
        }
    }

    /// The images held: image `k` is lane `k % GROUP_IMAGES` of group `k / GROUP_IMAGES`.
    pub fn ids(&self) -> &[ImageId] {
        &self.ids
    }

    pub fn groups(&self) -> usize {
        self.ids.len().div_ceil(GROUP_IMAGES)
    }

    pub fn group(&self, group: usize) -> Group<'_> {
        let ids = &self.ids[group * GROUP_IMAGES..];
        Group {
            lines: &self.lines[group * self.lines_per_group..][..self.lines_per_group],
            ids: &ids[..ids.len().min(GROUP_IMAGES)],
            inside: self.inside.get(group),
            masked: self.masked.filter(|&(own, _)| own == group).map(|(_, lane)| (lane, &self.usable[..])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let Group { lines, ids, inside, masked } = planes.group(k / GROUP_IMAGES);
            assert!(masked.is_none());
            assert!(inside.is_none());
            let id = ids[k % GROUP_IMAGES];
            for pixel in region.pixels() {
                for channel in 0..channels {
                    let line = lines[region.flat(pixel) * channels + channel];
                    assert_eq!(line.0[k % GROUP_IMAGES], corpus.value(id, pixel)[channel]);
                }
            }
        }
    }

    #[test]
    fn other_images_or_another_region_replace_what_was_held() {
        let extent = Extent::new(2, 3);
        let bytes: Vec<u8> = (0..30).collect();
        let corpus = Corpus::new(&bytes, 5, extent, 1).unwrap();
        let row = |y| Rect { y, x: 0, height: 1, width: 3 };
        let mut planes = Planes::default();
        for (ids, region) in
            [([0, 1], row(0)), ([0, 1], row(0)), ([0, 1], row(1)), ([0, 4], row(1)), ([3, 4], row(1))]
        {
            planes.gather(&corpus, ids.iter().map(|&id| ImageId(id)), region);
            let group = planes.group(0);
            for (lane, &id) in ids.iter().enumerate() {
                assert_eq!(group.ids[lane], ImageId(id));
                for x in 0..3 {
                    let value = corpus.value(ImageId(id), Pixel { y: region.y, x })[0];
                    assert_eq!(group.lines[x].0[lane], value);
                }
            }
        }
    }

    #[test]
    fn positions_lie_inside_the_images_that_hold_them() {
        let (extent, count) = (Extent::new(3, 4), 70);
        let bytes = vec![0; count * extent.area()];
        let sizes: Vec<i32> = (0..count as i32).flat_map(|k| [1 + k % 3, 1 + k % 4]).collect();
        let corpus = Corpus::new(&bytes, count, extent, 1).unwrap().with_sizes(&sizes).unwrap();
        let mut planes = Planes::default();
        planes.gather(&corpus, corpus.ids(), Rect { y: 1, x: 1, height: 2, width: 2 });
        for (k, id) in corpus.ids().enumerate() {
            let inside = planes.group(k / GROUP_IMAGES).inside.unwrap();
            for position in extent.pixels() {
                let own = corpus.own(id);
                let holds = position.y < own.height && position.x < own.width;
                assert_eq!(inside.lanes(position) >> (k % GROUP_IMAGES) & 1 == 1, holds);
            }
        }
        assert_eq!(planes.group(1).inside.unwrap().lanes(Pixel { y: 0, x: 0 }), (1 << 6) - 1);
    }
}
