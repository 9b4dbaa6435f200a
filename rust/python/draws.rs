//! Orders of pixels, and draws that depend on the seed alone.

use numpy::ndarray::{Array1, Array2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::convert::{check_shape, contiguous, cut, pixels_of};
use super::run::run;
use super::Pair;
use crate::error::{require, Error, Result};
use crate::geometry::Extent;
use crate::random::{KeyedRandom, Stream};

/// Pixels (P, 2) in fill order, and the bounds (S + 1,) of its stages.
#[pyfunction]
pub fn fill_order<'py>(
    py: Python<'py>,
    known: PyReadonlyArray2<bool>,
    window: usize,
) -> PyResult<Pair<'py, PyArray2<i32>, PyArray1<i64>>> {
    let extent = Extent::new(known.shape()[0], known.shape()[1]);
    let known = contiguous("known", known.as_slice())?;
    let order = run(py, 1, |cancel| crate::order::fill_order(extent, known, window, cancel))?;
    let mut pixels = Array2::zeros((order.pixels.len(), 2));
    for (mut row, pixel) in pixels.rows_mut().into_iter().zip(&order.pixels) {
        row[0] = pixel.y as i32;
        row[1] = pixel.x as i32;
    }
    let stages: Array1<i64> = order.stages.iter().map(|&end| end as i64).collect();
    Ok((pixels.into_pyarray(py), stages.into_pyarray(py)))
}

/// Pixels (P, 2) in the order in which a sweep draws them again.
#[pyfunction]
pub fn sweep_order<'py>(
    py: Python<'py>,
    pixels: PyReadonlyArray2<i32>,
    seed: u64,
    sweep: u16,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let mut order = pixels_of(&pixels, Extent::new(i32::MAX as usize, i32::MAX as usize))?;
    crate::order::sweep_order(&mut order, seed, sweep);
    let mut found = Array2::zeros((order.len(), 2));
    for (mut row, pixel) in found.rows_mut().into_iter().zip(&order) {
        row[0] = pixel.y as i32;
        row[1] = pixel.x as i32;
    }
    Ok(found.into_pyarray(py))
}

/// The image (n,) that the seed patch of each sample comes from, of `count` images.
#[pyfunction]
pub fn draw_seed_images<'py>(
    py: Python<'py>,
    seed: u64,
    samples: PyReadonlyArray1<u64>,
    count: usize,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    require((1..=i32::MAX as usize).contains(&count), "count", "in 1..=2147483647", count)?;
    let draw = |&sample: &u64| KeyedRandom { seed, sample }.index(Stream::SeedImage, 0, count) as i32;
    let drawn: Array1<i32> = contiguous("samples", samples.as_slice())?.iter().map(draw).collect();
    Ok(drawn.into_pyarray(py))
}

/// The upper left corner (n, 2) of the seed patch of each sample in its source, of `height` by `width` possible corners.
#[pyfunction]
pub fn draw_seed_places<'py>(
    py: Python<'py>,
    seed: u64,
    samples: PyReadonlyArray1<u64>,
    height: usize,
    width: usize,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    require(
        (1..=i32::MAX as usize).contains(&height) && (1..=i32::MAX as usize).contains(&width),
        "corners",
        "at least 1 along each side",
        format!("{height}×{width}"),
    )?;
    let samples = contiguous("samples", samples.as_slice())?;
    let sides = [height, width];
    let place = |(k, side): (usize, usize)| {
        KeyedRandom { seed, sample: samples[k] }.index(Stream::SeedPlace, side as u32, sides[side]) as i32
    };
    Ok(Array2::from_shape_fn((samples.len(), 2), place).into_pyarray(py))
}

/// Which member of its pool each sample copies to a pixel (flat index), given the sizes of the pools, (B,) each.
#[pyfunction]
pub fn draw_members<'py>(
    py: Python<'py>,
    seed: u64,
    sweep: u16,
    samples: PyReadonlyArray1<u64>,
    pixel: u32,
    sizes: PyReadonlyArray1<i64>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let samples = contiguous("samples", samples.as_slice())?;
    check_shape("sizes", sizes.shape(), &[samples.len()])?;
    let draw = |(&sample, &size): (&u64, &i64)| {
        let members = usize::try_from(size).ok().filter(|&members| members > 0);
        let members = members.ok_or_else(|| Error::invalid("sizes", "at least 1", size))?;
        Ok(KeyedRandom { seed, sample }.index(Stream::Pixel { sweep }, pixel, members) as i64)
    };
    let sizes = contiguous("sizes", sizes.as_slice())?;
    Ok(samples.iter().zip(sizes).map(draw).collect::<Result<Array1<i64>>>()?.into_pyarray(py))
}

/// The seed of draw `draw` of all samples: of draw 0 it is the run's own.
#[pyfunction]
pub fn draw_seed(seed: u64, draw: u32) -> u64 {
    match draw {
        0 => seed,
        _ => KeyedRandom { seed, sample: draw.into() }.bits(Stream::DrawSeed, 0),
    }
}

/// Draws half of each sample's images, rounded up, from lists `ids[ends[b - 1]..ends[b]]`; they stay in their order. An
/// image is in or out for the whole of a draw as far as the list is the same: its random number depends on its id alone.
#[pyfunction]
pub fn draw_halves<'py>(
    py: Python<'py>,
    seed: u64,
    samples: PyReadonlyArray1<u64>,
    ids: PyReadonlyArray1<i32>,
    ends: PyReadonlyArray1<i64>,
) -> PyResult<Pair<'py, PyArray1<i32>, PyArray1<i64>>> {
    let samples = contiguous("samples", samples.as_slice())?;
    check_shape("ends of shortlists", ends.shape(), &[samples.len()])?;
    let ids = contiguous("shortlists", ids.as_slice())?;
    let (mut halves, mut half_ends) = (Vec::with_capacity(ids.len()), Vec::with_capacity(samples.len()));
    for (list, &sample) in
        cut(ids, contiguous("ends of shortlists", ends.as_slice())?)?.into_iter().zip(samples)
    {
        let random = KeyedRandom { seed, sample };
        let mut drawn: Vec<usize> = (0..list.len()).collect();
        drawn.sort_by_key(|&at| (random.bits(Stream::Half, list[at] as u32), at));
        drawn.truncate(list.len().div_ceil(2));
        drawn.sort_unstable();
        halves.extend(drawn.into_iter().map(|at| list[at]));
        half_ends.push(halves.len() as i64);
    }
    Ok((Array1::from(halves).into_pyarray(py), Array1::from(half_ends).into_pyarray(py)))
}
