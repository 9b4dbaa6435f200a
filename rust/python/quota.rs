//! The quota of pixels per image.

use numpy::ndarray::{Array1, Array3};
use numpy::{IntoPyArray, PyArray1, PyArray3, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::convert::{check_shape, contiguous, mask_of, pixel_of, pixels_of};
use super::run::run;
use crate::error::Result;
use crate::geometry::Extent;
use crate::pixels::quota::{known_in_window, Quota};

/// Whether a quota of pixels per image and window (side `window`) limits a draw from so many candidate images.
#[pyfunction]
pub fn quota_limits(quota: usize, window: usize, candidates: usize) -> PyResult<bool> {
    Ok(Quota::new(quota, window)?.limits(candidates))
}

/// Ids (M,), ascending, of the images that at least `quota` known pixels of the window around `pixel` come from.
#[pyfunction]
pub fn used_up_images<'py>(
    py: Python<'py>,
    image_id: PyReadonlyArray2<i32>,
    known: PyReadonlyArray2<bool>,
    pixel: (i64, i64),
    quota: usize,
    window: usize,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let frame = Extent::new(known.shape()[0], known.shape()[1]);
    check_shape("image_id", image_id.shape(), known.shape())?;
    let ids = contiguous("image_id", image_id.as_slice())?;
    let (known, pixel) = (mask_of(&known, frame)?, pixel_of(pixel, frame)?);
    let sources = known_in_window(frame, known, pixel, window / 2).map(|other| ids[frame.flat(other)]);
    let used_up = Quota::new(quota, window)?.used_up(sources.filter(|&id| id >= 0));
    Ok(Array1::from(used_up).into_pyarray(py))
}

/// For each of the `pixels` (P, 2) of each sample, in fill order: how many pixels of its window (side `window`) came from
/// the same image as it did, of those known when it was drawn; `known` (H, W) is the mask before. (n, H, W), 0 elsewhere.
#[pyfunction]
pub fn served_counts<'py>(
    py: Python<'py>,
    image_id: PyReadonlyArray3<i32>,
    known: PyReadonlyArray2<bool>,
    pixels: PyReadonlyArray2<i32>,
    window: usize,
) -> PyResult<Bound<'py, PyArray3<i64>>> {
    let frame = Extent::new(known.shape()[0], known.shape()[1]);
    let shape = (image_id.shape()[0], frame.height, frame.width);
    check_shape("image_id", image_id.shape(), &<[usize; 3]>::from(shape))?;
    let ids = contiguous("image_id", image_id.as_slice())?;
    let (known, order) = (mask_of(&known, frame)?, pixels_of(&pixels, frame)?);
    let counts: Vec<i64> = run(py, 1, |cancel| {
        let canvases = ids.chunks_exact(frame.area().max(1));
        let count = |ids| {
            crate::error::check(cancel)?;
            Ok(crate::pixels::quota::served_counts(ids, frame, &order, known, window / 2))
        };
        Ok(canvases.map(count).collect::<Result<Vec<_>>>()?.concat())
    })?;
    Ok(Array3::from_shape_vec(shape, counts).expect("one count per pixel").into_pyarray(py))
}
