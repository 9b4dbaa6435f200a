//! Entropy of labels in a sliding window: how mixed the sources of an image are (section 3.3 of the paper).

use std::collections::HashMap;

use crate::error::{require, Result};
use crate::geometry::{Extent, Pixel};

/// Entropy in nats of the labels in each `window`×`window` square of a row-major map, stride 1:
/// `−Σ p ln p`, shape `(H − window + 1, W − window + 1)`.
pub fn sliding_entropy(labels: &[i64], extent: Extent, window: usize) -> Result<Vec<f64>> {
    require(labels.len() == extent.area(), "labels", format!("{} labels", extent.area()), labels.len())?;
    let limit = extent.height.min(extent.width);
    require((1..=limit).contains(&window), "entropy window", format!("in 1..={limit}"), window)?;

    let mut numbers = HashMap::new();
    let labels: Vec<usize> = labels
        .iter()
        .map(|&label| {
            let next = numbers.len();
            *numbers.entry(label).or_insert(next)
        })
        .collect();
    let mut counts = LabelCounts::new(numbers.len(), window * window);
    let at = |y, x| labels[extent.flat(Pixel { y, x })];
    let mut entropies = Vec::new();
    for top in 0..=extent.height - window {
        counts.clear();
        for x in 0..extent.width {
            (top..top + window).for_each(|y| counts.add(at(y, x)));
            if x >= window {
                (top..top + window).for_each(|y| counts.remove(at(y, x - window)));
            }
            if x + 1 >= window {
                entropies.push(counts.entropy());
            }
        }
    }
    Ok(entropies)
}

/// Counts of labels, and how many labels have each count. These are integers, so sliding accumulates no error.
struct LabelCounts {
    counts: Vec<usize>,
    labels_with: Vec<usize>,
    /// `n ln n` by count.
    log_terms: Vec<f64>,
    size: usize,
}

impl LabelCounts {
    /// For that many labels and windows of `size` pixels. Between two readings it may hold one more column.
    fn new(labels: usize, size: usize) -> Self {
        let log_terms = (0..=size).map(|n| if n == 0 { 0.0 } else { n as f64 * (n as f64).ln() }).collect();
        Self { counts: vec![0; labels], labels_with: vec![0; 2 * size + 1], log_terms, size }
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.labels_with.fill(0);
        self.labels_with[0] = self.counts.len();
    }

    fn add(&mut self, label: usize) {
        let count = &mut self.counts[label];
        self.labels_with[*count] -= 1;
        *count += 1;
        self.labels_with[*count] += 1;
    }

    fn remove(&mut self, label: usize) {
        let count = &mut self.counts[label];
        self.labels_with[*count] -= 1;
        *count -= 1;
        self.labels_with[*count] += 1;
    }

    fn entropy(&self) -> f64 {
        let size = self.size as f64;
        let sum: f64 = self.log_terms.iter().zip(&self.labels_with).map(|(t, &n)| t * n as f64).sum();
        (size.ln() - sum / size).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(labels: &[i64], extent: Extent, window: usize) -> Vec<f64> {
        let mut all = Vec::new();
        for top in 0..=extent.height - window {
            for left in 0..=extent.width - window {
                let mut counts: HashMap<i64, f64> = HashMap::new();
                for y in top..top + window {
                    for x in left..left + window {
                        *counts.entry(labels[extent.flat(Pixel { y, x })]).or_default() += 1.0;
                    }
                }
                let size = (window * window) as f64;
                all.push(-counts.values().map(|n| n / size * (n / size).ln()).sum::<f64>());
            }
        }
        all
    }

    proptest! {
        #[test]
        fn sliding_equals_counting(
            height in 1_usize..12,
            width in 1_usize..12,
            window in 1_usize..8,
            kinds in 1_i64..9,
            salt in 0_i64..1000,
        ) {
            let extent = Extent::new(height, width);
            let window = window.min(height).min(width);
            let labels: Vec<i64> =
                (0..extent.area() as i64).map(|at| (at * at * 31 + salt * at) % 97 % kinds - 3).collect();
            let found = sliding_entropy(&labels, extent, window).unwrap();
            let expected = plain(&labels, extent, window);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((found - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn bad_windows_are_refused() {
        let message = |window| sliding_entropy(&[0; 12], Extent::new(3, 4), window).unwrap_err().to_string();
        assert_eq!(message(4), "entropy window must be in 1..=3, got 4");
        assert_eq!(message(0), "entropy window must be in 1..=3, got 0");
        let error = sliding_entropy(&[0; 11], Extent::new(3, 4), 2).unwrap_err();
        assert_eq!(error.to_string(), "labels must be 12 labels, got 11");
    }
}
