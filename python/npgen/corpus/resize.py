"""Images of another size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from npgen.corpus.store import Corpus
from npgen.errors import check_whole, invalid

# Longest side of resized images, which are made in memory.
LONGEST = 1024


def resized(corpus: Corpus, size: int | tuple[int, int]) -> Corpus:
    """Bring the images of a corpus to another size, bilinearly.

    Parameters
    ----------
    corpus
        The corpus.
    size
        Height and width, or one number for both.

    Returns
    -------
    Corpus
        In memory, with the same labels; the corpus itself if it has that size.

    Raises
    ------
    ValueError
        If a number is below 1, or above what a score machine could work through.
    """
    height, width = (size, size) if isinstance(size, int) else size
    for side in (height, width):
        check_whole("size", side, 1, LONGEST)
    if corpus.sizes is None and corpus.images.shape[1:3] == (height, width):
        return corpus
    images = np.empty((len(corpus), height, width, corpus.images.shape[3]), np.uint8)
    for number, image in enumerate(images):
        source = corpus.image(number)
        picture = Image.fromarray(source[..., 0] if source.shape[2] == 1 else source)
        small = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        image[...] = small[..., np.newaxis] if small.ndim == 2 else small
    images.flags.writeable = False
    source_of = {"kind": "resized", "of": corpus.hash, "size": [height, width], "filter": "bilinear"}
    name = f"{corpus.name}-{height}x{width}"
    return Corpus.from_arrays(images, corpus.labels, corpus.classes, name=name, source=source_of)


def label_number(corpus: Corpus, label: int | str | None) -> int | None:
    """Look up a class.

    Parameters
    ----------
    corpus
        The corpus.
    label
        Number or name of a class, or None.

    Returns
    -------
    int or None
        Its number.

    Raises
    ------
    ValueError
        If the corpus has no images of it.
    """
    if label is None:
        return None
    if corpus.labels is None:
        raise invalid("label", "None where the corpus has no labels", label)
    if isinstance(label, str):
        if corpus.classes is None or label not in corpus.classes:
            known = "a number" if corpus.classes is None else f"a number, or one of {', '.join(corpus.classes)}"
            raise invalid("label", known, label)
        return corpus.classes.index(label)
    if not np.any(corpus.labels == label):
        raise invalid("label", "one that the corpus has images of", label)
    return int(label)
