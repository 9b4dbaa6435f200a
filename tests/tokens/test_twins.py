"""Parametric twins: they depend on their context alone, learn what can be learnt, and sample what they predict."""

from __future__ import annotations

import dataclasses
import json
import re

import corpora
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.studies import twin_comparison
from npgen.studies.twin_comparison import MEASURES, compare_twins
from npgen.tokens.encode import encode_tokens
from npgen.tokens.store import Tokens
from npgen.tokens.twin_networks import make_network
from npgen.tokens.twin_recipe import TwinRecipe
from npgen.tokens.twins import Twin, codes_of, numbers_of, train_twin

KINDS = ("convolution", "transformer")
TINY = TwinRecipe(width=16, blocks=2, heads=2, steps=3, batch_size=8, precision="float32")


def network(kind="convolution", gamma=2, bits=3, grid=(6, 7), seed=0):
    torch.manual_seed(seed)
    made = make_network(dataclasses.replace(TINY, kind=kind, gamma=gamma), bits, grid)
    for one in made.parameters():  # what begins at zero would hide what is seen
        torch.nn.init.normal_(one, 0, 0.3)
    return made.eval()


def random_signs(n, bits=3, grid=(6, 7), seed=1):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (n, bits, *grid)) * 2.0 - 1).float()


def striped(n=64, bits=2, grid=(5, 6), seed=0):
    """Tokens of which each is the one above, but for a random first row."""
    first = np.random.default_rng(seed).integers(0, 1 << bits, (n, 1, grid[1]))
    return Tokens.from_codes(np.broadcast_to(first, (n, *grid))[..., None].astype(np.uint8), bits)


@pytest.mark.parametrize("bits", [1, 5, 8, 10])
def test_tokens_as_numbers(bits):
    numbers = np.arange(1 << bits).reshape(2, -1)
    codes = codes_of(numbers, bits)
    assert codes.shape == (*numbers.shape, -(-bits // 8))
    np.testing.assert_array_equal(numbers_of(codes), numbers)
    signs = network(bits=bits).signs(codes[None])
    np.testing.assert_array_equal(network(bits=bits).table[numbers], signs[0].permute(1, 2, 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", [1, 2, None])
def test_a_cell_sees_what_is_before_it_within_its_range_and_no_more(kind, gamma):
    made, (height, width) = network(kind, gamma), (6, 7)
    z = random_signs(1).requires_grad_()
    for y, x in ((0, 0), (0, 3), (3, 0), (3, 4), (5, 6)):
        z.grad = None
        made(z)[0, y * width + x].sum().backward()
        seen = z.grad[0].abs().sum(0).numpy() > 0
        reach = gamma or max(height, width)
        rows, columns = np.indices((height, width))
        near = np.maximum(abs(rows - y), abs(columns - x)) <= reach
        np.testing.assert_array_equal(seen, near & (rows * width + columns < y * width + x), str((y, x)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", [1, 3, 20, None])
def test_predicting_one_cell_equals_predicting_all(kind, gamma):
    made, z = network(kind, gamma), random_signs(3)
    with torch.inference_mode():
        everywhere = made(z)
        for y, x in ((0, 0), (0, 6), (2, 3), (5, 0), (5, 6)):
            torch.testing.assert_close(made.at(z, y, x), everywhere[:, y * 7 + x], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_learns_what_its_range_shows(kind):
    recipe = TwinRecipe(kind=kind, gamma=1, width=32, blocks=2, steps=150, batch_size=32)
    tokens = striped()
    twin = train_twin(tokens, recipe, "cpu", quiet=True)
    fresh = striped(seed=5).codes(range(64))
    chances = twin.probabilities(fresh, np.array([[3, 2]] * 64))
    assert (chances.argmax(1) == numbers_of(fresh[:, 3, 2])).mean() > 0.95
    np.testing.assert_allclose(chances.sum(1), 1)
    at_random = twin.probabilities(fresh, np.array([[0, 2]] * 64))
    assert at_random.max() < 0.6
    drawn = numbers_of(twin.sample(50, seed=3))
    assert (drawn[:, 1:] == drawn[:, :-1]).mean() > 0.9 and len(np.unique(drawn[:, 0])) == 4
    # A loss in nats a token: a fifth of them are a matter of chance.
    assert twin.facts["loss"] == pytest.approx(np.log(4) / 5, abs=0.12)


def test_training_again_gives_the_same_twin_and_leaves_torchs_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again = (train_twin(striped(), TINY, "cpu", quiet=True) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert first.facts["loss"] == again.facts["loss"]
    other = train_twin(striped(), dataclasses.replace(TINY, seed=1), "cpu", quiet=True)
    assert other.facts["loss"] != first.facts["loss"]


def test_samples_follow_the_probabilities():
    made = Twin(network(bits=2, grid=(1, 2)), TINY, {})
    drawn = numbers_of(made.sample(4000, seed=1))[:, 0]  # (n, 2)
    first = made.probabilities(np.zeros((1, 1, 2, 1), np.uint8), np.array([[0, 0]]))[0]
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=4) / 4000, first, atol=0.03)
    token = int(first.argmax())
    second = made.probabilities(codes_of(np.array([[[token, 0]]]), 2), np.array([[0, 1]]))[0]
    followed = drawn[drawn[:, 0] == token, 1]
    np.testing.assert_allclose(np.bincount(followed, minlength=4) / len(followed), second, atol=0.05)


def test_a_sample_does_not_depend_on_how_many_there_are():
    made = Twin(network(), TINY, {})
    many = made.sample(5, seed=2)
    np.testing.assert_array_equal(made.sample(2, seed=2), many[:2])
    assert (made.sample(2, seed=3) != many[:2]).any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "mlp"}, ValueError, "kind must be 'convolution' or 'transformer', got 'mlp'"),
        ({"gamma": 0}, ValueError, "gamma must be at least 1"),
        ({"heads": 5}, ValueError, "heads must be a divisor of the width 16, got 5"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"learning_rate": "x"}, TypeError, "learning_rate must be a number, got 'x'"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be a number of at least 0, got -1"),
        ({"precision": "x"}, ValueError, "precision must be 'bfloat16' or 'float32'"),
    ],
)
def test_bad_recipes(change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        dataclasses.replace(TINY, **change)


def test_refuses_tokens_with_too_many_classes():
    tokens = Tokens.from_codes(np.zeros((2, 3, 3, 2), np.uint8), 11)
    with pytest.raises(
        ValueError, match="tokens must be of at most 10 bits, as a twin has a class for each token, got"
    ):
        train_twin(tokens, TINY, "cpu")


@pytest.fixture(scope="module")
def corpus(digits):
    """40 digits to look up and 20 held out."""
    heldout = npgen.Corpus.from_arrays(digits.images[40:], digits.labels[40:])
    return npgen.Corpus.from_arrays(digits.images[:40], digits.labels[:40], heldout=heldout)


@pytest.fixture(scope="module")
def tokens(corpus):
    return encode_tokens(corpus, corpora.autoencoder(bits=4), progress=False)


class TestComparison:
    def test_measures_follow_their_definitions(self):
        random = np.random.default_rng(0)
        p, q = (random.dirichlet(np.ones(8), 30) for _ in range(2))
        truth = random.integers(0, 8, 30)
        row = twin_comparison._agreement(p, q, truth, 0)
        assert row["sampler_loss"] == pytest.approx(np.mean([-np.log(p[i, t]) for i, t in enumerate(truth)]))
        assert row["kl_sampler_twin"] == pytest.approx(
            np.mean([(a * np.log(a / b)).sum() for a, b in zip(p, q, strict=True)])
        )
        assert row["kl_twin_sampler"] == pytest.approx(
            np.mean([(b * np.log(b / a)).sum() for a, b in zip(p, q, strict=True)])
        )
        assert row["correlation"] == pytest.approx(
            np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
        )
        assert row["same_top"] == np.mean(p.argmax(1) == q.argmax(1))
        for name in MEASURES:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        same = twin_comparison._agreement(p, p, truth, 0)
        assert (same["kl_sampler_twin"], same["same_top"]) == (0, 1) and same["correlation"] == pytest.approx(1)

    def test_table(self, corpus, tokens, tmp_path):
        options = {"tokens": tokens, "recipe": TINY, "device": "cpu", "quiet": True}
        result = compare_twins(corpus, tmp_path / "out", (1, None), 9, **options)
        assert {(row["gamma"], row["twin"]) for row in result.rows} == {(g, k) for g in (1, None) for k in KINDS}
        assert {row["flip"] for row in result.rows} >= {0.002}
        assert all(any(row["fitted"] for row in result.rows if row["gamma"] == gamma) for gamma in (1, None))
        table = (tmp_path / "out" / "table.md").read_text()
        assert table == result.markdown() + "\n" and "| global | transformer |" in table
        again = compare_twins(corpus, tmp_path / "out", (1, None), 9, **options)
        assert again.rows == result.rows
        assert json.loads((tmp_path / "out" / "results.json").read_text())["rows"] == list(map(dict, result.rows))

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"gammas": ()}, ValueError, "gammas must be one or more ranges, got ()"),
            ({"gammas": (0,)}, ValueError, "gamma must be at least 1 or None, got 0"),
            ({"contexts": 1}, ValueError, "contexts must be at least 2"),
            ({"contexts": 19}, ValueError, "heldout must be of at least 21 images, got 20"),
            ({"kinds": ("mlp",)}, ValueError, "kinds must be some of convolution, transformer, got ('mlp',)"),
            ({"recipe": 1}, TypeError, "recipe must be of type TwinRecipe or None, got int"),
        ],
    )
    def test_bad_arguments(self, corpus, tokens, tmp_path, change, error, message):
        with pytest.raises(error, match=re.escape(message)):
            compare_twins(corpus, tmp_path / "out", **{"contexts": 5, "tokens": tokens, "quiet": True, **change})
        assert not (tmp_path / "out").exists()

    def test_command(self, corpus, tokens, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        corpus.save("digits")
        tokens.save("digits/tokens")
        options = "--gammas 1 --contexts 4 --steps 1 --device cpu --quiet"
        result = CliRunner().invoke(app, f"tokens compare digits --out out {options}".split())
        assert result.exit_code == 0, result.output
        assert "| 1 | convolution | 0.002" in result.output
