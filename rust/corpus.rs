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
#[derive(Debug, Clone, Copy)]
pub struct Corpus<'a> {
    images: &'a [u8],
    count: usize,
    extent: Extent,
    channels: usize,
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
        Ok(Self { images, count, extent, channels })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn extent(&self) -> Extent {
        self.extent
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    pub fn ids(&self) -> impl ExactSizeIterator<Item = ImageId> {
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
    fn values_are_found() {
        let bytes: Vec<u8> = (0..24).collect();
        let corpus = Corpus::new(&bytes, 2, Extent::new(2, 3), 2).unwrap();
        assert_eq!(corpus.value(ImageId(1), Pixel { y: 1, x: 2 }), &[22, 23]);
    }
}
