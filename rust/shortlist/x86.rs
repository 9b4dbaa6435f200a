//! Products of keys and queries on AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{multiply, Products, TileRows, PARTIAL_SUMS, TILE};

/// # Safety
/// The CPU must have AVX-512 F; all rows must be of one width.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn multiply_avx512(keys: TileRows, queries: TileRows) -> Products {
    let width = keys[0].len();
    let mut lanes = [[_mm512_setzero_ps(); TILE]; TILE];
    for start in (0..width).step_by(PARTIAL_SUMS) {
        // The last, shorter chunk is padded by zeros, which do not change their lanes.
        let mask = if width - start >= PARTIAL_SUMS { !0 } else { (1 << (width - start)) - 1 };
        let keys = keys.map(|key| _mm512_maskz_loadu_ps(mask, key.as_ptr().add(start)));
        for (lanes, query) in lanes.iter_mut().zip(queries) {
            let query = _mm512_maskz_loadu_ps(mask, query.as_ptr().add(start));
            for (lanes, key) in lanes.iter_mut().zip(keys) {
                *lanes = _mm512_fmadd_ps(key, query, *lanes);
            }
        }
    }
    // Sums by halves, as in `multiply`: lane l is added to lane l + 8, then l + 4, l + 2, l + 1. Each step turns two
    // registers into one, so that sixteen sums take fifteen steps; the shuffles leave them ordered by key, then query.
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
    let mut products = [[0.0; TILE]; TILE];
    _mm512_storeu_ps(products.as_mut_ptr().cast(), sums);
    products
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply_avx2(keys: TileRows, queries: TileRows) -> Products {
    multiply(keys, queries)
}
