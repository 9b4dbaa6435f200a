"""The recipe of a classifier: its architecture and all settings of its training; the id that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.nn import Architecture, Layer

# Version of the training: another one makes another classifier of the same recipe.
VERSION = 2


@dataclass(frozen=True)
class ClassifierRecipe:
    """The architecture of a classifier, and how to train it; with the corpus, this decides its id.

    Parameters
    ----------
    layers
        Width, kernel side (odd) and stride of each convolution, and where residual blocks end, as in
        `Architecture`; batch normalisation and ReLU follow each.
    side
        Sides of images are first averaged down to at most this many pixels.
    pool
        Side of the grid that the last convolution's output is averaged to.
    features
        Width F of the layer before the last, whose outputs the Fréchet distance compares.
    epochs
        Passes over the corpus.
    batch_size
        Images per step.
    learning_rate
        Peak of AdamW's learning rate, which rises and falls once.
    weight_decay
        Weight decay of AdamW.
    shift
        Largest random displacement along each axis, as a share of the image.
    flip
        Share of images mirrored left to right.
    precision
        "bfloat16" or "float32": number type of the layers while training. A CPU without bfloat16 instructions uses
        float32. Images are always classified in float32.
    seed
        Seed of initial weights, order and augmentation.

    Raises
    ------
    TypeError, ValueError
        If layers, pool or features are out of range.
    """

    layers: tuple[Layer, ...]
    epochs: int
    flip: float
    side: int = 64
    pool: int = 2
    features: int = 64
    batch_size: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    shift: float = 0.08
    precision: Literal["bfloat16", "float32"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the layers as those of an encoder."""
        Architecture(1, self.layers, self.pool, self.features)

    @classmethod
    def for_corpus(cls, corpus: Corpus) -> ClassifierRecipe:
        """Return defaults that suit a corpus: for glyphs if it is grey, for photographs if it is RGB.

        Parameters
        ----------
        corpus
            The corpus to train on.

        Returns
        -------
        ClassifierRecipe
            With fewer epochs for larger corpora.
        """
        if corpus.images.shape[3] == 1:
            glyphs = ((16, 5, 2), (32, 3, 1), (32, 3, 2), (64, 3, 1), (64, 3, 2), (64, 3, 1))
            return cls(glyphs, epochs=_epochs(240_000, len(corpus)), flip=0.0)
        photographs: tuple[Layer, ...] = (
            *((32, 3, 1), (64, 3, 2), (64, 3, 1), (64, 3, 1, 2)),
            *((128, 3, 2), (128, 3, 1), (128, 3, 1, 2)),
            *((256, 3, 2), (256, 3, 1), (256, 3, 1, 2)),
        )
        return cls(
            photographs,
            epochs=_epochs(700_000, len(corpus)),
            flip=0.5,
            learning_rate=3e-3,
            weight_decay=0.05,
            shift=0.125,
            precision="bfloat16",
        )


def classifier_id(recipe: ClassifierRecipe, corpus: Corpus) -> str:
    """Return the id that a classifier of a recipe and corpus has, also before it is trained: 16 hexadecimal digits."""
    identity = {"format": "npgen-classifier", "version": VERSION, **classifier_identity(recipe, corpus)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def classifier_identity(recipe: ClassifierRecipe, corpus: Corpus) -> dict[str, Any]:
    """Return what decides a classifier, as its file holds it."""
    plain = json.loads(json.dumps(asdict(recipe)))  # as read from a file: lists instead of tuples
    return {"recipe": plain, "corpus_hash": corpus.hash}


def label_values(corpus: Corpus) -> NDArray[np.int64]:
    """Return the label values that occur in a corpus.

    Parameters
    ----------
    corpus
        A corpus with labels.

    Returns
    -------
    ndarray
        (K,) int64, ascending.

    Raises
    ------
    ValueError
        If it has no labels, or only one value.
    """
    if corpus.labels is None:
        raise ValueError(
            f"corpus must be one with labels, got {corpus!r}: scores rest on a classifier. "
            "Build it with labels, for instance from a folder of class folders"
        )
    labels = np.unique(corpus.labels)
    if len(labels) < 2:
        raise ValueError(f"corpus must be labelled with at least 2 classes, got {len(labels)} in {corpus!r}")
    return labels


def _epochs(shown: int, count: int) -> int:
    """Return the number of epochs in which about `shown` images of a corpus of `count` are shown, 1 to 40."""
    return min(40, max(1, round(shown / count)))
