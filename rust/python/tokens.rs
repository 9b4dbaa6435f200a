//! The class that fills canvases of tokens.

use numpy::ndarray::{Array1, Array2};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray4, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::convert::{
    canvases_of, check_shape, contiguous, mask_of, one_pixel, optional_ids, pixels_of, TraceArrays,
};
use super::run::run;
use crate::error::{require, Result};
use crate::geometry::Extent;
use crate::pool::{Keep, Rule};
use crate::simd::Path;
use crate::tokens::context::{Metric, Range};
use crate::tokens::draw::{Draw, Histogram};
use crate::tokens::fill::Sampler;
use crate::tokens::{Kernel, Tokens};

/// Tokens of a corpus and the way they are compared: all that stays the same during a run.
#[pyclass(frozen)]
pub(super) struct TokenFiller {
    planes: Py<PyArray4<u8>>,
    bits: usize,
    range: Range,
    radius: usize,
    threads: usize,
    kernel: Kernel,
}

/// Planes (h, w, Y, N) of tokens, checked.
fn tokens_of<'a>(shape: &[usize], planes: &'a [u8], bits: usize) -> Result<Tokens<'a>> {
    let [height, width, bytes, count] = *shape else { unreachable!("four axes") };
    require(bytes == bits.div_ceil(8), "planes", format!("of {} bytes a token", bits.div_ceil(8)), bytes)?;
    Tokens::new(planes, count, Extent::new(height, width), bits)
}

impl TokenFiller {
    fn with_sampler<T>(&self, py: Python, work: impl FnOnce(Sampler) -> PyResult<T>) -> PyResult<T> {
        let planes = self.planes.bind(py).readonly();
        let tokens = tokens_of(planes.shape(), contiguous("planes", planes.as_slice())?, self.bits)?;
        work(Sampler { tokens, range: self.range, radius: self.radius, kernel: self.kernel })
    }
}

/// Canvases (B, h, w, Y), one slice each.
fn canvases<'a>(tokens: &Tokens, codes: &'a PyReadonlyArray4<u8>) -> Result<Vec<&'a [u8]>> {
    let Extent { height, width } = tokens.grid();
    check_shape("codes", codes.shape(), &[codes.shape()[0], height, width, tokens.width()])?;
    let bytes = contiguous("codes", codes.as_slice())?;
    Ok(bytes.chunks_exact(tokens.grid().area() * tokens.width()).collect())
}

/// Rows of one length as an array.
fn rows<'py, T: numpy::Element + Clone>(
    py: Python<'py>,
    rows: &[Vec<T>],
    length: usize,
) -> Bound<'py, PyArray2<T>> {
    let array = Array2::from_shape_vec((rows.len(), length), rows.concat());
    array.expect("rows are all of that length").into_pyarray(py)
}

#[pymethods]
impl TokenFiller {
    #[new]
    #[pyo3(signature = (planes, *, bits, gamma, disc, radius, threads))]
    fn new(
        planes: Bound<'_, PyArray4<u8>>,
        bits: usize,
        gamma: Option<usize>,
        disc: bool,
        radius: usize,
        threads: usize,
    ) -> PyResult<Self> {
        let readonly = planes.readonly();
        require((1..=crate::tokens::MOST_BITS).contains(&bits), "bits", "in 1..=64", bits)?;
        let tokens = tokens_of(planes.shape(), contiguous("planes", readonly.as_slice())?, bits)?;
        let metric = if disc { Metric::Euclidean } else { Metric::Chebyshev };
        Ok(Self {
            range: Range::new(gamma, metric, &tokens)?,
            bits,
            radius,
            threads,
            kernel: Kernel::of(Path::chosen()?),
            planes: planes.unbind(),
        })
    }

    /// Fills `cells` (P, 2) of canvases (B, h, w, Y) in place, with their traces, (B, h, w) each: from pools, or by weight
    /// and with bits flipped, where `flip` says how likely. In sweep 0 cells are filled, in later ones filled again.
    #[pyo3(signature = (codes, trace, *, cells, known, seed, sweep, samples, barred, epsilon, k_min, flip))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of one batch
    fn fill(
        &self,
        py: Python,
        mut codes: PyReadwriteArray4<u8>,
        mut trace: TraceArrays,
        cells: PyReadonlyArray2<i32>,
        known: PyReadonlyArray2<bool>,
        seed: u64,
        sweep: u16,
        samples: PyReadonlyArray1<u64>,
        barred: PyReadonlyArray1<i32>,
        epsilon: f64,
        k_min: usize,
        flip: Option<f64>,
    ) -> PyResult<()> {
        self.with_sampler(py, |sampler| {
            let tokens = &sampler.tokens;
            let barred = optional_ids(&barred, codes.shape()[0], tokens.count())?;
            let others = tokens.count() - usize::from(barred.iter().any(Option::is_some));
            require(others > 0, "tokens", "of more than the barred image", "nothing else")?;
            let draw = match flip {
                Some(flip) => Draw::Histogram(Histogram::new(flip, tokens.count())?),
                None => Draw::Pool(Rule::new(epsilon, k_min, Keep::Best)?),
            };
            let samples = contiguous("samples", samples.as_slice())?;
            let frame = (tokens.grid(), tokens.width());
            let mut batch = canvases_of(frame, &mut codes, &mut trace, (seed, samples), &barred)?;
            let cells = pixels_of(&cells, tokens.grid())?;
            let known = mask_of(&known, tokens.grid())?;
            run(py, self.threads, |cancel| sampler.fill((&cells, sweep), known, &draw, &mut batch, cancel))
        })
    }

    /// Hamming distances (B, N), in bits, of all images from what is around one `cell` (1, 2) of canvases (B, h, w, Y).
    fn distances<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray4<u8>,
        known: PyReadonlyArray2<bool>,
        cell: PyReadonlyArray2<i32>,
    ) -> PyResult<Bound<'py, PyArray2<u16>>> {
        self.with_sampler(py, |sampler| {
            let canvases = canvases(&sampler.tokens, &codes)?;
            let grid = sampler.tokens.grid();
            let at = (one_pixel(&cell, grid)?, mask_of(&known, grid)?);
            let found = run(py, self.threads, |cancel| sampler.distances(at, &canvases, cancel))?;
            Ok(rows(py, &found, sampler.tokens.count()))
        })
    }

    /// Seconds of each of `repeats` scans of all images for one `cell` (1, 2) of canvases (B, h, w, Y), on one thread, as
    /// fills do them: their results are not kept.
    fn time_scan<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray4<u8>,
        known: PyReadonlyArray2<bool>,
        cell: PyReadonlyArray2<i32>,
        repeats: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        require((1..=1_000_000).contains(&repeats), "repeats", "in 1..=1000000", repeats)?;
        self.with_sampler(py, |sampler| {
            let canvases = canvases(&sampler.tokens, &codes)?;
            let grid = sampler.tokens.grid();
            let at = (one_pixel(&cell, grid)?, mask_of(&known, grid)?);
            let seconds = run(py, 1, |cancel| sampler.time_scan(at, &canvases, repeats, cancel))?;
            Ok(Array1::from(seconds).into_pyarray(py))
        })
    }

    /// How likely each token (B, 2^bits) is at one `cell` (1, 2) of canvases (B, h, w, Y), with the bit-flip probability
    /// `flip`, where image `barred` (B,), −1 for none, plays no part.
    fn distributions<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray4<u8>,
        known: PyReadonlyArray2<bool>,
        cell: PyReadonlyArray2<i32>,
        flip: f64,
        barred: PyReadonlyArray1<i32>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.with_sampler(py, |sampler| {
            let tokens = &sampler.tokens;
            let canvases = canvases(tokens, &codes)?;
            let barred = optional_ids(&barred, canvases.len(), tokens.count())?;
            let others = tokens.count() - usize::from(barred.iter().any(Option::is_some));
            require(others > 0, "tokens", "of more than the barred image", "nothing else")?;
            let at = (one_pixel(&cell, tokens.grid())?, mask_of(&known, tokens.grid())?);
            let histogram = Histogram::new(flip, tokens.count())?;
            let found = run(py, self.threads, |cancel| {
                sampler.distributions(at, &canvases, &barred, &histogram, cancel)
            })?;
            Ok(rows(py, &found, 1 << self.bits.min(16)))
        })
    }
}
