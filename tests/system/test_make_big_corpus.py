"""The script that makes a corpus larger than memory: all images differ, and depend on seed and index only."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import npgen

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_big_corpus.py"


@pytest.fixture
def stored(colours, tmp_path):
    colours.save(tmp_path / "small")
    return tmp_path / "small"


def make(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def test_images_are_varied_and_repeatable(stored, tmp_path):
    for name, count in (("one", 1500), ("two", 1100)):
        result = make(stored, tmp_path / name, "--count", count, "--size", 20, "--seed", 3)
        assert result.returncode == 0, result.stderr
    one, two = npgen.load_corpus(tmp_path / "one"), npgen.load_corpus(tmp_path / "two")
    assert one.images.shape == (1500, 20, 20, 3)
    assert one.classes == ("one", "two", "three")
    np.testing.assert_array_equal(one.labels[:1100], two.labels)
    np.testing.assert_array_equal(one.images[:1100], two.images)
    assert len({image.tobytes() for image in one.images}) > 1490
    # They come from the small corpus's images, and so have about the same brightness.
    small = npgen.load_corpus(stored)
    means = [images.mean((1, 2, 3)) for images in (small.images, one.images[:70])]
    assert np.corrcoef(*means)[0, 1] > 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", 0], "count must be at least 1, got 0"),
        (["--size", 0], "size must be at least 1, got 0"),
        (["--seed", -1], "seed must be at least 0, got -1"),
    ],
)
def test_bad_values_are_named(stored, tmp_path, options, message):
    result = make(stored, tmp_path / "big", *options)
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / "big").exists()


def test_nothing_is_overwritten(stored):
    result = make(stored, stored, "--count", 5)
    assert result.returncode == 1
    assert "out must be a path that does not exist yet" in result.stderr
