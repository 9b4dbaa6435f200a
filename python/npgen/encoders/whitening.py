"""Whitening: the last map of an encoder, made of what it says of the corpus rather than learnt.

Contrast leaves a few directions with most of the spread, and says little by them: light, colours, how much is known.
Whitened, all directions count alike, and images have their neighbours by what they show.

This module imports torch: import it only where training is asked for.
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

# Images that are looked at, spread evenly over the corpus; moments of so many are steady.
MOST_IMAGES = 20_000
# Directions of less than this share of the greatest moment are stretched no further. More stretching helps the nearest
# 20 of an image, and harms the hundredth.
FLOOR = 0.01
CHUNK = 1024


def whitened(encoder: Encoder, corpus: Corpus, recipe: Recipe, progress: bool = False) -> Encoder:
    """Let an encoder end in the map y = M^(−1/2) (x − µ), µ the mean of its features x of whole images.

    M is their second moment around µ, of images that are masked as at the end of training. Directions in which features
    of whole images spread are shrunk, and so are those in which they move as pixels are hidden.

    Parameters
    ----------
    encoder
        An encoder without a linear map: its embeddings are the features.
    corpus
        What it was trained on.
    recipe
        For the masks, and the seed of their random numbers.
    progress
        Show a progress bar.

    Returns
    -------
    Encoder
        Of as many features, with the linear map.
    """
    ids = np.linspace(0, len(corpus.images) - 1, min(len(corpus.images), MOST_IMAGES)).round().astype(np.int64)
    height, width = corpus.images.shape[1:3]
    generator = training.epoch_generator(recipe.seed, recipe.epochs + recipe.masked_epochs)
    full = recipe.masked_full if recipe.masked_epochs else recipe.full
    masks = ring_masks(len(ids), height, width, recipe, generator, full).numpy()  # (M, H, W)
    whole = np.empty((len(ids), encoder.dim), np.float64)
    masked = np.empty_like(whole)
    with tqdm(total=2 * len(ids), desc="whitening", unit="image", disable=not progress) as bar:
        for start in range(0, len(ids), CHUNK):
            part = slice(start, start + CHUNK)
            images = corpus.images[ids[part]]
            whole[part] = encoder.features(images)
            masked[part] = encoder.features(images, masks[part])
            bar.update(2 * len(images))
    weight, bias = _whitening(whole.mean(0), masked)
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
    # In units of the greatest: no weight is then too large for half precision, whatever the features' scale.
    share = np.maximum(values / values[-1], FLOOR) if values[-1] > 0 else np.ones_like(values)
    weight: NDArray[np.float64] = (vectors / np.sqrt(share)) @ vectors.T
    return weight, -weight @ mean
