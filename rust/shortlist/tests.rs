use super::*;
use proptest::prelude::*;

/// The definition: the same order of summation, one product at a time.
fn plain(
    keys: Rows,
    query: &[f32],
    k: usize,
    barred: Option<ImageId>,
    listed: impl Fn(usize) -> bool,
) -> Vec<Match> {
    let mut all: Vec<Match> = (0..keys.count())
        .filter(|&key| listed(key))
        .map(|key| {
            let product = multiply([keys.row(key); TILE], [query; TILE])[2][1];
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
        // Few different values, so that there are many ties.
        let value = |at: usize| ((at as u32).wrapping_mul(2_654_435_761).wrapping_add(salt) >> 28) as f32 - 8.0;
        let keys: Vec<f32> = (0..count * width).map(value).collect();
        let queries: Vec<f32> = (0..batch * width).map(|at| value(at + 77) / 3.0).collect();
        let keys = Rows::new("keys", &keys, width).unwrap();
        let queries = Rows::new("queries", &queries, width).unwrap();
        let k = k.min(count - 1);
        let barred: Vec<_> = (0..batch).map(|b| (b % 2 == 0).then_some(ImageId((b % count) as u32))).collect();
        let of_keys: Vec<i32> = (0..count).map(|key| value(key + 5) as i32 / 4).collect();
        let of_queries: Vec<i32> = (0..batch).map(|b| b as i32 % 3).collect();
        let labels = Labels { of_keys: &of_keys, of_queries: &of_queries };
        for instructions in InstructionSet::available() {
            let find = |labels| {
                shortlist(instructions, (keys, queries), k, &barred, labels, &AtomicBool::new(false)).unwrap()
            };
            for (b, (found, labelled)) in find(None).iter().zip(find(Some(labels))).enumerate() {
                let query = queries.row(b);
                prop_assert_eq!(found, &plain(keys, query, k, barred[b], |_| true));
                let listed = |key: usize| of_keys[key] == of_queries[b];
                prop_assert_eq!(labelled, plain(keys, query, k, barred[b], listed));
            }
        }
    }

    #[test]
    fn products_are_near_double_precision(values in prop::collection::vec(-1.0_f32..1.0, 1..200)) {
        let query: Vec<f32> = values.iter().rev().copied().collect();
        let exact: f64 = values.iter().zip(&query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let product = multiply([&values; TILE], [&query; TILE])[1][3];
        prop_assert!((f64::from(product) - exact).abs() < 1e-5);
    }
}

#[test]
fn all_instruction_sets_give_the_same_bits() {
    let values: Vec<f32> = (0..67 * 50).map(|at| ((at * 37 % 101) as f32 - 50.0) / 61.0).collect();
    let rows = Rows::new("keys", &values, 67).unwrap();
    let bits = |instructions| {
        let (mut nearest, mut bits) = (vec![Nearest::new(1000); 50], Vec::new());
        products(instructions, rows, rows, &mut nearest, |q, k, product, _| {
            bits.push((q, k, product.to_bits()));
        });
        bits
    };
    let plain = bits(InstructionSet::Portable);
    assert_eq!(plain.len(), 50 * 50);
    for instructions in InstructionSet::available() {
        assert_eq!(bits(instructions), plain, "{instructions:?}");
    }
}

#[test]
fn bad_arguments_are_refused() {
    let values = [0.0, 1.0, 2.0, f32::NAN];
    let rows = |values, width| Rows::new("keys", values, width).unwrap();
    let message = |keys, queries, k, barred: &[Option<ImageId>]| {
        let never = AtomicBool::new(false);
        shortlist(InstructionSet::best(), (keys, queries), k, barred, None, &never).unwrap_err().to_string()
    };
    let labelled = |of_keys, of_queries| {
        let (rows, labels) = ((rows(&values[..2], 1), rows(&values[..1], 1)), Labels { of_keys, of_queries });
        let found =
            shortlist(InstructionSet::best(), rows, 1, &[None], Some(labels), &AtomicBool::new(false));
        found.unwrap_err().to_string()
    };
    assert_eq!(labelled(&[1], &[1]), "labels must be 2 of keys, got 1");
    assert_eq!(labelled(&[1, 2], &[]), "labels must be 1 of queries, got 0");
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
