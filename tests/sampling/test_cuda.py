"""Sampling with an encoder on a CUDA device: shortlists beside the CPU's, and runs that replay and verify."""

from __future__ import annotations

import numpy as np
import pytest
from corpora import random_encoder

import npgen
from npgen import _core
from npgen.encoders import Encoder

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def encoder():
    on_cpu = random_encoder(channels=3, layers=((8, 3, 1), (12, 3, 2)))
    return Encoder(on_cpu.architecture, on_cpu.tensors, device="cuda")


def test_shortlists_by_a_product_on_the_device():
    """The core's shortlists are those of a matrix product in double precision, wherever it is computed."""
    import torch

    rng = np.random.default_rng(0)
    keys = rng.normal(size=(3000, 64)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    barred = np.arange(40, dtype=np.int32)
    ids, _ = _core.shortlist(keys, keys[:40], 20, barred, 0, None)
    products = torch.from_numpy(keys[:40]).double().cuda() @ torch.from_numpy(keys).double().cuda().T
    products.fill_diagonal_(-torch.inf)
    np.testing.assert_array_equal(ids, products.topk(20).indices.cpu().numpy())


@pytest.mark.parametrize("model", ["full", "semantic", "conditional"])
def test_samples_replay_and_verify(colours, encoder, tmp_path, model):
    config = npgen.Config(window=5, seed_size=4, shortlist=12)
    colours.save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    options = {"encoder": encoder, "seed": 3, "progress": False, "device": "cuda"}
    samples = npgen.generate(corpus, 6, model, config, **options, out=tmp_path / "run")
    assert (samples.replay(corpus) == samples.images).all()
    assert npgen.verify_run(tmp_path / "run", corpus).ok
    # Neither the batch nor the number of threads changes a byte.
    again = npgen.generate(corpus, 3, model, config, **options, first=2, batch_size=2, threads=1)
    np.testing.assert_array_equal(again.images, samples.images[2:5])
