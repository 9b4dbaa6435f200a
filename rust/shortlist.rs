//! The K images whose embeddings are nearest to a query: exact, and the same on every machine.
//!
//! Keys and queries are rows of equal length, so the nearest key is the one with the largest product. A product is summed
//! in sixteen partial sums of fused multiply-adds, which are then added pairwise. This order is fixed, so the result does
//! not depend on instruction set, batch or threads. (Without a fused instruction the sum is slow but the same.)

#[cfg(target_arch = "x86_64")]
mod x86;

use std::cmp::Ordering;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use crate::corpus::ImageId;
use crate::error::{check, require, Error, Result};
use crate::simd::InstructionSet;

/// Partial sums per product: one AVX-512 register, two of AVX2, four of NEON.
const PARTIAL_SUMS: usize = 16;

/// Keys that are multiplied by all queries in turn: few enough to stay in cache.
const CACHED_KEYS: usize = 64;

/// Side of a tile of products: this many keys and this many queries are in registers at a time.
const TILE: usize = 4;

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

    /// The rows of a tile from `first` on, and how many there are: past the end, the last row is repeated.
    fn tile_rows(&self, first: usize) -> ([&'a [f32]; TILE], usize) {
        let count = TILE.min(self.count() - first);
        (std::array::from_fn(|at| self.row(first + at.min(count - 1))), count)
    }
}

/// Labels of keys and queries: a query finds only keys of its own label.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    pub of_keys: &'a [i32],
    pub of_queries: &'a [i32],
}

/// For each query the `k` nearest images, nearest first; `barred[b]`, if any, is left out for query `b`, and with
/// `labels` all images of another label. There are fewer than `k` only where the label has fewer.
pub fn shortlist(
    instructions: InstructionSet,
    (keys, queries): (Rows, Rows),
    k: usize,
    barred: &[Option<ImageId>],
    labels: Option<Labels>,
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
    if let Some(Labels { of_keys, of_queries }) = labels {
        require(of_keys.len() == keys.count(), "labels", format!("{} of keys", keys.count()), of_keys.len())?;
        let allowed = || format!("{} of queries", queries.count());
        require(of_queries.len() == queries.count(), "labels", allowed(), of_queries.len())?;
    }
    let listed = |query: usize, key: usize| {
        labels.is_none_or(|labels| labels.of_keys[key] == labels.of_queries[query])
    };

    let nearest_of_part = |part: &[f32], first_key: usize| {
        let mut nearest = vec![Nearest::new(k); queries.count()];
        for (block, values) in part.chunks(CACHED_KEYS * keys.width).enumerate() {
            check(cancel)?;
            let first_key = first_key + block * CACHED_KEYS;
            check_finite("keys", values, first_key, keys.width)?;
            let keys = Rows { values, ..keys };
            products(instructions, keys, queries, &mut nearest, |query, key, product, nearest| {
                let image = ImageId((first_key + key) as u32);
                if Some(image) != barred[query] && listed(query, first_key + key) {
                    nearest.offer(Match { image, product });
                }
            });
        }
        Ok(nearest)
    };
    // One part per thread, as each part has to fill lists of its own.
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

/// The rows of a tile, and their products: `[key][query]`.
type TileRows<'a> = [&'a [f32]; TILE];
type Products = [[f32; TILE]; TILE];

/// Calls `take(query, key, product, nearest[query])` for all pairs whose product `nearest[query]` may take.
fn products(
    instructions: InstructionSet,
    keys: Rows,
    queries: Rows,
    nearest: &mut [Nearest],
    take: impl FnMut(usize, usize, f32, &mut Nearest),
) {
    match instructions {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => products_by(keys, queries, nearest, take, |keys, queries| {
            // SAFETY: the CPU has the features of an instruction set that is `available`; all rows are of one width.
            unsafe { x86::multiply_avx512(keys, queries) }
        }),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => products_by(keys, queries, nearest, take, |keys, queries| {
            // SAFETY: as above.
            unsafe { x86::multiply_avx2(keys, queries) }
        }),
        InstructionSet::Portable => products_by(keys, queries, nearest, take, multiply),
    }
}

/// As [`products`], with a kernel for one tile of keys and queries.
fn products_by(
    keys: Rows,
    queries: Rows,
    nearest: &mut [Nearest],
    mut take: impl FnMut(usize, usize, f32, &mut Nearest),
    multiply: impl Fn(TileRows, TileRows) -> Products,
) {
    for (index, nearest) in nearest.chunks_mut(TILE).enumerate() {
        let first_query = index * TILE;
        let (query_rows, _) = queries.tile_rows(first_query);
        let mut least = least_products(nearest);
        for first_key in (0..keys.count()).step_by(TILE) {
            let (key_rows, key_count) = keys.tile_rows(first_key);
            let products = multiply(key_rows, query_rows);
            // Most tiles hold no product that is large enough; this test has no branch per product.
            let mut any = false;
            for products in &products {
                for (product, least) in products.iter().zip(&least) {
                    any |= product >= least;
                }
            }
            if !any {
                continue;
            }
            for (key, products) in products[..key_count].iter().enumerate() {
                for (query, nearest) in nearest.iter_mut().enumerate() {
                    if products[query] >= least[query] {
                        take(first_query + query, first_key + key, products[query], nearest);
                    }
                }
            }
            least = least_products(nearest);
        }
    }
}

/// Returns an error that names the first number that is not finite. The common case is tested without branches.
fn check_finite(name: &'static str, values: &[f32], first_row: usize, width: usize) -> Result<()> {
    if values.iter().fold(true, |all, value| all & value.is_finite()) {
        return Ok(());
    }
    let bad = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
    Err(Error::invalid(name, "finite", format!("{} in row {}", values[bad], first_row + bad / width)))
}

/// The least product that each query of a tile still takes. Repeated queries at the end of the last tile take none.
fn least_products(nearest: &[Nearest]) -> [f32; TILE] {
    std::array::from_fn(|at| nearest.get(at).map_or(f32::INFINITY, |nearest| nearest.least))
}

/// The definition of the order of summation. One key after another: four times sixteen partial sums fill AVX2's registers.
#[inline(always)]
fn multiply(keys: TileRows, queries: TileRows) -> Products {
    let mut products = [[0.0; TILE]; TILE];
    let queries = queries.map(|query| query.as_chunks::<PARTIAL_SUMS>());
    for (k, key) in keys.into_iter().enumerate() {
        let mut lanes = [[0.0_f32; PARTIAL_SUMS]; TILE];
        let (chunks, rest) = key.as_chunks::<PARTIAL_SUMS>();
        for (chunk, key) in chunks.iter().enumerate() {
            for q in 0..TILE {
                let query = &queries[q].0[chunk];
                for lane in 0..PARTIAL_SUMS {
                    lanes[q][lane] = key[lane].mul_add(query[lane], lanes[q][lane]);
                }
            }
        }
        for (lane, &key) in rest.iter().enumerate() {
            for q in 0..TILE {
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

/// The `k` nearest of the matches offered so far, in any order.
#[derive(Debug, Clone)]
struct Nearest {
    k: usize,
    /// Up to `2k` matches; cut back to the nearest `k` when full.
    matches: Vec<Match>,
    /// The `k`-th nearest at the last cut.
    farthest: Option<Match>,
    /// Its product, or −∞ before the first cut: matches below need not be offered.
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
mod tests;
