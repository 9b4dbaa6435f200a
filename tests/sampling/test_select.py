"""Several draws of each sample, of which the densest in the embedding is kept."""

import dataclasses

import numpy as np
import pytest

import npgen
from npgen.inspection import verify_run

CONFIG = npgen.Config(window=5, shortlist=8, seed_size=4, select=4)


def run(corpus, n=6, model="full", config=CONFIG, **options):
    return npgen.generate(corpus, n, model, config, 3, **({"encoder": "pixels", "progress": False} | options))


def test_the_densest_draw_is_kept(digits):
    samples = run(digits)
    assert samples.densities.shape == (6, 4)
    assert len(set(samples.kept)) > 1
    # The density of what was kept, by its definition.
    encoder = npgen.load_encoder("pixels", digits)
    keys = encoder.encode(digits.images).astype(np.float64)
    everything = np.ones((16, 16), bool)
    kept = encoder.encode(samples.images, everything) @ keys.T
    anchors = encoder.encode(digits.images[samples.anchor], everything) @ keys.T
    for k, anchor in enumerate(samples.anchor):
        others = np.delete(np.arange(len(digits)), anchor)
        duplicates = others[anchors[k][others] >= 0.99]
        nearest = np.sort(kept[k][np.setdiff1d(others, duplicates)])[::-1][:20]
        assert samples.densities[k].max() == pytest.approx(nearest.mean(), abs=1e-6)
    # The first draw alone is another run: its densities are the first of these.
    assert (samples.densities.max(1) >= samples.densities[:, 0]).all()


def test_draws_use_halves_of_longer_shortlists(digits):
    samples = run(digits, config=dataclasses.replace(CONFIG, anchor_weight=1))
    whole = run(digits, config=npgen.Config(window=5, shortlist=16, seed_size=4, anchor_weight=1))
    for k in range(6):
        half, both = (npgen.explain(one, digits, k, (0, 0)).shortlist for one in (samples, whole))
        assert len(half) == 8
        assert np.isin(half, both).all()


@pytest.mark.parametrize("changes", [{}, {"sweeps": 1}, {"anchor_weight": 0.5, "stage_pixels": 40}], ids=str)
@pytest.mark.parametrize("model", ["full", "conditional", "semantic"])
def test_batches_threads_and_parts_make_the_same(digits, model, changes, tmp_path):
    config = dataclasses.replace(CONFIG, **changes)
    samples = run(digits, model=model, config=config, out=tmp_path / "run")
    arrays = samples.arrays()
    for options in [{"batch_size": 1}, {"batch_size": 4, "threads": 1}]:
        for ours, theirs in zip(run(digits, model=model, config=config, **options).arrays(), arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    part = run(digits, 2, model, config, first=3)
    np.testing.assert_array_equal(part.images, samples.images[3:5])
    np.testing.assert_array_equal(part.densities, samples.densities[3:5])
    # Explained and verified, the kept draws are made again.
    explainer = npgen.Explainer(samples, digits)
    for k, y, x in np.random.default_rng(0).choice(np.argwhere(samples.trace.pool_size > 0), 20, replace=False):
        assert len(explainer.explain(k, (y, x)).pool) == samples.trace.pool_size[k, y, x]
    assert verify_run(tmp_path / "run", digits).ok


def test_altered_traces_are_found_by_making_the_kept_draws_again(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    run(corpus, out=tmp_path / "run")
    (file,) = (tmp_path / "run").glob("*/pool_size.npy")
    data = bytearray(file.read_bytes())
    data[-4] ^= 1
    file.write_bytes(bytes(data))
    report = verify_run(tmp_path / "run", corpus)
    assert [(one.sample, one.y, one.x) for one in report.differences] == [(5, 15, 15)]
    (densities,) = (tmp_path / "run").glob("*/densities.npy")
    data = bytearray(densities.read_bytes())
    data[-4] ^= 1
    densities.write_bytes(bytes(data))
    problems = verify_run(tmp_path / "run", corpus).problems
    assert any("can't be generated again: its densities were altered" in problem for problem in problems)


def test_it_needs_an_embedding_and_long_shortlists(digits):
    for model in ("local", "texture", "class"):
        with pytest.raises(ValueError, match="select must be 1 for a model without embedding, got 4"):
            run(digits, model=model)
    with pytest.raises(
        ValueError, match=r"shortlist must be in 1..=29 \(half of the corpus's images, the seed's own b"
    ):
        run(digits, config=dataclasses.replace(CONFIG, shortlist=30))
    with pytest.raises(ValueError, match="select must be in 1…1000, got 0|select must be .*, got 0"):
        npgen.Config(select=0)


def test_one_draw_has_no_densities(digits):
    assert run(digits, 1, config=dataclasses.replace(CONFIG, select=1)).densities is None
