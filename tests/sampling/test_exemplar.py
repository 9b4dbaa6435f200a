"""Textures of one exemplar: new by the defaults, exact in trace, verification and explanation, on any machine."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.sampling import PixelPlan, copy_quota, seed_shifts, shifts_of


@pytest.fixture(scope="module")
def exemplar():
    """Stripes, tiles and some noise, 40×44 in colour."""
    y, x = np.mgrid[:40, :44]
    wave = 90 + 60 * np.sin(x / 2.5) + 50 * np.sign(np.sin(y / 3))
    noise = np.random.default_rng(0).integers(0, 12, (40, 44, 3))
    image = np.clip(wave[:, :, None] * [1, 0.8, 0.5] + noise, 0, 255).astype(np.uint8)
    return npgen.Corpus.from_arrays(image[None], name="tiles")


BASE = {"window": 7, "size": (24, 26), "candidates": "all", "seed_size": 3, "max_copy": 0.05}


def run(corpus, n=2, seed=3, threads=None, **changes):
    config = npgen.Config(**(BASE | changes))
    return npgen.generate(corpus, n, "texture", config, seed, threads=threads, progress=False)


def counts_of(samples):
    """Pixels of each sample's most used shift."""
    shifts = shifts_of(samples.trace.arrays()[:3]).reshape(len(samples), -1, 3)
    return [np.unique(of_sample, axis=0, return_counts=True)[1].max() for of_sample in shifts]


SETTINGS = [
    {},
    {"candidates": "best"},
    {"sweeps": 1},
    {"k_min": 4, "epsilon": 0.3},
    {"tolerance": "corpus"},
    {"max_copy": None},
    {"exclude_seed_image": False},
    {"seed_at": (0, 5)},
    {"size": None},
]


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_a_texture_is_exact_and_new(exemplar, changes, tmp_path):
    samples = run(exemplar, **changes)
    config = samples.config
    np.testing.assert_array_equal(samples.replay(exemplar), samples.images)
    samples.save(tmp_path / "run")
    report = npgen.verify_run(tmp_path / "run", exemplar)
    assert report.ok, str(report)
    plan = PixelPlan(exemplar, "texture", config, 3)
    if config.max_copy is not None:
        assert max(counts_of(samples)) <= plan.copy_quota == int(0.05 * np.prod(plan.shape))
    sources = samples.trace.arrays()[:3]
    drawn = samples.trace.pool_size > 0
    same = (shifts_of(sources) == seed_shifts(sources, plan.rect)[:, None, None]).all(-1) & drawn
    assert same.any() != config.exclude_seed_image
    explainer = npgen.Explainer(samples, exemplar)
    for k, y, x in np.random.default_rng(0).choice(np.argwhere(drawn), 12, replace=False):
        found = explainer.explain(k, (y, x))
        assert len(found.pool) == samples.trace.pool_size[k, y, x]
        assert len(found.barred) == 0
        assert len(found.barred_pixels) >= (config.max_copy is not None and not drawn[k, y, x])
        in_pool = np.stack([found.pool.image_id, found.pool.y, found.pool.x], 1).tolist()
        assert not {tuple(row) for row in found.barred_pixels.tolist()} & {tuple(row) for row in in_pool}


@pytest.mark.parametrize("instructions", npgen._core.instruction_sets())
@pytest.mark.parametrize(("n", "threads"), [(1, 1), (1, 2), (3, 2), (2, 5)])
def test_samples_do_not_depend_on_the_machine(exemplar, instructions, n, threads, monkeypatch):
    expected = run(exemplar, 3, threads=1)
    monkeypatch.setenv("NPGEN_SIMD", instructions)
    found = run(exemplar, n, threads=threads)
    for mine, theirs in zip(found.trace.arrays(), expected.trace.arrays(), strict=True):
        np.testing.assert_array_equal(mine, theirs[:n])


def test_the_defaults_of_the_model_take_one_exemplar(exemplar, tmp_path, monkeypatch):
    monkeypatch.setenv("NPGEN_HOME", str(tmp_path))
    samples = npgen.generate(exemplar, 1, "texture", progress=False)
    assert samples.config == npgen.Config.of_model("texture") == npgen.Config.preset("texture")
    assert max(counts_of(samples)) <= int(0.05 * 40 * 44)
    exemplar.save(tmp_path / "corpora" / "tiles")
    words = ["generate", "tiles", "--model", "texture", "--size", "20", "21", "-n", "1", "-q"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, (result.output, result.exception)
    config = npgen.load_samples(tmp_path / "run").config
    assert (config.size, config.seed_size, config.candidates, config.max_copy) == ((20, 21), 3, "all", 0.05)


def test_a_dishonest_trace_is_found(exemplar, tmp_path):
    # Copied whole, by one shift: every pixel is a copy, and too many are in one piece.
    samples = run(exemplar, 1, exclude_seed_image=False)
    y, x = np.mgrid[:24, :26].astype(np.int32)
    samples.trace.y[:], samples.trace.x[:] = y, x
    samples.images[:] = exemplar.images[:, :24, :26]
    samples.save(tmp_path / "run")
    report = npgen.verify_run(tmp_path / "run", exemplar)
    assert not report.ok
    assert "its image gave 624 pixels by the same shift; the quota of max_copy is 31" in str(report)
    # The seed patch goes on as it does in the exemplar.
    free = run(exemplar, 1, max_copy=None, exclude_seed_image=False)
    barred = npgen.Samples(
        npgen.runs.RunFacts.from_json(
            "run", {**free.facts.to_json(), "config": run(exemplar, 1, max_copy=None).config.to_json(), "shards": []}
        ),
        free.images,
        free.trace,
        free.anchor,
        free.fallbacks,
    )
    barred.save(tmp_path / "barred")
    assert "its shift is barred: it is the seed patch's" in str(npgen.verify_run(tmp_path / "barred", exemplar))


def test_the_quota_of_a_shift_leaves_pixels_to_draw(digits, exemplar):
    def quota(corpus, share, frame, locality=False):
        return copy_quota(corpus, npgen.Config(max_copy=share), frame, locality)

    assert quota(exemplar, None, (24, 26)) is None
    assert quota(exemplar, 1.0, (24, 26)) == 624
    assert quota(exemplar, 1 / 624, (24, 26)) == 1  # 1,760 pixels, of which 623 and the seed's may be used up
    tiny = npgen.Corpus.from_arrays(exemplar.images[:, :5, :5])
    assert quota(tiny, 0.04, (24, 26)) is None  # 25 pixels, of which 25 and the seed's could be used up
    assert quota(tiny, 0.05, (24, 26)) == 31
    assert quota(digits, 0.5, (16, 16), True) == 128  # of 4 pixels at a corner, 1 may be used up
    assert quota(digits, 0.2, (16, 16), True) is None
    samples = npgen.generate(
        digits, 2, "local", npgen.Config(window=5, seed_size=4, max_copy=0.34, max_share=None), 3, progress=False
    )
    assert max(counts_of(samples)) <= int(0.34 * 256)


@pytest.mark.parametrize("share", [0, 1.5, float("nan")])
def test_shares_that_make_no_sense_are_refused(share):
    with pytest.raises(ValueError, match=f"max_copy must be a number above 0, at most 1, or None, got {share}"):
        npgen.Config(max_copy=share)


def test_one_image_that_can_not_serve_is_refused(exemplar):
    with pytest.raises(ValueError, match="corpus must be at least 2 images, as the seed's own is barred, got 1"):
        npgen.generate(exemplar, 1, "local", npgen.Config(window=5), progress=False)
    dot = npgen.Corpus.from_arrays(exemplar.images[:, :1, :1])
    with pytest.raises(ValueError, match="corpus must be at least 2 pixels, as the seed patch is not continued"):
        run(dot, seed_size=1)
    with pytest.raises(ValueError, match="split must be 'samples' or None with a corpus of one image, got 'corpus'"):
        npgen.generate(exemplar, 1, "texture", npgen.Config(**BASE), progress=False, split="corpus")


def test_seams_are_not_cut_where_shifts_are_limited(exemplar, digits):
    for corpus, changes in ((exemplar, {"max_copy": None}), (digits, {"size": (20, 20)})):
        with pytest.raises(ValueError, match="seams must be False with max_copy, or with one image"):
            run(corpus, seams=True, **changes)


SHORT_OF_MEMORY = """
import resource
import numpy as np
import npgen
corpus = npgen.Corpus.from_arrays(np.zeros((1, 3000, 3000, 1), np.uint8))
config = npgen.Config(size=(16, 16), window=5, seed_size=3)
npgen.generate(npgen.Corpus.from_arrays(corpus.images[:, :50, :50]), 1, "texture", config, progress=False)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20,) * 2)
try:
    npgen.generate(corpus, 1, "texture", config, progress=False)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_short_memory_is_an_error_of_python():
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "not enough memory for a source of 36096320 bytes\n"
