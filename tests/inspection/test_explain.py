"""The pool of a pixel, recomputed as it was when the pixel was drawn."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen import Explainer
from npgen.cli import app
from npgen.inspection import explain


def run(corpus, model="full", n=4, **changes):
    config = npgen.Config(**({"window": 5, "shortlist": 20, "seed_size": 4} | changes))
    return npgen.generate(corpus, n, model, config, 3, first=5, encoder="pixels", progress=False)


SETTINGS = [
    ("full", {}),
    ("full", {"anchor_weight": 1, "candidates": "all", "k_min": 3}),
    ("full", {"anchor_weight": 0, "stage_pixels": 7, "quota": 3}),
    ("full", {"semantic": "threshold", "epsilon": 0.02, "shortlist": 2}),
    ("full", {"sweeps": 2, "quota": 4}),
    ("full", {"sweeps": 1, "anchor_weight": 1}),
    ("full", {"tolerance": "corpus", "epsilon": 0.5, "candidates": "all", "semantic": "threshold"}),
    ("local", {"tolerance": "corpus", "quota": 3, "k_min": 2}),
    ("local", {"exclude_seed_image": False}),
    ("local", {"sweeps": 1, "quota": 2}),
    ("texture", {"size": (15, 11), "seed_at": (1, 2)}),
    ("semantic", {}),
    ("class", {"sweeps": 1, "quota": 5}),
    ("conditional", {"max_share": 0.2, "shortlist": 8}),
    ("full", {"max_share": 0.1, "sweeps": 2, "quota": 6}),
    ("semantic", {"max_share": 0.1}),
    ("texture", {"max_share": 0.1, "size": (15, 11)}),
    ("texture", {"max_copy": 0.05, "size": (15, 11), "candidates": "all", "sweeps": 1}),
    ("full", {"max_copy": 0.3, "quota": 6}),
    ("full", {"select": 3, "shortlist": 8, "sweeps": 1}),
]


@pytest.mark.parametrize(("model", "changes"), SETTINGS)
def test_the_drawn_candidate_is_in_a_pool_of_the_size_in_the_trace(colours, model, changes, tmp_path):
    samples = run(colours, model, **changes)
    samples.save(tmp_path / "run")
    samples = npgen.load_samples(tmp_path / "run")
    explainer = Explainer(samples, colours)
    drawn = np.argwhere(samples.trace.pool_size > 0)
    trace = samples.trace
    for k, y, x in np.random.default_rng(0).choice(drawn, 60, replace=False):
        found = explainer.explain(k, (y, x))
        assert len(found.pool) == trace.pool_size[k, y, x]
        assert np.float32(found.pool.distance[found.drawn]) == trace.distance[k, y, x]
        address = trace.image_id[k, y, x], trace.y[k, y, x], trace.x[k, y, x]
        assert (found.pool.image_id[found.drawn], found.pool.y[found.drawn], found.pool.x[found.drawn]) == address
        assert not found.known[y, x]
        assert found.probability.sum() == pytest.approx(1)
        if found.shortlist is not None:
            assert np.isin(found.pool.image_id, found.shortlist).all()
        assert not np.isin(found.pool.image_id, found.barred).any()


def test_steps_follow_the_fill(colours):
    samples = run(colours)
    explainer = Explainer(samples, colours)
    order = npgen.fill_order(12, 12, samples.config.seed_rect(12, 12), 5)
    for step in (0, 17, len(order.pixels) - 1):
        found = explainer.explain(1, tuple(order.pixels[step]))
        assert found.step == step
        assert found.known.sum() == 16 + step
        assert (found.canvas[found.known] == samples.images[1][found.known]).all()
        assert (found.canvas[~found.known] == 0).all()


def test_no_encoder_is_needed(tmp_path, digits):
    digits.save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    run(corpus).save(tmp_path / "run")
    code = (
        "import sys, npgen\nfrom npgen import explain\n"
        "corpus, samples = npgen.load_corpus(sys.argv[1]), npgen.load_samples(sys.argv[2])\n"
        "print(len(explain(samples, corpus, 0, (0, 3)).pool))\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "corpus", tmp_path / "run"], check=True)


def test_bad_arguments_are_refused(colours, digits):
    samples = run(colours)

    def message(error, *arguments, of=samples, corpus=colours):
        with pytest.raises(error) as caught:
            explain(of, corpus, *arguments)
        return str(caught.value)

    assert message(ValueError, 4, (0, 0)) == "sample must be in 0…3, got 4"
    assert message(ValueError, -1, (0, 0)) == "sample must be in 0…3, got -1"
    assert message(ValueError, 0, (0, 12)) == "pixel must be inside the 12×12 frame, got (0, 12)"
    assert message(ValueError, 0, (5, 5)) == "pixel must be outside the seed patch, which was not drawn, got (5, 5)"
    assert message(TypeError, 0, 5) == "pixel must be whole numbers (y, x), got 5"
    assert message(TypeError, 0.5, (0, 1)) == "sample must be a whole number, got 0.5"
    assert "corpus must be the one the samples were made from" in message(ValueError, 0, (0, 0), corpus=digits)
    silent = dataclasses.replace(samples, queries=None)
    assert message(ValueError, 0, (0, 0), of=silent) == "samples must be with the queries of their run, got None"
    bare = npgen.Corpus.from_arrays(colours.images, colours.labels, colours.classes)
    assert "corpus must be one with keys of encoder" in message(ValueError, 0, (0, 0), corpus=bare)
    image_id = samples.trace.image_id.copy()
    image_id[0, 0, 0] = samples.anchor[0]
    forged = dataclasses.replace(samples, trace=dataclasses.replace(samples.trace, image_id=image_id))
    assert "must be one of its pool (see npgen verify), got" in message(ValueError, 0, (0, 0), of=forged)


def test_the_command_shows_the_pool(tmp_path, digits):
    digits.save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    samples = run(corpus, k_min=4)
    samples.save(tmp_path / "run")
    options = [str(tmp_path / "run"), "1", "2", "3", "--corpus", str(tmp_path / "corpus"), "--top", "2"]
    result = CliRunner().invoke(app, ["explain", *options])
    assert result.exit_code == 0, result.output
    found = explain(samples, corpus, 1, (2, 3))
    assert f"Sample 1 of the run, pixel (2, 3), step {found.step}: {found.known.sum()} pixels known" in result.stdout
    assert f"a shortlist of 20 images, 1 barred, a pool of {len(found.pool)}." in result.stdout
    assert f"| {found.drawn + 1} (drawn) | {found.pool.image_id[found.drawn]} |" in result.stdout
    assert " more; --top " in result.stdout
    options[3] = "99"
    result = CliRunner().invoke(app, ["explain", *options])
    assert (result.exit_code, result.stderr) == (1, "npgen: pixel must be inside the 16×16 frame, got (2, 99)\n")
