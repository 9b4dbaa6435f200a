"""Smoothing over the nearest images: one function of an encoder, a corpus and a number."""

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.encoders import SmoothedEncoder, keys_path


def by_definition(row, keys, n):
    row, keys = row.astype(np.float64), keys.astype(np.float64)
    products = keys @ row
    near = np.lexsort((np.arange(len(keys)), -products))[:n]
    total = row + sum(max(0, products[j]) ** 3 * keys[j] for j in near)
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_it_is_the_definition(digits, n):
    encoder = npgen.load_encoder(f"pixels:smooth={n}", digits)
    assert isinstance(encoder, SmoothedEncoder)
    base = npgen.load_encoder("pixels", digits)
    keys = npgen.embed(digits, base, progress=False)
    assert (encoder.dim, encoder.channels) == (base.dim, base.channels)
    known = np.zeros(digits.images.shape[1:3], bool)
    known[2:9, 2:9] = True
    for mask in (None, known):
        rows = encoder.encode(digits.images[:5], mask)
        for row, plain in zip(rows, base.encode(digits.images[:5], mask), strict=True):
            np.testing.assert_allclose(row, by_definition(plain, keys, n), atol=1e-6)
    assert (encoder.encode(digits.images[:2], np.zeros_like(known)) == 0).all()


def test_embeddings_depend_on_their_own_image_alone(digits):
    encoder = npgen.load_encoder("pixels:smooth=4", digits)
    rows = encoder.encode(digits.images)
    np.testing.assert_array_equal(encoder.encode(digits.images[3:4]), rows[3:4])
    np.testing.assert_array_equal(encoder.encode(digits.images[2:], threads=1), rows[2:])


def test_keys_are_made_of_the_keys_of_the_base(digits, tmp_path, monkeypatch):
    stored = digits.save(tmp_path / "corpus")
    encoder = npgen.load_encoder("pixels:smooth=4", stored)
    expected = encoder.encode(stored.images)
    monkeypatch.setattr(SmoothedEncoder, "encode", None)  # images are embedded once, by the base
    np.testing.assert_array_equal(npgen.embed(stored, encoder, progress=False), expected)
    assert keys_path(stored, encoder.base.id).exists()


def test_its_id_is_of_base_corpus_and_number(digits):
    base = npgen.load_encoder("pixels", digits)
    encoder = npgen.load_encoder("pixels:smooth=4", digits)
    assert encoder.id == npgen.load_encoder("pixels:smooth=4", digits).id
    other = npgen.Corpus.from_arrays(np.array(digits.images[:-1]))
    ids = {base.id, encoder.id, npgen.load_encoder("pixels:smooth=5", digits).id}
    ids.add(npgen.load_encoder("pixels:smooth=4", other).id)
    assert len(ids) == 4
    assert "n=4" in repr(encoder)


def test_it_joins_with_others(digits):
    first = npgen.load_encoder("0.5*pixels:smooth=3+0.5*pixels", digits)
    assert isinstance(first.parts[0], SmoothedEncoder)
    assert not isinstance(first.parts[1], SmoothedEncoder)
    whole = npgen.load_encoder("0.5*pixels+0.5*pixels:smooth=3", digits)
    assert isinstance(whole, SmoothedEncoder)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pixels:smooth=", "encoder must be a name, then :smooth= and a whole number, got 'pixels:smooth='"),
        ("pixels:smooth=-2", "encoder must be a name, then :smooth= and a whole number, got 'pixels:smooth=-2'"),
        ("pixels:smooth=0", "smooth must be in 1…[0-9]+, got 0"),
        ("pixels:smooth=999999", "smooth must be in 1…[0-9]+, got 999999"),
    ],
)
def test_refusals(digits, spec, message):
    with pytest.raises(ValueError, match=message):
        npgen.load_encoder(spec, digits)


def test_the_command_makes_the_keys(digits, tmp_path):
    stored = digits.save(tmp_path / "corpus")
    arguments = ["embed", str(tmp_path / "corpus"), "--encoder", "pixels", "--smooth", "4", "--quiet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    encoder = npgen.load_encoder("pixels:smooth=4", stored)
    assert keys_path(stored, encoder.id).exists()
    samples = npgen.generate(
        stored, 2, config=npgen.Config(window=5, seed_size=4), encoder="pixels:smooth=4", progress=False
    )
    assert len(samples.images) == 2
