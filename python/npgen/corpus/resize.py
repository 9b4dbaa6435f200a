"""Copies of a corpus with images of another size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from npgen.corpus.store import Corpus
from npgen.errors import check_whole

# Largest height and width of resized images, which are held in memory.
LONGEST = 1024


def resized(corpus: Corpus, size: int | tuple[int, int]) -> Corpus:
    """Resize the images of a corpus bilinearly.

    Parameters
    ----------
    corpus
        The corpus.
    size
        Height and width, or one number for both.

    Returns
    -------
    Corpus
        In memory, with the same labels; the corpus itself if its images have that size.

    Raises
    ------
    ValueError
        If a side is not in 1…`LONGEST`.
    """
    height, width = (size, size) if isinstance(size, int) else size
    for side in (height, width):
        check_whole("size", side, 1, LONGEST)
    if corpus.sizes is None and corpus.images.shape[1:3] == (height, width):
        return corpus
    images = np.empty((len(corpus), height, width, corpus.images.shape[3]), np.uint8)
    for number, target in enumerate(images):
        image = corpus.image(number)  # (h, w, C)
        pil_image = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        pixels = np.asarray(pil_image.resize((width, height), Image.Resampling.BILINEAR))
        target[...] = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    images.flags.writeable = False
    source = {"kind": "resized", "of": corpus.hash, "size": [height, width], "filter": "bilinear"}
    name = f"{corpus.name}-{height}x{width}"
    return Corpus.from_arrays(images, corpus.labels, corpus.classes, name=name, source=source)
