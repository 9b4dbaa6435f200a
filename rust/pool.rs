//! Who is near enough to be copied, in a total order.
//!
//! The pool is every candidate within `(1 + ε)` of the nearest, united with the `k_min` nearest. It is ordered by
//! (distance, image, y, x), so that it is a function of the candidates alone: not of the order in which they were
//! met, nor of threads, batches or memory layout.

use std::cmp::Ordering;

use crate::corpus::ImageId;
use crate::error::{require, Result};
use crate::geometry::Pixel;

/// A candidate: a source pixel and the distance of its window from the canvas's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub distance: f64,
    pub image: ImageId,
    pub source: Pixel,
}

impl Candidate {
    /// The order of the pool: (distance, image, y, x).
    pub fn order(&self, other: &Self) -> Ordering {
        self.distance
            .total_cmp(&other.distance)
            .then(self.image.cmp(&other.image))
            .then(self.source.cmp(&other.source))
    }
}

/// Which candidates of one image may enter the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Only its nearest position.
    Best,
    /// Every position.
    All,
}

/// What makes a candidate near enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    epsilon: f64,
    k_min: usize,
    keep: Keep,
}

impl Rule {
    pub fn new(epsilon: f64, k_min: usize, keep: Keep) -> Result<Self> {
        require(epsilon.is_finite() && epsilon >= 0.0, "epsilon", "a number ≥ 0", epsilon)?;
        require(k_min >= 1, "k_min", "at least 1", k_min)?;
        Ok(Self { epsilon, k_min, keep })
    }

    /// The nearest, and what is just as near.
    pub const NEAREST: Self = Self { epsilon: 0.0, k_min: 1, keep: Keep::Best };

    pub fn keep(&self) -> Keep {
        self.keep
    }

    pub fn k_min(&self) -> usize {
        self.k_min
    }

    /// `(1 + ε)` times the least distance.
    pub fn near(&self, least: f64) -> f64 {
        (1.0 + self.epsilon) * least
    }
}

/// A pool in the making: takes candidates in any order, and knows how near the next one must be.
#[derive(Debug, Clone)]
pub struct Builder {
    rule: Rule,
    /// The `k_min` smallest distances so far, ascending.
    nearest: Vec<f64>,
    candidates: Vec<Candidate>,
    ceiling: f64,
}

impl Builder {
    pub fn new(rule: Rule) -> Self {
        Self { rule, nearest: Vec::new(), candidates: Vec::new(), ceiling: f64::INFINITY }
    }

    pub fn keep(&self) -> Keep {
        self.rule.keep
    }

    /// Candidates farther than this can't enter any more. Infinite, unless it [began](Self::begin) with a bound,
    /// while there are fewer than `k_min`.
    pub fn bound(&self) -> f64 {
        if self.nearest.len() < self.rule.k_min {
            return self.ceiling;
        }
        let farthest = self.nearest[self.rule.k_min - 1];
        farthest.max(self.rule.near(self.nearest[0])).min(self.ceiling)
    }

    /// If a candidate alone, whatever others there are, bounds the pool: by its distance times this.
    pub fn nearest_factor(&self) -> Option<f64> {
        (self.rule.k_min == 1).then_some(1.0 + self.rule.epsilon)
    }

    /// Begins anew, in the memory it has, and takes nothing beyond `bound`, which must not be below the finished pool's.
    pub fn begin(&mut self, bound: f64) {
        self.nearest.clear();
        self.candidates.clear();
        self.ceiling = bound;
    }

    /// How many more candidates the bound waits for.
    pub fn missing(&self) -> usize {
        self.rule.k_min - self.nearest.len()
    }

    pub fn offer(&mut self, candidate: Candidate) {
        if candidate.distance > self.bound() {
            return;
        }
        self.candidates.push(candidate);
        let at = self.nearest.partition_point(|&distance| distance <= candidate.distance);
        if at < self.rule.k_min {
            self.nearest.truncate(self.rule.k_min - 1);
            self.nearest.insert(at, candidate.distance);
        }
    }

    /// Offers all that another builder of the same rule holds.
    pub fn merge(&mut self, other: &Self) {
        for &candidate in &other.candidates {
            self.offer(candidate);
        }
    }

    /// The pool, in order. Empty only if nothing was offered.
    pub fn finish(&mut self) -> &[Candidate] {
        let bound = self.bound();
        self.candidates.retain(|candidate| candidate.distance <= bound);
        self.candidates.sort_unstable_by(Candidate::order);
        if let Some(first) = self.candidates.first() {
            let near = self.rule.near(first.distance);
            let within = self.candidates.partition_point(|candidate| candidate.distance <= near);
            self.candidates.truncate(within.max(self.rule.k_min));
        }
        &self.candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (0_u8..20, 0_u32..5, 0_usize..3, 0_usize..3).prop_map(|(d, id, y, x)| Candidate {
            distance: f64::from(d) / 4.0,
            image: ImageId(id),
            source: Pixel { y, x },
        });
        prop::collection::vec(one, 1..60)
    }

    proptest! {
        #[test]
        fn the_pool_is_the_definition_whatever_the_order(
            all in candidates(),
            epsilon in 0.0..1.0_f64,
            k_min in 1_usize..8,
            split in 0_usize..60,
        ) {
            let rule = Rule::new(epsilon, k_min, Keep::All).unwrap();
            let mut sorted = all.clone();
            sorted.sort_by(Candidate::order);
            let near = (1.0 + epsilon) * sorted[0].distance;
            let expected: Vec<_> = sorted
                .iter()
                .enumerate()
                .filter(|(rank, c)| *rank < k_min || c.distance <= near)
                .map(|(_, c)| *c)
                .collect();

            let split = split.min(all.len());
            let fill = |part: &[Candidate]| {
                let mut builder = Builder::new(rule);
                part.iter().for_each(|&c| builder.offer(c));
                builder
            };
            let mut whole = fill(&all);
            prop_assert_eq!(whole.finish(), &expected);
            let mut merged = fill(&all[split..]);
            merged.merge(&fill(&all[..split]));
            prop_assert_eq!(merged.finish(), &expected);
            merged.begin(f64::INFINITY);
            merged.merge(&whole);
            prop_assert_eq!(merged.finish(), &expected);
        }
    }

    #[test]
    fn bad_rules_are_refused() {
        let message = |epsilon, k_min| Rule::new(epsilon, k_min, Keep::Best).unwrap_err().to_string();
        assert_eq!(message(-0.1, 1), "epsilon must be a number ≥ 0, got -0.1");
        assert_eq!(message(f64::NAN, 1), "epsilon must be a number ≥ 0, got NaN");
        assert_eq!(message(0.1, 0), "k_min must be at least 1, got 0");
    }
}
