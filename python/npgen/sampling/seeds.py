"""Where seed patches come from: which image, and which of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.config import Config
from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.sampling.filler import is_framed_as


class Seeds:
    """The seed patches of a run's samples: a random image, and the patch's place in it.

    Where canvases have the size of all images, the patch comes from the place in its image where it goes on the canvas;
    else from a random place. Images that are too small to hold the patch are not drawn.

    Parameters
    ----------
    corpus
        N images.
    config
        Settings: the side s of a patch.
    shape
        Height and width of the canvases.
    seed
        Seed of all draws.

    Raises
    ------
    ValueError
        If no image holds a patch.
    """

    def __init__(self, corpus: Corpus, config: Config, shape: tuple[int, int], seed: int) -> None:
        self.seed, self.count = seed, len(corpus)
        frames = np.array([corpus.images.shape[1:3]]) if corpus.sizes is None else corpus.sizes  # (1 or N, 2)
        most = int(frames.min(1).max())
        if config.seed_size > most:
            raise invalid("seed_size", f"in 1..={most} (the corpus's images)", config.seed_size)
        self._in_place = is_framed_as(corpus, shape)
        self._rooms = np.maximum(frames - config.seed_size + 1, 1)  # rows and columns where a patch may begin
        self._ids: NDArray[np.int32] | None = None
        if corpus.sizes is not None:
            self._ids = np.flatnonzero(frames.min(1) >= config.seed_size).astype(np.int32)

    def images(self, indices: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Draw the images (n,) of samples by their indices (n,)."""
        if self._ids is None:
            return _core.draw_seed_images(self.seed, indices, self.count)
        return self._ids[_core.draw_seed_images(self.seed, indices, len(self._ids))]

    def corners(self, indices: NDArray[np.uint64], images: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """Draw the upper left corners (n, 2) of the patches in their images (n,).

        None: each patch comes from the place in its image where it goes on the canvas.
        """
        if self._in_place:
            return None
        rooms = self._rooms[np.clip(images, 0, len(self._rooms) - 1)].tolist()
        drawn = [
            _core.draw_seed_places(self.seed, indices[k : k + 1], down, right) for k, (down, right) in enumerate(rooms)
        ]
        return np.concatenate([np.empty((0, 2), np.int32), *drawn])


def images_by_label(corpus: Corpus, model: str) -> dict[int, NDArray[np.int32]]:
    """Return the ids of the images of each label, ascending; raise ValueError, naming the model, if there are none."""
    if corpus.labels is None:
        raise invalid("corpus", f"one with labels, for the model {model!r}", corpus.name)
    return {int(label): np.flatnonzero(corpus.labels == label).astype(np.int32) for label in np.unique(corpus.labels)}
