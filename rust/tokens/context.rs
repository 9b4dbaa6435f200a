//! Which cells count for a cell, and how the sums of one cell become those of the next.

use super::Tokens;
use crate::error::{require, Result};
use crate::geometry::{Extent, Offset, Pixel};

/// What is within the range γ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// A square, γ cells to each side.
    Chebyshev,
    /// A disc of radius γ.
    Euclidean,
}

/// The observation range: which cells around one a canvas is compared in, if they are known.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    gamma: usize,
    metric: Metric,
}

impl Range {
    /// The range `gamma`; `None` sees everything. Sums of distances must fit 16 bits.
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

    /// The known cells that count for `cell`, itself left out, in (y, x) order.
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

/// What a scan adds to sums of distances, and what it takes from them: bytes of the canvas, and the planes' lines that each
/// is compared with. Terms are in that order.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) canvas: Vec<usize>,
    pub(super) lines: Vec<usize>,
    /// How many are added.
    pub(super) added: usize,
    /// Whether sums begin at 0, and not where the last scan left them.
    pub(super) fresh: bool,
}

impl Terms {
    /// Terms of pairs of cells, the canvas's and the source's.
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

    /// The whole sum over a context at another place: p + δ beside q + δ, past the grid's edge as it is at the edge.
    pub(super) fn moved(tokens: &Tokens, context: &[Pixel], from: Pixel, to: Pixel) -> Self {
        Self::new(tokens, &pairs(tokens.grid(), context, from, to), &[], true)
    }
}

/// Cells of a canvas around `from`, and those that lie as they do around `to`.
pub fn pairs(grid: Extent, context: &[Pixel], from: Pixel, to: Pixel) -> Vec<(Pixel, Pixel)> {
    let beside = |&cell: &Pixel| {
        let offset = Offset { dy: cell.y as isize - from.y as isize, dx: cell.x as isize - from.x as isize };
        (cell, grid.step_clamped(to, offset))
    };
    context.iter().map(beside).collect()
}

/// The context that running sums are of: where sources lie at the same place, most of it serves the next cell, too.
///
/// With a global range one cell is added at each step, whatever the order.
#[derive(Debug, Default)]
pub(super) struct Running {
    context: Vec<Pixel>,
}

impl Running {
    /// The terms that make sums over `context` of those that there are, or of nothing where that is less work.
    pub(super) fn towards(&mut self, tokens: &Tokens, context: Vec<Pixel>) -> Terms {
        let added = lacking(&context, &self.context);
        let removed = lacking(&self.context, &context);
        let terms = if added.len() + removed.len() < context.len() {
            Terms::new(tokens, &added, &removed, false)
        } else {
            Terms::new(tokens, &lacking(&context, &[]), &[], true)
        };
        self.context = context;
        terms
    }
}

/// The cells that are not in `other`, each beside itself; both in order.
fn lacking(cells: &[Pixel], other: &[Pixel]) -> Vec<(Pixel, Pixel)> {
    let mut other = other.iter().peekable();
    let missing = |cell: &&Pixel| {
        while other.next_if(|earlier| earlier < cell).is_some() {}
        other.peek() != Some(cell)
    };
    cells.iter().filter(missing).map(|&cell| (cell, cell)).collect()
}
