"""Runs of tokens: the sampler's definition, the same bytes however it is run, and all that is made of its samples."""

import json
import subprocess
import sys

import numpy as np
import pytest
from corpora import make_autoencoder
from typer.testing import CliRunner

import npgen
from npgen import _core
from npgen.cli import app
from npgen.config import TOKEN_SETTINGS
from npgen.runs.folder import merge
from npgen.runs.samples import TRACE_DTYPES
from npgen.sampling.order import drawn_order
from npgen.sampling.token_run import token_distributions
from npgen.tokens.encode import encode_tokens

LOCAL = {"gamma": 2, "order": "raster"}


def run(corpus, tokens, n=6, model=None, config=None, **options):
    options = {"seed": 3, "progress": False} | options
    if config is None:
        options = LOCAL | options
    return npgen.generate(corpus, n, model, config, tokens=tokens, **options)


def contents(samples):
    return [array.tobytes() for array in samples.arrays()]


def around(grid, cell, known, gamma, metric):
    """Cells of a context, plainly."""
    cells = []
    for y in range(grid[0]):
        for x in range(grid[1]):
            dy, dx = abs(y - cell[0]), abs(x - cell[1])
            near = max(dy, dx) if metric == "chebyshev" else np.hypot(dy, dx)
            if known[y, x] and (y, x) != tuple(cell) and (gamma is None or near <= gamma):
                cells.append((y, x))
    return cells


def check_draws(samples, tokens, barred=None, ids=None):
    """Compare every draw with its pool: who is in it, and how far away."""
    config, stride = samples.config, tokens.stride
    known = np.zeros(tokens.grid, bool)
    y, x, height, width = config.seed_cells(tokens.grid, stride)
    known[y : y + height, x : x + width] = True
    pixels = drawn_order(samples).pixels
    planes = np.unpackbits(tokens.planes, axis=2, bitorder="little")  # (h, w, 8Y, N)
    codes = np.unpackbits(samples.codes, axis=3, bitorder="little")  # (n, h, w, 8Y)
    for cell in pixels[:: stride**2] // stride:
        context = around(tokens.grid, cell, known, config.gamma, config.metric)
        for k in range(len(samples)):
            distance = np.zeros(len(tokens), int)
            for at in context:
                distance += (planes[at] != codes[k][at][:, None]).sum(0)
            candidates = np.arange(len(tokens)) if ids is None else ids[k]
            if barred is not None:
                candidates = candidates[candidates != barred[k]]
            order = candidates[np.argsort(distance[candidates], kind="stable")]
            near = (1 + config.epsilon) * distance[order[0]]
            pool = order[: max(config.k_min, int((distance[order] <= near).sum()))]
            top = tuple(cell * stride)
            trace = samples.trace
            source = trace.image_id[k][top]
            assert source in pool
            assert trace.pool_size[k][top] == len(pool)
            compared = max(1, len(context) * tokens.bits)
            assert trace.distance[k][top] == np.float32(distance[source]) / np.float32(compared)
            np.testing.assert_array_equal(samples.codes[k][tuple(cell)], tokens.planes[tuple(cell)][:, source])
        known[tuple(cell)] = True


@pytest.mark.parametrize(
    "config",
    [
        npgen.Config(gamma=2, order="raster"),
        npgen.Config(gamma=None, order="raster", epsilon=0.3),
        npgen.Config(gamma=3, metric="l2", order="raster", k_min=5),
        npgen.Config(gamma=2, order="rings", seed_size=3),
        npgen.Config(order="rings", seed_size=4, seed_at=(0, 6), epsilon=0),
    ],
)
def test_every_draw_is_from_the_pool_of_the_definition(digits, digit_tokens, config):
    samples = run(digits, digit_tokens, 3, config=config)
    check_draws(samples, digit_tokens, barred=samples.anchor if config.order == "rings" else None)


def test_tokens_of_several_bytes_and_classes(colours, colour_tokens):
    check_draws(run(colours, colour_tokens, 2), colour_tokens)
    config = npgen.Config(gamma=1, order="rings", seed_size=2)
    samples = run(colours, colour_tokens, 4, "class", config)
    labels = colours.labels[samples.anchor]
    check_draws(samples, colour_tokens, samples.anchor, [np.flatnonzero(colours.labels == label) for label in labels])


def test_the_trace_is_of_pixels_inside_their_cells(digits, digit_tokens):
    for model in ("local", "texture"):
        trace = run(digits, digit_tokens, 3, model).trace
        rows, columns = np.indices((16, 16))
        for part, place in ((trace.y, rows), (trace.x, columns)):
            np.testing.assert_array_equal(part % 2, np.broadcast_to(place % 2, part.shape))
        far = np.maximum(np.abs(trace.y - rows), np.abs(trace.x - columns)).max()
        assert far == 0 if model == "local" else far > 4
        for part in trace.arrays()[0], trace.distance, trace.pool_size:
            np.testing.assert_array_equal(part, part[:, ::2, ::2].repeat(2, 1).repeat(2, 2))


def test_images_are_the_decoded_codes(colours, colour_tokens):
    samples = run(colours, colour_tokens, 5)
    np.testing.assert_array_equal(samples.images, colour_tokens.decode(samples.codes))
    assert samples.tokens_id == colour_tokens.id
    assert samples.provenance()["tokens"] == colour_tokens.id


def test_with_rings_the_seed_patch_is_the_anchor_s(digits, digit_tokens):
    samples = run(digits, digit_tokens, 5, config=npgen.Config(gamma=2, seed_size=5))
    seed = samples.trace.pool_size == 0
    assert seed[0].sum() == 36  # five pixels take three cells of two
    codes = digit_tokens.codes(samples.anchor)
    np.testing.assert_array_equal(samples.codes[seed[:, ::2, ::2]], codes[seed[:, ::2, ::2]])
    np.testing.assert_array_equal(samples.trace.image_id == samples.anchor[:, None, None], seed)


def test_at_global_range_and_without_tolerance_samples_are_recalled(digits, digit_tokens):
    samples = run(digits, digit_tokens, 8, config=npgen.Config(order="raster", epsilon=0))
    known = {codes.tobytes() for codes in digit_tokens.codes(np.arange(60))}
    assert sum(codes.tobytes() in known for codes in samples.codes) == 8


@pytest.mark.parametrize("model", ["local", "texture", "class"])
@pytest.mark.parametrize("draw", ["pool", "histogram"])
def test_same_bytes_whatever_threads_batches_and_first(digits, digit_tokens, model, draw):
    config = npgen.Config(gamma=2, order="raster" if draw == "pool" else "rings", draw=draw, seed_size=4, sweeps=1)
    whole = run(digits, digit_tokens, 9, model, config, threads=1)
    for threads, batch_size in [(2, 64), (2, 1), (3, 2)]:
        again = run(digits, digit_tokens, 9, model, config, threads=threads, batch_size=batch_size)
        assert contents(again) == contents(whole)
    part = run(digits, digit_tokens, 3, model, config, first=5)
    assert contents(part) == contents(whole[5:8])


def test_same_bytes_on_every_instruction_set(colours, colour_tokens, monkeypatch):
    expected = contents(run(colours, colour_tokens, 3))
    for name in _core.instruction_sets():
        monkeypatch.setenv("NPGEN_SIMD", name)
        assert contents(run(colours, colour_tokens, 3)) == expected, name


def test_settings_matter(digits, digit_tokens):
    changes = [
        {},
        {"gamma": 1},
        {"gamma": None},
        {"metric": "l2"},
        {"order": "rings"},
        {"draw": "histogram"},
        {"draw": "histogram", "flip": 0.2},
        {"k_min": 4},
        {"sweeps": 1},
    ]
    configs = [npgen.Config(**({"gamma": 2, "order": "raster"} | change)) for change in changes]
    assert len({contents(run(digits, digit_tokens, 4, config=config))[0] for config in configs}) == len(changes)


def test_noisy_copies_differ_from_their_sources_as_often_as_flips_say(digits, digit_tokens):
    config = npgen.Config(gamma=1, order="raster", draw="histogram", flip=0.1)
    samples = run(digits, digit_tokens, 40, config=config)
    cells = [part[:, ::2, ::2] for part in samples.trace.arrays()]
    rows, columns = np.indices((8, 8))
    sources = digit_tokens.planes[rows, columns, 0, cells[0]]
    flips = np.bitwise_count(sources ^ samples.codes[..., 0]).sum() / (samples.codes.size * 6)
    assert abs(flips - 0.1) < 0.01  # four standard errors are 0.0097


def test_distributions_are_those_of_the_sampler(digits, digit_tokens):
    config = npgen.Config(gamma=2, order="raster", flip=0.05)
    codes = digit_tokens.codes(np.arange(5))
    found = token_distributions(digit_tokens, codes, (3, 4), config, barred=np.arange(5))
    known = np.zeros((8, 8), bool)
    known.reshape(-1)[: 3 * 8 + 4] = True
    context = around((8, 8), (3, 4), known, 2, "chebyshev")
    values = np.arange(64)
    for k, distribution in enumerate(found):
        distance = sum(np.bitwise_count(digit_tokens.planes[at][0] ^ codes[k][at][0]).astype(int) for at in context)
        weight = (0.05 / 0.95) ** (distance - distance.min()) * (np.arange(60) != k)
        differ = np.bitwise_count(values[:, None] ^ digit_tokens.planes[3, 4, 0]).astype(int)  # (64, N)
        expected = (weight * 0.05**differ * 0.95 ** (6 - differ)).sum(1)
        np.testing.assert_allclose(distribution, expected / expected.sum(), rtol=1e-9, atol=1e-15)


def test_runs_are_saved_gone_on_with_and_merged(digits, digit_tokens, tmp_path):
    whole = run(digits, digit_tokens, 7, out=tmp_path / "whole")
    loaded = npgen.load_samples(tmp_path / "whole")
    assert contents(loaded) == contents(whole)
    assert loaded.tokens_id == digit_tokens.id
    assert loaded.config == whole.config
    whole.save(tmp_path / "saved")
    assert contents(npgen.load_samples(tmp_path / "saved")) == contents(whole)
    run(digits, digit_tokens, 7, out=tmp_path / "whole")  # goes on, with nothing left to do
    with pytest.raises(ValueError, match="run .* must be of config: gamma 3, or another folder, got 2"):
        run(digits, digit_tokens, 7, out=tmp_path / "whole", gamma=3)
    for first, n in ((0, 3), (3, 4)):
        run(digits, digit_tokens, n, first=first, out=tmp_path / f"part{first}")
    merge([tmp_path / "part3", tmp_path / "part0"], tmp_path / "merged")
    assert contents(npgen.load_samples(tmp_path / "merged")) == contents(whole)


def test_runs_of_before_tokens_load_and_go_on(digits, tmp_path):
    config = npgen.Config(window=5, seed_size=4)
    made = npgen.generate(digits, 3, "local", config, out=tmp_path / "run", progress=False)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text("utf-8"))
    assert manifest["version"] == 2
    del manifest["tokens"]
    for name in TOKEN_SETTINGS:
        del manifest["config"][name]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert contents(npgen.load_samples(tmp_path / "run")) == contents(made)
    again = npgen.generate(digits, 3, "local", config, out=tmp_path / "run", progress=False)
    assert contents(again) == contents(made)
    digits.save(tmp_path / "digits")
    assert npgen.verify_run(tmp_path / "run", tmp_path / "digits").ok


def test_a_run_is_verified_by_growing_and_decoding_it_again(digits, digit_tokens, tmp_path):
    config = npgen.Config(gamma=2, order="raster", draw="histogram")
    run(digits, digit_tokens, 5, config=config, out=tmp_path / "run")
    report = npgen.verify_run(tmp_path / "run", digits, tokens=digit_tokens)
    assert (report.ok, report.pixels) == (True, 5 * 256)
    for key, dtype in {"images": np.uint8, "codes": np.uint8, **TRACE_DTYPES}.items():
        path = tmp_path / "run" / "00000000" / f"{key}.npy"
        before = path.read_bytes()
        array = np.load(path)
        array.reshape(-1)[-1] += dtype(1)
        np.save(path, array)
        report = npgen.verify_run(tmp_path / "run", digits, tokens=digit_tokens)
        assert len(report.problems) == 1
        assert "it was altered" in report.problems[0]
        assert report.different == (4 if key == "codes" else 1), key
        assert f"sample 4, y {14 if key == 'codes' else 15}" in str(report)
        path.write_bytes(before)
    (tmp_path / "run" / "00000000" / "codes.npy").unlink()
    assert "could not be replayed" in str(npgen.verify_run(tmp_path / "run", digits, tokens=digit_tokens))


def test_other_tokens_are_refused_for_verification(digits, digit_tokens, tmp_path):
    run(digits, digit_tokens, 2, out=tmp_path / "run")
    other = encode_tokens(digits, make_autoencoder(1, bits=3), progress=False)
    with pytest.raises(ValueError, match="tokens must be those the samples were made from"):
        npgen.verify_run(tmp_path / "run", digits, tokens=other)


def test_maps_report_and_figures_are_made_of_tokens_too(digits, digit_tokens, tmp_path):
    from npgen.tracing import fill_steps, save_figures

    samples = run(digits, digit_tokens, 2)
    steps = fill_steps(samples)
    assert sorted(steps.reshape(-1)) == list(range(256))
    assert steps[0, :4].tolist() == [0, 1, 4, 5]
    assert npgen.entropy(samples, digits).image_id.shape == (2,)
    paths = save_figures(samples, digits, tmp_path / "figures", [0])
    assert all(path.stat().st_size > 1000 for path in paths)
    assert "of the bits compared" in samples[:1]._repr_html_()
    npgen.report(samples, digits, tmp_path / "report.html", progress=False)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "distances in shares of the bits compared" in text
    assert "Tokens have no candidate pools." in text
    with pytest.raises(ValueError, match="samples must be of pixels, each with a pool of its own"):
        npgen.explain(samples, digits, 0, (0, 0))
    with pytest.raises(ValueError, match="samples must be of pixels, each a copy of its source"):
        samples.replay(digits)


def test_sampling_takes_tokens_from_a_folder(digits, digit_tokens, tmp_path):
    digit_tokens.save(tmp_path / "tokens")
    assert contents(run(digits, tmp_path / "tokens")) == contents(run(digits, digit_tokens))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_stops_a_run_of_tokens_at_once():
    code = (
        "import os, signal, threading, time, numpy as np, npgen; from npgen.sampling.token_run import TokenRun; "
        "from npgen.tokens.store import Tokens; from tqdm import tqdm; "
        "images = np.zeros((20000, 32, 32, 1), np.uint8); corpus = npgen.Corpus.from_arrays(images); "
        "codes = np.random.default_rng(0).integers(0, 256, (20000, 32, 32, 1), dtype=np.uint8); "
        "tokens = Tokens.from_codes(codes, 8); "
        "run = TokenRun(corpus, 'texture', npgen.Config(order='raster'), 0, 1, tokens); "
        "samples = run.blank(run.facts(0, 8)); "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs ignore it
        "threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start(); start = time.time()\n"
        "try: run.fill(samples, tqdm(disable=True))\n"
        "except KeyboardInterrupt: print('stopped', time.time() - start)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    word, seconds = found.stdout.split()
    assert (word, float(seconds) < 2.5) == ("stopped", True), found.stderr


def test_the_command_samples_tokens(digits, digit_tokens, tmp_path):
    digits.save(tmp_path / "digits")
    corpus = npgen.load_corpus(tmp_path / "digits")
    digit_tokens.save(tmp_path / "digits" / "tokens")
    runner, out = CliRunner(), str(tmp_path / "run")
    command = ["generate", str(corpus.path), "-n", "3", "--out", out, "--quiet", "--tokens", "auto"]
    options = ["--gamma", "2", "--order", "raster", "--draw", "histogram", "--flip", "0.01", "--metric", "chebyshev"]
    found = runner.invoke(app, [*command, *options])
    assert found.exit_code == 0, found.output
    samples = npgen.load_samples(out)
    config = npgen.Config(gamma=2, order="raster", draw="histogram", flip=0.01)
    assert (samples.config, samples.model) == (config, "local")
    assert contents(samples) == contents(run(corpus, digit_tokens, 3, config=config, seed=0))
    found = runner.invoke(app, ["verify", out, "--corpus", str(corpus.path), "--quiet"])
    assert (found.exit_code, "3 samples, 768 pixels replayed, all equal" in found.output) == (0, True), found.output
