//! The class that fills canvases of pixels, and its settings.

use std::sync::OnceLock;

use numpy::ndarray::Array1;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray3, PyReadonlyArray4, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::convert::{
    bar_shifts, canvases_of, check_shape, contiguous, corpus_of, cut, mask_of, optional_ids, pixel_of,
    pixels_of, sorted_ids, source_pixels_of, TraceArrays,
};
use super::pools::{merge_runs, MergedRuns, Pools};
use super::run::run;
use crate::corpus::{Corpus, ImageId};
use crate::error::{require, Result};
use crate::geometry::{Extent, Pixel};
use crate::pixels::added::Added;
use crate::pixels::bars::Bars;
use crate::pixels::quota::{Quota, Quotas};
use crate::pixels::raster::Rasters;
use crate::pixels::scan::{Scan, WorkCounter};
use crate::pixels::settings::Settings;
use crate::pixels::window::Window;
use crate::pool::{Candidate, Keep, PoolRule};
use crate::simd::InstructionSet;
use crate::timing::time_pixel_scan;

/// Image ids, y, x and distances of a pool, in its order.
type PoolArrays<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f64>>,
);

/// The settings of a run of pixels.
#[pyclass(frozen)]
pub(super) struct PixelSettings {
    settings: Settings,
    threads: usize,
}

#[pymethods]
impl PixelSettings {
    #[new]
    #[pyo3(signature = (*, frame, window, sigma, radius, epsilon, k_min, best_only, quota, frame_quota, copy_quota, corpus_tolerance, low_level, threads))]
    #[allow(clippy::too_many_arguments)] // one keyword per setting
    fn new(
        frame: (usize, usize),
        window: usize,
        sigma: f64,
        radius: usize,
        epsilon: f64,
        k_min: usize,
        best_only: bool,
        quota: Option<usize>,
        frame_quota: Option<usize>,
        copy_quota: Option<usize>,
        corpus_tolerance: bool,
        low_level: bool,
        threads: usize,
    ) -> PyResult<Self> {
        let frame = Extent::new(frame.0, frame.1);
        require(frame.area() > 0, "frame", "at least 1×1", format!("{}×{}", frame.height, frame.width))?;
        let quotas = Quotas {
            window: quota.map(|most| Quota::of_window(most, window)).transpose()?,
            frame: frame_quota.map(|most| Quota::of_frame(most, frame)).transpose()?,
            copy: copy_quota.map(|most| Quota::of_shift(most, frame)).transpose()?,
        };
        let gaussian = Window::new(window, sigma, frame)?;
        let keep = if best_only { Keep::Best } else { Keep::All };
        let settings = Settings {
            frame,
            window: if low_level { gaussian } else { Window::empty() },
            radius,
            rule: PoolRule::new(epsilon, k_min, keep)?,
            quotas,
            corpus_tolerance,
            instructions: InstructionSet::chosen()?,
        };
        Ok(Self { settings, threads })
    }
}

/// Fills canvases from the images of a corpus.
#[pyclass(frozen)]
pub(super) struct Filler {
    images: Py<PyArray4<u8>>,
    sizes: Option<Py<PyArray2<i32>>>,
    elsewhere: usize,
    settings: Py<PixelSettings>,
    work: WorkCounter,
    /// Which pixels of the last image may serve, (H, W); None: all.
    usable: Option<Py<PyArray2<bool>>>,
    /// The images in raster order, made at the first scan that needs them.
    rasters: OnceLock<Option<Rasters>>,
}

impl Filler {
    /// Calls `work` with the scan of the images, in sweep 0 or a later one.
    fn with_scan<T>(&self, py: Python, sweep: u16, work: impl FnOnce(Scan) -> PyResult<T>) -> PyResult<T> {
        let images = self.images.bind(py).readonly();
        let sizes = self.sizes.as_ref().map(|sizes| sizes.bind(py).readonly());
        let settings = &self.settings.get().settings;
        let usable = self.usable.as_ref().map(|usable| usable.bind(py).readonly());
        let mut corpus = corpus_of(&images, sizes.as_ref())?;
        if let Some(usable) = &usable {
            corpus = corpus.with_mask(contiguous("usable", usable.as_slice())?)?;
        }
        let rasters = match self.rasters.get() {
            Some(rasters) => rasters,
            None => {
                let made = self.make_rasters(py, &corpus)?;
                self.rasters.get_or_init(|| made)
            }
        };
        let rasters = rasters.as_ref();
        work(Scan { corpus, elsewhere: self.elsewhere, settings, sweep, work: &self.work, rasters })
    }

    fn make_rasters(&self, py: Python, corpus: &Corpus) -> PyResult<Option<Rasters>> {
        let settings = &self.settings.get().settings;
        if !Rasters::suit(settings, corpus) {
            return Ok(None);
        }
        Ok(Some(run(py, self.threads(), |_| Rasters::new(corpus, settings.window.half()))?))
    }

    fn threads(&self) -> usize {
        self.settings.get().threads
    }
}

/// A canvas, its mask and one of its pixels, checked against the corpus.
fn one_canvas<'a>(
    scan: &Scan,
    canvas: &'a PyReadonlyArray3<u8>,
    known: &'a PyReadonlyArray2<bool>,
    pixel: (i64, i64),
) -> Result<(&'a [u8], &'a [bool], Pixel)> {
    let extent = scan.settings.frame;
    check_shape("canvas", canvas.shape(), &[extent.height, extent.width, scan.corpus.channels()])?;
    let known = mask_of(known, extent)?;
    Ok((contiguous("canvas", canvas.as_slice())?, known, pixel_of(pixel, extent)?))
}

/// Cuts what is added to distances into the parts of the canvases.
fn added_of<'a>(
    added: &'a PyReadonlyArray4<u32>,
    lists: &[Vec<ImageId>],
    pixels: usize,
    radius: usize,
) -> Result<Vec<Added<'a>>> {
    let (side, images) = (Added::side(radius), lists.iter().map(Vec::len).sum());
    check_shape("added", added.shape(), &[images, pixels, side, side])?;
    let mut rest = contiguous("added", added.as_slice())?;
    let part = |list: &Vec<ImageId>| {
        let own;
        (own, rest) = rest.split_at(list.len() * pixels * side * side);
        Added::new(own, list.len(), pixels, radius)
    };
    lists.iter().map(part).collect()
}

#[pymethods]
impl Filler {
    /// `images` are (N, H, W, C), `sizes` (N, 2) if they don't fill H×W; `elsewhere` is how many more images the corpus
    /// has, which other processes scan; `usable` (H, W) tells which pixels of the last image may serve.
    #[new]
    #[pyo3(signature = (images, settings, *, sizes=None, elsewhere=0, usable=None))]
    fn new(
        images: Bound<'_, PyArray4<u8>>,
        settings: Py<PixelSettings>,
        sizes: Option<Bound<'_, PyArray2<i32>>>,
        elsewhere: usize,
        usable: Option<Bound<'_, PyArray2<bool>>>,
    ) -> PyResult<Self> {
        corpus_of(&images.readonly(), sizes.as_ref().map(|sizes| sizes.readonly()).as_ref())?;
        let Settings { frame, radius, .. } = settings.get().settings;
        // Images of several sizes need sources at any position: else some image might have no pixel that is near enough.
        let longest = frame.height.max(frame.width).max(images.shape()[1]).max(images.shape()[2]);
        require(sizes.is_none() || radius >= longest, "radius", format!("at least {longest}"), radius)?;
        if let Some(usable) = &usable {
            check_shape("usable", usable.shape(), &images.shape()[1..3])?;
        }
        Ok(Self {
            images: images.unbind(),
            sizes: sizes.map(Bound::unbind),
            elsewhere,
            settings,
            work: WorkCounter::default(),
            usable: usable.map(Bound::unbind),
            rasters: OnceLock::new(),
        })
    }

    /// Fills `pixels` (P, 2) of canvases (B, H, W, C) in place, with their traces: canvas b from the images
    /// `ids[ends[b - 1]..ends[b]]` of `shortlists` = (ids, ends) or, if that is None, from all images. In sweep 0 pixels are
    /// filled, in later ones drawn again. `added` (ends[B - 1], P, 2R + 1, 2R + 1) is added to the distances of the candidates
    /// of ids that ascend: per image, pixel and source, in 1/256 squared grey levels. Returns how often no candidate was near enough, (B,); 0 unless
    /// `corpus_tolerance`.
    ///
    /// `barred_shifts` (B, 3) are an image of each canvas, −1 for none, and a shift dy, dx by which nothing of it is copied.
    #[pyo3(signature = (canvases, trace, *, pixels, known, seed, sweep, samples, barred, shortlists, added=None, barred_shifts=None))]
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
        added: Option<PyReadonlyArray4<u32>>,
        barred_shifts: Option<PyReadonlyArray2<i32>>,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        self.with_scan(py, sweep, |scan| {
            let count = scan.corpus.count();
            let barred = optional_ids(&barred, canvases.shape()[0], count)?;
            let samples = contiguous("samples", samples.as_slice())?;
            let frame = (scan.settings.frame, scan.corpus.channels());
            let mut batch = canvases_of(frame, &mut canvases, &mut trace, (seed, samples), &barred)?;
            if let Some(shifts) = &barred_shifts {
                bar_shifts(&mut batch, shifts, count)?;
            }
            let pixels = pixels_of(&pixels, scan.settings.frame)?;
            let known = mask_of(&known, scan.settings.frame)?;
            let enough =
                |name, useful: usize| require(useful > 0, name, "more than the barred image", "nothing else");
            let without = "None without shortlists, or with a tolerance relative to the corpus";
            let takes_added = shortlists.is_some() && !scan.settings.corpus_tolerance;
            require(takes_added || added.is_none(), "added", without, "some")?;
            let lists = match &shortlists {
                Some((ids, ends)) => {
                    let ids = contiguous("shortlists", ids.as_slice())?;
                    check_shape("ends of shortlists", ends.shape(), &[batch.len()])?;
                    let lists = cut(ids, contiguous("ends of shortlists", ends.as_slice())?)?
                        .into_iter()
                        .zip(&barred)
                        .map(|(ids, barred)| {
                            let ascending = added.is_none() || ids.is_sorted();
                            require(
                                ascending,
                                "shortlists",
                                "of ascending ids where distances are added",
                                "others",
                            )?;
                            let ids = sorted_ids(ids, count)?;
                            enough("shortlists", ids.iter().filter(|&&id| Some(id) != *barred).count())?;
                            Ok(ids)
                        })
                        .collect::<Result<Vec<_>>>()?;
                    Some(lists)
                }
                None => {
                    enough("corpus", count - usize::from(barred.iter().any(Option::is_some)))?;
                    None
                }
            };
            let lists = lists.as_deref();
            let added = added
                .as_ref()
                .zip(lists)
                .map(|(added, lists)| added_of(added, lists, pixels.len(), scan.settings.radius));
            let added = added.transpose()?;
            run(py, self.threads(), |cancel| {
                scan.fill(&pixels, known, &mut batch, lists, added.as_deref(), cancel)
            })?;
            Ok(batch.iter().map(|canvas| canvas.fallbacks).collect::<Array1<i32>>().into_pyarray(py))
        })
    }

    /// The pools of one `pixel` (y, x) for canvases as `fill` takes them, over the images of this process.
    #[pyo3(signature = (canvases, trace, *, pixel, known, barred))]
    fn pools(
        &self,
        py: Python,
        mut canvases: PyReadwriteArray4<u8>,
        mut trace: TraceArrays,
        pixel: (i64, i64),
        known: PyReadonlyArray2<bool>,
        barred: PyReadonlyArray1<i32>,
    ) -> PyResult<Pools> {
        self.with_scan(py, 0, |scan| {
            let barred = optional_ids(&barred, canvases.shape()[0], scan.corpus.count())?;
            let samples = vec![0; barred.len()]; // nothing is drawn
            let frame = (scan.settings.frame, scan.corpus.channels());
            let mut batch = canvases_of(frame, &mut canvases, &mut trace, (0, &samples), &barred)?;
            let (pixel, known) =
                (pixel_of(pixel, scan.settings.frame)?, mask_of(&known, scan.settings.frame)?);
            Ok(Pools(run(py, self.threads(), |cancel| scan.pools(pixel, known, &mut batch, cancel))?))
        })
    }

    /// Merges runs (R,) of the pools of all processes, as `Pools.runs` gives them, in the order of the processes: an order of
    /// the runs, and for each of them in that order how many candidates come before it and how many of its own are in the
    /// pool.
    fn merge_runs<'py>(
        &self,
        py: Python<'py>,
        canvases: PyReadonlyArray1<i64>,
        distances: PyReadonlyArray1<f64>,
        counts: PyReadonlyArray1<i64>,
    ) -> PyResult<MergedRuns<'py>> {
        merge_runs(py, &self.settings.get().settings.rule, &canvases, &distances, &counts)
    }

    /// Terms that all scans computed, and terms they would have computed without pruning.
    fn terms(&self) -> (u64, u64) {
        self.work.terms()
    }

    /// Seconds of each of `repeats` scans of one pixel over `shortlist`, on one thread: with `prune` as in a fill, else of the
    /// bare kernel. Also the size of the pool; 0 without `prune`.
    #[allow(clippy::too_many_arguments)] // a canvas of three parts, and what is timed
    fn time_scan<'py>(
        &self,
        py: Python<'py>,
        canvas: PyReadonlyArray3<u8>,
        known: PyReadonlyArray2<bool>,
        pixel: (i64, i64),
        shortlist: PyReadonlyArray1<i32>,
        repeats: usize,
        prune: bool,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, usize)> {
        require((1..=1_000_000).contains(&repeats), "repeats", "in 1..=1000000", repeats)?;
        let (seconds, size) = self.with_scan(py, 0, |scan| {
            let canvas = one_canvas(&scan, &canvas, &known, pixel)?;
            let ids = sorted_ids(contiguous("shortlist", shortlist.as_slice())?, scan.corpus.count())?;
            run(py, 1, |_| Ok(time_pixel_scan(&scan, canvas, &ids, repeats, prune)))
        })?;
        Ok((Array1::from(seconds).into_pyarray(py), size))
    }

    /// The pool of one pixel of one canvas (H, W, C), over `shortlist` or all images, without the images `barred` and the
    /// source pixels `barred_pixels` (M, 3), each as image, y, x: image id, y, x and distance of each member, in order.
    /// `added` (K, 2R + 1, 2R + 1) as in `fill`, for ids that ascend.
    #[pyo3(signature = (canvas, known, pixel, shortlist, barred, added=None, barred_pixels=None))]
    #[allow(clippy::too_many_arguments)] // a canvas of three parts, and what may serve it
    fn candidate_pool<'py>(
        &self,
        py: Python<'py>,
        canvas: PyReadonlyArray3<u8>,
        known: PyReadonlyArray2<bool>,
        pixel: (i64, i64),
        shortlist: Option<PyReadonlyArray1<i32>>,
        barred: PyReadonlyArray1<i32>,
        added: Option<PyReadonlyArray3<u32>>,
        barred_pixels: Option<PyReadonlyArray2<i32>>,
    ) -> PyResult<PoolArrays<'py>> {
        let pool = self.with_scan(py, 0, |scan| {
            let (canvas, known, pixel) = one_canvas(&scan, &canvas, &known, pixel)?;
            let ids = shortlist
                .as_ref()
                .map(|ids| sorted_ids(contiguous("shortlist", ids.as_slice())?, scan.corpus.count()))
                .transpose()?;
            let barred = match contiguous("barred", barred.as_slice())? {
                [] => Vec::new(),
                some => sorted_ids(some, scan.corpus.count())?,
            };
            require(added.is_none() || ids.is_some(), "added", "None without a shortlist", "some")?;
            let added = added.as_ref().zip(ids.as_ref()).map(|(added, ids)| {
                let values = contiguous("added", added.as_slice())?;
                Added::new(values, ids.len(), 1, scan.settings.radius)
            });
            let added = added.transpose()?;
            let pixels = match &barred_pixels {
                Some(pixels) => source_pixels_of(pixels, &scan.corpus)?,
                None => Vec::new(),
            };
            let bars = Bars { images: barred, pixels };
            let window = (canvas, known, pixel);
            run(py, self.threads(), |cancel| scan.candidate_pool(window, ids.as_deref(), bars, added, cancel))
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
