//! The score machines, for `npgen.els`.

use numpy::ndarray::{Array1, Array3, Array4, Array5};
use numpy::{
    IntoPyArray, PyArray1, PyArray3, PyArray4, PyArray5, PyReadonlyArray1, PyReadonlyArray4,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::convert::{contiguous, image_id};
use super::run::run;
use crate::corpus::Corpus;
use crate::els::machine::Machine;
use crate::els::{Denoised, Effort, Step};
use crate::error::{require, Result};
use crate::geometry::Extent;
use crate::simd::InstructionSet;

/// Denoised canvases.
#[pyclass(frozen, get_all)]
pub struct DenoisedArrays {
    /// x̂₀, (B, H, W, C).
    mean: Py<PyArray4<f64>>,
    /// Logarithm of the sum of weights, (B, H, W).
    log_sum: Py<PyArray3<f64>>,
    /// Entropy of the weights in nats, (B, H, W).
    entropy: Py<PyArray3<f64>>,
    /// Image, y and x of the heaviest patches, (B, H, W, M, 3); −1 if there are fewer.
    sources: Py<PyArray5<i32>>,
    /// Their weights, (B, H, W, M).
    weights: Py<PyArray4<f64>>,
    /// Bound on the share of any pixel's weight that was skipped, (B,).
    skipped: Py<PyArray1<f64>>,
    /// Standard error of ε, (B,).
    standard_error: Py<PyArray1<f64>>,
    /// Number of images that were scanned, (B,).
    images: Py<PyArray1<i64>>,
    /// Share of patches whose weight was computed, (B,).
    weighed: Py<PyArray1<f64>>,
}

/// Names of the machines.
#[pyfunction]
pub fn score_machines() -> Vec<&'static str> {
    Machine::ALL.map(Machine::name).to_vec()
}

/// How many images, neighbours in `ids`, a score machine compares at once.
#[pyfunction]
pub fn tile_size() -> usize {
    crate::els::TILE_IMAGES
}

/// Denoises canvases (B, H, W, C) by the images `ids` of the corpus (N, H, W, C).
#[pyfunction]
#[pyo3(signature = (images, ids, canvases, *, machine, window, signal, noise, tolerance, sampling, rotation, sources, threads))]
#[allow(clippy::too_many_arguments)] // one keyword per setting
pub fn denoise(
    py: Python,
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
) -> PyResult<DenoisedArrays> {
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
    let instructions = InstructionSet::chosen()?;
    let pixels = contiguous("canvases", canvases.as_slice())?;
    let found = run(py, threads, |cancel| {
        crate::els::denoise(instructions, (&corpus, &ids), pixels, step, effort, cancel)
    })?;
    Ok(DenoisedArrays::new(py, &found, frame, sources))
}

impl DenoisedArrays {
    fn new(py: Python, found: &[Denoised], frame: [usize; 3], most: usize) -> Self {
        let [height, width, channels] = frame;
        let flat = |y: usize, x: usize| y * width + x;
        let plane = (found.len(), height, width);
        let lists = (found.len(), height, width, most);
        let source = |b: usize, y: usize, x: usize, rank: usize| found[b].sources[flat(y, x)].get(rank);
        let of_canvas = |of: fn(&Denoised) -> f64| {
            found.iter().map(of).collect::<Array1<f64>>().into_pyarray(py).unbind()
        };
        let of_pixel = |of: fn(&Denoised) -> &[f64]| {
            Array3::from_shape_fn(plane, |(b, y, x)| of(&found[b])[flat(y, x)]).into_pyarray(py).unbind()
        };
        let mean = Array4::from_shape_fn((found.len(), height, width, channels), |(b, y, x, c)| {
            found[b].mean[flat(y, x) * channels + c]
        });
        let sources =
            Array5::from_shape_fn((found.len(), height, width, most, 3), |(b, y, x, rank, part)| {
                source(b, y, x, rank).map_or(-1, |heavy| {
                    let at = heavy.at as usize;
                    [heavy.image.index(), at / width, at % width][part] as i32
                })
            });
        let weights = Array4::from_shape_fn(lists, |(b, y, x, rank)| {
            source(b, y, x, rank).map_or(0.0, |heavy| heavy.weight)
        });
        let images: Array1<i64> = found.iter().map(|canvas| canvas.images as i64).collect();
        Self {
            mean: mean.into_pyarray(py).unbind(),
            log_sum: of_pixel(|canvas| &canvas.log_sum),
            entropy: of_pixel(|canvas| &canvas.entropy),
            sources: sources.into_pyarray(py).unbind(),
            weights: weights.into_pyarray(py).unbind(),
            skipped: of_canvas(|canvas| canvas.skipped),
            standard_error: of_canvas(|canvas| canvas.standard_error),
            images: images.into_pyarray(py).unbind(),
            weighed: of_canvas(|canvas| canvas.weighed),
        }
    }
}
