//! A canvas as a labelling: each pixel is copied from an image at a displacement. Seams have an energy.
//!
//! The seam between neighbouring pixels p and q with labels a and b costs `V(a, b) = ‖I_a(p) − I_b(p)‖ + ‖I_a(q) − I_b(q)‖`
//! (Kwatra et al. 2003), where `I_a(p)` is the pixel that label a would copy to p. It is a metric of labels: nothing within
//! a label, and never more over a third one.

use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Offset, Pixel};

/// Energies are whole numbers of so small a part of a grey level.
pub const PARTS_PER_GREY_LEVEL: i32 = 16;

/// The pixels beside a pixel, and which of them sees it from the other side.
pub const SIDES: [Offset; 4] =
    [Offset { dy: 0, dx: 1 }, Offset { dy: 1, dx: 0 }, Offset { dy: 0, dx: -1 }, Offset { dy: -1, dx: 0 }];

/// The side opposite to one of `SIDES`.
pub fn opposite(side: usize) -> usize {
    (side + 2) % 4
}

/// An image and a displacement in it: pixel p is a copy of pixel p + (dy, dx). Ordered by (image, dy, dx).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    pub image: ImageId,
    pub dy: i32,
    pub dx: i32,
}

impl Label {
    pub fn new(image: ImageId, source: Pixel, pixel: Pixel) -> Self {
        Self { image, dy: source.y as i32 - pixel.y as i32, dx: source.x as i32 - pixel.x as i32 }
    }

    fn offset(self) -> Offset {
        Offset { dy: self.dy as isize, dx: self.dx as isize }
    }

    /// The pixel of the image that `pixel` is a copy of; None where that lies outside the image.
    pub fn source(self, corpus: &Corpus, pixel: Pixel) -> Option<Pixel> {
        corpus.own(self.image).step(pixel, self.offset())
    }

    /// The value that the label has at a pixel of the frame or beside it; its image is extended by edge replication.
    fn value<'c>(self, corpus: &Corpus<'c>, pixel: Pixel, side: Offset) -> &'c [u8] {
        let own = corpus.own(self.image);
        let Offset { dy, dx } = self.offset();
        corpus.value(self.image, own.step_clamped(pixel, Offset { dy: dy + side.dy, dx: dx + side.dx }))
    }

    /// The values that the label has in a frame, `(H, W, C)`.
    pub fn plane(self, corpus: &Corpus, frame: Extent, plane: &mut Vec<u8>) {
        let (own, row_bytes, channels) =
            (corpus.own(self.image), corpus.extent().width * corpus.channels(), corpus.channels());
        let image = corpus.image(self.image);
        let Offset { dy, dx } = self.offset();
        let clamped = |at: isize, len: usize| at.clamp(0, len as isize - 1) as usize;
        plane.clear();
        for y in 0..frame.height as isize {
            let row = &image[clamped(y + dy, own.height) * row_bytes..][..own.width * channels];
            // Columns left of the image, inside it, and right of it.
            let (start, end) = (dx, dx + frame.width as isize);
            let inside = clamped(start, own.width + 1)..clamped(end, own.width + 1);
            for _ in start..end.min(0) {
                plane.extend_from_slice(&row[..channels]);
            }
            plane.extend_from_slice(&row[inside.start * channels..inside.end * channels]);
            for _ in start.max(own.width as isize)..end {
                plane.extend_from_slice(&row[row.len() - channels..]);
            }
        }
    }
}

/// `‖a − b‖` of two pixels, rounded up to whole parts of a grey level: rounded up, it still is a metric.
pub fn difference(a: &[u8], b: &[u8]) -> i32 {
    let square = |a: u8, b: u8| i64::from(i32::from(a.abs_diff(b)).pow(2));
    let squares = match (a, b) {
        (&[a0], &[b0]) => square(a0, b0),
        (&[a0, a1, a2], &[b0, b1, b2]) => square(a0, b0) + square(a1, b1) + square(a2, b2),
        _ => a.iter().zip(b).map(|(&a, &b)| square(a, b)).sum(),
    };
    let scaled = squares * i64::from(PARTS_PER_GREY_LEVEL * PARTS_PER_GREY_LEVEL);
    // Exact: the root of a square is exact, and that of another number far enough from a whole one.
    let root = (scaled as f64).sqrt() as i64;
    (root + i64::from(root * root < scaled)) as i32
}

/// A labelled canvas, with what its seams cost. Its buffers are kept from one canvas to the next.
#[derive(Debug, Default)]
pub struct Montage {
    frame: Option<Extent>,
    channels: usize,
    /// `(H, W)`.
    labels: Vec<Label>,
    /// `(H, W, C)`: the canvas.
    values: Vec<u8>,
    /// `(H, W, 4, C)`: what the label of each pixel has at its four sides.
    around: Vec<u8>,
    /// `(H, W, 2)`: the cost of the seams to the right and below; 0 at the border of the frame.
    seams: Vec<i32>,
    energy: i64,
}

impl Montage {
    /// Starts from a labelling `(H, W)`. Every label must have a source at its pixel.
    pub fn start(&mut self, corpus: &Corpus, frame: Extent, labels: impl Iterator<Item = Label>) {
        (self.frame, self.channels, self.energy) = (Some(frame), corpus.channels(), 0);
        self.labels.clear();
        self.labels.extend(labels);
        assert_eq!(self.labels.len(), frame.area(), "one label per pixel");
        self.values.clear();
        self.values.resize(frame.area() * self.channels, 0);
        self.around.clear();
        self.around.resize(4 * frame.area() * self.channels, 0);
        self.seams.clear();
        self.seams.resize(2 * frame.area(), 0);
        for at in 0..frame.area() {
            self.copy(corpus, at);
        }
        for at in 0..frame.area() {
            self.measure(at, 0);
            self.measure(at, 1);
        }
    }

    pub fn frame(&self) -> Extent {
        self.frame.unwrap_or(Extent::new(0, 0))
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The labels, `(H, W)`.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The canvas, `(H, W, C)`.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The value of a pixel.
    pub fn value(&self, at: usize) -> &[u8] {
        &self.values[at * self.channels..][..self.channels]
    }

    /// What the label of a pixel has at one of its sides.
    pub fn around(&self, at: usize, side: usize) -> &[u8] {
        &self.around[(4 * at + side) * self.channels..][..self.channels]
    }

    /// The cost of the seam to the right (side 0) or below (side 1).
    pub fn seam(&self, at: usize, side: usize) -> i32 {
        self.seams[2 * at + side]
    }

    /// The cost of all seams, in parts of a grey level.
    pub fn energy(&self) -> i64 {
        self.energy
    }

    /// Gives pixels another label, which must have a source there.
    pub fn relabel(&mut self, corpus: &Corpus, pixels: &[usize], label: Label) {
        for &at in pixels {
            self.labels[at] = label;
            self.copy(corpus, at);
        }
        let (frame, width) = (self.frame(), self.frame().width);
        for &at in pixels {
            let Pixel { y, x } = frame.pixel(at);
            self.measure(at, 0);
            self.measure(at, 1);
            if x > 0 {
                self.measure(at - 1, 0);
            }
            if y > 0 {
                self.measure(at - width, 1);
            }
        }
    }

    /// Copies the pixel that a label names, and those beside it.
    fn copy(&mut self, corpus: &Corpus, at: usize) {
        let (pixel, channels, label) = (self.frame().pixel(at), self.channels, self.labels[at]);
        let here = Offset { dy: 0, dx: 0 };
        self.values[at * channels..][..channels].copy_from_slice(label.value(corpus, pixel, here));
        for (side, &offset) in SIDES.iter().enumerate() {
            let to = &mut self.around[(4 * at + side) * channels..][..channels];
            to.copy_from_slice(label.value(corpus, pixel, offset));
        }
    }

    /// Measures the seam to the right or below.
    fn measure(&mut self, at: usize, side: usize) {
        let Some(other) = self.frame().step(self.frame().pixel(at), SIDES[side]) else { return };
        let other = self.frame().flat(other);
        let cost = if self.labels[at] == self.labels[other] {
            0
        } else {
            difference(self.value(at), self.around(other, opposite(side)))
                + difference(self.around(at, side), self.value(other))
        };
        let seam = &mut self.seams[2 * at + side];
        self.energy += i64::from(cost - *seam);
        *seam = cost;
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The energy of a labelling from its definition, in `f64` grey levels.
    pub fn slow_energy(corpus: &Corpus, frame: Extent, labels: &[Label]) -> f64 {
        let value = |label: Label, pixel: Pixel| -> Vec<f64> {
            let own = corpus.own(label.image);
            let y = (pixel.y as i64 + i64::from(label.dy)).clamp(0, own.height as i64 - 1) as usize;
            let x = (pixel.x as i64 + i64::from(label.dx)).clamp(0, own.width as i64 - 1) as usize;
            corpus.value(label.image, Pixel { y, x }).iter().map(|&byte| f64::from(byte)).collect()
        };
        let norm = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        let mut energy = 0.0;
        for p in frame.pixels() {
            for q in [Pixel { y: p.y, x: p.x + 1 }, Pixel { y: p.y + 1, x: p.x }] {
                if q.y < frame.height && q.x < frame.width {
                    let (a, b) = (labels[frame.flat(p)], labels[frame.flat(q)]);
                    energy += norm(&value(a, p), &value(b, p)) + norm(&value(a, q), &value(b, q));
                }
            }
        }
        energy
    }

    /// Images of 5×5 in one or three channels, a frame of 4×4, and a labelling with sources in the images.
    pub fn scene() -> impl Strategy<Value = (usize, Vec<u8>, Vec<(u32, i32, i32)>)> {
        (prop::sample::select(vec![1_usize, 3])).prop_flat_map(|channels| {
            let bytes = prop::collection::vec(any::<u8>(), 3 * 25 * channels);
            // From a 4×4 frame into 5×5 images: displacements 0 and 1 have sources everywhere.
            let labels = prop::collection::vec((0_u32..3, 0_i32..2, 0_i32..2), 16);
            (Just(channels), bytes, labels)
        })
    }

    pub fn labels_of(parts: &[(u32, i32, i32)]) -> Vec<Label> {
        parts.iter().map(|&(image, dy, dx)| Label { image: ImageId(image), dy, dx }).collect()
    }

    proptest! {
        #[test]
        fn energy_is_that_of_the_definition((channels, bytes, parts) in scene()) {
            let corpus = Corpus::new(&bytes, 3, Extent::new(5, 5), channels).unwrap();
            let (frame, labels) = (Extent::new(4, 4), labels_of(&parts));
            let mut montage = Montage::default();
            montage.start(&corpus, frame, labels.iter().copied());
            let slow = slow_energy(&corpus, frame, &labels);
            let found = montage.energy() as f64 / f64::from(PARTS_PER_GREY_LEVEL);
            // Each of at most 2 · 24 norms is rounded up.
            prop_assert!(found >= slow - 1e-9 && found <= slow + 48.0 / f64::from(PARTS_PER_GREY_LEVEL));
            // And stays so when pixels change.
            montage.relabel(&corpus, &[0, 5, 6, 15], labels[3]);
            let mut fresh = Montage::default();
            fresh.start(&corpus, frame, montage.labels().to_vec().into_iter());
            prop_assert_eq!(montage.energy(), fresh.energy());
            prop_assert_eq!(&montage.seams, &fresh.seams);
            prop_assert_eq!(montage.values(), fresh.values());
        }

        #[test]
        fn differences_are_a_metric(
            a in prop::array::uniform3(any::<u8>()),
            b in prop::array::uniform3(any::<u8>()),
            c in prop::array::uniform3(any::<u8>()),
        ) {
            prop_assert_eq!(difference(&a, &b), difference(&b, &a));
            prop_assert_eq!(difference(&a, &a), 0);
            prop_assert!(difference(&a, &c) <= difference(&a, &b) + difference(&b, &c));
        }

        #[test]
        fn differences_are_rounded_up_exactly(a in prop::array::uniform4(any::<u8>()), b in prop::array::uniform4(any::<u8>())) {
            let squares: i64 = a.iter().zip(b).map(|(&a, b)| i64::from(a.abs_diff(b)).pow(2)).sum();
            let (found, scaled) = (i64::from(difference(&a, &b)), 256 * squares);
            prop_assert!(found * found >= scaled && (found == 0 || (found - 1) * (found - 1) < scaled));
        }
    }
}
