"""`python -m npgen_bench.els` and `.tokens`: they run, and their rivals compute what npgen computes."""

import json
import subprocess
import sys

import numpy as np
import pytest

import npgen
from npgen.els import levels
from npgen_bench import els, tokens


def command(module, *arguments):
    words = [sys.executable, "-m", f"npgen_bench.{module}", *map(str, arguments)]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_pytorch_denoises_interior_pixels_as_npgen_does(digits):
    canvases = np.random.default_rng(0).standard_normal((2, 16, 16, 1))
    a, b = levels(0.5)
    # With borders, interior pixels have interior patches as sources, as PyTorch's have.
    options = {"machine": "equivariant-borders", "window": 5, "signal": a, "noise": b, "tolerance": 0.0}
    expected = npgen.denoise(digits, canvases, **options).mean[:, 2:-2, 2:-2]
    for block, clamp in (((64, 500), False), ((512, 2048), True)):
        found = els.torch_denoise(canvases.astype(np.float32), digits.images, 5, (a, b), block, clamp)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_benchmark_of_score_machines(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    out = tmp_path / "numbers.json"
    printed = command("els", tmp_path / "corpus", "--size", 16, "--batch", 1, "--threads", 1, "--json", out)
    assert printed.count("PyTorch") == 20 and "seconds per sample" in printed
    found = json.loads(out.read_text())
    assert len(found["steps"]) == 19
    exact, approximate = found["npgen"]
    assert exact["r"] == pytest.approx([1.0]) and approximate["r"][0] > 0.9


@pytest.mark.parametrize("gamma", [1, None])
def test_numpy_counts_the_same_bits(digits, gamma):
    store = npgen.encode_tokens(digits, "mnist", threads=1, progress=False)
    times = tokens.measure_scan(store, gamma, canvases=2, seconds=0.0)  # raises an error where a form differs
    assert next(iter(times)) == "npgen" and len(times) == 7
    assert all(0 < least <= median for median, least in times.values())


def test_the_benchmark_of_tokens(mnist_5k, tmp_path):
    npgen.Corpus.from_arrays(mnist_5k.images[:200], mnist_5k.labels[:200]).save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    npgen.encode_tokens(corpus, "mnist", tmp_path / "corpus" / "tokens", threads=1, progress=False)
    npgen.load_encoder("mnist", corpus).save(tmp_path / "corpus" / "encoder.safetensors")
    out = tmp_path / "numbers.json"
    printed = command("tokens", tmp_path / "corpus", "--batch", 2, "--seconds", 0.01, "--threads", 1, "--json", out)
    assert "samples per second" in printed
    found = json.loads(out.read_text())
    assert {"pixels, full", "pixels, local", "tokens, γ 5, rings"} <= set(found["samples"])
