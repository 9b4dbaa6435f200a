//! The class that fills canvases.

use numpy::ndarray::{Array1, Array2};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray3, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::convert::{
    canvases_of, check_shape, contiguous, corpus_of, cut, mask_of, one_pixel, optional_ids, pixels_of,
    sorted_ids, TraceArrays,
};
use super::run::run;
use crate::error::{require, Error, Result};
use crate::geometry::{Extent, Pixel};
use crate::pixels::scan::{Account, Model};
use crate::pixels::window::Window;
use crate::pool::{Candidate, Keep, Rule};
use crate::simd::Path;

/// Distances, counts and ends.
type Runs<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>);

/// Image ids, y, x and distances of a pool, in its order.
type PoolArrays<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f64>>,
);

/// A corpus and the way its pixels are compared and chosen: all that stays the same during a run.
#[pyclass(frozen)]
pub(super) struct Filler {
    images: Py<PyArray4<u8>>,
    sizes: Option<Py<PyArray2<i32>>>,
    frame: Extent,
    window: Window,
    radius: usize,
    rule: Rule,
    elsewhere: usize,
    quota: Option<usize>,
    literal: bool,
    threads: usize,
    path: Path,
    account: Account,
}

impl Filler {
    /// Calls `work` with the model over the images, in sweep 0 or a later one.
    fn with_model<T>(&self, py: Python, sweep: u16, work: impl FnOnce(Model) -> PyResult<T>) -> PyResult<T> {
        let images = self.images.bind(py).readonly();
        let sizes = self.sizes.as_ref().map(|sizes| sizes.bind(py).readonly());
        let model = Model {
            corpus: corpus_of(&images, sizes.as_ref())?,
            frame: self.frame,
            window: &self.window,
            radius: self.radius,
            rule: self.rule,
            elsewhere: self.elsewhere,
            quota: self.quota,
            literal: self.literal,
            sweep,
            path: self.path,
            account: &self.account,
        };
        work(model)
    }
}

/// A canvas, its mask and one of its pixels, checked against the corpus.
fn one_canvas<'a>(
    model: &Model,
    canvas: &'a PyReadonlyArray3<u8>,
    known: &'a PyReadonlyArray2<bool>,
    pixel: &PyReadonlyArray2<i32>,
) -> Result<(&'a [u8], &'a [bool], Pixel)> {
    let extent = model.frame;
    check_shape("canvas", canvas.shape(), &[extent.height, extent.width, model.corpus.channels()])?;
    let known = mask_of(known, extent)?;
    Ok((contiguous("canvas", canvas.as_slice())?, known, one_pixel(pixel, extent)?))
}

#[pymethods]
impl Filler {
    #[new]
    #[pyo3(signature = (images, *, frame, window, sigma, radius, epsilon, k_min, best_only, quota, literal, compare, threads, elsewhere=0, sizes=None))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of one frozen configuration
    fn new(
        images: Bound<'_, PyArray4<u8>>,
        frame: (usize, usize),
        window: usize,
        sigma: f64,
        radius: usize,
        epsilon: f64,
        k_min: usize,
        best_only: bool,
        quota: Option<usize>,
        literal: bool,
        compare: bool,
        threads: usize,
        elsewhere: usize,
        sizes: Option<Bound<'_, PyArray2<i32>>>,
    ) -> PyResult<Self> {
        corpus_of(&images.readonly(), sizes.as_ref().map(|sizes| sizes.readonly()).as_ref())?;
        let keep = if best_only { Keep::Best } else { Keep::All };
        let frame = Extent::new(frame.0, frame.1);
        // Anywhere: else no image might have a pixel near enough.
        let longest = frame.height.max(frame.width).max(images.shape()[1]).max(images.shape()[2]);
        require(sizes.is_none() || radius >= longest, "radius", format!("at least {longest}"), radius)?;
        require(frame.area() > 0, "frame", "at least 1×1", format!("{}×{}", frame.height, frame.width))?;
        require(quota != Some(0), "quota", "at least 1 or None", 0)?;
        let window = Window::new(window, sigma, frame)?;
        Ok(Self {
            frame,
            window: if compare { window } else { Window::empty() },
            radius,
            rule: Rule::new(epsilon, k_min, keep)?,
            elsewhere,
            quota,
            literal,
            threads,
            path: Path::chosen()?,
            account: Account::default(),
            images: images.unbind(),
            sizes: sizes.map(Bound::unbind),
        })
    }

    /// Fills `pixels` (P, 2) of a batch of canvases in place, with their traces: canvas b from the images
    /// `ids[ends[b - 1]..ends[b]]` of `shortlists` = (ids, ends) or, where that is None, from all. In sweep 0 pixels
    /// are filled, in later ones visited again. Returns how often no candidate was near enough, (B,); 0 unless `literal`.
    #[pyo3(signature = (canvases, trace, *, pixels, known, seed, sweep, samples, barred, shortlists))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of one batch
    fn fill<'py>(
        &self,
        py: Python<'py>,
        mut canvases: PyReadwriteArray4<u8>,
        mut trace: TraceArrays,
        pixels: PyReadonlyArray2<i32>,
        known: PyReadonlyArray2<bool>,
        seed: u64,
        sweep: u16,
        samples: PyReadonlyArray1<u64>,
        barred: PyReadonlyArray1<i32>,
        shortlists: Option<(PyReadonlyArray1<i32>, PyReadonlyArray1<i64>)>,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        self.with_model(py, sweep, |model| {
            let count = model.corpus.count();
            let barred = optional_ids(&barred, canvases.shape()[0], count)?;
            let samples = contiguous("samples", samples.as_slice())?;
            let frame = (model.frame, model.corpus.channels());
            let mut batch = canvases_of(frame, &mut canvases, &mut trace, (seed, samples), &barred)?;
            let pixels = pixels_of(&pixels, model.frame)?;
            let known = mask_of(&known, model.frame)?;
            let enough =
                |name, useful: usize| require(useful > 0, name, "more than the barred image", "nothing else");
            match shortlists {
                Some((ids, ends)) => {
                    let ids = contiguous("shortlists", ids.as_slice())?;
                    check_shape("ends of shortlists", ends.shape(), &[batch.len()])?;
                    let lists = cut(ids, contiguous("ends of shortlists", ends.as_slice())?)?
                        .into_iter()
                        .zip(&barred)
                        .map(|(ids, barred)| {
                            let ids = sorted_ids(ids, count)?;
                            enough("shortlists", ids.iter().filter(|&&id| Some(id) != *barred).count())?;
                            Ok(ids)
                        })
                        .collect::<Result<Vec<_>>>()?;
                    run(py, self.threads, |cancel| match self.literal {
                        true => model.fill_literally(&pixels, known, &mut batch, Some(&lists), cancel),
                        false => model.fill_from_shortlists(&pixels, known, &mut batch, &lists, cancel),
                    })?;
                }
                None => {
                    enough("corpus", count - usize::from(barred.iter().any(Option::is_some)))?;
                    run(py, self.threads, |cancel| match self.literal {
                        true => model.fill_literally(&pixels, known, &mut batch, None, cancel),
                        false => model.fill_from_all(&pixels, known, &mut batch, cancel),
                    })?;
                }
            }
            Ok(batch.iter().map(|canvas| canvas.fallbacks).collect::<Array1<i32>>().into_pyarray(py))
        })
    }

    /// The pools of one `pixel` (1, 2), for canvases as `fill` takes them: without one's `elsewhere`, which other processes find.
    #[pyo3(signature = (canvases, trace, *, pixel, known, sweep, barred))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of one batch
    fn pools(
        &self,
        py: Python,
        mut canvases: PyReadwriteArray4<u8>,
        mut trace: TraceArrays,
        pixel: PyReadonlyArray2<i32>,
        known: PyReadonlyArray2<bool>,
        sweep: u16,
        barred: PyReadonlyArray1<i32>,
    ) -> PyResult<Pools> {
        self.with_model(py, sweep, |model| {
            let barred = optional_ids(&barred, canvases.shape()[0], model.corpus.count())?;
            let samples = vec![0; barred.len()]; // nothing is drawn
            let frame = (model.frame, model.corpus.channels());
            let batch = canvases_of(frame, &mut canvases, &mut trace, (0, &samples), &barred)?;
            let (pixel, known) = (one_pixel(&pixel, model.frame)?, mask_of(&known, model.frame)?);
            Ok(Pools(run(py, self.threads, |cancel| model.pools(pixel, known, &batch, cancel))?))
        })
    }

    /// Terms that all fills computed, and terms there would have been without pruning.
    fn terms(&self) -> (u64, u64) {
        self.account.terms()
    }

    /// Seconds of each of `repeats` scans of one pixel over `shortlist`, on one thread: with `prune` as a fill does it, else
    /// of the bare kernel. With the size of the pool, 0 for none.
    #[allow(clippy::too_many_arguments)] // the canvas's three parts, and what to time
    fn time_scan<'py>(
        &self,
        py: Python<'py>,
        canvas: PyReadonlyArray3<u8>,
        known: PyReadonlyArray2<bool>,
        pixel: PyReadonlyArray2<i32>,
        shortlist: PyReadonlyArray1<i32>,
        repeats: usize,
        prune: bool,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, usize)> {
        require((1..=1_000_000).contains(&repeats), "repeats", "in 1..=1000000", repeats)?;
        let (seconds, size) = self.with_model(py, 0, |model| {
            let canvas = one_canvas(&model, &canvas, &known, &pixel)?;
            let ids = sorted_ids(contiguous("shortlist", shortlist.as_slice())?, model.corpus.count())?;
            run(py, 1, |_| Ok(model.time_scan(canvas, &ids, repeats, prune)))
        })?;
        Ok((Array1::from(seconds).into_pyarray(py), size))
    }

    /// The pool of one pixel of one canvas (H, W, C), over `shortlist` or all images, without those that are `barred`.
    fn candidate_pool<'py>(
        &self,
        py: Python<'py>,
        canvas: PyReadonlyArray3<u8>,
        known: PyReadonlyArray2<bool>,
        pixel: PyReadonlyArray2<i32>,
        shortlist: Option<PyReadonlyArray1<i32>>,
        barred: PyReadonlyArray1<i32>,
    ) -> PyResult<PoolArrays<'py>> {
        let pool = self.with_model(py, 0, |model| {
            let (canvas, known, pixel) = one_canvas(&model, &canvas, &known, &pixel)?;
            let ids = shortlist
                .as_ref()
                .map(|ids| sorted_ids(contiguous("shortlist", ids.as_slice())?, model.corpus.count()))
                .transpose()?;
            let barred = match contiguous("barred", barred.as_slice())? {
                [] => Vec::new(),
                some => sorted_ids(some, model.corpus.count())?,
            };
            run(py, self.threads, |cancel| {
                model.candidate_pool((canvas, known, pixel), ids.as_deref(), barred, cancel)
            })
        })?;
        let column =
            |of: fn(&Candidate) -> i32| pool.iter().map(of).collect::<Array1<i32>>().into_pyarray(py);
        Ok((
            column(|candidate| candidate.image.0 as i32),
            column(|candidate| candidate.source.y as i32),
            column(|candidate| candidate.source.x as i32),
            pool.iter().map(|candidate| candidate.distance).collect::<Array1<f64>>().into_pyarray(py),
        ))
    }
}

/// The pools of one pixel of some canvases, over the images of one process.
#[pyclass(frozen)]
pub(super) struct Pools(Vec<Vec<Candidate>>);

#[pymethods]
impl Pools {
    /// Distances, in order, and how many members have each: of one canvas after another, and where each one's end.
    fn runs<'py>(&self, py: Python<'py>) -> Runs<'py> {
        let runs: Vec<Vec<&[Candidate]>> =
            self.0.iter().map(|pool| pool.chunk_by(|a, b| a.distance == b.distance).collect()).collect();
        let all = || runs.iter().flatten();
        let mut end = 0;
        let ends: Array1<i64> = runs.iter().map(|runs| (end += runs.len() as i64, end).1).collect();
        (
            all().map(|run| run[0].distance).collect::<Array1<f64>>().into_pyarray(py),
            all().map(|run| run.len() as i64).collect::<Array1<i64>>().into_pyarray(py),
            ends.into_pyarray(py),
        )
    }

    /// Images and their pixels (M, 3), as image, y, x: the members at `places` (M,) in the pools of `canvases` (M,).
    fn members<'py>(
        &self,
        py: Python<'py>,
        canvases: PyReadonlyArray1<i64>,
        places: PyReadonlyArray1<i64>,
    ) -> PyResult<Bound<'py, PyArray2<i32>>> {
        check_shape("places", places.shape(), canvases.shape())?;
        let canvases = contiguous("canvases", canvases.as_slice())?;
        let places = contiguous("places", places.as_slice())?;
        let mut members = Array2::zeros((places.len(), 3));
        for ((mut row, &canvas), &place) in members.rows_mut().into_iter().zip(canvases).zip(places) {
            let pool = usize::try_from(canvas).ok().and_then(|canvas| self.0.get(canvas));
            let member = pool.and_then(|pool| pool.get(usize::try_from(place).ok()?));
            let member = member.ok_or_else(|| Error::invalid("places", "inside the pools", place))?;
            row[0] = member.image.0 as i32;
            row[1] = member.source.y as i32;
            row[2] = member.source.x as i32;
        }
        Ok(members.into_pyarray(py))
    }
}
