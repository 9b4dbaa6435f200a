//! The draw of a source, given the Hamming distances of all images.
//!
//! Distances are small integers, so candidates are counted per distance: first the distance is drawn, then one of its
//! candidates, in the order of image ids. No list of candidates is built.

use crate::error::{require, Result};
use crate::pool::PoolRule;
use crate::random::{KeyedRandom, Stream};

/// Images per block; the least sum of each block is kept.
pub(super) const BLOCK: usize = 1024;

/// Images that are compared without a branch for each.
const CHUNK: usize = 32;

/// Weights are treated as 0 if those of all sources together would be below this share of the nearest source's: a drawn
/// number has just 53 bits.
const NEGLIGIBLE: f64 = 1.0 / (1_u128 << 64) as f64;

/// How a source is drawn.
#[derive(Debug, Clone)]
pub enum Draw {
    /// Uniformly from the pool.
    Pool(PoolRule),
    /// By the weights of a histogram; then bits are flipped.
    Histogram(Histogram),
}

/// A histogram sampler (local autoregression): the mixture
/// `p(x) ∝ Σ_n (P̄/P)^{d_n} · Π_bits (P̄ where x and z_n differ, P where not)`, P = 1 − P̄ (local autoregression):
/// a source drawn with the weight of its distance, each of whose bits is then flipped with probability P̄.
#[derive(Debug, Clone)]
pub struct Histogram {
    flip: f64,
    /// Weights of sources that are 0, 1, 2, … bits farther than the nearest, without negligible ones.
    weights: Vec<f64>,
}

impl Histogram {
    /// With the bit-flip probability P̄ = `flip`, over `count` sources.
    pub fn new(flip: f64, count: usize) -> Result<Self> {
        require((0.0..=0.5).contains(&flip), "flip", "a probability in 0…0.5", flip)?;
        let ratio = flip / (1.0 - flip);
        // Repeated products instead of powers give the same bits on every machine.
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * ratio));
        let counts = |weight: &f64| weight * count as f64 >= NEGLIGIBLE;
        let most = usize::from(u16::MAX) + 1;
        Ok(Self { flip, weights: weights.take_while(counts).take(most).collect() })
    }

    /// The weight of a source that is so many bits farther than the nearest.
    fn weight(&self, farther: u16) -> f64 {
        self.weights.get(usize::from(farther)).copied().unwrap_or(0.0)
    }

    /// Flips each bit of a cell's token with the bit-flip probability.
    fn flip(&self, random: KeyedRandom, sweep: u16, cell: usize, bits: usize, token: &mut [u8]) {
        for bit in 0..bits {
            let position = (cell * super::MOST_BITS + bit) as u32;
            if random.unit(Stream::Flip { sweep }, position) < self.flip {
                token[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    /// `p(x)` of all `2^bits` tokens x, given the distances of all sources and their tokens, `values`.
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
        // Bits are flipped independently: for each bit, pairs of tokens that differ in it exchange their shares.
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

/// Hamming distances of all images from a canvas, in the context of one cell.
#[derive(Debug)]
pub(super) struct Distances {
    pub(super) sums: Vec<u16>,
    /// The least sum of each block of images.
    pub(super) least: Vec<u16>,
    /// The image that is not a candidate.
    pub(super) barred: Option<usize>,
}

/// A drawn source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) image: usize,
    pub(super) distance: u16,
    /// How many candidates could have been drawn.
    pub(super) pool_size: usize,
}

impl Distances {
    /// For `count` images, of which `barred` is not a candidate.
    pub(super) fn new(count: usize, barred: Option<usize>) -> Self {
        Self { sums: vec![0; count], least: vec![u16::MAX; count.div_ceil(BLOCK)], barred }
    }

    /// Stores the least sum of the block that starts at image `first`. If the block holds the barred image, the least sum of
    /// the others is stored instead.
    pub(super) fn set_block_least(&mut self, first: usize, least: u16) {
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

    /// How many candidates there are at each distance from `nearest` to `limit`.
    fn count(&self, nearest: u16, limit: u16) -> Vec<usize> {
        let mut counts = vec![0; usize::from(limit - nearest) + 1];
        let blocks = self.sums.chunks(BLOCK).enumerate().zip(&self.least);
        for ((block, sums), _) in blocks.filter(|(_, &least)| least <= limit) {
            for (chunk, sums) in sums.chunks(CHUNK).enumerate() {
                // Most chunks hold none that is near enough; this test has no branch per image.
                if !sums.iter().fold(false, |any, &sum| any | (sum <= limit)) {
                    continue;
                }
                for (at, &sum) in (block * BLOCK + chunk * CHUNK..).zip(sums) {
                    if (nearest..=limit).contains(&sum) && Some(at) != self.barred {
                        counts[usize::from(sum - nearest)] += 1;
                    }
                }
            }
        }
        counts
    }

    /// The image of the `rank`-th candidate at a distance, in the order of ids.
    fn find(&self, distance: u16, mut rank: usize) -> usize {
        for (index, sums) in self.sums.chunks(CHUNK).enumerate() {
            let first = index * CHUNK;
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
    pub(super) fn draw(&self, draw: &Draw, random: KeyedRandom, sweep: u16, cell: usize) -> Drawn {
        match draw {
            Draw::Pool(rule) => self.draw_from_pool(rule, random, sweep, cell),
            Draw::Histogram(histogram) => self.draw_by_weight(&histogram.weights, random, sweep, cell),
        }
    }

    fn draw_from_pool(&self, rule: &PoolRule, random: KeyedRandom, sweep: u16, cell: usize) -> Drawn {
        let nearest = self.nearest();
        let near = rule.near(f64::from(nearest)).min(f64::from(u16::MAX)) as u16; // rounded down
        let mut counts = self.count(nearest, near);
        let within: usize = counts.iter().sum();
        let pool_size = rule.size(within, self.candidates());
        let mut limit = near;
        while counts.iter().sum::<usize>() < pool_size {
            limit = limit.saturating_mul(2).saturating_add(1);
            counts = self.count(nearest, limit);
        }
        let mut rank = random.index(Stream::Pixel { sweep }, cell as u32, pool_size);
        for (farther, count) in counts.into_iter().enumerate() {
            if rank < count {
                let distance = nearest + farther as u16;
                return Drawn { image: self.find(distance, rank), distance, pool_size };
            }
            rank -= count;
        }
        unreachable!("fewer candidates than were counted")
    }

    fn draw_by_weight(&self, weights: &[f64], random: KeyedRandom, sweep: u16, cell: usize) -> Drawn {
        let nearest = self.nearest();
        let counts = self.count(nearest, nearest.saturating_add((weights.len() - 1) as u16));
        let total: f64 = counts.iter().zip(weights).map(|(&count, weight)| count as f64 * weight).sum();
        let mut left = random.unit(Stream::Distance { sweep }, cell as u32) * total;
        let mut drawn = 0;
        for (farther, (&count, &each)) in counts.iter().zip(weights).enumerate() {
            if count > 0 {
                // If rounding leaves something after all weights, the last distance is drawn.
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
        Drawn { image: self.find(distance, rank), distance, pool_size: counts.iter().sum() }
    }
}

impl Draw {
    /// Flips bits of the token that was copied to a cell, if the draw is by a histogram.
    pub(super) fn flip_bits(
        &self,
        random: KeyedRandom,
        sweep: u16,
        cell: usize,
        bits: usize,
        token: &mut [u8],
    ) {
        if let Self::Histogram(histogram) = self {
            histogram.flip(random, sweep, cell, bits, token);
        }
    }
}
