"""Generation: the same bytes however it is run, and a clear word where it can't be."""

import hashlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import npgen
from npgen import _core
from npgen.config import MODELS

FAST = npgen.Config(window=5, shortlist=20, seed_size=4)


def run(corpus, n=8, model="full", config=FAST, **options):
    options = {"encoder": "pixels", "seed": 3, "progress": False} | options
    return npgen.generate(corpus, n, model, config, **options)


def digest(samples):
    state = hashlib.sha256(samples.images.tobytes())
    for array in (*samples.trace.arrays(), samples.anchor):
        state.update(array.tobytes())
    return state.hexdigest()


@pytest.mark.parametrize("model", list(MODELS))
def test_same_bytes_whatever_threads_and_batches(digits, model):
    expected = digest(run(digits, 9, model, threads=1, batch_size=64))
    for threads, batch_size in [(2, 64), (1, 1), (2, 1), (2, 7), (3, 2)]:
        assert digest(run(digits, 9, model, threads=threads, batch_size=batch_size)) == expected


def test_same_bytes_with_the_network(mnist_5k):
    config = npgen.Config()
    whole = run(mnist_5k, 24, config=config, encoder="auto", threads=2)
    for options in [{"threads": 1, "batch_size": 7}, {"threads": 2, "batch_size": 1}]:
        again = run(mnist_5k, 18, config=config, encoder="auto", **options)
        assert digest(again) == digest(whole[:18])
    alone = run(mnist_5k, 1, config=config, encoder="auto", first=17)
    assert digest(alone) == digest(whole[17:18])


@pytest.mark.parametrize("model", ["full", "local"])
def test_a_sample_alone_is_the_sample_of_the_run(colours, model):
    whole = run(colours, 20, model)
    assert digest(run(colours, 1, model, first=17)) == digest(whole[17:18])
    assert digest(run(colours, 3, model, first=5, batch_size=2)) == digest(whole[5:8])


def test_two_processes_make_the_same_bytes(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    code = (
        "import sys, npgen; "
        "samples = npgen.generate(npgen.load_corpus(sys.argv[1]), 4, 'full', "
        "npgen.Config(window=5, shortlist=20, seed_size=4), 3, encoder='pixels', progress=False); "
        "samples.save(sys.argv[2])"
    )
    runs = [tmp_path / name for name in "ab"]
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "corpus", path]) for path in runs]
    assert [process.wait() for process in processes] == [0, 0]
    expected = digest(run(digits, 4))
    assert [digest(npgen.load_samples(path)) for path in runs] == [expected, expected]


@pytest.mark.parametrize("model", list(MODELS))
def test_same_bytes_on_every_instruction_set(colours, model, monkeypatch):
    expected = digest(run(colours, 3, model))
    for name in _core.instruction_sets():
        monkeypatch.setenv("NPGEN_SIMD", name)
        assert digest(run(colours, 3, model)) == expected, name
    monkeypatch.setenv("NPGEN_SIMD", "mmx")
    with pytest.raises(ValueError, match="NPGEN_SIMD must be one of .*portable, got mmx"):
        run(colours, 3, model)


def test_the_shortlist_runs_on_the_chosen_instruction_set(monkeypatch):
    keys = np.random.default_rng(0).normal(size=(300, 33)).astype(np.float32)
    arguments = keys, keys[:5].copy(), 20, np.full(5, -1, np.int32), 1
    expected = _core.shortlist(*arguments)
    for name in _core.instruction_sets():
        monkeypatch.setenv("NPGEN_SIMD", name)
        for found, same in zip(_core.shortlist(*arguments), expected, strict=True):
            np.testing.assert_array_equal(found, same)
    monkeypatch.setenv("NPGEN_SIMD", "mmx")
    with pytest.raises(ValueError, match="NPGEN_SIMD must be one of .*portable, got mmx"):
        _core.shortlist(*arguments)


def test_texture_takes_sources_from_anywhere(digits):
    samples = run(digits, 2, "texture")
    assert np.abs(samples.trace.y - np.arange(16)[:, None]).max() > 4
    everywhere = run(digits, 2, "local", npgen.Config(window=5, seed_size=4, locality=16))
    np.testing.assert_array_equal(samples.images, everywhere.images)


@pytest.mark.parametrize("model", ["full", "local"])
def test_replay_gives_the_images_back(digits, colours, model):
    for corpus in (digits, colours):
        samples = run(corpus, 5, model)
        np.testing.assert_array_equal(samples.replay(corpus), samples.images)


def test_the_seed_patch_is_the_anchor_s_and_its_image_serves_no_other_pixel(digits):
    samples = run(digits, 12)
    y, x, height, width = FAST.seed_rect(16, 16)
    seed = np.zeros((16, 16), bool)
    seed[y : y + height, x : x + width] = True
    for k in range(12):
        np.testing.assert_array_equal(samples.trace.image_id[k] == samples.anchor[k], seed)
        np.testing.assert_array_equal(samples.trace.pool_size[k] == 0, seed)
        np.testing.assert_array_equal(samples.images[k][seed], digits.images[samples.anchor[k]][seed])


def test_with_its_seed_image_a_sample_is_a_copy_of_it(digits):
    options = {"exclude_seed_image": False, "locality": 0, "shortlist": 60}
    config = npgen.Config(window=9, epsilon=0, max_share=None, **options)
    samples = run(digits, 4, config=config)
    np.testing.assert_array_equal(samples.images, digits.images[samples.anchor])


def test_locality_and_mask_are_kept(colours):
    samples = run(colours, 6, "local", npgen.Config(window=5, locality=1, seed_size=4))
    rows, columns = np.indices(samples.images.shape[1:3])
    assert np.abs(samples.trace.y - rows).max() == 1
    assert np.abs(samples.trace.x - columns).max() == 1


def test_stages_can_be_split_and_anchors_weighted(digits):
    outcomes = {
        digest(run(digits, 4, config=npgen.Config(window=5, shortlist=20, **change)))
        for change in [
            {"anchor_weight": 0.5, "stage_pixels": 3},
            {"anchor_weight": 0.5},
            {"anchor_weight": 0},
            {"seed_at": (0, 3)},
            {},
        ]
    }
    assert len(outcomes) == 5


def test_other_seeds_make_other_samples(digits):
    assert digest(run(digits, 4, seed=1)) != digest(run(digits, 4, seed=2**64 - 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": "big"},
            "model must be one of 'full', 'local', 'texture', 'semantic', 'class', 'conditional', got 'big'",
        ),
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"first": -1}, "first must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be in 0…2⁶⁴ − 1, got -1"),
        ({"seed": 2**64}, "seed must be in 0…2⁶⁴ − 1, got 18446744073709551616"),
        ({"threads": 0}, "threads must be in 1…1024, got 0"),
        (
            {"config": npgen.Config(window=5, shortlist=60)},
            r"shortlist must be in 1\.\.=59 \(the corpus's images, the seed's own barred\), got 60",
        ),
        (
            {"config": npgen.Config(window=5, shortlist=61, exclude_seed_image=False)},
            r"shortlist must be in 1\.\.=60 \(the corpus's images\), got 61",
        ),
        (
            {"config": npgen.Config(window=17)},
            r"window must be odd, in 3\.\.=16 \(the image is 16×16\), got 17",
        ),
        (
            {"config": npgen.Config(seed_at=(9, 0))},
            r"seed rectangle must be inside the 16×16 frame, got \(9, 0, 8, 8\)",
        ),
        ({"config": npgen.Config(seed_size=17)}, "seed rectangle must be inside the 16×16 frame"),
        ({"encoder": "auto"}, "corpus 'arrays' has none: train one with `npgen encoder train"),
    ],
)
def test_bad_values_are_named(digits, options, message):
    with pytest.raises(ValueError, match=message):
        run(digits, **options)


@pytest.mark.parametrize("name", ["n", "first", "batch_size"])
def test_bad_types_are_named(digits, name):
    with pytest.raises(TypeError, match=f"{name} must be a whole number, got 1.5"):
        run(digits, **{name: 1.5})


def test_one_image_is_too_few(digits):
    corpus = npgen.Corpus.from_arrays(digits.images[:1])
    with pytest.raises(ValueError, match="corpus must be at least 2 images, as the seed's own is barred, got 1"):
        run(corpus, model="local")


@pytest.mark.parametrize(
    ("rect", "window", "message"),
    [
        ((0, 0, 9, 8), 3, r"seed rectangle must be inside the 8×8 frame, got \(0, 0, 9, 8\)"),
        ((-1, 0, 4, 4), 3, r"seed rectangle must be inside the 8×8 frame, got \(-1, 0, 4, 4\)"),
        ((0, 0, 0, 4), 3, r"seed rectangle must be inside the 8×8 frame, got \(0, 0, 0, 4\)"),
        ((0, 0, 4, 4), 4, r"window must be odd, in 3\.\.=8 \(the image is 8×8\), got 4"),
    ],
)
def test_fill_orders_out_of_range_are_named(rect, window, message):
    with pytest.raises(ValueError, match=message):
        npgen.fill_order(8, 8, rect, window)


def test_the_fill_order_takes_rings_from_the_inside_out():
    order = npgen.fill_order(28, 28, (10, 10, 8, 8), 9)
    assert order.pixels.shape == (28 * 28 - 64, 2)
    assert order.pixels[0].tolist() == [9, 13]
    y, x = order.pixels.T
    ring = np.maximum(np.maximum(10 - y, y - 17), np.maximum(10 - x, x - 17))
    for stage, (start, end) in enumerate(zip(order.stages[:-1], order.stages[1:], strict=True), 1):
        assert (ring[start:end] == stage).all()
    # Inside a ring, each pixel's window holds as many known pixels as any that is left.
    known = np.zeros((28, 28), int)
    known[10:18, 10:18] = 1
    for position, pixel in enumerate(order.pixels):
        left = order.pixels[position : order.stages[ring[position]]]
        held = [known[max(0, a - 4) : a + 5, max(0, b - 4) : b + 5].sum() for a, b in left]
        assert held[0] == max(held)
        assert tuple(pixel) == min(tuple(p) for p, h in zip(left.tolist(), held, strict=True) if h == held[0])
        known[tuple(pixel)] = 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_stops_a_long_run_at_once():
    code = (
        "import numpy as np, npgen, sys; "
        "images = np.random.default_rng(0).integers(0, 256, (20000, 32, 32, 3), dtype=np.uint8); "
        "corpus = npgen.Corpus.from_arrays(images); "
        "print('ready', flush=True); "
        "npgen.generate(corpus, 64, 'local', progress=False)"
    )
    # A shell's background jobs ignore Ctrl-C, and hand that down.
    heed = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    process = subprocess.Popen([sys.executable, "-c", heed], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert errors.endswith("KeyboardInterrupt\n")
    # The core notices within 0.05 s; the rest is the interpreter's own way out, on a machine that may be busy.
    assert time.monotonic() - start < 5
