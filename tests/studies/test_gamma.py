"""The γ study: one stored row per point, and the transition from generation to memorisation."""

from __future__ import annotations

import dataclasses
import json
import re

import corpora
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.evaluation import COPY
from npgen.studies import gamma_points
from npgen.studies.gamma import gamma_study, parse_gammas
from npgen.tokens.encode import encode_tokens
from npgen.tokens.store import Tokens

pytest.importorskip("matplotlib", reason="extra `figures` is not installed")

OPTIONS = {"n": 6, "twin_steps": 2, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def corpus(digits):
    """40 digits without labels to copy from, and 20 held out: nothing to train for scores."""
    return npgen.Corpus.from_arrays(digits.images[:40], heldout=npgen.Corpus.from_arrays(digits.images[40:]))


@pytest.fixture(scope="module")
def tokens(corpus):
    return encode_tokens(corpus, corpora.autoencoder(bits=6), progress=False)


@pytest.fixture(scope="module")
def done(corpus, tokens, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    return gamma_study(corpus, out, (1, 3, None), tokens=tokens, **OPTIONS), out


def test_there_is_one_row_per_sampler_and_range(done):
    result, _ = done
    assert [(row["kind"], row["gamma"], row.get("range")) for row in result.rows] == [
        ("pixels", "1", 1),
        ("pixels", "3", 3),
        ("pixels", "global", 7),
        ("tokens", "1", 2),
        ("tokens", "3", 6),
        ("tokens", "global", 14),
        ("twin", "1", 2),
        ("twin", "3", 6),
        ("twin", "global", 14),
        ("real held-out", None, None),
    ]


def test_with_global_range_a_sampler_of_tokens_copies_images(done):
    result, _ = done
    row = next(row for row in result.rows if (row["kind"], row["gamma"]) == ("tokens", "global"))
    assert row["decoded_copies"] >= 0.8


def test_measurements_equal_their_definitions(done, corpus, tokens):
    result, _ = done
    row = result.rows[4]
    config = npgen.Config(gamma=3, order="raster")
    samples = npgen.generate(corpus, 6, "local", config, 0, tokens=tokens, progress=False)
    for prefix, sources in (("", corpus.images), ("decoded_", tokens.decode(tokens.codes(range(40))))):
        errors = ((samples.images[:, None].astype(float) - sources[None]) ** 2).mean((2, 3, 4)).min(1)
        psnr = 10 * np.log10(255**2 / errors.clip(1 / 256))
        np.testing.assert_allclose(row[f"{prefix}psnr_50"], np.median(psnr))
        assert row[f"{prefix}copies"] == (psnr >= COPY).mean()
        assert row[f"{prefix}copies_low"] <= row[f"{prefix}copies"] <= row[f"{prefix}copies_high"]
    assert row["image_id_entropy"] == pytest.approx(npgen.entropy(samples, corpus).mean_image_id)


def test_pixels_are_those_of_generate(done, corpus):
    result, _ = done
    config = npgen.Config(window=7, sigma=7 / 6.4, locality=0, max_share=None)
    samples = npgen.generate(corpus, 6, "local", config, 0, progress=False)
    assert result.rows[1]["image_id_entropy"] == pytest.approx(npgen.entropy(samples, corpus).mean_image_id)
    assert "decoded_copies" not in result.rows[1]


def test_files(done):
    result, out = done
    table = (out / "table.md").read_text()
    assert table == result.markdown() + "\n"
    assert "No quality scores: the corpus has no labels to train a classifier on." in table
    assert "| twin | global | 14 |" in table and "| real held-out | – |" in table
    assert json.loads((out / "results.json").read_text())["facts"]["n"] == 6
    assert (out / "results.csv").read_text().count("\n") == 1 + len(result.rows)
    with Image.open(out / "gamma.png") as picture:
        assert picture.size[0] == 1005 and "npgen" in picture.info
    assert (out / "gamma.svg").stat().st_size > 10_000


def test_stored_rows_are_reused_and_a_longer_series_adds_to_them(done, corpus, tokens, monkeypatch):
    result, out = done
    measured = []
    real = gamma_points.PointRunner.measured

    def noted(self, point):
        measured.append((point.kind, point.gamma))
        return real(self, point)

    monkeypatch.setattr(gamma_points.PointRunner, "measured", noted)
    again = gamma_study(corpus, out, (1, 3, None), tokens=tokens, **OPTIONS)
    assert again.rows == result.rows and measured == []
    # 9 is more than the images have room for: it would repeat the global range.
    longer = gamma_study(corpus, out, (None, 9, 1, 2), tokens=tokens, kinds=("tokens", "pixels"), **OPTIONS)
    assert measured == [("tokens", 2), ("pixels", 2)]
    assert [(row["kind"], row["gamma"]) for row in longer.rows[:3]] == [
        ("tokens", "1"),
        ("tokens", "2"),
        ("tokens", "global"),
    ]
    # Settings of tokens are no part of other samplers' rows.
    measured.clear()
    config = npgen.Config(epsilon=0.3)
    gamma_study(corpus, out, (1,), tokens=tokens, config=config, **{**OPTIONS, "twin_steps": 3})
    assert measured == [("tokens", 1), ("twin", 1)]


def test_an_interrupted_study_is_resumed(corpus, tokens, tmp_path, monkeypatch, done):
    result, _ = done
    real, left = gamma_points.PointRunner.measured, [4]

    def interrupted(self, point):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, point)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gamma_points.PointRunner, "measured", interrupted)
        gamma_study(corpus, tmp_path / "out", (1, 3, None), tokens=tokens, **OPTIONS)
    assert len(list((tmp_path / "out" / "rows").iterdir())) == 4
    resumed = gamma_study(corpus, tmp_path / "out", (1, 3, None), tokens=tokens, **OPTIONS)

    def timeless(rows):
        return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]

    assert timeless(resumed.rows) == timeless(result.rows)


def test_a_part_of_the_corpus_as_sources(corpus, tokens, tmp_path):
    result = gamma_study(corpus, tmp_path / "out", (2,), images=15, tokens=tokens, **OPTIONS)
    assert result.facts["images"] == 15 and "15 of 40 images" in result.markdown()


def test_scores(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("npgen.evaluation.classifier_recipe._epochs", lambda shown, count: 1)
    heldout = npgen.Corpus.from_arrays(digits.images[40:], digits.labels[40:])
    corpus = npgen.Corpus.from_arrays(digits.images[:40], digits.labels[:40], heldout=heldout)
    result = gamma_study(corpus, tmp_path / "out", (2,), kinds=("pixels",), **OPTIONS)
    for row in result.rows:
        for name in ("inception_score", "frechet"):
            assert row[name] >= 0 and row[f"{name}_low"] is row[f"{name}_high"] is None  # too few for an interval
    assert result.rows[0]["inception_score"] >= 1
    assert "decoded_copies" not in result.rows[-1]  # there are no tokens


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gammas": ()}, ValueError, "gammas must be one or more ranges, each once, got ()"),
        ({"gammas": (1, 1)}, ValueError, "gammas must be one or more ranges, each once, got (1, 1)"),
        ({"gammas": (0,)}, ValueError, "gammas must be at least 1"),
        ({"gammas": ("2",)}, TypeError, "gammas must be a whole number, got '2'"),
        ({"gammas": (9,), "kinds": ("pixels",)}, ValueError, "gammas must be within the images, 7 at most, or global"),
        ({"kinds": ("words",)}, ValueError, "kinds must be one or more of pixels, tokens, twin, each once"),
        ({"kinds": "pixels"}, ValueError, "kinds must be one or more of pixels, tokens, twin, each once"),
        ({"n": 3}, ValueError, "n must be at least 4"),
        ({"images": 41}, ValueError, "images must be in 2…40, got 41"),
        ({"twin_steps": 0}, ValueError, "twin_steps must be at least 1"),
        ({"config": 1}, TypeError, "config must be of type Config or None, got int"),
        ({"config": npgen.Config(window=5)}, ValueError, "window must be 13 with tokens, got 5"),
        ({"seed": -1}, ValueError, "seed must be in 0…2⁶⁴ − 1, got -1"),
    ],
)
def test_bad_arguments(corpus, tokens, tmp_path, change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        gamma_study(corpus, tmp_path / "out", **{**OPTIONS, "gammas": (1,), "tokens": tokens, **change})
    assert not (tmp_path / "out").exists()


def test_tokens_must_be_decodable(corpus, tokens, tmp_path):
    bare = Tokens(tokens.planes, tokens.bits, None, tokens.corpus_hash)
    with pytest.raises(ValueError, match="tokens must have an autoencoder, as samples are measured in pixels, got"):
        gamma_study(corpus, tmp_path / "out", (1,), tokens=bare, **OPTIONS)


def test_a_damaged_row_is_refused(corpus, tokens, tmp_path):
    options = {**OPTIONS, "kinds": ("pixels",)}
    gamma_study(corpus, tmp_path / "out", (1,), **options)
    (file,) = (tmp_path / "out" / "rows").iterdir()
    file.write_text(json.dumps({"row": {"kind": "pixels"}}))
    with pytest.raises(ValueError, match="row .* must be as it was written .delete it to have it made again."):
        gamma_study(corpus, tmp_path / "out", (1,), **options)


def test_ranges_of_the_command_line():
    assert parse_gammas("1, 5,global") == [1, 5, None]
    with pytest.raises(ValueError, match="gammas must be whole numbers or global, with commas between them, got '1,x'"):
        parse_gammas("1,x")


def test_command(corpus, tokens, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = corpus.save("digits")
    dataclasses.replace(tokens, corpus_hash=saved.hash).save("digits/tokens")
    options = "--gammas 2,global -n 4 --twin-steps 1 --device cpu --quiet"
    result = CliRunner().invoke(app, f"gamma-study digits --out out {options}".split())
    assert result.exit_code == 0, result.output
    assert "| tokens | global | 14 |" in result.output and result.output.strip().endswith("out/gamma.png")
