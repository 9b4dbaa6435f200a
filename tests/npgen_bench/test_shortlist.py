"""The search of nearest keys: libraries return npgen's shortlist, or are refused."""

import numpy as np
import pytest

from npgen_bench import libraries
from npgen_bench.shortlist import same_ids


@pytest.mark.parametrize("library", libraries.LIBRARIES)
def test_libraries_return_npgens_shortlist(library):
    if library == "FAISS":
        pytest.importorskip("faiss", exc_type=ModuleNotFoundError)
    random = np.random.default_rng(0)
    keys, queries = (random.standard_normal((n, 16)).astype(np.float32) for n in (200, 5))
    expected = np.argsort(-(queries @ keys.T), axis=1)[:, :9]
    libraries.use_threads(library, 1)
    found = libraries.prepare_search(library, keys, 9)(queries)
    np.testing.assert_array_equal(found, expected)
    assert same_ids(keys, queries, expected, found)


def test_another_image_or_one_twice_is_not_the_same_shortlist():
    random = np.random.default_rng(0)
    keys, queries = (random.standard_normal((n, 16)).astype(np.float32) for n in (200, 5))
    expected = np.argsort(-(queries @ keys.T), axis=1)[:, :9]
    farthest = np.argsort(queries @ keys.T, axis=1)[:, :1]
    assert not same_ids(keys, queries, expected, np.concatenate([expected[:, 1:], farthest], 1))
    assert not same_ids(keys, queries, expected, expected[:, [0, 0, *range(2, 9)]])
