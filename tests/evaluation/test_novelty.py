"""Distances to the corpus compared with brute force; verbatim runs, regions and shares with hand-made traces."""

from __future__ import annotations

import numpy as np
import pytest

from npgen.evaluation import novelty
from npgen.evaluation.novelty import distances_to, largest_regions, largest_shares, longest_runs, nearest_sources
from npgen.runs import Trace

# --- Nearest training images --------------------------------------------------------------------------------------


def images_of(random, count, shape):
    return random.integers(0, 256, (count, *shape), np.uint8)


def brute_force(images, sources, excluded=None):
    a, b = (part.reshape(len(part), -1).astype(np.int64) for part in (images, sources))
    squared = ((a[:, None] - b) ** 2).sum(-1)
    if excluded is not None:
        squared[np.arange(len(a)), excluded] = np.iinfo(np.int64).max
    return squared.argmin(1), squared.min(1)


@pytest.mark.parametrize("shape", [(5, 7, 1), (32, 32, 1), (19, 18, 3)])  # below, at, above 1,024 values
def test_nearest_sources_equal_brute_force(shape, monkeypatch):
    monkeypatch.setattr(novelty, "SOURCE_ROWS", 16)
    monkeypatch.setattr(novelty, "QUERY_ROWS", 8)
    random = np.random.default_rng(3)
    sources, images = images_of(random, 50, shape), images_of(random, 21, shape)
    images[0], images[1], images[2] = 0, 255, sources[40]
    sources[0], sources[1] = 255, 0
    sources[30] = sources[9]
    images[3] = sources[9]  # a tie across blocks: the lower id
    for found, expected in zip(nearest_sources(images, sources), brute_force(images, sources), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_nearest_sources_without_themselves(monkeypatch):
    monkeypatch.setattr(novelty, "BLOCK_VALUES", 7 * 108 + 1)  # 7 images
    random = np.random.default_rng(4)
    sources = images_of(random, 40, (6, 6, 3))
    excluded = random.permutation(40)
    ids, squared = nearest_sources(sources[excluded], sources, excluded=excluded)
    expected = brute_force(sources[excluded], sources, excluded)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_array_equal(squared, expected[1])
    assert (squared > 0).all()


def test_nearest_sources_refuse_what_cannot_be_compared():
    images = np.zeros((1, 4, 4, 1), np.uint8)
    with pytest.raises(ValueError, match=r"images must be of shape \(n, 4, 5, 1\), got \(1, 4, 4, 1\)"):
        nearest_sources(images, np.zeros((3, 4, 5, 1), np.uint8))
    with pytest.raises(ValueError, match="sources must be at least one besides the image itself, got 1"):
        nearest_sources(images, images, excluded=np.zeros(1, np.int64))


def test_distances_to_given_sources():
    random = np.random.default_rng(5)
    images, sources = images_of(random, 9, (4, 5, 3)), images_of(random, 12, (4, 5, 3))
    ids = random.integers(0, 12, 9)
    difference = images.astype(float) - sources[ids]
    np.testing.assert_array_equal(distances_to(images, sources, ids), (difference**2).sum((1, 2, 3)))


# --- Verbatim runs, regions and shares ----------------------------------------------------------------------------


def trace_of(ids, *, seed, displacement=None):
    """Trace (1, H, W) of pixels copied from `ids` at a displacement (dy, dx) each; `seed` is the known mask."""
    ids = np.array(ids, np.int32)
    shift = np.zeros((*ids.shape, 2), np.int32) if displacement is None else np.array(displacement, np.int32)
    y, x = np.mgrid[: ids.shape[0], : ids.shape[1]].astype(np.int32)
    pool = np.where(seed, 0, 5).astype(np.int32)
    parts = (ids, y + shift[..., 0], x + shift[..., 1], np.zeros(ids.shape, np.float32), pool)
    return Trace(*(part[None] for part in parts))


def corner(height, width):
    """Known mask of a seed of one pixel at (0, 0)."""
    seed = np.zeros((height, width), bool)
    seed[0, 0] = True
    return seed


def in_order(values, shape, seed, window=3):
    """Map (H, W) of `values` in fill order; −1 in the seed."""
    pixels, _ = novelty._core.fill_order(seed, window)
    ids = np.full(shape, -1, np.int32)
    ids[pixels[:, 0], pixels[:, 1]] = values
    return ids


def test_longest_run_of_a_hand_made_trace():
    seed = corner(4, 4)
    values = [1, 1, 2, 2, 2, 2, 1, 3, 3, 3, 4, 5, 6, 7, 7]
    assert longest_runs(trace_of(in_order(values, (4, 4), seed), seed=seed), 3).tolist() == [4]


def test_a_run_ends_where_the_displacement_changes():
    seed = corner(4, 4)
    ids = in_order([9] * 15, (4, 4), seed)
    assert longest_runs(trace_of(ids, seed=seed), 3).tolist() == [15]  # the seed would make it 16
    steps = in_order([0] * 6 + [1] * 9, (4, 4), seed)
    for axis in (0, 1):
        shift = np.zeros((4, 4, 2), np.int32)
        shift[..., axis] = steps
        assert longest_runs(trace_of(ids, seed=seed, displacement=shift), 3).tolist() == [9]


def test_runs_of_samples_with_different_seeds():
    first, second = corner(4, 4), corner(4, 4)[::-1, ::-1].copy()
    traces = [
        trace_of(in_order([1] * 5 + list(range(2, 12)), (4, 4), first), seed=first),
        trace_of(in_order([1] * 7 + list(range(2, 10)), (4, 4), second), seed=second),
    ]
    both = Trace(*(np.concatenate(pair) for pair in zip(*(one.arrays() for one in traces), strict=True)))
    assert longest_runs(both, 3).tolist() == [5, 7]


def test_runs_and_regions_of_a_sample_that_is_all_seed():
    trace = trace_of(np.ones((3, 3)), seed=np.ones((3, 3), bool))
    assert longest_runs(trace, 3).tolist() == [0]
    assert largest_regions(trace).tolist() == [0]


def test_largest_region_of_a_hand_made_trace():
    ids = [[1, 1, 2, 1], [3, 1, 2, 1], [3, 3, 1, 1], [3, 2, 2, 1]]
    # 1 at the right: (0,3) (1,3) (2,3) (2,2) (3,3); touches the other 1s at a corner only
    assert largest_regions(trace_of(ids, seed=np.zeros((4, 4), bool))).tolist() == [5]
    seed = np.zeros((4, 4), bool)
    seed[2, 3] = True  # cuts it into 2 + 1 + 1; the 3s are 4, less none
    assert largest_regions(trace_of(ids, seed=seed)).tolist() == [4]


def test_a_region_ends_where_the_displacement_changes():
    shift = np.zeros((4, 4, 2), np.int32)
    shift[:, 3] = 0, 1
    trace = trace_of(np.ones((4, 4)), seed=np.zeros((4, 4), bool), displacement=shift)
    assert largest_regions(trace).tolist() == [12]


def test_largest_regions_equal_a_flood_fill(monkeypatch):
    monkeypatch.setattr(novelty, "TRACE_ROWS", 3)
    random = np.random.default_rng(6)
    shape = (8, 11, 13)
    ids, y, x = random.integers(0, 2, shape), *np.broadcast_arrays(*np.mgrid[:11, :13], np.zeros(shape))[:2]
    pool = (random.random(shape) < 0.9).astype(np.int32)
    trace = Trace(ids.astype(np.int32), y.astype(np.int32), x.astype(np.int32), pool.astype(np.float32), pool)
    expected = []
    for sample in range(len(ids)):
        left = {tuple(at) for at in np.argwhere(pool[sample] > 0)}
        sizes = []
        while left:
            stack, size = [left.pop()], 0
            while stack:
                row, column = stack.pop()
                size += 1
                for there in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                    if there in left and ids[sample][there] == ids[sample][row, column]:
                        left.remove(there)
                        stack.append(there)
            sizes.append(size)
        expected.append(max(sizes))
    assert largest_regions(trace).tolist() == expected


def test_largest_share_counts_the_seed():
    ids = [[1, 1, 2, 4], [3, 1, 2, 4], [3, 3, 1, 1], [3, 2, 2, 1]]
    assert largest_shares(trace_of(ids, seed=corner(4, 4))).tolist() == [6 / 16]
