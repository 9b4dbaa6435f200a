//! `npgen._core`: converts arrays, releases the GIL and calls the core. It has no logic of its own.
//!
//! 1. `convert`: arrays and numbers to types of the core, and their checks. `run`: work without the GIL.
//! 2. `draws`: orders and draws. `quota`: the quotas of pixels per image.
//! 3. `pixels`: the class that fills canvases of pixels; `pools`: its pools. `tokens`: the same for tokens.
//! 4. `cuts`: minimum cuts. `els`: the score machines.

mod convert;
mod cuts;
mod draws;
mod els;
mod pixels;
mod pools;
mod quota;
mod run;
mod tokens;

use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::geometry::Extent;
use crate::shortlist::{Labels, Rows};
use crate::simd::InstructionSet;
use convert::{contiguous, optional_id};
use run::run;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Memory { .. } => PyMemoryError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

type Pair<'py, A, B> = (Bound<'py, A>, Bound<'py, B>);

/// Ids and products of the `k` nearest keys of each query, nearest first, (B, k) each. With `labels` = (of keys, of
/// queries), (N,) and (B,), only keys of the query's label; where there are fewer than `k`, ids −1 and products −∞ follow.
#[pyfunction]
#[pyo3(signature = (keys, queries, k, barred, threads, labels=None))]
fn shortlist<'py>(
    py: Python<'py>,
    keys: PyReadonlyArray2<f32>,
    queries: PyReadonlyArray2<f32>,
    k: usize,
    barred: PyReadonlyArray1<i32>,
    threads: usize,
    labels: Option<(PyReadonlyArray1<i32>, PyReadonlyArray1<i32>)>,
) -> PyResult<Pair<'py, PyArray2<i32>, PyArray2<f32>>> {
    let key_rows = Rows::new("keys", contiguous("keys", keys.as_slice())?, keys.shape()[1])?;
    let query_rows = Rows::new("queries", contiguous("queries", queries.as_slice())?, queries.shape()[1])?;
    let barred = contiguous("barred", barred.as_slice())?
        .iter()
        .map(|&id| optional_id("barred", id, key_rows.count()))
        .collect::<Result<Vec<_>>>()?;
    let labels = match &labels {
        Some((of_keys, of_queries)) => Some(Labels {
            of_keys: contiguous("labels", of_keys.as_slice())?,
            of_queries: contiguous("labels", of_queries.as_slice())?,
        }),
        None => None,
    };
    let (instructions, rows) = (InstructionSet::chosen()?, (key_rows, query_rows));
    let found = run(py, threads, |cancel| {
        crate::shortlist::shortlist(instructions, rows, k, &barred, labels, cancel)
    })?;
    let shape = (found.len(), k);
    let ids =
        Array2::from_shape_fn(shape, |(b, rank)| found[b].get(rank).map_or(-1, |one| one.image.0 as i32));
    let products = Array2::from_shape_fn(shape, |(b, rank)| {
        found[b].get(rank).map_or(f32::NEG_INFINITY, |one| one.product)
    });
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

/// Names of the instruction sets of this machine, fastest first. `NPGEN_SIMD` chooses one of them.
#[pyfunction]
fn instruction_sets() -> Vec<&'static str> {
    InstructionSet::available().into_iter().map(InstructionSet::name).collect()
}

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::cuts::{cut_seams, max_flow};
    #[pymodule_export]
    use super::draws::{
        draw_halves, draw_members, draw_seed, draw_seed_images, draw_seed_places, fill_order, sweep_order,
    };
    #[pymodule_export]
    use super::els::{denoise, score_machines, tile_size, DenoisedArrays};
    #[pymodule_export]
    use super::pixels::{Filler, PixelSettings};
    #[pymodule_export]
    use super::pools::Pools;
    #[pymodule_export]
    use super::quota::{quotas_in_effect, served_counts, used_up_images};
    #[pymodule_export]
    use super::tokens::{TokenFiller, TokenSettings};
    #[pymodule_export]
    use super::{instruction_sets, shortlist, sliding_entropy};
}
