//! Which source is copied, by Hamming distances alone.
//!
//! Sources at one distance are equally good, so it is enough to know how many there are at each: the distance is drawn,
//! then one of its sources, in (image, y, x) order. No list of candidates is made, and no number is kept for each.

use crate::error::{require, Result};
use crate::pool::Rule;
use crate::random::{Keyed, Stream};

/// Images whose least sum is kept.
pub(super) const BLOCK: usize = 1024;

/// Images of a block that are looked at together.
const GLANCE: usize = 32;

/// Weights below this share of the nearest source's, for all sources together, are as good as none: a draw has 53 bits.
const NOTHING: f64 = 1.0 / (1_u128 << 64) as f64;

/// How a source is drawn.
#[derive(Debug, Clone)]
pub enum Draw {
    /// Uniformly from the pool: what is within (1 + ε) of the nearest, and the nearest `k_min`.
    Pool(Rule),
    /// By weight, and then with a few bits flipped.
    Histogram(Histogram),
}

/// The mixture `p(x) ∝ Σ_n (P̄/P)^{d_n} · Π_bits (P̄ where x and z_n differ, P where not)`, P = 1 − P̄ (local autoregression):
/// a source drawn with the weight of its distance, each of whose bits is then flipped with probability P̄.
#[derive(Debug, Clone)]
pub struct Histogram {
    flip: f64,
    /// Weights of sources that are 0, 1, 2, … bits farther than the nearest, while all together count for anything.
    weights: Vec<f64>,
}

impl Histogram {
    /// With the bit-flip probability P̄ = `flip`, over `count` sources.
    pub fn new(flip: f64, count: usize) -> Result<Self> {
        require((0.0..=0.5).contains(&flip), "flip", "a probability in 0…0.5", flip)?;
        let ratio = flip / (1.0 - flip);
        // Products one after another, not powers: the same bits on every machine.
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * ratio));
        let counts = |weight: &f64| weight * count as f64 >= NOTHING;
        let most = usize::from(u16::MAX) + 1;
        Ok(Self { flip, weights: weights.take_while(counts).take(most).collect() })
    }

    /// The weight of a source that is so many bits farther than the nearest.
    fn weight(&self, farther: u16) -> f64 {
        self.weights.get(usize::from(farther)).copied().unwrap_or(0.0)
    }

    /// Flips bits of a cell's token as its draws say.
    fn flip(&self, random: Keyed, sweep: u16, cell: usize, bits: usize, token: &mut [u8]) {
        for bit in 0..bits {
            let position = (cell * super::MOST_BITS + bit) as u32;
            if random.unit(Stream::Flip { sweep }, position) < self.flip {
                token[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    /// `p(x)` for all `2^bits` tokens x, of sources with the tokens `values` at these distances.
    pub(super) fn distribution(
        &self,
        distances: &Distances,
        bits: usize,
        values: impl Iterator<Item = usize>,
    ) -> Vec<f64> {
        let nearest = distances.nearest();
        let mut found = vec![0.0; 1 << bits];
        for (image, (value, &sum)) in values.zip(&distances.sums).enumerate() {
            if Some(image) != distances.barred {
                found[value] += self.weight(sum - nearest);
            }
        }
        let total: f64 = found.iter().sum();
        found.iter_mut().for_each(|weight| *weight /= total);
        // Each bit is flipped or not, whatever the others: pairs of tokens that differ in it exchange their shares.
        for bit in 0..bits {
            for pair in found.chunks_exact_mut(2 << bit) {
                let (zeros, ones) = pair.split_at_mut(1 << bit);
                for (zero, one) in zeros.iter_mut().zip(ones) {
                    let difference = self.flip * (*one - *zero);
                    *zero += difference;
                    *one -= difference;
                }
            }
        }
        found
    }
}

/// Hamming distances of all images from what is around one cell of a canvas.
#[derive(Debug)]
pub(super) struct Distances {
    pub(super) sums: Vec<u16>,
    /// The least sum of each block of images.
    pub(super) least: Vec<u16>,
    /// An image that is no candidate.
    pub(super) barred: Option<usize>,
}

/// A drawn source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) image: usize,
    pub(super) distance: u16,
    /// How many sources could have been drawn.
    pub(super) choice: usize,
}

impl Distances {
    /// For `count` images, of which those `barred` is none.
    pub(super) fn new(count: usize, barred: Option<usize>) -> Self {
        Self { sums: vec![0; count], least: vec![u16::MAX; count.div_ceil(BLOCK)], barred }
    }

    /// Notes the least sum of a block, `first` its first image; of the barred one's, it is found without that.
    pub(super) fn settle(&mut self, first: usize, least: u16) {
        let end = (first + BLOCK).min(self.sums.len());
        self.least[first / BLOCK] = match self.barred {
            Some(barred) if (first..end).contains(&barred) => {
                let (before, after) = (&self.sums[first..barred], &self.sums[barred + 1..end]);
                before.iter().chain(after).copied().fold(u16::MAX, u16::min)
            }
            _ => least,
        };
    }

    fn candidates(&self) -> usize {
        self.sums.len() - usize::from(self.barred.is_some())
    }

    pub(super) fn nearest(&self) -> u16 {
        self.least.iter().copied().fold(u16::MAX, u16::min)
    }

    /// How many candidates are at each distance from the nearest one's up to `limit`.
    fn count(&self, nearest: u16, limit: u16) -> Vec<usize> {
        let mut counts = vec![0; usize::from(limit - nearest) + 1];
        let blocks = self.sums.chunks(BLOCK).enumerate().zip(&self.least);
        for ((block, sums), _) in blocks.filter(|(_, &least)| least <= limit) {
            for (glance, sums) in sums.chunks(GLANCE).enumerate() {
                // Nearly always no: all in one go, and no branch for each.
                if !sums.iter().fold(false, |any, &sum| any | (sum <= limit)) {
                    continue;
                }
                for (at, &sum) in (block * BLOCK + glance * GLANCE..).zip(sums) {
                    if (nearest..=limit).contains(&sum) && Some(at) != self.barred {
                        counts[usize::from(sum - nearest)] += 1;
                    }
                }
            }
        }
        counts
    }

    /// The image of the `rank`-th candidate at a distance, in order.
    fn find(&self, distance: u16, mut rank: usize) -> usize {
        for (index, sums) in self.sums.chunks(GLANCE).enumerate() {
            let first = index * GLANCE;
            let mut equal = sums.iter().fold(0, |equal, &sum| equal + usize::from(sum == distance));
            let barred = self.barred.filter(|barred| (first..first + sums.len()).contains(barred));
            equal -= usize::from(barred.is_some_and(|barred| self.sums[barred] == distance));
            if rank >= equal {
                rank -= equal;
                continue;
            }
            let candidates = (first..).zip(sums).filter(|&(at, &sum)| sum == distance && Some(at) != barred);
            return candidates.map(|(at, _)| at).nth(rank).expect("there are as many as were counted");
        }
        unreachable!("fewer candidates at {distance} bits than were counted")
    }

    /// Draws a source for the cell of a flat index.
    pub(super) fn draw(&self, draw: &Draw, random: Keyed, sweep: u16, cell: usize) -> Drawn {
        match draw {
            Draw::Pool(rule) => self.draw_from_pool(rule, random, sweep, cell),
            Draw::Histogram(histogram) => self.draw_by_weight(&histogram.weights, random, sweep, cell),
        }
    }

    fn draw_from_pool(&self, rule: &Rule, random: Keyed, sweep: u16, cell: usize) -> Drawn {
        let nearest = self.nearest();
        let near = rule.near(f64::from(nearest)).min(f64::from(u16::MAX)) as u16; // rounded down
        let mut counts = self.count(nearest, near);
        let within: usize = counts.iter().sum();
        let choice = within.max(rule.k_min().min(self.candidates()));
        let mut limit = near;
        while counts.iter().sum::<usize>() < choice {
            limit = limit.saturating_mul(2).saturating_add(1);
            counts = self.count(nearest, limit);
        }
        let mut rank = random.index(Stream::Pixel { sweep }, cell as u32, choice);
        for (farther, count) in counts.into_iter().enumerate() {
            if rank < count {
                let distance = nearest + farther as u16;
                return Drawn { image: self.find(distance, rank), distance, choice };
            }
            rank -= count;
        }
        unreachable!("fewer candidates than were counted")
    }

    fn draw_by_weight(&self, weights: &[f64], random: Keyed, sweep: u16, cell: usize) -> Drawn {
        let nearest = self.nearest();
        let counts = self.count(nearest, nearest.saturating_add((weights.len() - 1) as u16));
        let total: f64 = counts.iter().zip(weights).map(|(&count, weight)| count as f64 * weight).sum();
        let mut left = random.unit(Stream::Distance { sweep }, cell as u32) * total;
        let mut drawn = 0;
        for (farther, (&count, &each)) in counts.iter().zip(weights).enumerate() {
            if count > 0 {
                // The last one, where sums were rounded so that none is left.
                drawn = farther;
                let here = count as f64 * each;
                if left < here {
                    break;
                }
                left -= here;
            }
        }
        let rank = random.index(Stream::Pixel { sweep }, cell as u32, counts[drawn]);
        let distance = nearest + drawn as u16;
        Drawn { image: self.find(distance, rank), distance, choice: counts.iter().sum() }
    }
}

impl Draw {
    /// Changes the token that was copied to a cell, where the draw is of noisy copies.
    pub(super) fn finish(&self, random: Keyed, sweep: u16, cell: usize, bits: usize, token: &mut [u8]) {
        if let Self::Histogram(histogram) = self {
            histogram.flip(random, sweep, cell, bits, token);
        }
    }
}
