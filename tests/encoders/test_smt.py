"""The sparse manifold transform, its fit, and encoders joined with it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.encoders import JoinedEncoder, SmtEncoder, smt_fit, smt_views
from npgen.encoders.joined import choose_weights
from npgen.nn.shipped import SHIPPED, WEIGHTS

RECIPE = {"atoms": 60, "side": 4, "threshold": 0.4, "eigenvectors": 12, "positions": 3, "features": 30, "dim": 24}


@pytest.fixture(scope="module")
def digits():
    """Smooth random images: they hold more different patches than drawn digits."""
    noise = np.random.default_rng(0).uniform(0, 256, (60, 18, 18))
    smooth = sum(noise[:, dy : dy + 16, dx : dx + 16] for dy in range(3) for dx in range(3)) / 9
    return npgen.Corpus.from_arrays(smooth.astype(np.uint8), np.arange(60) % 5)


def fit(corpus, path=None, **changes):
    return smt_fit.fit_smt(corpus, path, smt_fit.SmtRecipe(**RECIPE | changes), progress=False)


@pytest.fixture(scope="module")
def encoder(digits):
    return fit(digits)


def plain(encoder, image, known):
    """The definition, patch by patch, in double precision; also how near any cosine is to the threshold."""
    shape = encoder.architecture
    tensors = {name: tensor.astype(np.float64) for name, tensor in encoder.tensors.items()}
    x = np.where(known[..., None], image / 255.0, 0)
    x = x - x.sum() / max(1, known.sum() * image.shape[2])
    side, margin = shape.side, np.inf
    height, width = image.shape[0] - side + 1, image.shape[1] - side + 1
    codes = np.zeros((height, width, shape.atoms))
    for row, column in np.ndindex(height, width):
        if not known[row : row + side, column : column + side].all():
            continue
        patch = x[row : row + side, column : column + side].transpose(2, 0, 1).ravel()
        z = (patch - tensors["mean"]) @ tensors["whitening"]
        z = z / max(np.linalg.norm(z), 1e-6)
        cosines = tensors["dictionary"] @ z
        margin = min(margin, abs(cosines - shape.threshold).min())
        codes[row, column] = cosines >= shape.threshold
    cells = []
    for row, column in np.ndindex(shape.cells):
        pooled = codes[2 * row : 2 * row + 4, 2 * column : 2 * column + 4].mean((0, 1))
        cell = tensors["projection"] @ pooled
        cells.append(cell / max(np.linalg.norm(cell), 1e-12))
    features = (tensors["positions"] @ np.array(cells))[tensors["chosen"] > 0]
    features = features / max(np.linalg.norm(features), 1e-12)
    embedding = tensors["map"] @ (features - tensors["centre"])
    return embedding / np.linalg.norm(embedding), margin


def test_it_is_the_definition(digits, encoder):
    masks = [np.ones((16, 16), bool), np.zeros((16, 16), bool)]
    masks[1][3:13, 2:12] = True
    compared = 0
    for image in digits.images[:12]:
        for known in masks:
            expected, margin = plain(encoder, image, known)
            if margin > 1e-5:  # at a threshold single precision may fall on the other side
                np.testing.assert_allclose(encoder.encode(image[None], known)[0], expected, atol=1e-4)
                compared += 1
    assert compared > 12


def test_embeddings_depend_on_their_own_image_alone(digits, encoder):
    rows = encoder.encode(digits.images[:40])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode(digits.images[7:8]), rows[7:8])
    np.testing.assert_array_equal(encoder.encode(digits.images[5:39], threads=1), rows[5:39])
    everything = np.ones((16, 16), bool)
    np.testing.assert_array_equal(encoder.encode(digits.images[:40], everything), rows)
    unknown = digits.images[:3].copy()
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    unknown[:, ~mask] = 99
    np.testing.assert_array_equal(encoder.encode(unknown, mask), encoder.encode(digits.images[:3], mask))
    assert (encoder.encode(digits.images[:2], np.zeros((16, 16), bool)) == 0).all()


def test_its_places_are_the_cells(digits, encoder):
    known = np.zeros((16, 16), bool)
    known[3:13, 2:12] = True
    places = encoder.places(digits.images[:5], known)
    assert places.shape == (5, *encoder.architecture.cells, 12)
    tensors = {name: tensor.astype(np.float64) for name, tensor in encoder.tensors.items()}
    features = tensors["positions"] @ places.reshape(5, -1, 12).astype(np.float64)
    features = features[:, tensors["chosen"] > 0]
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    embeddings = (features - tensors["centre"]) @ tensors["map"].T
    embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(digits.images[:5], known), embeddings, atol=1e-3)
    grid, share = encoder.grid_of_places(known)
    assert (grid.rows, grid.columns) == share.shape == encoder.architecture.cells
    # A cell covers 7×7 pixels, 4×4 patches of 4×4 pixels: the first has 1×2 wholly known patches.
    assert grid.first == (3.0, 3.0) and grid.step == (2, 2) and share[0, 0] == 2 / 16
    assert (places[:, share == 0] == 0).all()


def test_a_fit_is_a_function_of_corpus_and_recipe(digits, encoder):
    assert fit(digits).id == encoder.id
    assert fit(digits, seed=1).id != encoder.id
    assert encoder.dim == 24 and encoder.shape == (16, 16, 1)
    assert fit(digits, mirrored=False).id != encoder.id
    assert smt_fit.SmtRecipe.for_corpus(digits).mirrored is False


def test_equal_fits_make_equal_files(digits, encoder, tmp_path):
    for name in ("a", "b"):
        fit(digits, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_an_interrupted_fit_goes_on(digits, tmp_path, monkeypatch):
    path, checkpoint = tmp_path / "smt.safetensors", tmp_path / "smt.safetensors.checkpoint"
    monkeypatch.setattr(smt_fit, "MOMENT_CHUNK", 8)
    monkeypatch.setattr(smt_fit, "SAVED", 16)
    expected = fit(digits).id
    read = 0  # images of this call, mirrors included
    stop_at = 80
    plain = smt_fit._Fit.chunks

    def chunks(self, count, what, *rest):
        nonlocal read
        for images in plain(self, count, what, *rest):
            if what == "moments":
                if read == stop_at:
                    raise KeyboardInterrupt
                read += len(images)
            yield images

    monkeypatch.setattr(smt_fit._Fit, "chunks", chunks)
    with pytest.raises(KeyboardInterrupt):
        fit(digits, path)
    assert checkpoint.exists() and not path.exists()
    with pytest.raises(ValueError, match="recipe must be the one that .* was trained with"):
        fit(digits, path, seed=5)
    read, stop_at = 0, -1
    assert fit(digits, path).id == expected
    assert read == 2 * (60 - 32)  # 32 of 60 images had been counted
    assert path.exists() and not checkpoint.exists()
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="checkpoint must be one that npgen wrote"):
        fit(digits, path)
    assert smt_fit.fit_smt(digits, path, smt_fit.SmtRecipe(**RECIPE), resume=False, progress=False).id == expected
    assert not checkpoint.exists()


def test_eigenvectors_vary_least_within_an_image(digits):
    """Codes projected to the directions vary less within an image, relative to all, than in random directions."""
    encoder = fit(digits, mirrored=False)
    import torch

    from npgen.encoders.smt import whitened_patches

    tensors = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in encoder.tensors.items()}
    images = torch.from_numpy(np.array(digits.images))
    known = torch.ones(images.shape[:3], dtype=torch.bool)
    z, _ = whitened_patches(images, known, 4, tensors["mean"], tensors["whitening"])
    codes = (z @ tensors["dictionary"].T >= 0.4).float()

    def within(directions):
        beta = codes @ directions.T  # (N, P, E)
        around = beta - beta.mean((0, 1))
        return float((((beta - beta.mean(1, keepdim=True)) ** 2).mean((0, 1)) / (around**2).mean((0, 1))).mean())

    random = torch.randn(12, 60, generator=torch.Generator().manual_seed(0))
    assert within(tensors["projection"]) < within(random)


def test_features_are_the_products_of_most_energy():
    import torch

    cells = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 6, 5)).astype(np.float32))
    patterns, directions, chosen = smt_views.principal_patterns(cells, 4, 7)
    np.testing.assert_allclose(patterns @ patterns.T, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(directions @ directions.T, np.eye(5), atol=1e-5)
    energy = ((patterns @ cells @ directions.T) ** 2).mean(0)
    assert chosen.sum() == 7 and energy[chosen > 0].min() >= energy[chosen == 0].max()


def test_the_last_map_keeps_what_views_have_in_common():
    import torch

    rng = np.random.default_rng(0)
    common, noise = rng.normal(size=(500, 2)), rng.normal(size=(2, 500, 3))
    mixing = rng.normal(size=(5, 5))
    first, second = (torch.from_numpy(np.hstack([common, part]) @ mixing).float() for part in noise)
    centre, rows = smt_views.stable_map(first, second, 4)
    assert rows.shape == (4, 5) and rows.abs().max() == 1
    np.testing.assert_allclose(centre, (first.mean(0) + second.mean(0)) / 2, atol=1e-5)
    x, y = (first - centre) @ rows.T, (second - centre) @ rows.T
    correlation = (x * y).mean(0) / (x**2).mean(0)
    assert correlation[:2].min() > 0.6  # the two common ones lead
    lengths = (x**2).mean(0)
    assert lengths[2:].max() < 0.01 * lengths[:2].min()  # and the others hardly count


def test_bad_architectures_are_named(encoder):
    import dataclasses

    for changes, message in [
        ({"positions": 99}, "positions must be in 1..=25"),
        ({"features": 37}, r"features must be in 1..=36 \(positions times eigenvectors\), got 37"),
        ({"dim": 31}, r"dim must be in 1..=30 \(the features\), got 31"),
        ({"threshold": 0.0}, "threshold must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(encoder.architecture, **changes)
    tensors = encoder.tensors | {"chosen": np.ones_like(encoder.tensors["chosen"])}
    with pytest.raises(ValueError, match="tensor 'chosen' must be of 30 numbers above 0, got 36"):
        SmtEncoder(encoder.architecture, tensors)


def test_small_images_have_fewer_features():
    noise = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
    small = npgen.Corpus.from_arrays(noise)
    encoder = fit(small, positions=24, features=512, dim=256)
    assert encoder.architecture.cells == (1, 1)
    assert encoder.dim == encoder.architecture.features == 12


def test_it_is_found_by_name_and_by_file(digits, tmp_path):
    digits.save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    with pytest.raises(ValueError, match=r"smt must be given, as corpus .* has none: make one with `npgen encoder fit"):
        npgen.load_encoder("smt", corpus)
    encoder = fit(corpus, tmp_path / "corpus" / "smt.safetensors")
    for spec in ("smt", tmp_path / "corpus" / "smt.safetensors"):
        found = npgen.load_encoder(spec, corpus)
        assert isinstance(found, SmtEncoder)
        assert found.id == encoder.id
    other = npgen.Corpus.from_arrays(np.zeros((4, 20, 20), np.uint8))
    with pytest.raises(ValueError, match=r"encoder must be one for the corpus's images of shape \(20, 20, 1\)"):
        npgen.load_encoder(found, other)
    with pytest.raises(ValueError, match=r"images must be of shape \(16, 16, 1\)"):
        encoder.encode(np.zeros((1, 20, 20, 1), np.uint8))


@pytest.mark.parametrize("weights", [False, True])
def test_joined_products_are_weighted_sums(digits, tmp_path, weights):
    digits.save(tmp_path / "corpus")
    corpus = npgen.load_corpus(tmp_path / "corpus")
    smt = fit(corpus, tmp_path / "corpus" / "smt.safetensors")
    pixels = npgen.load_encoder("pixels", corpus)
    joined = npgen.load_encoder("0.25*pixels+0.75*smt" if weights else "pixels+smt", corpus)
    assert isinstance(joined, JoinedEncoder)
    first, second = (0.25, 0.75) if weights else choose_weights([pixels, smt], corpus)
    assert first + second == pytest.approx(1)
    keys, queries = joined.encode(corpus.images[:9]), joined.encode(corpus.images[:4], np.ones((16, 16), bool))
    everything = np.ones((16, 16), bool)
    both = [(one.encode(corpus.images[:9]), one.encode(corpus.images[:4], everything)) for one in (pixels, smt)]
    expected = first * both[0][1] @ both[0][0].T + second * both[1][1] @ both[1][0].T
    np.testing.assert_allclose(queries @ keys.T, expected, atol=1e-5)
    assert joined.dim == pixels.dim + smt.dim
    samples = npgen.generate(corpus, 2, config=npgen.Config(window=5, seed_size=4), encoder=joined, progress=False)
    assert samples.encoder_id == joined.id
    assert npgen.explain(samples, corpus, 1, (0, 0)).drawn >= 0


def test_weights_follow_the_labels(digits):
    class Fixed:
        channels, dim = 1, 2

        def __init__(self, rows):
            self.rows, self.id = rows.astype(np.float32), str(rows.sum())

        def encode(self, images, known=None, *, threads=None):
            return self.rows[: len(images)]

    angles = digits.labels * 0.6
    good = Fixed(np.stack([np.cos(angles), np.sin(angles)], 1))
    noise = np.random.default_rng(0).uniform(0, 6, len(digits))
    bad = Fixed(np.stack([np.cos(noise), np.sin(noise)], 1))
    assert choose_weights([good, bad], digits)[0] > 0.5
    assert choose_weights([bad, good], digits)[0] < 0.5
    bare = npgen.Corpus.from_arrays(digits.images)
    assert sum(choose_weights([good, bad], bare)) == pytest.approx(1)


def test_bad_specs_and_recipes_are_named(digits):
    for spec, message in [
        ("pixels+", "encoder must be one of"),
        ("x*pixels+smt", r"encoder must be of parts like 0.5\*smt, with \+ between them, got 'x\*pixels\+smt'"),
        ("0.5*pixels+pixels", "encoder must be of parts that all have weights, or none"),
        ("0*pixels+1*pixels", "weight must be .*above 0|weight must be .*got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            npgen.load_encoder(spec, digits)
    with pytest.raises(ValueError, match="encoder must be made of two or more parts, each with a weight, got"):
        JoinedEncoder([npgen.load_encoder("pixels", digits)], [1.0])
    for changes, message in [
        ({"atoms": 10}, r"atoms must be at least 13 \(the eigenvectors\), got 10"),
        ({"atoms": 0}, "atoms must be at least 1 or None, got 0"),
        ({"side": 14}, "side must be at most 13"),
        ({"threshold": 2.0}, "threshold must be"),
        ({"likeness": 0.01}, "atoms must be at most"),
        ({"atoms": 60, "eigenvectors": 60}, "atoms must be at least 61"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(digits, **changes)


def test_a_small_corpus_gives_fewer_atoms(digits):
    corpus = npgen.Corpus.from_arrays(digits.images[:2])
    encoder = fit(corpus, atoms=None, eigenvectors=5000, side=10, likeness=0.3)
    shape = encoder.architecture
    assert shape.atoms < 4096 and shape.eigenvectors == shape.atoms - 1
    assert encoder.encode(corpus.images).shape == (2, shape.dim)
    flat = npgen.Corpus.from_arrays(np.zeros((2, 16, 16, 1), np.uint8))
    with pytest.raises(ValueError, match="corpus must be one of more than 1 different patches, got '0 of them'"):
        fit(flat, atoms=None)


def test_the_command_fits_and_checks(digits, tmp_path):
    heldout = npgen.Corpus.from_arrays(digits.images[:20], digits.labels[:20])
    npgen.Corpus.from_arrays(digits.images[20:], digits.labels[20:], heldout=heldout).save(tmp_path / "corpus")
    words = ["encoder", "fit", str(tmp_path / "corpus"), "--atoms", "600", "--images", "30", "--quiet"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert "20-NN accuracy, known square 16" in ended.output
    assert CliRunner().invoke(app, words).exit_code == 2  # it is there already
    ended = CliRunner().invoke(app, ["encoder", "check", "smt", str(tmp_path / "corpus"), "--quiet"])
    assert ended.exit_code == 0, ended.output
    assert "SmtEncoder(" in ended.output
    ended = CliRunner().invoke(app, [*words[:3], "--kind", "pca"])
    assert ended.exit_code == 2
    assert "kind must be 'smt', got 'pca'" in ended.output or "kind must be" in ended.output


def test_the_shipped_one_knows_digits(mnist_5k):
    encoder = npgen.load_encoder("smt", mnist_5k)
    ids = np.arange(0, 5000, 25)
    keys = encoder.encode(mnist_5k.images[ids])
    products = keys @ keys.T
    np.fill_diagonal(products, -1)
    assert (mnist_5k.labels[ids][products.argmax(1)] == mnist_5k.labels[ids]).mean() > 0.9
    assert (
        npgen.load_encoder("0.5*auto+0.5*smt", mnist_5k).dim == npgen.load_encoder("auto", mnist_5k).dim + encoder.dim
    )


def test_each_shipped_one_is_what_its_record_says():
    for name in SHIPPED:
        encoder = SmtEncoder.load(WEIGHTS / f"smt-{name}.safetensors", device="cpu")
        record = json.loads((WEIGHTS / f"smt-{name}.json").read_text())
        assert (encoder.id, encoder.metadata["recipe"]) == (record["id"], record["recipe"])
        assert encoder.shape == SHIPPED[name]
