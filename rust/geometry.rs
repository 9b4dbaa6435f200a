//! Extents, pixels, offsets and rectangles. All arithmetic between (y, x) and flat indices is here.

use crate::error::{require, Result};

/// Height and width of a frame, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub height: usize,
    pub width: usize,
}

/// A position inside a frame. Ordered by (y, x), as are all ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pixel {
    pub y: usize,
    pub x: usize,
}

/// A step from one pixel to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    pub dy: isize,
    pub dx: isize,
}

/// A rectangle of a frame; never empty where a function takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub y: usize,
    pub x: usize,
    pub height: usize,
    pub width: usize,
}

impl Extent {
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// Number of pixels.
    pub fn area(self) -> usize {
        self.height * self.width
    }

    /// Row-major index of a pixel.
    pub fn flat(self, pixel: Pixel) -> usize {
        pixel.y * self.width + pixel.x
    }

    /// Pixel of a row-major index.
    pub fn pixel(self, flat: usize) -> Pixel {
        Pixel { y: flat / self.width, x: flat % self.width }
    }

    /// All pixels in row-major order.
    pub fn pixels(self) -> impl Iterator<Item = Pixel> {
        (0..self.area()).map(move |flat| self.pixel(flat))
    }

    /// `pixel + offset`, if that is inside the frame.
    pub fn step(self, pixel: Pixel, offset: Offset) -> Option<Pixel> {
        let y = pixel.y.checked_add_signed(offset.dy)?;
        let x = pixel.x.checked_add_signed(offset.dx)?;
        (y < self.height && x < self.width).then_some(Pixel { y, x })
    }

    /// `pixel + offset`, moved to the nearest pixel inside the frame: edge replication.
    pub fn step_clamped(self, pixel: Pixel, offset: Offset) -> Pixel {
        let clamp = |at: usize, by: isize, len: usize| {
            (at as isize).saturating_add(by).clamp(0, len as isize - 1) as usize
        };
        Pixel { y: clamp(pixel.y, offset.dy, self.height), x: clamp(pixel.x, offset.dx, self.width) }
    }

    /// The part of the square of side `2·radius + 1` around `pixel` that lies inside the frame.
    pub fn square(self, pixel: Pixel, radius: usize) -> Rect {
        let span = |at: usize, len: usize| {
            let low = at.saturating_sub(radius);
            (low, at.saturating_add(radius).saturating_add(1).min(len) - low)
        };
        let (y, height) = span(pixel.y, self.height);
        let (x, width) = span(pixel.x, self.width);
        Rect { y, x, height, width }
    }

    /// The rectangle with a margin around it, as far as that lies inside the frame.
    pub fn grown(self, rect: Rect, margin: usize) -> Rect {
        let span = |at: usize, len: usize, limit: usize| {
            let low = at.saturating_sub(margin);
            (low, at.saturating_add(len).saturating_add(margin).min(limit) - low)
        };
        let (y, height) = span(rect.y, rect.height, self.height);
        let (x, width) = span(rect.x, rect.width, self.width);
        Rect { y, x, height, width }
    }

    /// The rectangle that is the whole frame.
    pub fn frame(self) -> Rect {
        Rect { y: 0, x: 0, height: self.height, width: self.width }
    }
}

impl Rect {
    /// Whether a pixel lies inside.
    pub fn holds(self, pixel: Pixel) -> bool {
        (self.y..self.y + self.height).contains(&pixel.y) && (self.x..self.x + self.width).contains(&pixel.x)
    }

    pub fn area(self) -> usize {
        self.height * self.width
    }

    pub fn extent(self) -> Extent {
        Extent::new(self.height, self.width)
    }

    /// All pixels of the rectangle in row-major order, in frame coordinates.
    pub fn pixels(self) -> impl Iterator<Item = Pixel> {
        self.extent().pixels().map(move |p| Pixel { y: p.y + self.y, x: p.x + self.x })
    }

    /// Row-major index, inside the rectangle, of a pixel in frame coordinates.
    pub fn flat(self, pixel: Pixel) -> usize {
        (pixel.y - self.y) * self.width + (pixel.x - self.x)
    }
}

impl Offset {
    /// Squared Euclidean length.
    pub fn squared_length(self) -> usize {
        (self.dy * self.dy + self.dx * self.dx) as usize
    }
}

/// Returns an error unless `side` is odd, at least 3 and no larger than the frame.
pub fn check_window(side: usize, extent: Extent) -> Result<()> {
    let Extent { height, width } = extent;
    let limit = height.min(width);
    require(
        side % 2 == 1 && (3..=limit).contains(&side),
        "window",
        format!("odd, in 3..={limit} (the image is {height}×{width})"),
        side,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_leave_or_stick_to_the_edge() {
        let extent = Extent::new(3, 4);
        let corner = Pixel { y: 0, x: 3 };
        let out = Offset { dy: -2, dx: 1 };
        assert_eq!(extent.step(corner, out), None);
        assert_eq!(extent.step_clamped(corner, out), corner);
        assert_eq!(extent.step(corner, Offset { dy: 2, dx: -3 }), Some(Pixel { y: 2, x: 0 }));
    }

    #[test]
    fn flat_and_pixel_are_inverse() {
        let extent = Extent::new(3, 5);
        for (flat, pixel) in extent.pixels().enumerate() {
            assert_eq!(extent.flat(pixel), flat);
            assert_eq!(extent.frame().flat(pixel), flat);
        }
    }

    #[test]
    fn a_margin_is_cut_at_the_frame() {
        let rect = Rect { y: 1, x: 3, height: 2, width: 1 };
        assert_eq!(Extent::new(5, 5).grown(rect, 2), Rect { y: 0, x: 1, height: 5, width: 4 });
        assert!(rect.holds(Pixel { y: 2, x: 3 }) && !rect.holds(Pixel { y: 2, x: 4 }));
        assert!(!rect.holds(Pixel { y: 3, x: 3 }));
    }

    #[test]
    fn a_square_is_cut_at_the_frame() {
        let extent = Extent::new(5, 5);
        let rect = extent.square(Pixel { y: 0, x: 4 }, 2);
        assert_eq!(rect, Rect { y: 0, x: 2, height: 3, width: 3 });
        assert_eq!(rect.pixels().next(), Some(Pixel { y: 0, x: 2 }));
        assert_eq!(rect.flat(Pixel { y: 1, x: 3 }), 4);
    }
}
