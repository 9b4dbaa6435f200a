//! A borrowed view of the source images.

use crate::error::{require, Result};
use crate::geometry::{Extent, Pixel};

/// Index of an image in the *whole* corpus, never in a filtered list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub u32);

impl ImageId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// `(N, H, W, C)` bytes, C-contiguous; possibly a memory map.
///
/// Images may be of several sizes: then each fills the upper left of the common frame and is extended from there by edge
/// replication. Windows that reach beyond a frame are extended in the same way, so only source positions depend on the
/// size of an image.
#[derive(Debug, Clone, Copy)]
pub struct Corpus<'a> {
    images: &'a [u8],
    count: usize,
    extent: Extent,
    channels: usize,
    /// `(N, 2)` height and width of each image; None where all fill the common frame.
    sizes: Option<&'a [i32]>,
    /// An image of which only some pixels may serve, and which ones, `(H, W)`.
    masked: Option<(ImageId, &'a [bool])>,
}

impl<'a> Corpus<'a> {
    /// A view of `images`, whose length must be `count · H · W · channels`.
    pub fn new(images: &'a [u8], count: usize, extent: Extent, channels: usize) -> Result<Self> {
        require((1..=i32::MAX as usize).contains(&count), "corpus size", "in 1..=2147483647", count)?;
        require(
            extent.area() > 0 && channels > 0,
            "image size",
            "at least 1×1×1",
            format!("{}×{}×{channels}", extent.height, extent.width),
        )?;
        let expected = extent
            .area()
            .checked_mul(channels)
            .and_then(|bytes| bytes.checked_mul(count))
            .unwrap_or(usize::MAX);
        require(images.len() == expected, "images", format!("{expected} bytes"), images.len())?;
        Ok(Self { images, count, extent, channels, sizes: None, masked: None })
    }

    /// The same images, each of its own size: `sizes` is `(N, 2)`, height and width.
    pub fn with_sizes(self, sizes: &'a [i32]) -> Result<Self> {
        let Extent { height, width } = self.extent;
        require(
            sizes.len() == 2 * self.count,
            "sizes",
            format!("{} heights and widths", self.count),
            sizes.len(),
        )?;
        let fits =
            |side: i32, limit: usize| usize::try_from(side).is_ok_and(|side| (1..=limit).contains(&side));
        for size in sizes.chunks_exact(2) {
            require(
                fits(size[0], height) && fits(size[1], width),
                "sizes",
                format!("in 1×1..={height}×{width}"),
                format!("{}×{}", size[0], size[1]),
            )?;
        }
        Ok(Self { sizes: Some(sizes), ..self })
    }

    /// The same images, of the last of which only the pixels of a mask `(H, W)` may serve.
    pub fn with_mask(self, mask: &'a [bool]) -> Result<Self> {
        let flags = self.extent.area();
        require(mask.len() == flags, "usable", format!("{flags} flags"), mask.len())?;
        Ok(Self { masked: Some((ImageId(self.count as u32 - 1), mask)), ..self })
    }

    /// The mask of the pixels of an image that may serve, `(H, W)`; None where all may.
    pub fn mask(&self, id: ImageId) -> Option<&'a [bool]> {
        self.masked.filter(|&(masked, _)| masked == id).map(|(_, mask)| mask)
    }

    /// Whether a pixel of an image may serve.
    pub fn serves(&self, id: ImageId, pixel: Pixel) -> bool {
        self.mask(id).is_none_or(|mask| mask[self.extent.flat(pixel)])
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// The frame that all images share.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Whether every image fills that frame.
    pub fn is_of_one_size(&self) -> bool {
        self.sizes.is_none()
    }

    /// The size of the image itself, which is at the upper left of that frame.
    pub fn own(&self, id: ImageId) -> Extent {
        self.sizes.map_or(self.extent, |sizes| {
            let size = &sizes[2 * id.index()..][..2];
            Extent::new(size[0] as usize, size[1] as usize)
        })
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    pub fn ids(&self) -> impl ExactSizeIterator<Item = ImageId> + Clone {
        (0..self.count as u32).map(ImageId)
    }

    /// Bytes of one image, `(H, W, C)`.
    pub fn image(&self, id: ImageId) -> &'a [u8] {
        let bytes = self.extent.area() * self.channels;
        &self.images[id.index() * bytes..][..bytes]
    }

    /// The `C` bytes of one pixel of one image.
    pub fn value(&self, id: ImageId, pixel: Pixel) -> &'a [u8] {
        &self.image(id)[self.extent.flat(pixel) * self.channels..][..self.channels]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_length_is_refused() {
        let error = Corpus::new(&[0; 11], 3, Extent::new(2, 2), 1).unwrap_err();
        assert_eq!(error.to_string(), "images must be 12 bytes, got 11");
        let error = Corpus::new(&[], 0, Extent::new(2, 2), 1).unwrap_err();
        assert_eq!(error.to_string(), "corpus size must be in 1..=2147483647, got 0");
    }

    #[test]
    fn images_have_sizes_of_their_own() {
        let bytes = [0; 12];
        let corpus = Corpus::new(&bytes, 2, Extent::new(2, 3), 1).unwrap();
        assert!(corpus.is_of_one_size());
        assert_eq!(corpus.own(ImageId(1)), Extent::new(2, 3));
        let sized = corpus.with_sizes(&[2, 1, 1, 3]).unwrap();
        assert!(!sized.is_of_one_size());
        assert_eq!(sized.own(ImageId(1)), Extent::new(1, 3));
        let error = corpus.with_sizes(&[2, 1, 1]).unwrap_err();
        assert_eq!(error.to_string(), "sizes must be 2 heights and widths, got 3");
        for size in [[0, 1], [3, 1], [1, 4], [-1, 1]] {
            let error = corpus.with_sizes(&[2, 3, size[0], size[1]]).unwrap_err();
            let expected = format!("sizes must be in 1×1..=2×3, got {}×{}", size[0], size[1]);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn of_the_last_image_the_pixels_of_a_mask_serve() {
        let bytes = [0; 12];
        let corpus = Corpus::new(&bytes, 2, Extent::new(2, 3), 1).unwrap();
        let mask = [true, false, true, true, false, true];
        let masked = corpus.with_mask(&mask).unwrap();
        let (first, last) = (ImageId(0), ImageId(1));
        assert_eq!((masked.mask(first), masked.mask(last), corpus.mask(last)), (None, Some(&mask[..]), None));
        let at = Pixel { y: 1, x: 1 };
        assert_eq!((masked.serves(first, at), masked.serves(last, at)), (true, false));
        assert_eq!(corpus.with_mask(&mask[1..]).unwrap_err().to_string(), "usable must be 6 flags, got 5");
    }

    #[test]
    fn values_are_found() {
        let bytes: Vec<u8> = (0..24).collect();
        let corpus = Corpus::new(&bytes, 2, Extent::new(2, 3), 2).unwrap();
        assert_eq!(corpus.value(ImageId(1), Pixel { y: 1, x: 2 }), &[22, 23]);
    }
}
