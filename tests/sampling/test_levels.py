"""Coarse to fine: levels of a pyramid, what a finer level sees of the coarser one, and what is kept of them."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.runs import CoarseLevels, at_level, merge
from npgen.sampling import Library, PixelPlan, shrink
from npgen.sampling.pyramid import Guide

BASE = {"window": 5, "shortlist": 10, "seed_size": 4, "query_expansion": 5, "levels": 3}


def run(corpus, n=5, model="full", **options):
    changes = {name: options.pop(name) for name in list(options) if name in npgen.Config.__dataclass_fields__}
    config = npgen.Config(**(BASE | changes))
    return npgen.generate(corpus, n, model, config, 3, **({"encoder": "pixels", "progress": False} | options))


def same(a, b):
    return all(np.array_equal(left, right) for left, right in zip(a.arrays(), b.arrays(), strict=True))


def test_images_shrink_by_means_over_squares():
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 12, 3), np.uint8)
    for level in (0, 1, 2):
        side = 2**level
        for place in np.ndindex(7, 8 // side, 12 // side, 3):
            k, y, x, c = place
            square = images[k, y * side : (y + 1) * side, x * side : (x + 1) * side, c].astype(float)
            assert shrink(images, level)[place] == np.floor(square.mean() + 0.5)


def definition(guide, canvas, image, pixel, displacement):
    """The guide's distance by its equation, tap by tap."""
    config, (height, width) = guide.coarser.config, guide.coarser.shape
    half, sigma = config.window // 2, config.gaussian_sigma
    (p_y, p_x), (q_y, q_x) = (
        (at // 2 for at in pixel),
        (int(np.floor((at + d) / 2)) for at, d in zip(pixel, displacement, strict=True)),
    )
    total = weights = 0.0
    for dy in range(-half, half + 1):
        for dx in range(-half, half + 1):
            if not (0 <= p_y + dy < height and 0 <= p_x + dx < width):
                continue
            g = np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
            theirs = image[min(max(q_y + dy, 0), height - 1), min(max(q_x + dx, 0), width - 1)].astype(float)
            total += g * ((canvas[p_y + dy, p_x + dx] - theirs) ** 2).mean()
            weights += g
    return total / weights


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_the_guide_is_its_definition(colours, radius):
    config = npgen.Config(window=5, seed_size=4, shortlist=10, locality=radius, levels=2, coarse_weight=0.5)
    plan = PixelPlan(colours, "full", config, 0)
    coarser, finest = plan.levels
    assert finest is plan and coarser.shape == (6, 6) and coarser.config.window == 5
    canvases = shrink(colours.images[[3, 40]], 1)
    guide = Guide(plan, coarser, canvases, Library(colours))
    ids, ends = np.array([0, 5, 9, 2, 40], np.int32), np.array([3, 5])
    pixels = np.array([[0, 0], [5, 6], [11, 3], [8, 11]], np.int32)
    added = guide.added(pixels, (ids, ends))
    assert added.shape == (5, 4, 2 * radius + 1, 2 * radius + 1) and added.dtype == np.uint32
    random = np.random.default_rng(radius)
    for _ in range(80):
        k, p, dy, dx = (int(random.integers(extent)) for extent in added.shape)
        canvas, image = canvases[int(k >= 3)].astype(float), shrink(colours.images[ids[k] : ids[k] + 1], 1)[0]
        expected = definition(guide, canvas, image, pixels[p], (dy - radius, dx - radius))
        # The Gaussian is rounded to 1/256 along each axis.
        assert added[k, p, dy, dx] / 256 == pytest.approx(0.5 * expected, rel=0.02, abs=0.01)


def test_one_level_is_the_same_loop_run_once(digits):
    plain = npgen.generate(
        digits, 4, "full", npgen.Config(**(BASE | {"levels": 1})), 3, encoder="pixels", progress=False
    )
    assert plain.coarse is None
    # A coarser canvas that weighs nothing changes nothing on the finest level.
    guided = run(digits, 4, coarse_weight=0)
    np.testing.assert_array_equal(guided.images, plain.images)
    np.testing.assert_array_equal(guided.trace.distance, plain.trace.distance)
    assert (run(digits, 4).images != plain.images).any()


@pytest.mark.parametrize("model", ["full", "conditional"])
def test_every_level_keeps_the_rules(digits, model):
    samples = run(digits, 6, model, max_share=0.2, locality=1)
    np.testing.assert_array_equal(samples.replay(digits), samples.images)
    for level, side in ((1, 8), (2, 4)):
        part = at_level(samples, level)
        assert part.images.shape == (6, side, side, 1)
        small, trace = shrink(digits.images, level), part.trace
        np.testing.assert_array_equal(small[trace.image_id, trace.y, trace.x], part.images)
        y, x, extent, _ = part.config.seed_rect(side, side)
        drawn = np.ones((side, side), bool)
        drawn[y : y + extent, x : x + extent] = False
        assert (trace.image_id[:, ~drawn] == samples.anchor[:, None]).all()
        assert (trace.image_id[:, drawn] != samples.anchor[:, None]).all()
        assert (trace.pool_size[:, drawn] > 0).all() and (trace.pool_size[:, ~drawn] == 0).all()
        rows, columns = np.indices((side, side))
        assert max(abs(trace.y - rows).max(), abs(trace.x - columns).max()) <= 1
        for ids in trace.image_id:
            assert np.unique(ids[drawn], return_counts=True)[1].max() <= int(0.2 * side * side)
        if model == "conditional":
            labels = digits.labels[trace.image_id]
            assert (labels == digits.labels[samples.anchor][:, None, None]).all()


def test_bytes_do_not_depend_on_threads_and_batch(colours):
    expected = run(colours, 6, seed_size=5, seed_at=(2, 3))
    for options in ({"threads": 1}, {"batch_size": 2}, {"threads": 3, "batch_size": 5}):
        assert same(run(colours, 6, seed_size=5, seed_at=(2, 3), **options), expected)
    assert same(run(colours, 2, seed_size=5, seed_at=(2, 3), first=3), expected[3:5])


@pytest.mark.parametrize(
    "changes", [{}, {"semantic_weight": 2000}, {"sweeps": 1}, {"select": 2}, {"levels": 2, "locality": 4}], ids=str
)
def test_explain_finds_the_pools_that_were_drawn_from(digits, changes):
    samples = run(digits, 2, **changes)
    explainer = npgen.Explainer(samples, digits)
    for k in range(2):
        for y, x in npgen.fill_order(16, 16, samples.config.seed_rect(16, 16), 5).pixels[::13].tolist():
            found = explainer.explain(k, (y, x))
            assert len(found.pool) == samples.trace.pool_size[k, y, x]
            assert np.float32(found.pool.distance[found.drawn]) == samples.trace.distance[k, y, x]
            assert (found.added <= found.pool.distance).all()


def test_runs_keep_all_levels(digits, tmp_path):
    corpus = digits.save(tmp_path / "digits")
    samples = run(corpus, 5)
    samples.save(tmp_path / "saved")
    assert same(npgen.load_samples(tmp_path / "saved"), samples)
    assert same(run(corpus, 5, out=tmp_path / "run"), samples)
    for first, n in ((0, 2), (2, 3)):
        run(corpus, n, first=first, out=tmp_path / f"part{first}")
    merge([tmp_path / "part2", tmp_path / "part0"], tmp_path / "merged")
    assert same(npgen.load_samples(tmp_path / "merged"), samples)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    del manifest["config"]["levels"]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="coarse must be there where the settings name levels, and only there"):
        npgen.load_samples(tmp_path / "run")


def test_verify_checks_every_level(digits, tmp_path):
    corpus = digits.save(tmp_path / "digits")
    run(corpus, 3, out=tmp_path / "run")
    assert npgen.verify_run(tmp_path / "run", corpus).ok
    shard = tmp_path / "run" / "00000000"
    kept = {name: np.load(shard / f"coarse_{name}.npy") for name in ("sources", "images")}

    def problems(name, change):
        array = kept[name].copy()
        change(array)
        np.save(shard / f"coarse_{name}.npy", array)
        found = npgen.verify_run(tmp_path / "run", corpus).problems
        np.save(shard / f"coarse_{name}.npy", kept[name])
        return found

    def value(images):
        images[1, 64 + 3] ^= 255  # level 2, pixel (0, 3)

    def far(sources):
        sources[2, 7, 1:3] = 7, 0  # level 1, pixel (0, 7)

    def beyond(sources):
        sources[0, 64, 1] = 4  # level 2, pixel (0, 0): it has four rows

    def size(sources):
        sources[0, 0, 3] = sources[0, 0, 3] % 10 + 1

    assert "sample 1, level 2, pixel (0, 3): the values differ" in problems("images", value)
    assert any(
        "level 1, pixel (0, 7): it must be within 1 pixels of its source, got 7" in p for p in problems("sources", far)
    )
    assert any("level 2, pixel (0, 0): there is no such pixel in the corpus" in p for p in problems("sources", beyond))
    assert any("level 1, pixel (0, 0): generated again it has pool_size" in p for p in problems("sources", size))
    assert npgen.verify_run(tmp_path / "run", corpus).ok


def test_a_shard_without_one_of_the_arrays_is_refused(digits, tmp_path):
    run(digits, 2, out=tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["shards"][0]["sha256"]["coarse_distances"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="must have all arrays of its coarser levels, got one without 'coarse_dist"):
        npgen.load_samples(tmp_path / "run")


def test_levels_of_other_shapes_are_refused(digits):
    samples = run(digits, 2)
    for levels in (2, 4):
        with pytest.raises(ValueError, match=r"coarse must be of shape \(2, 80, 1\), got \(2, (64|84), 1\)"):
            samples_with(samples, CoarseLevels.empty(2, (16, 16), 1, levels))
    with pytest.raises(TypeError, match=r"coarse.images must be a 3-dimensional array of uint8"):
        CoarseLevels(np.zeros((2, 3), np.uint8), np.zeros((2, 3, 4), np.int32), np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="level must be in 0…2, got 3"):
        at_level(samples, 3)


def samples_with(samples, coarse):
    from dataclasses import replace

    return replace(samples, coarse=coarse)


def test_bad_settings_are_refused(digits):
    for bad in (0, 9):
        with pytest.raises(ValueError, match=f"levels must be in 1…8, got {bad}"):
            npgen.Config(levels=bad)
    with pytest.raises(ValueError, match="coarse_weight must be in 0…1000000, got -1"):
        npgen.Config(coarse_weight=-1)
    for model in ("local", "texture", "class", "semantic"):
        with pytest.raises(ValueError, match="levels must be 1 for a model without embedding or windows, got 3"):
            run(digits, model=model)
    with pytest.raises(ValueError, match="levels must be 1 where tolerance is relative to the corpus, got 3"):
        run(digits, tolerance="corpus")
    with pytest.raises(ValueError, match="anchor_weight must be 1 where there are levels, got 0.5"):
        run(digits, anchor_weight=0.5)
    for levels in (4, 6):
        message = (
            rf"levels must be such that 16×16 is a multiple of 2\^\(levels − 1\), at least 3 times it, got {levels}"
        )
        with pytest.raises(ValueError, match=message):
            run(digits, levels=levels)


def test_the_command_line_and_the_report_show_levels(digits, tmp_path):
    corpus = digits.save(tmp_path / "digits")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in BASE.items()]
    command = ["generate", str(corpus.path), "-n", "2", "--encoder", "pixels", "--out", str(tmp_path / "run"), "-q"]
    assert CliRunner().invoke(app, [*command, *options]).exit_code == 0
    samples = npgen.load_samples(tmp_path / "run")
    assert same(samples, run(corpus, 2, seed=3) if samples.seed == 3 else samples)
    npgen.report(samples, corpus, tmp_path / "report.html", progress=False)
    page = (tmp_path / "report.html").read_text()
    assert '"levels": [{' in page and "source images, most of image" in page


def test_ranks_that_divide_the_corpus_make_the_same_run(digits, tmp_path):
    corpus = digits.save(tmp_path / "digits")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in (BASE | {"semantic_weight": 900}).items()]
    # Three samples for two ranks, one at a time: in the last batch a rank has none.
    call = ["generate", corpus.path, *settings, "--encoder=pixels", "-n", 3, "--batch-size=1", "--seed=3", "-q"]
    command = [sys.executable, "-m", "npgen_command", *map(str, call), "--split=corpus", f"--out={tmp_path / 'run'}"]
    environment = {**os.environ, **place, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(command, env={**environment, "RANK": rank}, stderr=subprocess.PIPE, text=True) for rank in "01"
    ]
    errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    assert same(npgen.load_samples(tmp_path / "run"), run(corpus, 3, semantic_weight=900))
