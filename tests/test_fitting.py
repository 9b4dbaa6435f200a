"""Defaults that are too large for a small corpus become what fits; what the user chose stays."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.config import Config, fitted


def corpus_of(count, side):
    images = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)
    return npgen.Corpus.from_arrays(images, name="few")


@pytest.mark.parametrize(("count", "side"), [(2, 16), (9, 16), (16, 16), (60, 3), (60, 5), (60, 12), (5, 4)])
def test_the_defaults_serve_every_corpus(count, side):
    samples = npgen.generate(corpus_of(count, side), 2, encoder="pixels", progress=False)
    assert samples.config == fitted(Config(), count, side)
    assert samples.config.shortlist == min(15, count - 1)
    assert samples.config.window == min(13, side - (side + 1) % 2)


def test_nothing_changes_where_all_fits():
    config = Config(shortlist=9)
    assert fitted(config, 10, 13) is config
    assert fitted(Config(select=2), 31, 16).shortlist == 15
    assert fitted(Config(select=2), 21, 16).shortlist == 10  # a random half of twice as many
    assert fitted(Config(exclude_seed_image=False), 10, 16).shortlist == 10


def test_what_the_user_chose_is_refused_as_it_is():
    with pytest.raises(ValueError, match=r"shortlist must be in 1\.\.=8 .*, got 20"):
        npgen.generate(corpus_of(9, 16), 1, config=Config(shortlist=20), encoder="pixels", progress=False)
    with pytest.raises(ValueError, match="window must be odd, in .* got 9"):
        npgen.generate(corpus_of(9, 5), 1, config=Config(window=9), encoder="pixels", progress=False)


@pytest.mark.parametrize("side", [1, 2])
def test_images_without_a_window_are_refused_in_plain_words(side):
    with pytest.raises(ValueError, match="corpus must be of images of at least 3×3 pixels, the smallest window, got"):
        npgen.generate(corpus_of(9, side), 1, encoder="pixels", progress=False)


def test_the_command_says_so(tmp_path, monkeypatch):
    corpus_of(9, 12).save(tmp_path / "few")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["generate", "./few", "-n", "2", "--encoder", "pixels", "-q", "--out", "run"])
    assert result.exit_code == 0, result.output
    assert "shortlist 8: the default, 15, does not fit this corpus" in result.stdout
    assert "window 11: the default, 13, does not fit this corpus" in result.stdout
    assert CliRunner().invoke(app, ["verify", "run", "--corpus", "few", "-q"]).exit_code == 0


def test_released_windows_of_score_machines_serve_small_images():
    corpus = corpus_of(20, 5)
    made = npgen.score_generate(corpus, 2, steps=4, progress=False)
    assert max(made.settings["windows"]) <= 9
    with pytest.raises(ValueError, match="each of windows must be odd, in 1…9, .*, got 11"):
        npgen.score_generate(corpus, 2, windows=[3, 11, 3, 3], steps=4, progress=False)
