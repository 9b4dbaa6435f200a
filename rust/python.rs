//! `npgen._core`: converts arrays, releases the GIL, delegates. No logic of its own.

mod els;
mod filler;
mod run;
mod tokens;

use numpy::ndarray::{Array1, Array2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::corpus::ImageId;
use crate::error::{require, Error, Result};
use crate::geometry::{Extent, Pixel};
use crate::sample::{Keyed, Stream};
use crate::shortlist::Rows;
use crate::ssd::Path;
use run::run;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

fn contiguous<'a, T>(name: &'static str, slice: std::result::Result<&'a [T], impl Sized>) -> Result<&'a [T]> {
    slice.map_err(|_| Error::invalid(name, "a C-contiguous array", "another layout"))
}

fn contiguous_mut<'a, T>(
    name: &'static str,
    slice: std::result::Result<&'a mut [T], impl Sized>,
) -> Result<&'a mut [T]> {
    slice.map_err(|_| Error::invalid(name, "a C-contiguous array", "another layout"))
}

fn check_shape(name: &'static str, shape: &[usize], expected: &[usize]) -> Result<()> {
    require(shape == expected, name, format!("of shape {expected:?}"), format!("{shape:?}"))
}

fn image_id(name: &'static str, id: i32, count: usize) -> Result<ImageId> {
    match u32::try_from(id) {
        Ok(id) if (id as usize) < count => Ok(ImageId(id)),
        _ => Err(Error::invalid(name, format!("image ids in 0..{count}"), id)),
    }
}

/// −1 stands for none.
fn optional_id(name: &'static str, id: i32, count: usize) -> Result<Option<ImageId>> {
    (id != -1).then(|| image_id(name, id, count)).transpose()
}

/// Ids of one shortlist in the ascending order that the planes take, none twice.
fn sorted_ids(ids: &[i32], count: usize) -> Result<Vec<ImageId>> {
    let mut sorted = ids.iter().map(|&id| image_id("shortlist", id, count)).collect::<Result<Vec<_>>>()?;
    sorted.sort_unstable();
    let repeated = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    require(repeated.is_none(), "shortlist", "ids that differ", repeated.map_or(0, |pair| pair[0].0))?;
    require(!sorted.is_empty(), "shortlist", "at least one id long", 0)?;
    Ok(sorted)
}

/// Consecutive parts of `ids`, each up to one of `ends`.
fn cut<'a>(ids: &'a [i32], ends: &[i64]) -> Result<Vec<&'a [i32]>> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(ends.len());
    for &end in ends {
        let part = usize::try_from(end).ok().and_then(|end| ids.get(start..end));
        let allowed = || format!("ascending, in 0..={}", ids.len());
        let part = part.ok_or_else(|| Error::invalid("ends of shortlists", allowed(), end))?;
        start += part.len();
        parts.push(part);
    }
    require(start == ids.len(), "ends of shortlists", format!("{} at last", ids.len()), start)?;
    Ok(parts)
}

fn pixels_of(array: &PyReadonlyArray2<i32>, extent: Extent) -> Result<Vec<Pixel>> {
    check_shape("pixels", array.shape(), &[array.shape()[0], 2])?;
    let pixel = |row: &[i32]| {
        let inside = |at: i32, len: usize| usize::try_from(at).ok().filter(|&at| at < len);
        match (inside(row[0], extent.height), inside(row[1], extent.width)) {
            (Some(y), Some(x)) => Ok(Pixel { y, x }),
            _ => Err(Error::invalid(
                "pixel",
                format!("inside the {}×{} frame", extent.height, extent.width),
                format!("({}, {})", row[0], row[1]),
            )),
        }
    };
    contiguous("pixels", array.as_slice())?.chunks_exact(2).map(pixel).collect()
}

type Pair<'py, A, B> = (Bound<'py, A>, Bound<'py, B>);

/// Pixels (P, 2) in fill order and the ends (S + 1,) of its stages.
#[pyfunction]
fn fill_order<'py>(
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

/// Ids and products of the `k` nearest keys of each query, nearest first.
#[pyfunction]
fn shortlist<'py>(
    py: Python<'py>,
    keys: PyReadonlyArray2<f32>,
    queries: PyReadonlyArray2<f32>,
    k: usize,
    barred: PyReadonlyArray1<i32>,
    threads: usize,
) -> PyResult<Pair<'py, PyArray2<i32>, PyArray2<f32>>> {
    let key_rows = Rows::new("keys", contiguous("keys", keys.as_slice())?, keys.shape()[1])?;
    let query_rows = Rows::new("queries", contiguous("queries", queries.as_slice())?, queries.shape()[1])?;
    let barred = contiguous("barred", barred.as_slice())?
        .iter()
        .map(|&id| optional_id("barred", id, key_rows.count()))
        .collect::<Result<Vec<_>>>()?;
    let found =
        run(py, threads, |cancel| crate::shortlist::shortlist(key_rows, query_rows, k, &barred, cancel))?;
    let shape = (found.len(), k);
    let ids = Array2::from_shape_fn(shape, |(b, rank)| found[b][rank].image.0 as i32);
    let products = Array2::from_shape_fn(shape, |(b, rank)| found[b][rank].product);
    Ok((ids.into_pyarray(py), products.into_pyarray(py)))
}

/// Entropy map of one label map.
#[pyfunction]
fn sliding_entropy<'py>(
    py: Python<'py>,
    labels: PyReadonlyArray2<i64>,
    window: usize,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let extent = Extent::new(labels.shape()[0], labels.shape()[1]);
    let labels = contiguous("labels", labels.as_slice())?;
    let entropies = run(py, 1, |_| crate::entropy::sliding_entropy(labels, extent, window))?;
    let width = extent.width - window + 1;
    Ok(Array2::from_shape_fn((entropies.len() / width, width), |(y, x)| entropies[y * width + x])
        .into_pyarray(py))
}

/// Names of the instruction sets that scans can run on here, fastest first.
#[pyfunction]
fn instruction_sets() -> Vec<&'static str> {
    Path::available().into_iter().map(Path::name).collect()
}

/// The order in which a sweep visits pixels (P, 2) again.
#[pyfunction]
fn sweep_order<'py>(
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

/// The images that the seed patches of some samples come from.
#[pyfunction]
fn draw_seed_images<'py>(
    py: Python<'py>,
    seed: u64,
    samples: PyReadonlyArray1<u64>,
    count: usize,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    require((1..=i32::MAX as usize).contains(&count), "count", "in 1..=2147483647", count)?;
    let draw = |&sample: &u64| Keyed { seed, sample }.index(Stream::SeedImage, 0, count) as i32;
    let drawn: Array1<i32> = contiguous("samples", samples.as_slice())?.iter().map(draw).collect();
    Ok(drawn.into_pyarray(py))
}

/// Upper left corners (n, 2) of the seed patches of some samples, anywhere in sources that leave room for `height` by
/// `width` corners.
#[pyfunction]
fn draw_seed_places<'py>(
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
        Keyed { seed, sample: samples[k] }.index(Stream::SeedPlace, side as u32, sides[side]) as i32
    };
    Ok(Array2::from_shape_fn((samples.len(), 2), place).into_pyarray(py))
}

/// Which member of its pool each of some samples copies to a pixel, by the pools' sizes (B,).
#[pyfunction]
fn draw_members<'py>(
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
        Ok(Keyed { seed, sample }.index(Stream::Pixel { sweep }, pixel, members) as i64)
    };
    let sizes = contiguous("sizes", sizes.as_slice())?;
    Ok(samples.iter().zip(sizes).map(draw).collect::<Result<Array1<i64>>>()?.into_pyarray(py))
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::els::{denoise, score_machines};
    #[pymodule_export]
    use super::{
        draw_members, draw_seed_images, draw_seed_places, fill_order, filler::Filler, filler::Pools,
        instruction_sets, shortlist, sliding_entropy, sweep_order, tokens::TokenFiller,
    };
}
