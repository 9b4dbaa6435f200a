"""Whitening: the last linear map of an encoder, computed from its features of the corpus instead of learnt.

After contrastive training, most of the variance of the features lies in a few directions that say little about content:
brightness, colours, how much is known. Whitening gives all directions the same variance, so that neighbours of an image
are images of similar content.

This module imports torch: import it only where an encoder is trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.encoders.augment import ring_masks
from npgen.encoders.encoder import Encoder
from npgen.encoders.recipe import Recipe
from npgen.nn import training

if TYPE_CHECKING:
    from npgen.corpus import Corpus

# At most this many images, spread evenly over the corpus, go into the moments; more hardly change them.
MOST_IMAGES = 20_000
# Smaller eigenvalues of M are raised to this share of the greatest. A lower floor improves the nearest 20 neighbours of
# an image, but worsens the hundredth.
FLOOR = 0.01
CHUNK = 1024


def whitened(encoder: Encoder, corpus: Corpus, recipe: Recipe, progress: bool = False) -> Encoder:
    """Append the linear map y = M^(−1/2) (x − µ) to an encoder with features x.

    µ is the mean of the features of unmasked images. M is the second moment around µ of the features of images masked
    as at the end of training: the map shrinks directions in which features of images differ much, and also those in
    which features move when pixels are masked.

    Parameters
    ----------
    encoder
        An encoder without a linear map, whose embeddings are the features.
    corpus
        The corpus that it was trained on.
    recipe
        For the masks, and the seed of their random numbers.
    progress
        Show a progress bar.

    Returns
    -------
    Encoder
        The encoder with the linear map, of the same width.
    """
    ids = np.linspace(0, len(corpus.images) - 1, min(len(corpus.images), MOST_IMAGES)).round().astype(np.int64)
    height, width = corpus.images.shape[1:3]
    generator = training.epoch_generator(recipe.seed, recipe.total_epochs)
    full = recipe.masked_full if recipe.masked_epochs else recipe.full
    masks = ring_masks(len(ids), height, width, recipe, generator, full).numpy()  # (M, H, W)
    unmasked = np.empty((len(ids), encoder.dim), np.float64)
    masked = np.empty_like(unmasked)
    with tqdm(total=2 * len(ids), desc="whitening", unit="image", disable=not progress) as bar:
        for start in range(0, len(ids), CHUNK):
            part = slice(start, start + CHUNK)
            images = corpus.images[ids[part]]
            unmasked[part] = encoder.features(images)
            masked[part] = encoder.features(images, masks[part])
            bar.update(2 * len(images))
    weight, bias = _whitening(unmasked.mean(0), masked)
    architecture = replace(encoder.architecture, dim=encoder.dim)
    shape = architecture.shapes()["output.weight"]
    tensors = {
        **encoder.tensors,
        "output.weight": weight.reshape(shape).astype(np.float16),
        "output.bias": bias.astype(np.float16),
    }
    return Encoder(architecture, tensors, metadata=encoder.metadata, device=encoder.device)


def _whitening(
    mean: NDArray[np.float64], features: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weight (D, D) and bias (D,) of the whitening map of features (M, D) around a mean (D,)."""
    moved = features - mean
    values, vectors = np.linalg.eigh(moved.T @ moved / len(moved))
    # Relative to the greatest: no weight is then too large for float16, whatever the scale of the features.
    share = np.maximum(values / values[-1], FLOOR) if values[-1] > 0 else np.ones_like(values)
    weight: NDArray[np.float64] = (vectors / np.sqrt(share)) @ vectors.T
    return weight, -weight @ mean
