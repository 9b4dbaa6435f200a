"""Runs of tokens: canvases of cells of a few bits, filled by Hamming distance and decoded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

import npgen._core as _core
from npgen.config import Config, find_model
from npgen.corpus import Corpus
from npgen.errors import check_type, check_whole_tuple, invalid
from npgen.runs import TRACE_DTYPES, RunFacts, Samples, Trace
from npgen.sampling.order import cell_order, known_rect
from npgen.sampling.seeds import images_by_label
from npgen.tokens import Tokens


class TokenRun:
    """A run of tokens, ready to fill batches of canvases; see `PixelRun`.

    Parameters
    ----------
    corpus
        N images of H×W pixels.
    model
        "local": sources are the tokens of all images at the same place; "class": of those of the seed's label;
        "texture": of all places.
    config
        Settings; those of pixels alone must have their defaults.
    seed
        Seed of all draws.
    threads
        CPU threads; None means one per core.
    tokens
        The corpus's tokens.

    Raises
    ------
    ValueError
        If model or settings are not for tokens, or do not fit these.
    """

    def __init__(
        self, corpus: Corpus, model: str, config: Config, seed: int, threads: int | None, tokens: Tokens
    ) -> None:
        self.model_name, self.model = model, find_model(model)
        if self.model.embedding:
            raise invalid("model", "'local', 'texture' or 'class' with tokens, which have no embeddings", model)
        config.check_ignored_settings(tokens=True)
        self.corpus, self.config, self.tokens = corpus, config, tokens
        self.seed, self.threads = seed, threads
        self.shape: tuple[int, int] = (corpus.images.shape[1], corpus.images.shape[2])
        self.order = cell_order(config, tokens.grid, tokens.stride)
        self.rect = config.seed_cells(tokens.grid, tokens.stride)
        # Without a seed patch no image matches itself, and none needs to be barred.
        self.bars = config.exclude_seed_image and config.order == "rings"
        if len(corpus) - self.bars < 1:
            raise invalid("corpus", "at least 2 images, as the seed's own is barred", len(corpus))
        self.members = images_by_label(corpus, model) if self.model.label else {}
        if self.bars and any(len(ids) == 1 for ids in self.members.values()):
            raise invalid("corpus", "at least 2 images of each label, as the seed's own is barred", "1 of a label")
        self._fillers: dict[int | None, tuple[NDArray[np.int32] | None, _core.TokenFiller]] = {}

    @property
    def drawn(self) -> int:
        """Pixels of a sample that are drawn, in each sweep."""
        return len(self.order.pixels) * self.tokens.stride**2

    def facts(self, first: int, n: int) -> RunFacts:
        """Return what n samples of this run are, from index `first` on."""
        corpus = self.corpus
        return RunFacts(
            self.model_name, self.config, self.seed, first, n, corpus.name, corpus.hash, tokens_id=self.tokens.id
        )

    def blank(self, facts: RunFacts) -> Samples:
        """Make canvases of which nothing is known yet, with room for the tokens that the run records."""
        codes = (*self.tokens.grid, self.tokens.planes.shape[2])
        return Samples.empty(facts, (*self.shape, self.corpus.images.shape[3]), codes=codes)

    def fill(self, batch: Samples, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Fill the canvases of one batch, in place, and decode them.

        Parameters
        ----------
        batch
            B blank canvases; codes, image, trace and anchor are written together.
        bar
            Progress in pixels.
        """
        assert batch.codes is not None
        # 1. Seed. Each canvas starts from a patch of a random image's tokens, or in raster order from nothing.
        indices = np.arange(batch.first, batch.first + len(batch), dtype=np.uint64)
        batch.anchor[:] = _core.draw_seed_images(self.seed, indices, len(self.corpus))
        labels = np.zeros(len(batch), np.int64) if self.corpus.labels is None else self.corpus.labels[batch.anchor]
        trace = Trace(*(np.zeros(batch.codes.shape[:3], dtype) for dtype in TRACE_DTYPES.values()))  # (B, h, w)
        self._place_seed(batch.codes, trace, batch.anchor)
        # 2. Semantics. Canvases of one label share its images; without labels all canvases share all images.
        labels_here: list[int | None] = [*sorted(self.members)] or [None]
        for label in labels_here:
            which = np.arange(len(batch)) if label is None else np.flatnonzero(labels == label)
            if len(which):
                # 3. Locality and low level: the core draws the cells in order, by the Hamming distance of contexts.
                self._fill(label, which, indices[which], batch, trace)
                bar.update(len(which) * self.drawn * (1 + self.config.sweeps))
        # 4. A pixel's source is the pixel at the same place inside the cell that its token came from.
        for ours, theirs in zip(batch.trace.arrays(), pixel_trace(trace, self.tokens.stride).arrays(), strict=True):
            ours[:] = theirs
        # 5. Decode the tokens.
        if len(batch):
            batch.images[:] = self.tokens.decode(batch.codes, threads=self.threads)

    def _place_seed(self, codes: NDArray[np.uint8], trace: Trace, anchors: NDArray[np.int32]) -> None:
        y, x, height, width = self.rect
        inside = (slice(None), slice(y, y + height), slice(x, x + width))
        if height:
            codes[inside] = self.tokens.codes(anchors)[inside]
        trace.image_id[inside] = anchors[:, None, None]
        trace.y[inside] = np.arange(y, y + height)[:, None]
        trace.x[inside] = np.arange(x, x + width)

    def _fill(
        self, label: int | None, which: NDArray[np.int64], indices: NDArray[np.uint64], batch: Samples, trace: Trace
    ) -> None:
        """Fill some canvases of the batch, with images of one label or of all."""
        assert batch.codes is not None
        ids, filler = self._filler(label)
        anchors = batch.anchor[which]
        barred = anchors if ids is None else np.searchsorted(ids, anchors).astype(np.int32)
        codes = np.ascontiguousarray(batch.codes[which])
        own = trace.mapped(lambda array: np.ascontiguousarray(array[which]))
        known = known_rect(self.tokens.grid, self.rect)
        for sweep in range(1 + self.config.sweeps):
            cells = self.order.pixels if sweep == 0 else _core.sweep_order(self.order.pixels, self.seed, sweep)
            filler.fill(
                codes,
                own.arrays(),
                cells=cells,
                known=known,
                seed=self.seed,
                sweep=sweep,
                samples=indices,
                barred=barred if self.bars else np.full_like(barred, -1),
            )
            known[:] = True
        if ids is not None:
            cells = self.order.pixels
            drawn = (slice(None), cells[:, 0], cells[:, 1])
            own.image_id[drawn] = ids[own.image_id[drawn]]
        batch.codes[which] = codes
        for whole, part in zip(trace.arrays(), own.arrays(), strict=True):
            whole[which] = part

    def _filler(self, label: int | None) -> tuple[NDArray[np.int32] | None, _core.TokenFiller]:
        """Return the ids of a label's images, None for all, and the core's filler for these."""
        if label not in self._fillers:
            ids = None if label is None else self.members[label]
            planes = self.tokens.planes if ids is None else np.ascontiguousarray(self.tokens.planes[..., ids])
            radius = 0 if self.model.locality else max(self.tokens.grid)
            self._fillers[label] = ids, _make_filler(planes, self.tokens.bits, self.config, radius, self.threads)
        return self._fillers[label]


def _make_filler(
    planes: NDArray[np.uint8], bits: int, config: Config, radius: int, threads: int | None
) -> _core.TokenFiller:
    settings = _core.TokenSettings(
        gamma=config.gamma,
        disc=config.metric == "l2",
        radius=radius,
        epsilon=config.epsilon,
        k_min=config.k_min,
        flip=config.flip if config.draw == "histogram" else None,
        threads=threads or 0,
    )
    return _core.TokenFiller(planes, bits, settings)


def pixel_trace(cells: Trace, stride: int) -> Trace:
    """Return the trace of pixels: each came from the same place inside the cell that its token came from.

    Parameters
    ----------
    cells
        The trace of n canvases of tokens, (n, h, w).
    stride
        Side of a cell in pixels, s.

    Returns
    -------
    Trace
        (n, h·s, w·s).
    """
    pixels = cells.mapped(lambda array: array.repeat(stride, axis=1).repeat(stride, axis=2))
    inside = np.arange(stride, dtype=np.int32)
    y = pixels.y * np.int32(stride) + np.tile(inside, cells.y.shape[1])[:, None]
    x = pixels.x * np.int32(stride) + np.tile(inside, cells.x.shape[2])
    return replace(pixels, y=y, x=x)


def token_distributions(
    tokens: Tokens,
    codes: NDArray[np.uint8],
    cell: tuple[int, int],
    config: Config | None = None,
    *,
    barred: ArrayLike | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Return the probability of each token at one cell of some images, as the histogram sampler draws it.

    ``p(x | context) ∝ Σ_n (P̄/P)^d_n · P̄^ham(x, z_n) · P^(b − ham(x, z_n))`` over all images n at the same place, d_n
    the Hamming distance of their context from the image's, P = 1 − P̄ (local autoregression).

    Parameters
    ----------
    tokens
        N images of at most 16 bits per cell.
    codes
        (M, h, w, Y) uint8: tokens of the images. The context is what the order fills before the cell.
    cell
        (y, x) of the cell.
    config
        Settings: `gamma`, `metric`, `order` and `flip` count. None means the defaults.
    barred
        (M,) id of one image per row that is left out, as an image of the store should be in its own prediction; −1 for
        none. None leaves out none.
    threads
        CPU threads; None means one per core.

    Returns
    -------
    ndarray
        (M, 2^b) float64: the probability of each token; bit k of its index is bit k of the token.

    Raises
    ------
    TypeError, ValueError
        If types, shapes, ids or the cell do not fit, the cell lies in the seed patch, or tokens have more bits.
    """
    check_type("tokens", tokens, Tokens)
    check_type("config", config, Config, type(None))
    config = config or Config()
    config.check_ignored_settings(tokens=True)
    check_type("codes", codes, np.ndarray)
    if codes.dtype != np.uint8 or codes.ndim != 4:
        raise TypeError(f"codes must be a 4-dimensional array of uint8, got {codes.dtype} of shape {codes.shape}")
    check_whole_tuple("cell", cell, "y, x", -(2**31), 2**31 - 1)
    order = cell_order(config, tokens.grid, tokens.stride).pixels
    place = np.flatnonzero((order == np.array(cell)).all(1))
    if len(place) != 1:
        raise invalid("cell", f"one that is filled, of a grid of {tokens.grid[0]}×{tokens.grid[1]}", tuple(cell))
    known = known_rect(tokens.grid, config.seed_cells(tokens.grid, tokens.stride))
    known[tuple(order[: place[0]].T)] = True
    left_out = np.full(len(codes), -1, np.int32) if barred is None else np.asarray(barred, np.int32)
    filler = _make_filler(tokens.planes, tokens.bits, config, 0, threads)
    return filler.distributions(np.ascontiguousarray(codes), known, (int(cell[0]), int(cell[1])), config.flip, left_out)
