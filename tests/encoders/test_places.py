"""Embeddings of places, by every kind of encoder."""

import numpy as np
import pytest

import npgen
from npgen.encoders import Encoder, JoinedEncoder, PlaceEncoder, PlaceGrid, place_encoder
from npgen.encoders.encoder import network_input
from npgen.nn import Architecture


def network(pool, dim):
    """An encoder of random weights, whose places are 4 pixels apart."""
    architecture = Architecture(1, ((6, 3, 2), (8, 3, 2)), pool, dim)
    random = np.random.default_rng(pool)
    tensors = {name: random.normal(0, 0.3, shape).astype(np.float16) for name, shape in architecture.shapes().items()}
    return Encoder(architecture, tensors)


@pytest.mark.parametrize(("pool", "dim"), [(1, 5), (2, 5), (1, None), (4, 7)])
def test_places_of_a_network_average_to_its_embedding(digits, pool, dim):
    import torch

    encoder = network(pool, dim)
    images, known = digits.images[:3].copy(), np.ones((16, 16), bool)
    known[:5, 3:9] = False
    places = encoder.places(images, known)
    weights = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in encoder.tensors.items()}
    masks = torch.from_numpy(np.broadcast_to(known, (3, 16, 16)).copy())
    outputs = encoder._map(network_input(torch.from_numpy(images), masks, weights["mean"]), weights)
    outputs = outputs.numpy().transpose(0, 2, 3, 1).astype(np.float64)  # (3, 4, 4, 8)
    mapped = outputs
    if dim is not None:
        mapped = np.empty((3, 4, 4, dim))
        for row, column in np.ndindex(4, 4):
            part = encoder.tensors["output.weight"][:, :, row * pool // 4, column * pool // 4].astype(np.float64)
            bias = encoder.tensors["output.bias"].astype(np.float64)
            mapped[:, row, column] = outputs[:, row, column] @ part.T * pool**2 + bias
        np.testing.assert_allclose(mapped.mean((1, 2)), encoder.features(images, known), atol=1e-4)
    lengths = np.linalg.norm(mapped, axis=-1, keepdims=True)
    np.testing.assert_allclose(places, mapped / np.maximum(lengths, 1e-12), atol=1e-4)
    grid, share = encoder.grid_of_places(known)
    assert grid == PlaceGrid(4, 4, (1.5, 1.5), (4, 4))
    assert share[0, 0] == 0.75 and share[0, 1] == 0 and share[3, 3] == 1
    np.testing.assert_array_equal(encoder.places(images[1:2], known), places[1:2])


def test_places_of_pixels_are_the_colours_of_cells(colours):
    encoder = npgen.PixelEncoder(12, 12, 3, grid=4)
    known = np.zeros((12, 12), bool)
    known[2:, 5:] = True
    places = encoder.places(colours.images[:4], known)
    grid, share = encoder.grid_of_places(known)
    assert places.shape == (4, 4, 4, 4) and grid == PlaceGrid(4, 4, (1.0, 1.0), (3.0, 3.0))
    for row, column in np.ndindex(4, 4):
        cell = (slice(3 * row, 3 * row + 3), slice(3 * column, 3 * column + 3))
        assert share[row, column] == pytest.approx(known[cell].mean())
        if not known[cell].any():
            assert (places[:, row, column] == 0).all()
            continue
        colour = colours.images[:4][:, *cell][:, known[cell]].mean(1) / 255 - 0.5
        np.testing.assert_allclose(places[:, row, column, :3], colour / np.sqrt(0.75), atol=1e-6)
    lengths = np.linalg.norm(places, axis=-1)
    assert ((abs(lengths - 1) < 1e-6) | (lengths == 0)).all()


def test_the_part_of_the_most_places_is_found(digits):
    fine, coarse = npgen.PixelEncoder(16, 16, 1), npgen.PixelEncoder(16, 16, 1, grid=3)
    assert isinstance(fine, PlaceEncoder)
    assert place_encoder(JoinedEncoder([coarse, fine], [1, 1])) is fine
    assert place_encoder(JoinedEncoder([fine, JoinedEncoder([coarse, coarse], [1, 1])], [1, 1])) is fine
    smoothed = npgen.load_encoder("pixels:smooth=3", digits)
    assert place_encoder(smoothed) is smoothed.base
    assert place_encoder(None) is None and place_encoder("pixels") is None


def test_bad_images_are_refused():
    encoder = npgen.PixelEncoder(16, 16, 1)
    with pytest.raises(ValueError, match="images must be of shape"):
        encoder.places(np.zeros((2, 8, 8, 1), np.uint8))
    with pytest.raises(TypeError, match="images must be uint8"):
        encoder.places(np.zeros((2, 16, 16, 1)))
