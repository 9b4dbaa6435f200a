//! Weighted sums over patches, as a softmax over all patches needs them; patches are added one by one and not kept.
//!
//! A weight is 2^z, z = −gain · distance − reference. The reference of a pixel is raised when a patch is so near that
//! weights would leave the range of single precision. Changes of the reference only shift exponents, so they don't change
//! the result. Lanes are summed in single precision for a limited number of terms, then in double precision.

use std::f64::consts::LN_2;

use super::vector::{Block, Mask, Vector, LANES};
use crate::corpus::ImageId;

/// The reference before the first patch: below any exponent.
const UNSET: f32 = f32::MIN;
/// Weights are at most 2 to this power.
const HEADROOM: f32 = 24.0;
/// Terms per lane that are added up in single precision: their rounding errors stay below that of a single weight.
const TERMS: usize = 1024;

/// A patch: its image and the flat position of its centre. Ordered by distance, then image, then position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearPatch {
    pub distance: f32,
    pub image: ImageId,
    pub at: u32,
}

impl NearPatch {
    fn key(&self) -> (f32, ImageId, u32) {
        (self.distance, self.image, self.at)
    }
}

/// The nearest patches of each pixel, nearest first.
#[derive(Debug, Clone)]
pub struct Nearest {
    most: usize,
    found: Vec<Vec<NearPatch>>,
    /// Only patches at a smaller distance can still enter.
    limits: Vec<f32>,
}

impl Nearest {
    pub fn new(pixels: usize, most: usize) -> Self {
        let limit = if most > 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { most, found: vec![Vec::new(); pixels], limits: vec![limit; pixels] }
    }

    pub fn of(&self, pixel: usize) -> &[NearPatch] {
        &self.found[pixel]
    }

    pub fn offer(&mut self, pixel: usize, source: NearPatch) {
        let found = &mut self.found[pixel];
        let place = found.partition_point(|other| other.key() < source.key());
        found.insert(place, source);
        found.truncate(self.most);
        if found.len() == self.most && self.most > 0 {
            // A patch at the same distance as the last one may still come before it.
            self.limits[pixel] = found[self.most - 1].distance.next_up();
        }
    }

    /// Replaces the patches of a pixel.
    pub fn replace(&mut self, pixel: usize, sources: Vec<NearPatch>) {
        self.found[pixel].clear();
        sources.into_iter().for_each(|source| self.offer(pixel, source));
    }

    fn merge(&mut self, other: &Self) {
        for (pixel, found) in other.found.iter().enumerate() {
            found.iter().for_each(|&source| self.offer(pixel, source));
        }
    }
}

/// The sums of one canvas over some tiles.
pub struct WeightSums {
    /// Exponents per squared distance.
    gain: f32,
    /// `(H·W, 2 + C)`: sums of weights, of weights · exponents and of weights · centre pixels, lane by lane.
    lanes: Vec<Block>,
    /// `(H·W)`: a patch nearer than this is among the nearest, or raises the reference.
    notable: Vec<f32>,
    terms: usize,
    totals: Totals,
}

impl WeightSums {
    /// Empty sums that start with the references and the limits of the nearest patches found so far.
    pub fn after(others: &Totals, gain: f32) -> Self {
        let (channels, pixels) = (others.width - 2, others.references.len());
        let mut totals = Totals::new(channels, pixels, others.nearest.most);
        totals.references.copy_from_slice(&others.references);
        totals.nearest.limits.copy_from_slice(&others.nearest.limits);
        let lanes = vec![Block::ZERO; pixels * (2 + channels)];
        let mut sums = Self { gain, lanes, notable: vec![0.0; pixels], terms: 0, totals };
        (0..pixels).for_each(|pixel| sums.notable[pixel] = sums.notable_below(pixel));
        sums
    }

    pub fn pixels(&self) -> usize {
        self.totals.references.len()
    }

    /// What the inner loop needs to add patches to these sums.
    pub fn scales<V: Vector>(&mut self) -> Scales<'_, V> {
        Scales {
            // SAFETY: the caller guarantees the instructions, as for all methods of `V`.
            minus_gain: unsafe { V::splat(-self.gain) },
            lanes: self.lanes.as_mut_ptr(),
            references: self.totals.references.as_ptr(),
            notable: self.notable.as_ptr(),
            added: 0,
            sums: self,
        }
    }

    fn raise_below(&self, pixel: usize) -> f32 {
        -(self.totals.references[pixel] + HEADROOM) / self.gain
    }

    fn notable_below(&self, pixel: usize) -> f32 {
        self.raise_below(pixel).max(self.totals.nearest.limits[pixel])
    }

    /// Raises the reference and updates the nearest patches if the patches of lanes `alive` are near enough for that.
    #[cold]
    fn note(&mut self, (pixel, at): (usize, usize), distances: &Block, alive: Mask, ids: &[ImageId]) {
        let lanes = || (0..LANES).filter(|lane| alive >> lane & 1 == 1);
        let nearest = lanes().map(|lane| distances.0[lane]).fold(f32::INFINITY, f32::min);
        if nearest < self.raise_below(pixel) {
            self.raise(pixel, (-self.gain * nearest).ceil());
        }
        for lane in lanes() {
            if distances.0[lane] < self.totals.nearest.limits[pixel] {
                let source = NearPatch { distance: distances.0[lane], image: ids[lane], at: at as u32 };
                self.totals.nearest.offer(pixel, source);
            }
        }
        self.notable[pixel] = self.notable_below(pixel);
    }

    fn raise(&mut self, pixel: usize, reference: f32) {
        let by = reference - self.totals.references[pixel];
        let scale = (-by).exp2();
        let width = self.totals.width;
        let [weights, moments, values @ ..] = &mut self.lanes[pixel * width..][..width] else {
            unreachable!()
        };
        for (moment, weight) in moments.0.iter_mut().zip(&mut weights.0) {
            *moment = scale * (*moment - by * *weight);
            *weight *= scale;
        }
        values.iter_mut().flat_map(|block| &mut block.0).for_each(|value| *value *= scale);
        self.totals.raise(pixel, reference);
    }

    /// To be called after at most `terms` patches of each image were added.
    pub fn count_terms(&mut self, terms: usize) {
        self.terms += terms;
        if self.terms >= TERMS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (cell, lanes) in self.totals.cells.iter_mut().zip(&mut self.lanes) {
            *cell += lanes.sum();
            *lanes = Block::ZERO;
        }
        self.terms = 0;
    }

    pub fn finish(mut self) -> Totals {
        self.flush();
        self.totals
    }
}

/// The sums of one canvas as the inner loop sees them: constants in registers, and pointers.
pub struct Scales<'a, V> {
    minus_gain: V,
    lanes: *mut Block,
    references: *const f32,
    notable: *const f32,
    added: u64,
    sums: &'a mut WeightSums,
}

impl<V: Vector> Scales<'_, V> {
    /// Adds one patch of each image of `alive` to the sums of a pixel. `centre` is its middle pixel, channel by channel.
    ///
    /// # Safety
    /// The CPU must have the instructions of `V`; `pixel` and `source` must be of the frame; `C` must be the channels;
    /// `centre` must hold that many blocks.
    #[inline(always)]
    pub unsafe fn add<const C: usize>(
        &mut self,
        (pixel, source): (usize, usize),
        (distances, alive, centre): (V, Mask, *const Block),
        ids: &[ImageId],
    ) {
        if distances.below(V::splat(*self.notable.add(pixel))) & alive != 0 {
            self.sums.note((pixel, source), &in_memory(distances), alive, ids);
        }
        let z = distances.mul_add(self.minus_gain, V::splat(-*self.references.add(pixel)));
        let weights = z.exp2(alive);
        let cell = self.lanes.add(pixel * (2 + C));
        V::load(cell).add(weights).store(cell);
        weights.mul_add(z, V::load(cell.add(1))).store(cell.add(1));
        for channel in 0..C {
            let values = cell.add(2 + channel);
            weights.mul_add(V::load(centre.add(channel)), V::load(values)).store(values);
        }
    }

    /// Counts vectors of patches that are added.
    #[inline(always)]
    pub fn count(&mut self, added: u32) {
        self.added += u64::from(added);
    }
}

impl<V> Drop for Scales<'_, V> {
    fn drop(&mut self) {
        self.sums.totals.added += self.added;
    }
}

#[inline(always)]
unsafe fn in_memory<V: Vector>(vector: V) -> Block {
    let mut block = Block::ZERO;
    vector.store(&mut block);
    block
}

/// Sums in double precision, with those that the standard error of a sample is estimated from.
#[derive(Debug, Clone)]
pub struct Totals {
    width: usize,
    /// Exponent that each pixel's weights are relative to: a whole number, or `UNSET`.
    pub references: Vec<f32>,
    /// `(H·W, 2 + C)`: sums of weights, of weights · exponents and of weights · centre pixels.
    cells: Vec<f64>,
    /// `(H·W, 1 + 2 C)`: sums over groups of images: weight², then of each channel value · weight and value².
    squares: Vec<f64>,
    groups: usize,
    /// `(H·W)`: patches of background, which were added without being scanned.
    pub alike: Vec<f64>,
    pub nearest: Nearest,
    /// Vectors of patches that were weighed.
    pub added: u64,
}

impl Totals {
    pub fn new(channels: usize, pixels: usize, nearest: usize) -> Self {
        Self {
            width: 2 + channels,
            references: vec![UNSET; pixels],
            cells: vec![0.0; pixels * (2 + channels)],
            squares: vec![0.0; pixels * (1 + 2 * channels)],
            groups: 0,
            alike: vec![0.0; pixels],
            nearest: Nearest::new(pixels, nearest),
            added: 0,
        }
    }

    fn raise(&mut self, pixel: usize, reference: f32) {
        let by = f64::from(reference) - f64::from(self.references[pixel]);
        let scale = (-by).exp2();
        let cells = &mut self.cells[pixel * self.width..][..self.width];
        cells[1] -= by * cells[0];
        cells.iter_mut().for_each(|sum| *sum *= scale);
        let width = 2 * self.width - 3;
        self.squares[pixel * width..][..width].iter_mut().for_each(|sum| *sum *= scale * scale);
        self.references[pixel] = reference;
    }

    /// Adds `count` patches that have the same exponent and the same centre pixel.
    pub fn add_alike(&mut self, pixel: usize, exponent: f64, count: f64, centre: &[f64]) {
        let reference = exponent.ceil() as f32;
        if reference > self.references[pixel] {
            self.raise(pixel, reference);
        }
        let exponent = exponent - f64::from(self.references[pixel]);
        let weight = count * exponent.exp2();
        let cells = &mut self.cells[pixel * self.width..][..self.width];
        self.alike[pixel] += count;
        cells[0] += weight;
        cells[1] += weight * exponent;
        cells[2..].iter_mut().zip(centre).for_each(|(sum, value)| *sum += weight * value);
    }

    /// Replaces the exponent `was` of a patch by `is`.
    pub fn correct(&mut self, pixel: usize, was: f64, is: f64, centre: impl Iterator<Item = f64>) {
        let [was, is] = [was, is].map(|exponent| exponent - f64::from(self.references[pixel]));
        let cells = &mut self.cells[pixel * self.width..][..self.width];
        cells[0] += is.exp2() - was.exp2();
        cells[1] += is * is.exp2() - was * was.exp2();
        cells[2..].iter_mut().zip(centre).for_each(|(sum, value)| *sum += (is.exp2() - was.exp2()) * value);
    }

    /// Makes all sums so far those of one group of images.
    pub fn close_group(&mut self) {
        let width = 2 * self.width - 3;
        for (cells, squares) in self.cells.chunks_exact(self.width).zip(self.squares.chunks_exact_mut(width))
        {
            squares[0] = cells[0] * cells[0];
            for (value, squares) in cells[2..].iter().zip(squares[1..].chunks_exact_mut(2)) {
                squares[0] = value * cells[0];
                squares[1] = value * value;
            }
        }
        self.groups = 1;
    }

    /// Adds the sums over other images. The last bits of the result depend on the order of such calls.
    pub fn merge(&mut self, mut other: Self) {
        for pixel in 0..self.references.len() {
            let reference = self.references[pixel].max(other.references[pixel]);
            self.raise(pixel, reference);
            other.raise(pixel, reference);
        }
        let add = |sums: &mut [f64], others: &[f64]| sums.iter_mut().zip(others).for_each(|(a, b)| *a += b);
        add(&mut self.cells, &other.cells);
        add(&mut self.squares, &other.squares);
        add(&mut self.alike, &other.alike);
        self.groups += other.groups;
        self.nearest.merge(&other.nearest);
        self.added += other.added;
    }

    /// Logarithm to base 2 of a pixel's sum of weights, 2^(−gain · distance) each; −∞ if there are none.
    pub fn log2_sum(&self, pixel: usize) -> f64 {
        f64::from(self.references[pixel]) + self.cells[pixel * self.width].log2()
    }

    /// Weighted means of centre pixels, `(C)`.
    pub fn means(&self, pixel: usize) -> impl Iterator<Item = f64> + '_ {
        let cells = &self.cells[pixel * self.width..][..self.width];
        cells[2..].iter().map(|value| value / cells[0])
    }

    /// Entropy of a pixel's weights, nats.
    pub fn entropy(&self, pixel: usize) -> f64 {
        let cells = &self.cells[pixel * self.width..];
        (LN_2 * (cells[0].log2() - cells[1] / cells[0])).max(0.0)
    }

    /// Standard error of the means as estimates of the means over all images, if `share` of these was scanned in random
    /// groups: linearised, root mean square over pixels and channels; centre pixels are in −`range`…`range`.
    pub fn standard_error(&self, share: f64, range: f64) -> f64 {
        if share >= 1.0 {
            return 0.0;
        }
        let squares_width = 2 * self.width - 3;
        let mut sum = 0.0;
        for (pixel, squares) in self.squares.chunks_exact(squares_width).enumerate() {
            let weight = self.cells[pixel * self.width];
            // If few groups hold all the weight, their variance says little about the images not scanned.
            let groups = weight * weight / squares[0];
            for (mean, squares) in self.means(pixel).zip(squares[1..].chunks_exact(2)) {
                let scatter = squares[1] - 2.0 * mean * squares[0] + mean * mean * weight * weight / groups;
                sum +=
                    if groups < FEWEST_GROUPS { range * range } else { scatter.max(0.0) / (weight * weight) };
            }
        }
        let groups = self.groups as f64;
        (sum / (self.references.len() * (self.width - 2)) as f64 * (1.0 - share) * groups / (groups - 1.0))
            .sqrt()
    }
}

/// With fewer groups that contribute weight, the error can't be estimated.
const FEWEST_GROUPS: f64 = 6.0;
