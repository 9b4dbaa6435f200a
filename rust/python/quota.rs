//! The quota of pixels per image.

use numpy::ndarray::{Array1, Array3};
use numpy::{IntoPyArray, PyArray1, PyArray3, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::convert::{check_shape, contiguous, mask_of, pixel_of, pixels_of};
use super::run::run;
use crate::error::Result;
use crate::geometry::Extent;
use crate::pixels::quota::{known_in_window, Quota, Quotas};

/// The quotas of settings: of a window (side `window`) and of a frame (height, width).
fn quotas(window: (Option<usize>, usize), frame: (Option<usize>, Extent)) -> Result<Quotas> {
    Ok(Quotas {
        window: window.0.map(|most| Quota::of_window(most, window.1)).transpose()?,
        frame: frame.0.map(|most| Quota::of_frame(most, frame.1)).transpose()?,
        copy: None,
    })
}

/// Which quotas of pixels per image, in a window (side `window`) and in the frame (height, width), are in effect for a
/// draw from so many candidate images.
#[pyfunction]
#[pyo3(signature = (candidates, *, window, quota, frame, frame_quota))]
pub fn quotas_in_effect(
    candidates: usize,
    window: usize,
    quota: Option<usize>,
    frame: (usize, usize),
    frame_quota: Option<usize>,
) -> PyResult<(bool, bool)> {
    let of_frame = (frame_quota, Extent::new(frame.0, frame.1));
    let Quotas { window, frame, .. } = quotas((quota, window), of_frame)?.in_effect(candidates);
    Ok((window.is_some(), frame.is_some()))
}

/// Ids (M,), ascending, of the images that at least `quota` known pixels of the window around `pixel` (side `window`)
/// come from, or at least `frame_quota` known pixels of the frame; the pixel itself does not count.
#[pyfunction]
#[pyo3(signature = (image_id, known, pixel, *, window, quota, frame_quota))]
pub fn used_up_images<'py>(
    py: Python<'py>,
    image_id: PyReadonlyArray2<i32>,
    known: PyReadonlyArray2<bool>,
    pixel: (i64, i64),
    window: usize,
    quota: Option<usize>,
    frame_quota: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let frame = Extent::new(known.shape()[0], known.shape()[1]);
    check_shape("image_id", image_id.shape(), known.shape())?;
    let ids = contiguous("image_id", image_id.as_slice())?;
    let (known, pixel) = (mask_of(&known, frame)?, pixel_of(pixel, frame)?);
    let sources = |half: usize| {
        let near = known_in_window(frame, known, pixel, half).map(|other| ids[frame.flat(other)]);
        near.filter(|&id| id >= 0)
    };
    let quotas = quotas((quota, window), (frame_quota, frame))?;
    let mut used_up = quotas.window.map_or_else(Vec::new, |quota| quota.used_up(sources(window / 2)));
    used_up.extend(quotas.frame.map_or_else(Vec::new, |quota| quota.used_up(sources(usize::MAX))));
    used_up.sort_unstable();
    used_up.dedup();
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
