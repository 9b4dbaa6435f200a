//! The class that fills canvases of tokens, and its settings.

use numpy::ndarray::{Array1, Array2};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray4, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::convert::{
    canvases_of, check_shape, contiguous, mask_of, optional_ids, pixel_of, pixels_of, TraceArrays,
};
use super::run::run;
use crate::error::{require, Result};
use crate::geometry::Extent;
use crate::pool::{Keep, PoolRule};
use crate::simd::InstructionSet;
use crate::timing::time_token_scan;
use crate::tokens::context::Metric;
use crate::tokens::draw::Histogram;
use crate::tokens::fill::{DrawRule, Sampler, Settings};
use crate::tokens::Tokens;

/// The settings of a run of tokens.
#[pyclass(frozen)]
pub(super) struct TokenSettings {
    settings: Settings,
    threads: usize,
}

#[pymethods]
impl TokenSettings {
    /// A source is drawn from the pool, by `epsilon` and `k_min`, or, if `flip` is not None, by the weights of a histogram.
    #[new]
    #[pyo3(signature = (*, gamma, disc, radius, epsilon, k_min, flip, threads))]
    fn new(
        gamma: Option<usize>,
        disc: bool,
        radius: usize,
        epsilon: f64,
        k_min: usize,
        flip: Option<f64>,
        threads: usize,
    ) -> PyResult<Self> {
        let rule = match flip {
            Some(flip) => DrawRule::Histogram { flip },
            None => DrawRule::Pool(PoolRule::new(epsilon, k_min, Keep::Best)?),
        };
        let metric = if disc { Metric::Euclidean } else { Metric::Chebyshev };
        let settings = Settings { gamma, metric, radius, rule, instructions: InstructionSet::chosen()? };
        Ok(Self { settings, threads })
    }
}

/// Fills canvases from the tokens of a corpus.
#[pyclass(frozen)]
pub(super) struct TokenFiller {
    planes: Py<PyArray4<u8>>,
    bits: usize,
    settings: Py<TokenSettings>,
}

/// Planes (h, w, Y, N) of tokens.
fn tokens_of<'a>(shape: &[usize], planes: &'a [u8], bits: usize) -> Result<Tokens<'a>> {
    let [height, width, bytes, count] = *shape else { unreachable!("four axes") };
    require(bytes == bits.div_ceil(8), "planes", format!("of {} bytes a token", bits.div_ceil(8)), bytes)?;
    Tokens::new(planes, count, Extent::new(height, width), bits)
}

impl TokenFiller {
    fn with_sampler<T>(&self, py: Python, work: impl FnOnce(Sampler) -> PyResult<T>) -> PyResult<T> {
        let planes = self.planes.bind(py).readonly();
        let tokens = tokens_of(planes.shape(), contiguous("planes", planes.as_slice())?, self.bits)?;
        work(Sampler::new(tokens, &self.settings.get().settings)?)
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
    /// `planes` are (h, w, Y, N): tokens of `bits` bits.
    #[new]
    fn new(planes: Bound<'_, PyArray4<u8>>, bits: usize, settings: Py<TokenSettings>) -> PyResult<Self> {
        require((1..=crate::tokens::MOST_BITS).contains(&bits), "bits", "in 1..=64", bits)?;
        let readonly = planes.readonly();
        let tokens = tokens_of(planes.shape(), contiguous("planes", readonly.as_slice())?, bits)?;
        Sampler::new(tokens, &settings.get().settings)?;
        Ok(Self { planes: planes.unbind(), bits, settings })
    }

    /// Fills `cells` (P, 2) of canvases (B, h, w, Y) in place, with their traces, (B, h, w) each. In sweep 0 cells are filled,
    /// in later ones drawn again.
    #[pyo3(signature = (codes, trace, *, cells, known, seed, sweep, samples, barred))]
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
    ) -> PyResult<()> {
        self.with_sampler(py, |sampler| {
            let tokens = sampler.tokens();
            let barred = optional_ids(&barred, codes.shape()[0], tokens.count())?;
            let others = tokens.count() - usize::from(barred.iter().any(Option::is_some));
            require(others > 0, "tokens", "of more than the barred image", "nothing else")?;
            let samples = contiguous("samples", samples.as_slice())?;
            let frame = (tokens.grid(), tokens.width());
            let mut batch = canvases_of(frame, &mut codes, &mut trace, (seed, samples), &barred)?;
            let cells = pixels_of(&cells, tokens.grid())?;
            let known = mask_of(&known, tokens.grid())?;
            run(py, self.settings.get().threads, |cancel| {
                sampler.fill((&cells, sweep), known, &mut batch, cancel)
            })
        })
    }

    /// Hamming distances (B, N) in bits of canvases (B, h, w, Y) from all images, in the context of one `cell` (y, x).
    fn distances<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray4<u8>,
        known: PyReadonlyArray2<bool>,
        cell: (i64, i64),
    ) -> PyResult<Bound<'py, PyArray2<u16>>> {
        self.with_sampler(py, |sampler| {
            let canvases = canvases(sampler.tokens(), &codes)?;
            let grid = sampler.tokens().grid();
            let at = (pixel_of(cell, grid)?, mask_of(&known, grid)?);
            let found =
                run(py, self.settings.get().threads, |cancel| sampler.distances(at, &canvases, cancel))?;
            Ok(rows(py, &found, sampler.tokens().count()))
        })
    }

    /// Seconds of each of `repeats` scans of all images for one `cell` (y, x) of canvases (B, h, w, Y), on one thread.
    fn time_scan<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray4<u8>,
        known: PyReadonlyArray2<bool>,
        cell: (i64, i64),
        repeats: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        require((1..=1_000_000).contains(&repeats), "repeats", "in 1..=1000000", repeats)?;
        self.with_sampler(py, |sampler| {
            let canvases = canvases(sampler.tokens(), &codes)?;
            let grid = sampler.tokens().grid();
            let at = (pixel_of(cell, grid)?, mask_of(&known, grid)?);
            let seconds = run(py, 1, |cancel| time_token_scan(&sampler, at, &canvases, repeats, cancel))?;
            Ok(Array1::from(seconds).into_pyarray(py))
        })
    }

    /// The probability of each token, (B, 2^bits), at one `cell` (y, x) of canvases (B, h, w, Y), with the bit-flip
    /// probability `flip` and without image `barred` (B,), −1 for none.
    fn distributions<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray4<u8>,
        known: PyReadonlyArray2<bool>,
        cell: (i64, i64),
        flip: f64,
        barred: PyReadonlyArray1<i32>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.with_sampler(py, |sampler| {
            let tokens = sampler.tokens();
            let canvases = canvases(tokens, &codes)?;
            let barred = optional_ids(&barred, canvases.len(), tokens.count())?;
            let others = tokens.count() - usize::from(barred.iter().any(Option::is_some));
            require(others > 0, "tokens", "of more than the barred image", "nothing else")?;
            let at = (pixel_of(cell, tokens.grid())?, mask_of(&known, tokens.grid())?);
            let histogram = Histogram::new(flip, tokens.count())?;
            let found = run(py, self.settings.get().threads, |cancel| {
                sampler.distributions(at, &canvases, &barred, &histogram, cancel)
            })?;
            Ok(rows(py, &found, 1 << self.bits.min(16)))
        })
    }
}
