//! The definition of a distance, without any of the scan's tricks.

use super::super::probe::square;
use super::super::window::Taps;
use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Pixel};

/// The definition in plain double precision, which tests compare every kernel with. A canvas is its bytes and frame.
pub fn reference(
    corpus: &Corpus,
    candidate: (ImageId, Pixel),
    (canvas, frame): (&[u8], Extent),
    pixel: Pixel,
    taps: &Taps,
) -> f64 {
    let (image, source) = candidate;
    let mut start = 0;
    let mut sum = 0.0;
    for &(weight, end) in &taps.shells {
        let mut squares = 0;
        for &offset in &taps.offsets[start..end] {
            let theirs = corpus.value(image, corpus.own(image).step_clamped(source, offset));
            let ours = &canvas[frame.flat(frame.step_clamped(pixel, offset)) * corpus.channels()..];
            for (&theirs, &ours) in theirs.iter().zip(ours) {
                squares += square(theirs, i16::from(ours));
            }
        }
        sum += weight * squares as f64;
        start = end;
    }
    let norm = corpus.channels() as f64 * taps.total_weight();
    if norm > 0.0 {
        sum / norm
    } else {
        0.0
    }
}
