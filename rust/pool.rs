//! The pool: the candidates that are near enough to be copied, in a total order.
//!
//! The pool is every candidate within `(1 + ε)` of the nearest, united with the `k_min` nearest. It is ordered by
//! (distance, image, y, x), so it depends on the candidates alone: not on the order in which they were found, nor on
//! threads, batches or memory layout.

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

/// Which candidates are in the pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoolRule {
    epsilon: f64,
    k_min: usize,
    keep: Keep,
}

impl PoolRule {
    pub fn new(epsilon: f64, k_min: usize, keep: Keep) -> Result<Self> {
        require(epsilon.is_finite() && epsilon >= 0.0, "epsilon", "a number ≥ 0", epsilon)?;
        require(k_min >= 1, "k_min", "at least 1", k_min)?;
        Ok(Self { epsilon, k_min, keep })
    }

    /// The nearest candidate and those at the same distance.
    pub const NEAREST: Self = Self { epsilon: 0.0, k_min: 1, keep: Keep::Best };

    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The largest distance that is near enough if the least is `least`: `(1 + ε)` times that.
    pub fn near(&self, least: f64) -> f64 {
        (1.0 + self.epsilon) * least
    }

    /// How many of `count` candidates are in the pool if `near` of them are near enough: these, and at least `k_min`.
    ///
    /// This is the one place where the rule of the pool is written down.
    pub fn size(&self, near: usize, count: usize) -> usize {
        near.max(self.k_min).min(count)
    }

    /// The members of the pool among `candidates`, which are in order, with ε relative to `least`; and whether at least
    /// one candidate was near enough.
    pub fn members<'c>(&self, candidates: &'c [Candidate], least: f64) -> (&'c [Candidate], bool) {
        let limit = self.near(least);
        let near = candidates.partition_point(|candidate| candidate.distance <= limit);
        (&candidates[..self.size(near, candidates.len())], near > 0)
    }
}

/// Consecutive members of the pool of a canvas that have the same distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EqualRun {
    pub canvas: usize,
    pub distance: f64,
    pub count: usize,
}

/// A run's part in a merged pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergedRun {
    /// Which of the given runs this is.
    pub index: usize,
    /// Candidates of the same canvas that come before its own.
    pub before: usize,
    /// How many of its own candidates are in the pool: the first ones.
    pub taken: usize,
}

/// Merges runs of pools over parts of the corpus into the pools over all of it, canvas by canvas and in the order of the
/// pool. Runs of parts with smaller image ids must come first.
pub fn merge_runs(rule: &PoolRule, runs: &[EqualRun]) -> Vec<MergedRun> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    // A stable sort: at one distance, runs stay in the order of their parts, hence of image ids.
    order.sort_by(|&a, &b| {
        let (a, b) = (&runs[a], &runs[b]);
        a.canvas.cmp(&b.canvas).then(a.distance.total_cmp(&b.distance))
    });
    let mut merged = Vec::with_capacity(runs.len());
    for pool in order.chunk_by(|&a, &b| runs[a].canvas == runs[b].canvas) {
        let limit = rule.near(runs[pool[0]].distance);
        let members = |index: &usize| runs[*index].count;
        let near = pool.iter().take_while(|&&index| runs[index].distance <= limit).map(members).sum();
        let size = rule.size(near, pool.iter().map(members).sum());
        let mut before = 0;
        for &index in pool {
            let count = runs[index].count;
            merged.push(MergedRun { index, before, taken: size.saturating_sub(before).min(count) });
            before += count;
        }
    }
    merged
}

/// A pool that is being built: takes candidates in any order, and bounds the distance of those still to come.
#[derive(Debug, Clone)]
pub struct PoolBuilder {
    rule: PoolRule,
    /// The `k_min` least distances so far, ascending.
    nearest: Vec<f64>,
    candidates: Vec<Candidate>,
    ceiling: f64,
}

impl PoolBuilder {
    pub fn new(rule: PoolRule) -> Self {
        Self { rule, nearest: Vec::new(), candidates: Vec::new(), ceiling: f64::INFINITY }
    }

    pub fn keep(&self) -> Keep {
        self.rule.keep
    }

    /// Candidates farther than this can't enter any more. While there are fewer than `k_min`, that is the bound which the
    /// pool was [restarted](Self::restart) with, infinite by default.
    pub fn bound(&self) -> f64 {
        if self.nearest.len() < self.rule.k_min {
            return self.ceiling;
        }
        let farthest = self.nearest[self.rule.k_min - 1];
        farthest.max(self.rule.near(self.nearest[0])).min(self.ceiling)
    }

    /// If every single candidate bounds the pool (`k_min` = 1): the factor from its distance to that bound.
    pub fn nearest_factor(&self) -> Option<f64> {
        (self.rule.k_min == 1).then_some(1.0 + self.rule.epsilon)
    }

    /// Empties the pool but keeps its memory. Candidates beyond `bound` will not be taken; it must not be below the bound
    /// of the finished pool.
    pub fn restart(&mut self, bound: f64) {
        self.nearest.clear();
        self.candidates.clear();
        self.ceiling = bound;
    }

    /// How many more candidates it takes until they bound the pool.
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
        self.candidates.first().map_or(&[], |first| self.rule.members(&self.candidates, first.distance).0)
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
            let rule = PoolRule::new(epsilon, k_min, Keep::All).unwrap();
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
                let mut builder = PoolBuilder::new(rule);
                part.iter().for_each(|&c| builder.offer(c));
                builder
            };
            let mut whole = fill(&all);
            prop_assert_eq!(whole.finish(), &expected);
            let mut merged = fill(&all[split..]);
            merged.merge(&fill(&all[..split]));
            prop_assert_eq!(merged.finish(), &expected);
            merged.restart(f64::INFINITY);
            merged.merge(&whole);
            prop_assert_eq!(merged.finish(), &expected);

            let runs = |part: &[Candidate]| -> Vec<EqualRun> {
                let pool = fill(part).finish().to_vec();
                let equal = pool.chunk_by(|a, b| a.distance == b.distance);
                let run = |same: &[Candidate]| EqualRun { canvas: 0, distance: same[0].distance, count: same.len() };
                equal.map(run).collect()
            };
            let of_ranks = [runs(&all[..split]), runs(&all[split..])].concat();
            let taken: usize = merge_runs(&rule, &of_ranks).iter().map(|run| run.taken).sum();
            prop_assert_eq!(taken, expected.len());
        }
    }

    #[test]
    fn merged_runs_are_the_whole_pool() {
        let run = |canvas, distance, count| EqualRun { canvas, distance, count };
        // Parts of two ranks: canvas 0 has 5 candidates within 1.5 · 2.0, canvas 1 has one and needs three.
        let runs =
            [run(0, 2.0, 2), run(0, 4.0, 9), run(1, 1.0, 1), run(0, 2.0, 1), run(0, 3.0, 2), run(1, 7.0, 5)];
        let merged = merge_runs(&PoolRule::new(0.5, 3, Keep::All).unwrap(), &runs);
        let part = |index, before, taken| MergedRun { index, before, taken };
        let first = [part(0, 0, 2), part(3, 2, 1), part(4, 3, 2), part(1, 5, 0)];
        assert_eq!(merged, [&first[..], &[part(2, 0, 1), part(5, 1, 2)]].concat());
    }

    #[test]
    fn bad_rules_are_refused() {
        let message = |epsilon, k_min| PoolRule::new(epsilon, k_min, Keep::Best).unwrap_err().to_string();
        assert_eq!(message(-0.1, 1), "epsilon must be a number ≥ 0, got -0.1");
        assert_eq!(message(f64::NAN, 1), "epsilon must be a number ≥ 0, got NaN");
        assert_eq!(message(0.1, 0), "k_min must be at least 1, got 0");
    }
}
