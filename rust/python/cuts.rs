//! Minimum cuts: of a grid, and of the seams of canvases.

use numpy::ndarray::Array2;
use numpy::{
    IntoPyArray, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadonlyArray4,
    PyReadwriteArray3, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use rayon::prelude::*;

use super::convert::{
    check_shape, contiguous, contiguous_mut, corpus_of, image_id, mask_of, optional_ids, pixel_of,
};
use super::run::run;
use crate::corpus::Corpus;
use crate::cuts::flow::Grid;
use crate::cuts::montage::SIDES;
use crate::cuts::seams::{Seams, Workspace};
use crate::error::{check, require, Result};
use crate::geometry::Extent;

/// Sums of the capacities at a node must fit into 31 bits.
const MOST_CAPACITY: i32 = 1 << 24;

/// The maximum flow through a grid (H, W) of nodes, and which of them are on the sink's side (H, W) of the minimum cut that
/// has the fewest there. `arcs` (H, W, 4) are the capacities to the neighbours on the right, below, on the left and above,
/// without effect where there is none; `terminals` (H, W, 2) those from the source and to the sink.
#[pyfunction]
pub fn max_flow<'py>(
    py: Python<'py>,
    arcs: PyReadonlyArray3<i32>,
    terminals: PyReadonlyArray3<i32>,
) -> PyResult<(i64, Bound<'py, PyArray2<bool>>)> {
    let extent = Extent::new(arcs.shape()[0], arcs.shape()[1]);
    check_shape("arcs", arcs.shape(), &[extent.height, extent.width, 4])?;
    check_shape("terminals", terminals.shape(), &[extent.height, extent.width, 2])?;
    let (arcs, terminals) =
        (contiguous("arcs", arcs.as_slice())?, contiguous("terminals", terminals.as_slice())?);
    for &capacity in arcs.iter().chain(terminals) {
        let allowed = || format!("in 0..={MOST_CAPACITY}");
        require((0..=MOST_CAPACITY).contains(&capacity), "capacities", allowed(), capacity)?;
    }
    let mut grid = Grid::default();
    grid.reset(extent);
    for pixel in extent.pixels() {
        let at = extent.flat(pixel);
        for (side, &offset) in SIDES.iter().enumerate() {
            if extent.step(pixel, offset).is_some() {
                grid.add_arc(at, side, arcs[4 * at + side]);
            }
        }
        grid.add_terminals(at, terminals[2 * at], terminals[2 * at + 1]);
    }
    let flow = run(py, 1, |_| Ok(grid.solve()))?;
    let cut = Array2::from_shape_fn((extent.height, extent.width), |(y, x)| {
        grid.on_sink_side(y * extent.width + x)
    });
    Ok((flow, cut.into_pyarray(py)))
}

/// Checks that every address is a pixel of an image.
fn check_addresses(corpus: &Corpus, image: &[i32], y: &[i32], x: &[i32]) -> Result<()> {
    for ((&image, &y), &x) in image.iter().zip(y).zip(x) {
        let own = corpus.own(image_id("trace.image_id", image, corpus.count())?);
        pixel_of((y.into(), x.into()), own)?;
    }
    Ok(())
}

/// Cuts the seams of finished canvases (B, H, W, C) anew, in place, with their sources (image ids, y, x), (B, H, W) each.
/// `images` are (N, H′, W′, C), `sizes` (N, 2) if they don't fill their frame; `seed` (H, W) is the mask of the seed patch;
/// `barred` (B,) is an image that is given no pixel, −1 for none; `most` the most pixels that one image may have of the
/// frame. Returns the energies (B, 2) before and after, in grey levels.
#[pyfunction]
#[pyo3(signature = (images, canvases, sources, *, seed, barred, most, threads, sizes=None))]
#[allow(clippy::too_many_arguments)] // keyword arguments of one batch
pub fn cut_seams<'py>(
    py: Python<'py>,
    images: PyReadonlyArray4<u8>,
    mut canvases: PyReadwriteArray4<u8>,
    sources: (PyReadwriteArray3<i32>, PyReadwriteArray3<i32>, PyReadwriteArray3<i32>),
    seed: PyReadonlyArray2<bool>,
    barred: PyReadonlyArray1<i32>,
    most: Option<usize>,
    threads: usize,
    sizes: Option<PyReadonlyArray2<i32>>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let corpus = corpus_of(&images, sizes.as_ref())?;
    let (batch, frame) = (canvases.shape()[0], Extent::new(canvases.shape()[1], canvases.shape()[2]));
    require(frame.area() > 0, "frame", "at least 1×1", format!("{}×{}", frame.height, frame.width))?;
    check_shape("canvases", canvases.shape(), &[batch, frame.height, frame.width, corpus.channels()])?;
    let (mut ids, mut y, mut x) = sources;
    for (name, shape) in [("trace.image_id", ids.shape()), ("trace.y", y.shape()), ("trace.x", x.shape())] {
        check_shape(name, shape, &[batch, frame.height, frame.width])?;
    }
    let barred = optional_ids(&barred, batch, corpus.count())?;
    let seams = Seams { corpus, frame, seed: mask_of(&seed, frame)?, most };
    let area = frame.area();
    let ids = contiguous_mut("trace.image_id", ids.as_slice_mut())?;
    let y = contiguous_mut("trace.y", y.as_slice_mut())?;
    let x = contiguous_mut("trace.x", x.as_slice_mut())?;
    check_addresses(&corpus, ids, y, x)?;
    let pixels = contiguous_mut("canvases", canvases.as_slice_mut())?;
    let mut energies = vec![[0.0; 2]; batch];
    run(py, threads, |cancel| {
        pixels
            .par_chunks_exact_mut(area * corpus.channels())
            .zip(ids.par_chunks_exact_mut(area))
            .zip(y.par_chunks_exact_mut(area).zip(x.par_chunks_exact_mut(area)))
            .zip(barred.par_iter().zip(&mut energies))
            .try_for_each_init(
                Workspace::default,
                |workspace, (((canvas, ids), (y, x)), (barred, energies))| {
                    check(cancel)?;
                    *energies = seams.cut(canvas, (ids, y, x), *barred, workspace);
                    Ok(())
                },
            )
    })?;
    Ok(Array2::from_shape_fn((batch, 2), |(b, when)| energies[b][when]).into_pyarray(py))
}
