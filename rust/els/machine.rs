//! The machines: which patches a pixel is compared with, and what windows contain beyond the frame.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::geometry::Extent;

/// Kamb and Ganguli's score machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Whole images.
    Ideal,
    /// Patches at the pixel's own position; zeros beyond the frame.
    Local,
    /// Patches at all positions of a frame that is closed to a torus.
    Equivariant,
    /// As `Equivariant`, but with zeros beyond the frame. A window that reaches beyond it is compared only with patches that
    /// do so in the same way: near an edge those as near to the same edge, in a corner those at the pixel's own position.
    EquivariantBorders,
}

impl Machine {
    pub const ALL: [Self; 4] = [Self::Ideal, Self::Local, Self::Equivariant, Self::EquivariantBorders];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ideal => "ideal",
            Self::Local => "local",
            Self::Equivariant => "equivariant",
            Self::EquivariantBorders => "equivariant-borders",
        }
    }

    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|machine| machine.name() == name);
        let names = Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| Error::invalid("machine", format!("one of {names}"), name))
    }
}

/// The frame of all canvases and images, with the border that windows need around it.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub machine: Machine,
    pub extent: Extent,
    /// How far a window reaches from its centre, and the width of the border.
    pub reach: usize,
}

/// Positions along one axis that are compared with the position `shift` further on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AxisShift {
    shift: isize,
    pixels: Range<usize>,
}

/// Pixels (`rows` × `columns`) that are compared with the patches (`dy`, `dx`) away from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    pub dy: isize,
    pub dx: isize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Frame {
    pub fn new(machine: Machine, window: usize, extent: Extent) -> Self {
        // A window around any pixel that holds the whole image, and zeros beyond it.
        let whole = extent.height.max(extent.width) - 1;
        Self { machine, extent, reach: if machine == Machine::Ideal { whole } else { window / 2 } }
    }

    /// Side of a window.
    pub fn window(&self) -> usize {
        2 * self.reach + 1
    }

    /// The frame with its border.
    pub fn bordered(&self) -> Extent {
        Extent::new(self.extent.height + 2 * self.reach, self.extent.width + 2 * self.reach)
    }

    /// For each row (or column) of the bordered frame, the row of the frame that it shows; None where there are zeros.
    pub fn shown(&self, len: usize) -> impl Iterator<Item = Option<usize>> + Clone {
        let (reach, torus) = (self.reach as isize, self.machine == Machine::Equivariant);
        (-reach..len as isize + reach).map(move |at| match usize::try_from(at) {
            Ok(at) if at < len => Some(at),
            _ => torus.then(|| at.rem_euclid(len as isize) as usize),
        })
    }

    /// All pairs of a pixel and a patch's position, each once.
    pub fn regions(&self) -> Vec<Region> {
        let columns = self.axis_shifts(self.extent.width);
        let rows = self.axis_shifts(self.extent.height);
        let region = |row: &AxisShift, column: &AxisShift| Region {
            dy: row.shift,
            dx: column.shift,
            rows: row.pixels.clone(),
            columns: column.pixels.clone(),
        };
        rows.iter().flat_map(|row| columns.iter().map(move |column| region(row, column))).collect()
    }

    fn axis_shifts(&self, len: usize) -> Vec<AxisShift> {
        let inner = self.movable(len);
        let most = inner.len().saturating_sub(1) as isize;
        (-most..=most)
            .map(|shift| AxisShift {
                shift,
                pixels: match shift {
                    0 => 0..len,
                    _ => inner.start + (-shift).max(0) as usize..inner.end - shift.max(0) as usize,
                },
            })
            .collect()
    }

    /// Positions along one axis that are compared with each other; every other position is compared with itself alone.
    fn movable(&self, len: usize) -> Range<usize> {
        match self.machine {
            Machine::Ideal | Machine::Local => 0..0,
            Machine::Equivariant => 0..len,
            Machine::EquivariantBorders => self.reach..len.saturating_sub(self.reach).max(self.reach),
        }
    }

    /// The positions of patches that a pixel is compared with: rows × columns.
    pub fn partners(&self, y: usize, x: usize) -> (Range<usize>, Range<usize>) {
        let partners = |at: usize, len: usize| {
            let movable = self.movable(len);
            if movable.contains(&at) {
                movable
            } else {
                at..at + 1
            }
        };
        (partners(y, self.extent.height), partners(x, self.extent.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: positions along one axis that a position is compared with.
    fn comparable(machine: Machine, window: usize, len: usize, a: usize, b: usize) -> bool {
        let inside = |at: usize| at >= window / 2 && at + window / 2 < len;
        match machine {
            Machine::Ideal | Machine::Local => a == b,
            Machine::Equivariant => true,
            Machine::EquivariantBorders => a == b || (inside(a) && inside(b)),
        }
    }

    #[test]
    fn regions_hold_each_pair_once() {
        for machine in Machine::ALL {
            for (height, width, window) in [(7, 5, 3), (4, 9, 5), (3, 3, 7), (1, 1, 1), (6, 6, 1)] {
                let frame = Frame::new(machine, window, Extent::new(height, width));
                let mut counts = vec![0; (height * width).pow(2)];
                for region in frame.regions() {
                    for y in region.rows.clone() {
                        for x in region.columns.clone() {
                            let q = y.strict_add_signed(region.dy) * width + x.strict_add_signed(region.dx);
                            counts[(y * width + x) * height * width + q] += 1;
                        }
                    }
                }
                for p in 0..height * width {
                    for q in 0..height * width {
                        let expected = comparable(machine, window, height, p / width, q / width)
                            && comparable(machine, window, width, p % width, q % width);
                        assert_eq!(counts[p * height * width + q], usize::from(expected), "{frame:?}");
                        let (rows, columns) = frame.partners(p / width, p % width);
                        assert_eq!(rows.contains(&(q / width)) && columns.contains(&(q % width)), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn borders_are_zeros_or_the_other_side() {
        let frame = |machine| Frame::new(machine, 5, Extent::new(3, 3));
        let shown = |machine| frame(machine).shown(3).collect::<Vec<_>>();
        let (a, b, c) = (Some(0), Some(1), Some(2));
        assert_eq!(shown(Machine::Equivariant), [b, c, a, b, c, a, b]);
        assert_eq!(shown(Machine::Local), [None, None, a, b, c, None, None]);
    }

    #[test]
    fn machines_go_by_name() {
        for machine in Machine::ALL {
            assert_eq!(Machine::named(machine.name()), Ok(machine));
        }
        let error = Machine::named("global").unwrap_err();
        let allowed = "one of ideal, local, equivariant, equivariant-borders";
        assert_eq!(error.to_string(), format!("machine must be {allowed}, got global"));
    }
}
