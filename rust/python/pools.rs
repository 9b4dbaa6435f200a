//! Pools over a part of the corpus, as one process finds them, and the merger of those of all processes.

use numpy::ndarray::{Array1, Array2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::convert::{check_shape, contiguous};
use crate::error::{Error, Result};
use crate::pool::{Candidate, EqualRun, MergedRun, PoolRule};

type IntArray<'py> = Bound<'py, PyArray1<i64>>;

/// Order of runs; candidates before each; members of each.
pub(super) type MergedRuns<'py> = (IntArray<'py>, IntArray<'py>, IntArray<'py>);

/// The pools of one pixel of some canvases, over the images of one process.
#[pyclass(frozen)]
pub(super) struct Pools(pub(super) Vec<Vec<Candidate>>);

#[pymethods]
impl Pools {
    /// Runs of members that have the same distance, pool after pool and in order: canvas, distance, number of members, and
    /// place of the first one in its pool, (R,) each.
    fn runs<'py>(
        &self,
        py: Python<'py>,
    ) -> (IntArray<'py>, Bound<'py, PyArray1<f64>>, IntArray<'py>, IntArray<'py>) {
        let (mut canvases, mut distances, mut counts, mut places) = (vec![], vec![], vec![], vec![]);
        for (canvas, pool) in self.0.iter().enumerate() {
            let mut place = 0;
            for run in pool.chunk_by(|a, b| a.distance == b.distance) {
                canvases.push(canvas as i64);
                distances.push(run[0].distance);
                counts.push(run.len() as i64);
                places.push(place);
                place += run.len() as i64;
            }
        }
        let array = |values: Vec<i64>| Array1::from(values).into_pyarray(py);
        (array(canvases), Array1::from(distances).into_pyarray(py), array(counts), array(places))
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

/// Merges runs over parts of the corpus; see [`crate::pool::merge_runs`].
pub(super) fn merge_runs<'py>(
    py: Python<'py>,
    rule: &PoolRule,
    canvases: &PyReadonlyArray1<i64>,
    distances: &PyReadonlyArray1<f64>,
    counts: &PyReadonlyArray1<i64>,
) -> PyResult<MergedRuns<'py>> {
    check_shape("distances", distances.shape(), canvases.shape())?;
    check_shape("counts", counts.shape(), canvases.shape())?;
    let natural =
        |name, value: i64| usize::try_from(value).map_err(|_| Error::invalid(name, "at least 0", value));
    let distances = contiguous("distances", distances.as_slice())?;
    let numbers =
        contiguous("canvases", canvases.as_slice())?.iter().zip(contiguous("counts", counts.as_slice())?);
    let run = |(&distance, (&canvas, &count)): (&f64, (&i64, &i64))| {
        Ok(EqualRun { canvas: natural("canvases", canvas)?, distance, count: natural("counts", count)? })
    };
    let runs = distances.iter().zip(numbers).map(run).collect::<Result<Vec<_>>>()?;
    let merged = crate::pool::merge_runs(rule, &runs);
    let column = |of: fn(&MergedRun) -> usize| {
        merged.iter().map(|run| of(run) as i64).collect::<Array1<i64>>().into_pyarray(py)
    };
    Ok((column(|run| run.index), column(|run| run.before), column(|run| run.taken)))
}
