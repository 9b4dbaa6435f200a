"""Semantic distances of places: how unlike in meaning the surroundings of a pixel are to those of each source.

The paper's d_SSL(φ(ω(p)), φ(ω′)), with an encoder that embeds places (`npgen.encoders.PlaceEncoder`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen.encoders import AnyEncoder, PlaceEncoder, place_encoder
from npgen.errors import invalid
from npgen.sampling.library import Library
from npgen.sampling.shortlists import Shortlists

# Embeddings are rounded to multiples of 1 / SCALE. Their products in these units, and all partial sums of them, are
# whole numbers below 2²⁴: exact in single precision, in whatever order a library adds them.
SCALE = 2048
# Weights of places, likewise: sums of products with distances stay below 2⁵³.
WEIGHT_SCALE = 65536
# The core takes distances in units of 1/256 squared grey levels.
UNITS = 256
MOST_ADDED = 2**32 - 1
# Bytes of images' places that are held: stages and batches use many images again.
HELD = 1 << 30


def places_of(encoder: AnyEncoder | None, config: Config) -> PlaceEncoder | None:
    """Return what embeds places for `Config.semantic_weight`; None where that is 0; ValueError if nothing does."""
    if config.semantic_weight == 0:
        return None
    found = place_encoder(encoder)
    if found is None:
        raise invalid("encoder", "one that embeds places, where semantic_weight is above 0", encoder)
    return found


class Meaning:
    """Semantic distances of the places of images from those of partly known canvases.

    ``d(p, i, q) = Σ_c g_c (1 − φ_c(canvas) · φ_{c + q − p}(image i)) / Σ_c g_c``, over the known places c, with
    ``g_c = m_c · G(c − p)``: m is the known share of a place, and G the Gaussian of the window around pixel p. A
    displacement q − p moves places by as many whole steps of their grid as it holds; at the edge they stay on the grid.
    0 where nothing is known.

    Parameters
    ----------
    encoder
        φ.
    library
        The corpus.
    sigma
        Standard deviation of the Gaussian in pixels.
    weight
        What a distance of 1 adds, in squared grey levels.
    radius
        Largest displacement R, in pixels.
    threads
        CPU threads of the encoder; None means one per core. No influence on the result.
    """

    def __init__(
        self, encoder: PlaceEncoder, library: Library, sigma: float, weight: float, radius: int, threads: int | None
    ) -> None:
        self.encoder, self.library, self.threads = encoder, library, threads
        self.sigma, self.weight, self.radius = sigma, weight, radius
        self._held: dict[int, NDArray[np.int16]] = {}  # places (h, w, E) by the image's id

    def added(
        self, canvases: NDArray[np.uint8], known: NDArray[np.bool_], pixels: NDArray[np.int32], shortlists: Shortlists
    ) -> NDArray[np.uint32]:
        """Return what is added to the distances of a stage's candidates.

        Parameters
        ----------
        canvases
            (B, H, W, C) at the beginning of the stage.
        known
            (H, W), the pixels that are known then.
        pixels
            (P, 2), the pixels of the stage.
        shortlists
            Ids of the images that may serve each canvas.

        Returns
        -------
        ndarray
            (ids, P, 2R + 1, 2R + 1): for each id of the shortlists, pixel and displacement of the source, from −R to R,
            the distance times the weight in 1/256 squared grey levels, rounded.
        """
        ids, ends = shortlists
        self._hold(np.unique(ids))
        side = 2 * self.radius + 1
        added = np.zeros((len(ids), len(pixels), side, side), np.uint32)
        if not len(canvases):
            return added
        own = _rounded(self.encoder.places(canvases, known, threads=self.threads))  # (B, h, w, E)
        grid, share = self.encoder.grid_of_places(known)
        seen = np.flatnonzero(share > 0)
        weights = self._weights(pixels, grid.centres[seen], share.reshape(-1)[seen])  # (P, seen)
        total = weights.sum(1).clip(min=1)[None, :]
        moved = [np.trunc(np.arange(-self.radius, self.radius + 1) / step).astype(int) for step in grid.step]
        rows, columns = np.divmod(seen, grid.columns)
        for b, (start, end) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)):
            images = np.stack([self._held[k] for k in ids[start:end].tolist()])  # (K, h, w, E)
            canvas = own[b, rows, columns].astype(np.float32)[:, :, None]  # (seen, E, 1)
            for down in np.unique(moved[0]):
                for right in np.unique(moved[1]):
                    there = (rows + down).clip(0, grid.rows - 1), (columns + right).clip(0, grid.columns - 1)
                    theirs = images[:, *there].astype(np.float32).swapaxes(0, 1)  # (seen, K, E)
                    unlike = SCALE**2 - (theirs @ canvas)[:, :, 0].astype(np.float64)  # (seen, K), whole numbers
                    distances = (weights @ unlike.clip(min=0)).T / total / SCALE**2  # (K, P)
                    units = np.rint(distances * (self.weight * UNITS)).clip(max=MOST_ADDED).astype(np.uint32)
                    where = (moved[0] == down)[:, None] & (moved[1] == right)
                    added[start:end, :, where] = units[:, :, None]
        return added

    def _weights(
        self, pixels: NDArray[np.int32], centres: NDArray[np.float64], share: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the weights (P, c) of places with these centres (c, 2) and known shares (c,): whole numbers."""
        squared = ((pixels[:, None] - centres) ** 2).sum(2)  # (P, c)
        # Relative to the nearest place, so that there is one of weight 1 however far away.
        squared -= squared.min(1, keepdims=True, initial=np.inf) if len(centres) else 0
        weights: NDArray[np.float64] = np.rint(WEIGHT_SCALE * share * np.exp(-squared / (2 * self.sigma**2)))
        return weights

    def _hold(self, ids: NDArray[np.int32]) -> None:
        """Embed the places of images that are not held yet, and drop others where all would take too much memory."""
        new = [k for k in ids.tolist() if k not in self._held]
        images = self.library.images(np.array(new, np.int32))  # also where none is new: other ranks may need some
        embedded = _rounded(self.encoder.places(images, threads=self.threads))
        if (len(self._held) + len(new)) * embedded[:1].nbytes > HELD:
            kept = set(ids.tolist())
            self._held = {k: places for k, places in self._held.items() if k in kept}
        self._held.update(zip(new, embedded, strict=True))


def _rounded(places: NDArray[np.float32]) -> NDArray[np.int16]:
    rounded: NDArray[np.int16] = np.rint(places * np.float32(SCALE)).astype(np.int16)
    return rounded
