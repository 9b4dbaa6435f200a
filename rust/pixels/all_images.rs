//! Pools over all images, whichever scan finds them.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::scan::{merged, Scan, ScanTask, Target};
use crate::canvas::Canvas;
use crate::error::Result;
use crate::geometry::Pixel;
use crate::pool::{Candidate, PoolBuilder};

/// Pools over all images, of one pixel of each canvas of a batch; kept from pixel to pixel.
#[derive(Debug)]
pub(crate) enum AllImages {
    Planes(Vec<ScanTask>),
    Rasters(Vec<Vec<Candidate>>),
}

impl AllImages {
    pub(crate) fn new(scan: &Scan) -> Self {
        scan.rasters().map_or_else(|| Self::Planes(ScanTask::all()), |_| Self::Rasters(Vec::new()))
    }

    /// Scans all images for one pixel.
    pub(crate) fn scan(
        &mut self,
        scan: &Scan,
        (pixel, known): (Pixel, &[bool]),
        canvases: &mut [Canvas],
        cancel: &AtomicBool,
    ) -> Result<()> {
        match (self, scan.rasters()) {
            (Self::Rasters(pools), Some(rasters)) => {
                *pools = scan.raster_pools(rasters, (pixel, known), canvases)?;
            }
            (Self::Planes(tasks), _) => {
                let probe = scan.probe(known, pixel);
                let targets: Vec<Target> =
                    canvases.par_iter().map(|canvas| scan.target(&probe, canvas, None, None)).collect();
                scan.scan_all(&probe, &targets, tasks, cancel)?;
            }
            (Self::Rasters(_), None) => unreachable!("made for another scan"),
        }
        Ok(())
    }

    /// The pool of canvas `index`, in order; `pool` may lend its memory.
    pub(crate) fn pool<'p>(&'p self, pool: &'p mut PoolBuilder, index: usize) -> &'p [Candidate] {
        match self {
            Self::Planes(tasks) => merged(pool, tasks, index),
            Self::Rasters(pools) => &pools[index],
        }
    }
}
