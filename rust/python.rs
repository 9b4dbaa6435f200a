//! `npgen._core`: converts arrays, releases the GIL, delegates. No logic of its own.

mod els;
mod run;

use numpy::ndarray::{Array1, Array2};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray3, PyReadwriteArray3, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::corpus::{Corpus, ImageId};
use crate::error::{require, Error, Result};
use crate::fill::{Account, Canvas, Model, Trace};
use crate::geometry::{Extent, Pixel};
use crate::pool::{Keep, Rule};
use crate::sample::{Keyed, Stream};
use crate::shortlist::Rows;
use crate::ssd::Path;
use crate::window::Window;
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
    let order = run(py, 1, |_| crate::order::fill_order(extent, known, window))?;
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
    let found = run(py, threads, |_| crate::shortlist::shortlist(key_rows, query_rows, k, &barred))?;
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

/// Image ids, y, x and distances of a pool, in its order.
type PoolArrays<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f64>>,
);

/// Image ids, y, x, distances and pool sizes of a batch, (B, H, W) each.
type TraceArrays<'py> = (
    PyReadwriteArray3<'py, i32>,
    PyReadwriteArray3<'py, i32>,
    PyReadwriteArray3<'py, i32>,
    PyReadwriteArray3<'py, f32>,
    PyReadwriteArray3<'py, i32>,
);

/// A corpus and the way its pixels are compared and chosen: all that stays the same during a run.
#[pyclass(frozen)]
struct Filler {
    images: Py<PyArray4<u8>>,
    frame: Extent,
    window: Window,
    radius: usize,
    rule: Rule,
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
        let model = Model {
            corpus: corpus_of(images.shape(), contiguous("images", images.as_slice())?)?,
            frame: self.frame,
            window: &self.window,
            radius: self.radius,
            rule: self.rule,
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
    check_shape("known", known.shape(), &[extent.height, extent.width])?;
    check_shape("pixel", pixel.shape(), &[1, 2])?;
    let pixel = pixels_of(pixel, extent)?[0];
    Ok((contiguous("canvas", canvas.as_slice())?, contiguous("known", known.as_slice())?, pixel))
}

fn corpus_of<'a>(shape: &[usize], images: &'a [u8]) -> Result<Corpus<'a>> {
    Corpus::new(images, shape[0], Extent::new(shape[1], shape[2]), shape[3])
}

#[pymethods]
impl Filler {
    #[new]
    #[pyo3(signature = (images, *, frame, window, sigma, radius, epsilon, k_min, best_only, quota, literal, compare, threads))]
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
    ) -> PyResult<Self> {
        let readonly = images.readonly();
        corpus_of(images.shape(), contiguous("images", readonly.as_slice())?)?;
        let keep = if best_only { Keep::Best } else { Keep::All };
        let frame = Extent::new(frame.0, frame.1);
        require(frame.area() > 0, "frame", "at least 1×1", format!("{}×{}", frame.height, frame.width))?;
        require(quota != Some(0), "quota", "at least 1 or None", 0)?;
        let window = Window::new(window, sigma, frame)?;
        Ok(Self {
            frame,
            window: if compare { window } else { Window::empty() },
            radius,
            rule: Rule::new(epsilon, k_min, keep)?,
            quota,
            literal,
            threads,
            path: Path::chosen()?,
            account: Account::default(),
            images: images.unbind(),
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
        trace: TraceArrays,
        pixels: PyReadonlyArray2<i32>,
        known: PyReadonlyArray2<bool>,
        seed: u64,
        sweep: u16,
        samples: PyReadonlyArray1<u64>,
        barred: PyReadonlyArray1<i32>,
        shortlists: Option<(PyReadonlyArray1<i32>, PyReadonlyArray1<i64>)>,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        self.with_model(py, sweep, |model| {
            let (extent, count) = (model.frame, model.corpus.count());
            let (height, width) = (extent.height, extent.width);
            let batch = canvases.shape()[0];
            check_shape("canvases", canvases.shape(), &[batch, height, width, model.corpus.channels()])?;
            check_shape("known", known.shape(), &[height, width])?;
            check_shape("samples", samples.shape(), &[batch])?;
            check_shape("barred", barred.shape(), &[batch])?;
            let (mut image_id, mut y, mut x, mut distance, mut pool_size) = trace;
            for (name, shape) in [
                ("trace.image_id", image_id.shape()),
                ("trace.y", y.shape()),
                ("trace.x", x.shape()),
                ("trace.distance", distance.shape()),
                ("trace.pool_size", pool_size.shape()),
            ] {
                check_shape(name, shape, &[batch, height, width])?;
            }
            let pixels = pixels_of(&pixels, extent)?;
            let known = contiguous("known", known.as_slice())?;
            let barred = contiguous("barred", barred.as_slice())?
                .iter()
                .map(|&id| optional_id("barred", id, count))
                .collect::<Result<Vec<_>>>()?;
            let area = extent.area();
            let bytes = area * model.corpus.channels();
            let mut image_id =
                contiguous_mut("trace.image_id", image_id.as_slice_mut())?.chunks_exact_mut(area);
            let mut y = contiguous_mut("trace.y", y.as_slice_mut())?.chunks_exact_mut(area);
            let mut x = contiguous_mut("trace.x", x.as_slice_mut())?.chunks_exact_mut(area);
            let mut distance =
                contiguous_mut("trace.distance", distance.as_slice_mut())?.chunks_exact_mut(area);
            let mut pool_size =
                contiguous_mut("trace.pool_size", pool_size.as_slice_mut())?.chunks_exact_mut(area);
            let mut rows = || {
                Some(Trace {
                    image_id: image_id.next()?,
                    y: y.next()?,
                    x: x.next()?,
                    distance: distance.next()?,
                    pool_size: pool_size.next()?,
                })
            };
            let samples = contiguous("samples", samples.as_slice())?;
            let mut batch: Vec<Canvas> = contiguous_mut("canvases", canvases.as_slice_mut())?
                .chunks_exact_mut(bytes)
                .zip(std::iter::from_fn(&mut rows))
                .zip(samples.iter().zip(&barred))
                .map(|((pixels, trace), (&sample, &barred))| Canvas {
                    random: Keyed { seed, sample },
                    barred,
                    pixels,
                    trace,
                    fallbacks: 0,
                })
                .collect();
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
        let column = |of: fn(&crate::pool::Candidate) -> i32| {
            pool.iter().map(of).collect::<Array1<i32>>().into_pyarray(py)
        };
        Ok((
            column(|candidate| candidate.image.0 as i32),
            column(|candidate| candidate.source.y as i32),
            column(|candidate| candidate.source.x as i32),
            pool.iter().map(|candidate| candidate.distance).collect::<Array1<f64>>().into_pyarray(py),
        ))
    }
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::els::{denoise, score_machines};
    #[pymodule_export]
    use super::{
        draw_seed_images, draw_seed_places, fill_order, instruction_sets, shortlist, sliding_entropy,
        sweep_order, Filler,
    };
}
