"""Small corpora that look a little like real ones: strokes and blobs, several of each kind."""

import dataclasses

import numpy as np

import npgen

SIZES = [(12, 9), (5, 30), (16, 16), (3, 2), (20, 7), (11, 14)]


def _blobs(n, size, channels, seed):
    random = np.random.default_rng(seed)
    grid = np.indices((size, size))
    labels = np.arange(n) % 3
    images = np.zeros((n, size, size, channels), np.uint8)
    for k, label in enumerate(labels):
        for _ in range(label + 1):
            centre = size * (0.25 + 0.5 * random.random(2))
            spread = size * (0.08 + 0.12 * random.random())
            squares = ((grid - centre[:, None, None]) ** 2).sum(0)
            tint = 255 * random.random(channels) if channels == 3 else [255]
            blob = np.exp(-squares / (2 * spread**2))[..., None] * tint
            images[k] = np.maximum(images[k], blob)
    return images, labels


def digits():
    """Return 60 grey images of 16×16 in three classes, black around."""
    images, labels = _blobs(60, 16, 1, seed=0)
    return npgen.Corpus.from_arrays(np.where(images < 40, 0, images), labels)


def colours():
    """Return 70 RGB images of 12×12 in three classes."""
    images, labels = _blobs(70, 12, 3, seed=1)
    return npgen.Corpus.from_arrays(images, labels, ("one", "two", "three"))


def bars():
    """Return 24 grey images of 8×7, each of a bright row or column."""
    images = np.zeros((24, 8, 7), np.uint8)
    for k, image in enumerate(images):
        (image if k % 2 else image.T)[k % 7] = 255
    return npgen.Corpus.from_arrays(images, name="bars")


def autoencoder(channels=1, stride=2, bits=8, seed=0, **shape):
    """Return an untrained autoencoder: its tokens differ from image to image, its decodings show nothing."""
    from npgen.tokens.autoencoder import Autoencoder, TokenArchitecture

    random = np.random.default_rng(seed)
    architecture = TokenArchitecture(channels, stride, bits, **{"kernel": 5, "width": 16, "blocks": 1, **shape})
    tensors = {
        name: (random.normal(size=extents) / np.sqrt(max(1, np.prod(extents[1:])))).astype(np.float16)
        for name, extents in architecture.shapes().items()
    }
    return Autoencoder(architecture, tensors, device="cpu")


def random_images(count, height=28, width=28, channels=1, seed=0):
    """Return noise: count images of height×width pixels."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def random_masks(count, height=28, width=28, seed=0):
    """Return known masks: of each, three fifths of the pixels."""
    return np.random.default_rng(seed).random((count, height, width)) < 0.6


def pictures(given=SIZES, channels=3, seed=0):
    """Return waves of several colours, so that windows of different images are near to each other but not equal."""
    random = np.random.default_rng(seed)
    made = []
    for height, width in given:
        y, x = np.indices((height, width))
        phase = random.random((3, channels))
        waves = [np.sin(y / (1 + 2 * a) + x / (1 + 3 * b) + 6 * c) for a, b, c in phase.T]
        made.append((127 + 90 * np.stack(waves, -1) + random.integers(-20, 20, (height, width, 1))).astype(np.uint8))
    return made


def textures(**options):
    """Return six pictures of six sizes."""
    return npgen.Corpus.from_arrays(pictures(), keep_sizes=True, name="textures", **options)


def random_encoder(channels=1, layers=((8, 3, 2), (12, 3, 1)), dim=16, seed=0, **options):
    """Return an encoder with random weights."""
    from npgen.encoders.encoder import Encoder
    from npgen.nn.architecture import Architecture

    rng = np.random.default_rng(seed)
    architecture = Architecture(channels, layers, 2, dim)
    tensors = {
        name: (rng.normal(size=shape) * 1.4 / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float16)
        for name, shape in architecture.shapes().items()
    }
    return Encoder(architecture, tensors, device="cpu", **options)


def with_facts(samples, **changes):
    """Return samples of a run with other facts."""
    return dataclasses.replace(samples, facts=dataclasses.replace(samples.facts, **changes))


def make_autoencoder(channels, stride=2, bits=6):
    """Make an autoencoder of random weights: it keeps something of each cell, and gives something back."""
    from npgen.tokens.autoencoder import Autoencoder, TokenArchitecture

    shape = TokenArchitecture(channels, stride, bits, kernel=3, width=8, blocks=1, reach=1)
    random = np.random.default_rng(5)
    tensors = {name: random.normal(0, 0.4, extents).astype(np.float16) for name, extents in shape.shapes().items()}
    return Autoencoder(shape, tensors)
