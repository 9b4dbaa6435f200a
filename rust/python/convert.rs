//! Conversions of Python arrays and numbers to the types of the core, with their checks.

use numpy::{
    PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray4, PyReadwriteArray3, PyReadwriteArray4,
    PyUntypedArrayMethods,
};

use crate::canvas::{Canvas, Trace};
use crate::corpus::{Corpus, ImageId};
use crate::error::{require, Error, Result};
use crate::geometry::{Extent, Pixel};
use crate::pixels::quota::{Shift, ShiftCounts, SourceCounts};
use crate::random::KeyedRandom;

pub fn contiguous<'a, T>(
    name: &'static str,
    slice: std::result::Result<&'a [T], impl Sized>,
) -> Result<&'a [T]> {
    slice.map_err(|_| Error::invalid(name, "a C-contiguous array", "another layout"))
}

pub fn contiguous_mut<'a, T>(
    name: &'static str,
    slice: std::result::Result<&'a mut [T], impl Sized>,
) -> Result<&'a mut [T]> {
    slice.map_err(|_| Error::invalid(name, "a C-contiguous array", "another layout"))
}

pub fn check_shape(name: &'static str, shape: &[usize], expected: &[usize]) -> Result<()> {
    require(shape == expected, name, format!("of shape {expected:?}"), format!("{shape:?}"))
}

pub fn image_id(name: &'static str, id: i32, count: usize) -> Result<ImageId> {
    match u32::try_from(id) {
        Ok(id) if (id as usize) < count => Ok(ImageId(id)),
        _ => Err(Error::invalid(name, format!("image ids in 0..{count}"), id)),
    }
}

/// An image id, or −1 for none.
pub fn optional_id(name: &'static str, id: i32, count: usize) -> Result<Option<ImageId>> {
    (id != -1).then(|| image_id(name, id, count)).transpose()
}

/// The ids of one shortlist in ascending order, none twice.
pub fn sorted_ids(ids: &[i32], count: usize) -> Result<Vec<ImageId>> {
    let mut sorted = ids.iter().map(|&id| image_id("shortlist", id, count)).collect::<Result<Vec<_>>>()?;
    sorted.sort_unstable();
    let repeated = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    require(repeated.is_none(), "shortlist", "ids that differ", repeated.map_or(0, |pair| pair[0].0))?;
    require(!sorted.is_empty(), "shortlist", "at least one id long", 0)?;
    Ok(sorted)
}

/// Cuts `ids` into consecutive parts that end at `ends`.
pub fn cut<'a>(ids: &'a [i32], ends: &[i64]) -> Result<Vec<&'a [i32]>> {
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

/// A pixel (y, x) of a frame.
pub fn pixel_of((y, x): (i64, i64), extent: Extent) -> Result<Pixel> {
    let inside = |at: i64, len: usize| usize::try_from(at).ok().filter(|&at| at < len);
    match (inside(y, extent.height), inside(x, extent.width)) {
        (Some(y), Some(x)) => Ok(Pixel { y, x }),
        _ => Err(Error::invalid(
            "pixel",
            format!("inside the {}×{} frame", extent.height, extent.width),
            format!("({y}, {x})"),
        )),
    }
}

/// Pixels (P, 2) of a frame.
pub fn pixels_of(array: &PyReadonlyArray2<i32>, extent: Extent) -> Result<Vec<Pixel>> {
    check_shape("pixels", array.shape(), &[array.shape()[0], 2])?;
    let pixel = |row: &[i32]| pixel_of((row[0].into(), row[1].into()), extent);
    contiguous("pixels", array.as_slice())?.chunks_exact(2).map(pixel).collect()
}

/// Image ids, y, x, distances and pool sizes of a batch, (B, H, W) each.
pub type TraceArrays<'py> = (
    PyReadwriteArray3<'py, i32>,
    PyReadwriteArray3<'py, i32>,
    PyReadwriteArray3<'py, i32>,
    PyReadwriteArray3<'py, f32>,
    PyReadwriteArray3<'py, i32>,
);

/// Canvases (B, H, W, C) with their traces.
pub fn canvases_of<'a>(
    (extent, channels): (Extent, usize),
    canvases: &'a mut PyReadwriteArray4<u8>,
    trace: &'a mut TraceArrays,
    (seed, samples): (u64, &[u64]),
    barred: &[Option<ImageId>],
) -> Result<Vec<Canvas<'a>>> {
    let (height, width, area) = (extent.height, extent.width, extent.area());
    let batch = canvases.shape()[0];
    check_shape("canvases", canvases.shape(), &[batch, height, width, channels])?;
    check_shape("samples", &[samples.len()], &[batch])?;
    let (image_id, y, x, distance, pool_size) = trace;
    for (name, shape) in [
        ("trace.image_id", image_id.shape()),
        ("trace.y", y.shape()),
        ("trace.x", x.shape()),
        ("trace.distance", distance.shape()),
        ("trace.pool_size", pool_size.shape()),
    ] {
        check_shape(name, shape, &[batch, height, width])?;
    }
    let mut image_id = contiguous_mut("trace.image_id", image_id.as_slice_mut())?.chunks_exact_mut(area);
    let mut y = contiguous_mut("trace.y", y.as_slice_mut())?.chunks_exact_mut(area);
    let mut x = contiguous_mut("trace.x", x.as_slice_mut())?.chunks_exact_mut(area);
    let mut distance = contiguous_mut("trace.distance", distance.as_slice_mut())?.chunks_exact_mut(area);
    let mut pool_size = contiguous_mut("trace.pool_size", pool_size.as_slice_mut())?.chunks_exact_mut(area);
    let rows = std::iter::from_fn(|| {
        Some(Trace {
            image_id: image_id.next()?,
            y: y.next()?,
            x: x.next()?,
            distance: distance.next()?,
            pool_size: pool_size.next()?,
        })
    });
    let canvas = |((pixels, trace), (&sample, &barred))| Canvas {
        random: KeyedRandom { seed, sample },
        barred,
        pixels,
        trace,
        barred_shift: None,
        sources: SourceCounts::default(),
        shifts: ShiftCounts::default(),
        fallbacks: 0,
    };
    let pixels = contiguous_mut("canvases", canvases.as_slice_mut())?.chunks_exact_mut(area * channels);
    Ok(pixels.zip(rows).zip(samples.iter().zip(barred)).map(canvas).collect())
}

/// The image that is barred for each canvas of a batch, −1 for none.
pub fn optional_ids(
    barred: &PyReadonlyArray1<i32>,
    batch: usize,
    count: usize,
) -> Result<Vec<Option<ImageId>>> {
    check_shape("barred", barred.shape(), &[batch])?;
    let ids = contiguous("barred", barred.as_slice())?;
    ids.iter().map(|&id| optional_id("barred", id, count)).collect()
}

/// Bars a shift for each canvas of a batch, given as (B, 3): image, −1 for none, and dy, dx.
pub fn bar_shifts(canvases: &mut [Canvas], shifts: &PyReadonlyArray2<i32>, count: usize) -> Result<()> {
    check_shape("barred_shifts", shifts.shape(), &[canvases.len(), 3])?;
    let rows = contiguous("barred_shifts", shifts.as_slice())?.chunks_exact(3);
    for (canvas, row) in canvases.iter_mut().zip(rows) {
        let image = optional_id("barred_shifts", row[0], count)?;
        canvas.barred_shift = image.map(|image| Shift { image: image.0 as i32, dy: row[1], dx: row[2] });
    }
    Ok(())
}

/// Source pixels (M, 3) of a corpus, each as image, y, x.
pub fn source_pixels_of(array: &PyReadonlyArray2<i32>, corpus: &Corpus) -> Result<Vec<(ImageId, Pixel)>> {
    check_shape("barred_pixels", array.shape(), &[array.shape()[0], 3])?;
    let pixel = |row: &[i32]| {
        let image = image_id("barred_pixels", row[0], corpus.count())?;
        Ok((image, pixel_of((row[1].into(), row[2].into()), corpus.own(image))?))
    };
    contiguous("barred_pixels", array.as_slice())?.chunks_exact(3).map(pixel).collect()
}

/// A mask (H, W).
pub fn mask_of<'a>(known: &'a PyReadonlyArray2<bool>, extent: Extent) -> Result<&'a [bool]> {
    check_shape("known", known.shape(), &[extent.height, extent.width])?;
    contiguous("known", known.as_slice())
}

/// Images (N, H, W, C), and their sizes (N, 2) unless all fill the frame.
pub fn corpus_of<'a>(
    images: &'a PyReadonlyArray4<u8>,
    sizes: Option<&'a PyReadonlyArray2<i32>>,
) -> Result<Corpus<'a>> {
    let shape = images.shape();
    let bytes = contiguous("images", images.as_slice())?;
    let corpus = Corpus::new(bytes, shape[0], Extent::new(shape[1], shape[2]), shape[3])?;
    let Some(sizes) = sizes else { return Ok(corpus) };
    check_shape("sizes", sizes.shape(), &[shape[0], 2])?;
    corpus.with_sizes(contiguous("sizes", sizes.as_slice())?)
}
