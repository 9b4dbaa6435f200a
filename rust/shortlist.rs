//! The K images whose embeddings lie nearest to a query: exact, and the same on every machine.
//!
//! Keys and queries are rows of equal length, so the nearest is the one with the largest product. A product is summed
//! in sixteen lanes of fused multiply-adds, which are then added pairwise: one fixed order, whatever the instruction
//! set, the batch or the threads. (Where the CPU lacks the instruction, the same fused sum is slow but the same.)

use std::cmp::Ordering;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use crate::corpus::ImageId;
use crate::error::{check, require, Error, Result};

/// Partial sums of a product: one AVX-512 register, two of AVX2, four of NEON.
const LANES: usize = 16;

/// Keys that one task holds against all queries: few enough to stay in cache from query to query.
const BLOCK: usize = 64;

/// Queries, and keys, that meet while they are in registers: sixteen sums at a time.
const TOGETHER: usize = 4;

/// An image and the product of its key with the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub image: ImageId,
    pub product: f32,
}

impl Match {
    /// Nearest first: larger product, then smaller id.
    fn order(&self, other: &Self) -> Ordering {
        other.product.total_cmp(&self.product).then(self.image.cmp(&other.image))
    }
}

/// `(rows, D)` numbers.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    pub fn new(name: &'static str, values: &'a [f32], width: usize) -> Result<Self> {
        require(width > 0, name, "at least one column wide", width)?;
        require(values.len().is_multiple_of(width), name, format!("rows of {width}"), values.len())?;
        Ok(Self { values, width })
    }

    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.width..][..self.width]
    }

    /// A handful of rows and how many of them are new: past the end, the last one is repeated.
    fn rows_from(&self, first: usize) -> ([&'a [f32]; TOGETHER], usize) {
        let count = TOGETHER.min(self.count() - first);
        (std::array::from_fn(|at| self.row(first + at.min(count - 1))), count)
    }
}

/// For each query the `k` nearest images, nearest first; `barred[b]`, if any, is left out for query `b`.
pub fn shortlist(
    keys: Rows,
    queries: Rows,
    k: usize,
    barred: &[Option<ImageId>],
    cancel: &AtomicBool,
) -> Result<Vec<Vec<Match>>> {
    require(
        queries.width == keys.width,
        "queries",
        format!("of the keys' width {}", keys.width),
        queries.width,
    )?;
    require(barred.len() == queries.count(), "barred", format!("{} ids", queries.count()), barred.len())?;
    let limit = keys.count() - usize::from(barred.iter().any(Option::is_some) && keys.count() > 0);
    require((1..=limit).contains(&k), "shortlist", format!("in 1..={limit}"), k)?;
    check_finite("queries", queries.values, 0, queries.width)?;

    let nearest_of_part = |part: &[f32], first_key: usize| {
        let mut nearest = vec![Nearest::new(k); queries.count()];
        for (block, values) in part.chunks(BLOCK * keys.width).enumerate() {
            check(cancel)?;
            let first_key = first_key + block * BLOCK;
            check_finite("keys", values, first_key, keys.width)?;
            products(Rows { values, ..keys }, queries, &mut nearest, |query, key, product, nearest| {
                let image = ImageId((first_key + key) as u32);
                if Some(image) != barred[query] {
                    nearest.offer(Match { image, product });
                }
            });
        }
        Ok(nearest)
    };
    // One part a thread: each pays once for filling its lists.
    let part = keys.count().div_ceil(rayon::current_num_threads());
    let nearest = keys
        .values
        .par_chunks(part * keys.width)
        .enumerate()
        .map(|(index, values)| nearest_of_part(values, index * part))
        .reduce_with(|a: Result<Vec<Nearest>>, b| {
            Ok(a?.into_iter().zip(b?).map(|(a, b)| a.merge(b)).collect())
        })
        .unwrap_or_else(|| Ok(Vec::new()))?;
    Ok(nearest.into_par_iter().map(Nearest::finish).collect())
}

/// A handful of rows, and their products: `[key][query]`.
type Handful<'a> = [&'a [f32]; TOGETHER];
type Products = [[f32; TOGETHER]; TOGETHER];

/// Calls `take(query, key, product, nearest[query])` for all pairs whose product `nearest[query]` may take, with the
/// widest instructions there are.
fn products(
    keys: Rows,
    queries: Rows,
    nearest: &mut [Nearest],
    take: impl FnMut(usize, usize, f32, &mut Nearest),
) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has the feature; all rows are of one width.
            return handfuls(keys, queries, nearest, take, |keys, queries| unsafe {
                multiply_avx512(keys, queries)
            });
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has the features.
            return handfuls(keys, queries, nearest, take, |keys, queries| unsafe {
                multiply_avx2(keys, queries)
            });
        }
    }
    handfuls(keys, queries, nearest, take, multiply);
}

fn handfuls(
    keys: Rows,
    queries: Rows,
    nearest: &mut [Nearest],
    mut take: impl FnMut(usize, usize, f32, &mut Nearest),
    multiply: impl Fn(Handful, Handful) -> Products,
) {
    for (index, nearest) in nearest.chunks_mut(TOGETHER).enumerate() {
        let first_query = index * TOGETHER;
        let (query_rows, _) = queries.rows_from(first_query);
        let mut bar = bars(nearest);
        for first_key in (0..keys.count()).step_by(TOGETHER) {
            let (key_rows, key_count) = keys.rows_from(first_key);
            let products = multiply(key_rows, query_rows);
            // Nearly always no: sixteen comparisons in one go, and no branch for each.
            let mut any = false;
            for products in &products {
                for (product, bar) in products.iter().zip(&bar) {
                    any |= product >= bar;
                }
            }
            if !any {
                continue;
            }
            for (key, products) in products[..key_count].iter().enumerate() {
                for (query, nearest) in nearest.iter_mut().enumerate() {
                    if products[query] >= bar[query] {
                        take(first_query + query, first_key + key, products[query], nearest);
                    }
                }
            }
            bar = bars(nearest);
        }
    }
}

/// Complains of the first number that is not finite. Without one, which is the rule, no number waits for another.
fn check_finite(name: &'static str, values: &[f32], first_row: usize, width: usize) -> Result<()> {
    if values.iter().fold(true, |all, value| all & value.is_finite()) {
        return Ok(());
    }
    let bad = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
    Err(Error::invalid(name, "finite", format!("{} in row {}", values[bad], first_row + bad / width)))
}

/// What each query of a handful takes at the least; the repeats at the end of the last one take nothing.
fn bars(nearest: &[Nearest]) -> [f32; TOGETHER] {
    std::array::from_fn(|at| nearest.get(at).map_or(f32::INFINITY, |nearest| nearest.least))
}

/// # Safety
/// The CPU must have AVX-512 F; all rows must be of one width.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn multiply_avx512(keys: Handful, queries: Handful) -> Products {
    use std::arch::x86_64::*;
    let width = keys[0].len();
    let mut lanes = [[_mm512_setzero_ps(); TOGETHER]; TOGETHER];
    for start in (0..width).step_by(LANES) {
        // The last, shorter chunk ends in zeros, which leave their lanes as they are.
        let mask = if width - start >= LANES { !0 } else { (1 << (width - start)) - 1 };
        let keys = keys.map(|key| _mm512_maskz_loadu_ps(mask, key.as_ptr().add(start)));
        for (lanes, query) in lanes.iter_mut().zip(queries) {
            let query = _mm512_maskz_loadu_ps(mask, query.as_ptr().add(start));
            for (lanes, key) in lanes.iter_mut().zip(keys) {
                *lanes = _mm512_fmadd_ps(key, query, *lanes);
            }
        }
    }
    // Sums by halves, as everywhere: lane l meets lane l + 8, then l + 4, l + 2, l + 1. Two registers become one at each
    // step, so that sixteen sums take fifteen steps; the shuffles leave them key by key, query by query.
    let halve = |pairs: [[__m512; 2]; 2]| {
        pairs.map(|[a, b]| {
            _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
            )
        })
    };
    let quarters = lanes.map(|[a, b, c, d]| {
        let [a, b] = halve([[a, b], [c, d]]);
        _mm512_add_ps(
            _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b),
        )
    });
    let pair = |a: __m512, b: __m512| {
        _mm512_add_ps(_mm512_shuffle_ps::<0b01_00_01_00>(a, b), _mm512_shuffle_ps::<0b11_10_11_10>(a, b))
    };
    let (a, b) = (pair(quarters[0], quarters[1]), pair(quarters[2], quarters[3]));
    let sums =
        _mm512_add_ps(_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b));
    let mut products = [[0.0; TOGETHER]; TOGETHER];
    _mm512_storeu_ps(products.as_mut_ptr().cast(), sums);
    products
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_avx2(keys: Handful, queries: Handful) -> Products {
    multiply(keys, queries)
}

/// The definition of the order of summation. One key after the other: four sums of sixteen lanes fill AVX2's registers.
#[inline(always)]
fn multiply(keys: Handful, queries: Handful) -> Products {
    let mut products = [[0.0; TOGETHER]; TOGETHER];
    let queries = queries.map(|query| query.as_chunks::<LANES>());
    for (k, key) in keys.into_iter().enumerate() {
        let mut lanes = [[0.0_f32; LANES]; TOGETHER];
        let (chunks, rest) = key.as_chunks::<LANES>();
        for (chunk, key) in chunks.iter().enumerate() {
            for q in 0..TOGETHER {
                let query = &queries[q].0[chunk];
                for lane in 0..LANES {
                    lanes[q][lane] = key[lane].mul_add(query[lane], lanes[q][lane]);
                }
            }
        }
        for (lane, &key) in rest.iter().enumerate() {
            for q in 0..TOGETHER {
                lanes[q][lane] = key.mul_add(queries[q].1[lane], lanes[q][lane]);
            }
        }
        products[k] = lanes.map(|mut lanes| {
            for width in [8, 4, 2, 1] {
                for lane in 0..width {
                    lanes[lane] += lanes[lane + width];
                }
            }
            lanes[0]
        });
    }
    products
}

/// The `k` nearest of what was offered, in any order.
#[derive(Debug, Clone)]
struct Nearest {
    k: usize,
    /// Up to `2k` matches; cut back to the nearest `k` when full.
    matches: Vec<Match>,
    /// The `k`-th nearest at the last cut.
    farthest: Option<Match>,
    /// Its product, or −∞ before the first cut: what is below need not be offered.
    least: f32,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self { k, matches: Vec::new(), farthest: None, least: f32::NEG_INFINITY }
    }

    fn offer(&mut self, new: Match) {
        if self.farthest.is_some_and(|farthest| new.order(&farthest).is_gt()) {
            return;
        }
        self.matches.push(new);
        if self.matches.len() == 2 * self.k {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.matches.len() > self.k {
            let (_, farthest, _) = self.matches.select_nth_unstable_by(self.k - 1, Match::order);
            self.farthest = Some(*farthest);
            self.least = farthest.product;
            self.matches.truncate(self.k);
        }
    }

    fn merge(mut self, other: Self) -> Self {
        other.matches.into_iter().for_each(|one| self.offer(one));
        self
    }

    fn finish(mut self) -> Vec<Match> {
        self.cut();
        self.matches.sort_unstable_by(Match::order);
        self.matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in the fixed order of summation but one product at a time.
    fn plain(keys: Rows, query: &[f32], k: usize, barred: Option<ImageId>) -> Vec<Match> {
        let mut all: Vec<Match> = (0..keys.count())
            .map(|key| {
                let product = multiply([keys.row(key); TOGETHER], [query; TOGETHER])[2][1];
                Match { image: ImageId(key as u32), product }
            })
            .filter(|one| Some(one.image) != barred)
            .collect();
        all.sort_by(Match::order);
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn the_nearest_are_found_whatever_the_batch(
            width in 1_usize..40,
            count in 2_usize..1500,
            batch in 1_usize..10,
            k in 1_usize..50,
            salt in 0_u32..1000,
        ) {
            // Few distinct values, so that ties abound.
            let value = |at: usize| ((at as u32).wrapping_mul(2_654_435_761).wrapping_add(salt) >> 28) as f32 - 8.0;
            let keys: Vec<f32> = (0..count * width).map(value).collect();
            let queries: Vec<f32> = (0..batch * width).map(|at| value(at + 77) / 3.0).collect();
            let keys = Rows::new("keys", &keys, width).unwrap();
            let queries = Rows::new("queries", &queries, width).unwrap();
            let k = k.min(count - 1);
            let barred: Vec<_> = (0..batch).map(|b| (b % 2 == 0).then_some(ImageId((b % count) as u32))).collect();
            let found = shortlist(keys, queries, k, &barred, &AtomicBool::new(false)).unwrap();
            for (b, found) in found.iter().enumerate() {
                prop_assert_eq!(found, &plain(keys, queries.row(b), k, barred[b]));
            }
        }

        #[test]
        fn products_are_near_double_precision(values in prop::collection::vec(-1.0_f32..1.0, 1..200)) {
            let query: Vec<f32> = values.iter().rev().copied().collect();
            let exact: f64 = values.iter().zip(&query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let product = multiply([&values; TOGETHER], [&query; TOGETHER])[1][3];
            prop_assert!((f64::from(product) - exact).abs() < 1e-5);
        }
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        let values: Vec<f32> = (0..67 * 50).map(|at| ((at * 37 % 101) as f32 - 50.0) / 61.0).collect();
        let rows = Rows::new("keys", &values, 67).unwrap();
        let mut nearest = vec![Nearest::new(1000); 50];
        let mut fast = Vec::new();
        products(rows, rows, &mut nearest, |q, k, product, _| fast.push((q, k, product.to_bits())));
        let mut plain = Vec::new();
        let take = |q, k, product: f32, _: &mut Nearest| plain.push((q, k, product.to_bits()));
        handfuls(rows, rows, &mut nearest, take, multiply);
        assert_eq!(fast.len(), 50 * 50);
        assert_eq!(fast, plain);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let values = [0.0, 1.0, 2.0, f32::NAN];
        let rows = |values, width| Rows::new("keys", values, width).unwrap();
        let message = |keys, queries, k, barred: &[Option<ImageId>]| {
            shortlist(keys, queries, k, barred, &AtomicBool::new(false)).unwrap_err().to_string()
        };
        assert_eq!(
            message(rows(&values[..2], 1), rows(&values[..2], 2), 1, &[None]),
            "queries must be of the keys' width 1, got 2"
        );
        assert_eq!(
            message(rows(&values[..2], 1), rows(&values[..1], 1), 3, &[None]),
            "shortlist must be in 1..=2, got 3"
        );
        assert_eq!(
            message(rows(&values[..2], 1), rows(&values[..1], 1), 2, &[Some(ImageId(0))]),
            "shortlist must be in 1..=1, got 2"
        );
        assert_eq!(
            message(rows(&values[..2], 1), rows(&values[..1], 1), 0, &[None]),
            "shortlist must be in 1..=2, got 0"
        );
        assert_eq!(
            message(rows(&values, 1), rows(&values[..1], 1), 1, &[None]),
            "keys must be finite, got NaN in row 3"
        );
        assert_eq!(
            message(rows(&values[..2], 1), rows(&values[..2], 1), 1, &[None]),
            "barred must be 2 ids, got 1"
        );
        assert_eq!(Rows::new("keys", &values, 3).unwrap_err().to_string(), "keys must be rows of 3, got 4");
    }
}
