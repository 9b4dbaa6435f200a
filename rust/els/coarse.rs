//! Pairs of tiles, and distances in 16 bits: half the work where a result need not be exact.
//!
//! A squared difference is rounded to a multiple of `unit`, without bias, and sums stop at 65535 units: far beyond the
//! limit of what counts, or the scan is not coarse.

use std::ops::Range;

use super::tile::Tile;
use super::vector::{Block, LANES};

/// How real numbers become those of 16 bits.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Steps per unit of pixel values.
    pub steps: f64,
}

impl Scale {
    /// As fine as canvases a·x₀ + b·ε of `numbers` numbers a window allow. Numbers of a canvas beyond 4.5 standard
    /// deviations, and windows three halves as far as noise alone is, stop at the end of the range.
    pub fn new(signal: f64, noise: f64, numbers: usize) -> Self {
        let largest = signal + 4.5 * noise;
        // Weights 40 nats below that of a window as far as its noise are of no account.
        let farthest = noise * noise * (1.5 * numbers as f64 + 80.0);
        Self { steps: (32767.0 / largest).min((60_000.0 * 32768.0 / farthest).sqrt()) }
    }

    /// Squared distance that 1 stands for.
    pub fn unit(self) -> f64 {
        32768.0 / (self.steps * self.steps)
    }

    pub fn number(self, value: f32) -> i16 {
        (f64::from(value) * self.steps).round() as i16
    }

    /// Limits as whole numbers, if distances can be told from them.
    pub fn limits(self, limits: &[f32]) -> Option<Vec<u16>> {
        let whole = |limit: &f32| {
            let units = (f64::from(*limit) / self.unit()).ceil();
            (units < f64::from(u16::MAX)).then_some(units.max(0.0) as u16)
        };
        limits.iter().map(whole).collect()
    }
}

/// Two tiles side by side.
pub struct Pair {
    scale: Scale,
    pub tiles: [Tile; 2],
    /// As a tile's, of `2 · LANES` numbers of 16 bits each.
    pub blocks: Vec<Block>,
    pub alive: Vec<u32>,
    pub bounds: (Range<usize>, Range<usize>),
}

impl Pair {
    pub fn new(scale: Scale, tiles: [Tile; 2]) -> Self {
        let (blocks, alive) = (vec![Block::ZERO; tiles[0].blocks.len()], vec![0; tiles[0].alive.len()]);
        Self { scale, tiles, blocks, alive, bounds: (0..0, 0..0) }
    }

    /// To be called once both tiles are loaded.
    pub fn join(&mut self) {
        let [first, second] = &self.tiles;
        let steps = self.scale.steps as f32;
        for ((block, a), b) in self.blocks.iter_mut().zip(&first.blocks).zip(&second.blocks) {
            let mut numbers = [0_u16; 2 * LANES];
            for (number, value) in numbers.iter_mut().zip(a.0.iter().chain(&b.0)) {
                *number = (value * steps).round_ties_even() as i16 as u16;
            }
            block.0 = std::array::from_fn(|at| {
                f32::from_bits(u32::from(numbers[2 * at]) | u32::from(numbers[2 * at + 1]) << 16)
            });
        }
        for ((alive, &a), &b) in self.alive.iter_mut().zip(&first.alive).zip(&second.alive) {
            *alive = u32::from(a) | u32::from(b) << LANES;
        }
        let both = |a: &Range<usize>, b: &Range<usize>| match (a.is_empty(), b.is_empty()) {
            (true, _) => b.clone(),
            (_, true) => a.clone(),
            _ => a.start.min(b.start)..a.end.max(b.end),
        };
        self.bounds = (both(&first.bounds.0, &second.bounds.0), both(&first.bounds.1, &second.bounds.1));
    }
}
