//! The context of a cell: the known cells that are compared, and the terms that turn the sums over one context into those
//! over the next.

use super::Tokens;
use crate::error::{require, Result};
use crate::geometry::{Extent, Offset, Pixel};

/// The shape of the range γ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// A square, γ cells to each side.
    Chebyshev,
    /// A disc of radius γ.
    Euclidean,
}

/// The observation range: the cells around a cell that are compared if they are known.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    gamma: usize,
    metric: Metric,
}

impl Range {
    /// The range `gamma`; `None` is the whole grid. It is limited so that distances fit 16 bits.
    pub fn new(gamma: Option<usize>, metric: Metric, tokens: &Tokens) -> Result<Self> {
        let Extent { height, width } = tokens.grid();
        let farthest = height + width;
        let range = Self { gamma: gamma.map_or(farthest, |gamma| gamma.min(farthest)), metric };
        require(range.gamma >= 1, "gamma", "at least 1 or None", range.gamma)?;
        let most = (usize::from(u16::MAX) - 1) / tokens.bits();
        let side = |extent: usize| extent.min(2 * range.gamma + 1);
        let cells = side(height) * side(width) - 1;
        require(cells <= most, "gamma", format!("so that at most {most} cells are in range"), cells)?;
        Ok(range)
    }

    /// The context of `cell`: the known cells in its range without the cell itself, in (y, x) order.
    pub fn cells(&self, grid: Extent, known: &[bool], cell: Pixel) -> Vec<Pixel> {
        let near = |other: &Pixel| {
            let (dy, dx) = (other.y.abs_diff(cell.y), other.x.abs_diff(cell.x));
            match self.metric {
                Metric::Chebyshev => true,
                Metric::Euclidean => dy * dy + dx * dx <= self.gamma * self.gamma,
            }
        };
        let counts = |other: &Pixel| *other != cell && known[grid.flat(*other)] && near(other);
        grid.square(cell, self.gamma).pixels().filter(counts).collect()
    }
}

/// The terms that a scan adds to the sums of distances, then those that it subtracts: bytes of the canvas, and the lines of
/// the planes that each is compared with.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(super) canvas: Vec<usize>,
    pub(super) lines: Vec<usize>,
    /// How many terms are added; the rest are subtracted.
    pub(super) added: usize,
    /// Whether sums start at 0, not at the result of the last scan.
    pub(super) fresh: bool,
}

impl Terms {
    /// Terms of pairs of cells: one of the canvas, one of the source.
    fn new(tokens: &Tokens, added: &[(Pixel, Pixel)], removed: &[(Pixel, Pixel)], fresh: bool) -> Self {
        let pairs = || added.iter().chain(removed);
        let lines = |cell: Pixel| (0..tokens.width()).map(move |byte| tokens.line(cell, byte));
        Self {
            canvas: pairs().flat_map(|pair| lines(pair.0)).collect(),
            lines: pairs().flat_map(|pair| lines(pair.1)).collect(),
            added: added.len() * tokens.width(),
            fresh,
        }
    }

    /// The terms of the whole context of `from` at another position `to` of the source: p + δ is compared with q + δ, or
    /// with the nearest cell of the grid.
    pub(super) fn moved(tokens: &Tokens, context: &[Pixel], from: Pixel, to: Pixel) -> Self {
        Self::new(tokens, &pairs(tokens.grid(), context, from, to), &[], true)
    }
}

/// Pairs each cell of a context of `from` with the cell at the same offset from `to`, or the nearest cell of the grid.
pub fn pairs(grid: Extent, context: &[Pixel], from: Pixel, to: Pixel) -> Vec<(Pixel, Pixel)> {
    let beside = |&cell: &Pixel| {
        let offset = Offset { dy: cell.y as isize - from.y as isize, dx: cell.x as isize - from.x as isize };
        (cell, grid.step_clamped(to, offset))
    };
    context.iter().map(beside).collect()
}

/// The context that the present sums are over. If sources are at the same position as the cell, most of it is part of the
/// next context, too: with a global range, each step just adds one cell.
#[derive(Debug, Default)]
pub(crate) struct RunningContext {
    context: Vec<Pixel>,
}

impl RunningContext {
    /// The terms that turn the present sums into sums over `context`, or that compute these from 0 if that is less work.
    pub(super) fn advance(&mut self, tokens: &Tokens, context: Vec<Pixel>) -> Terms {
        let added = missing_cells(&context, &self.context);
        let removed = missing_cells(&self.context, &context);
        let terms = if added.len() + removed.len() < context.len() {
            Terms::new(tokens, &added, &removed, false)
        } else {
            Terms::new(tokens, &missing_cells(&context, &[]), &[], true)
        };
        self.context = context;
        terms
    }
}

/// The cells that are not in `other`, each paired with itself. Both lists must be in (y, x) order.
fn missing_cells(cells: &[Pixel], other: &[Pixel]) -> Vec<(Pixel, Pixel)> {
    let mut other = other.iter().peekable();
    let missing = |cell: &&Pixel| {
        while other.next_if(|earlier| earlier < cell).is_some() {}
        other.peek() != Some(cell)
    };
    cells.iter().filter(missing).map(|&cell| (cell, cell)).collect()
}
