//! The score machines, for `npgen.scores`.

use numpy::ndarray::{Array1, Array3, Array4};
use numpy::{
    IntoPyArray, PyArray1, PyArray3, PyArray4, PyReadonlyArray1, PyReadonlyArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::convert::{contiguous, image_id};
use super::run::run;
use crate::corpus::Corpus;
use crate::els::machine::Machine;
use crate::els::{Denoised, Effort, Step};
use crate::error::{require, Result};
use crate::geometry::Extent;
use crate::simd::Path;

/// x̂₀ (B, H, W, C); logarithms of sums and entropies (B, H, W); images and flat positions (B, H, W, M) of the heaviest
/// patches, −1 where there are fewer, and their weights; of each canvas (B,) the bound on the share skipped, the
/// standard error, the images met and the share of patches weighed.
type DenoisedArrays<'py> = (
    Bound<'py, PyArray4<f64>>,
    Bound<'py, PyArray3<f64>>,
    Bound<'py, PyArray3<f64>>,
    Bound<'py, PyArray4<i32>>,
    Bound<'py, PyArray4<i32>>,
    Bound<'py, PyArray4<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
);

/// Names of the machines.
#[pyfunction]
pub fn score_machines() -> Vec<&'static str> {
    Machine::ALL.map(Machine::name).to_vec()
}

/// Denoises canvases (B, H, W, C) by the images `ids` of the corpus (N, H, W, C).
#[pyfunction]
#[pyo3(signature = (images, ids, canvases, *, machine, window, signal, noise, tolerance, sampling, rotation, sources, threads))]
#[allow(clippy::too_many_arguments)] // a keyword each
pub fn denoise<'py>(
    py: Python<'py>,
    images: PyReadonlyArray4<u8>,
    ids: PyReadonlyArray1<i32>,
    canvases: PyReadonlyArray4<f32>,
    machine: &str,
    window: usize,
    signal: f64,
    noise: f64,
    tolerance: f64,
    sampling: f64,
    rotation: usize,
    sources: usize,
    threads: usize,
) -> PyResult<DenoisedArrays<'py>> {
    let [count, height, width, channels] = *images.shape() else { unreachable!("four axes") };
    let corpus =
        Corpus::new(contiguous("images", images.as_slice())?, count, Extent::new(height, width), channels)?;
    let ids = contiguous("ids", ids.as_slice())?
        .iter()
        .map(|&id| image_id("ids", id, count))
        .collect::<Result<Vec<_>>>()?;
    let frame = [height, width, channels];
    require(
        canvases.shape()[1..] == frame,
        "canvases",
        format!("of shape (B, {height}, {width}, {channels})"),
        format!("{:?}", canvases.shape()),
    )?;
    let step = Step { machine: Machine::named(machine)?, window, signal, noise };
    let effort = Effort { tolerance, sampling, rotation, sources };
    let path = Path::chosen()?;
    let pixels = contiguous("canvases", canvases.as_slice())?;
    let found =
        run(py, threads, |cancel| crate::els::denoise(path, (&corpus, &ids), pixels, step, effort, cancel))?;
    Ok(arrays(py, &found, frame, sources))
}

fn arrays<'py>(py: Python<'py>, found: &[Denoised], frame: [usize; 3], most: usize) -> DenoisedArrays<'py> {
    let [height, width, channels] = frame;
    let flat = |y: usize, x: usize| y * width + x;
    let plane = (found.len(), height, width);
    let lists = (found.len(), height, width, most);
    let source = |(b, y, x, rank): (usize, usize, usize, usize)| found[b].sources[flat(y, x)].get(rank);
    (
        Array4::from_shape_fn((found.len(), height, width, channels), |(b, y, x, c)| {
            found[b].mean[flat(y, x) * channels + c]
        })
        .into_pyarray(py),
        Array3::from_shape_fn(plane, |(b, y, x)| found[b].log_sum[flat(y, x)]).into_pyarray(py),
        Array3::from_shape_fn(plane, |(b, y, x)| found[b].entropy[flat(y, x)]).into_pyarray(py),
        Array4::from_shape_fn(lists, |at| source(at).map_or(-1, |heavy| heavy.image.0 as i32))
            .into_pyarray(py),
        Array4::from_shape_fn(lists, |at| source(at).map_or(-1, |heavy| heavy.at as i32)).into_pyarray(py),
        Array4::from_shape_fn(lists, |at| source(at).map_or(0.0, |heavy| heavy.weight)).into_pyarray(py),
        found.iter().map(|canvas| canvas.skipped).collect::<Array1<f64>>().into_pyarray(py),
        found.iter().map(|canvas| canvas.standard_error).collect::<Array1<f64>>().into_pyarray(py),
        found.iter().map(|canvas| canvas.images as i64).collect::<Array1<i64>>().into_pyarray(py),
        found.iter().map(|canvas| canvas.weighed).collect::<Array1<f64>>().into_pyarray(py),
    )
}
