"""Samples of score machines: as bytes, as a trace, in folders."""

import json

import numpy as np
import pytest

import npgen
from npgen.corpus.resize import resized
from npgen.els.samples import as_uint8, load_score_samples


def test_a_folder_holds_all_and_the_mosaic_shows_sources(digits, tmp_path):
    samples = npgen.score_generate(digits, 2, windows=[3, 3, 5], steps=3, size=8, label=1, progress=False)
    small = resized(digits, 8)
    assert samples.settings["corpus"]["hash"] == small.hash
    assert samples.pixels.dtype == np.uint8 and samples.pixels.shape == (2, 8, 8, 1)
    mosaic = samples.mosaic(small)
    image, y, x = samples.sources[0, 1, 4, 4, 0]
    assert small.labels[image] == 1 and mosaic[1, 4, 4] == small.images[image, y, x]
    with pytest.raises(ValueError, match="corpus must be that of hash"):
        samples.mosaic(digits)
    samples.save(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["windows"] == [3, 3, 5] and len(manifest["shards"]) == 1
    again = load_score_samples(tmp_path / "run")
    for name in ("images", "noise", "sources", "weights", "entropy", "accounts"):
        assert np.array_equal(getattr(again, name), getattr(samples, name))
    assert again.settings == samples.settings and again.steps == samples.steps
    with pytest.raises(FileExistsError):
        samples.save(tmp_path / "run")


def test_images_become_bytes():
    values = np.array([-7.0, -1.0, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 0.999, 1.0, 3.0], np.float32)
    np.testing.assert_array_equal(as_uint8(values), [0, 0, 0, 1, 255, 255, 255])
    everything = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(as_uint8(everything / 127.5 - 1), everything)


def test_samples_have_the_members_of_traced_samples(digits):
    samples = npgen.score_generate(digits, 2, "local", [3, 3, 5], steps=3, first=4, seed=6, progress=False)
    samples.check_corpus(digits)
    trace = samples.trace
    np.testing.assert_array_equal(digits.images[trace.image_id, trace.y, trace.x], samples.mosaic(digits))
    assert samples.describe() == {"model": "els local", "config": samples.settings, "model_seed": 6}
    assert samples.provenance()["n"] == len(samples) == 2 and samples.first == 4
    part = samples[1:]
    assert part.first == 5 and np.array_equal(part.pixels, samples.pixels[1:])
    with pytest.raises(ValueError, match="step of a slice of samples must be 1, got 2"):
        samples[::2]
