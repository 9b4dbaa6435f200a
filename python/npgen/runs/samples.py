"""Samples and where each of their pixels came from: in memory, on disk, and back to pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import Config
from npgen.corpus import Corpus, check_corpus
from npgen.errors import check_type, invalid
from npgen.runs.coarse import CoarseLevels
from npgen.runs.facts import RunFacts
from npgen.runs.trace import TRACE_DTYPES, Trace, check_array
from npgen.runs.writing import write_run
from npgen.storage import new_folder

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Samples:
    """Generated images with all that is needed to account for them.

    Attributes
    ----------
    facts
        What the run is: model, config, seed, corpus … Each is also an attribute of the samples.
    images
        (n, H, W, C) uint8.
    trace
        Where each pixel came from.
    anchor
        (n,) int32: the image that each sample's seed patch comes from, and whose meaning guides the sample.
    fallbacks
        (n,) int32: draws for which no candidate was near enough; 0 unless tolerance is relative to the whole corpus.
    queries
        (n, S, D) float32: the query of each canvas, stage by stage; S is 1 where the anchor alone decides. None where
        the model has no embedding. With the corpus's keys they give the shortlists again.
    densities
        (n, M) float32: of M draws of each sample (`Config.select`), the density of the image in the embedding; the kept
        draw has the highest. None where there is one draw.
    grown
        (n, H, W, 3) int32: image id, y and x that each pixel was drawn from, where `Config.seams` cut the borders
        between sources anew afterwards; else None. The trace then holds the sources after that, and of each pixel the
        distance and pool size of its draw.
    seam_energy
        (n, 2) float64: energy of all seams before and after they were cut anew, in grey levels; None as `grown`.
    codes
        (n, h, w, Y) uint8: of a run of tokens, each sample as drawn, which `images` is the decoding of; else None. The
        trace then holds for each pixel where its cell's token came from, at the same place inside that cell; distances
        are shares of the bits compared, 0 to 1.
    coarse
        The coarser levels of samples that were generated coarse to fine (`Config.levels`); else None.

    Raises
    ------
    TypeError, ValueError
        If types or shapes do not fit, as these may come from a file.
    """

    facts: RunFacts
    images: NDArray[np.uint8]
    trace: Trace
    anchor: NDArray[np.int32]
    fallbacks: NDArray[np.int32]
    queries: NDArray[np.float32] | None = None
    densities: NDArray[np.float32] | None = None
    grown: NDArray[np.int32] | None = None
    seam_energy: NDArray[np.float64] | None = None
    codes: NDArray[np.uint8] | None = None
    coarse: CoarseLevels | None = None

    def __post_init__(self) -> None:
        """Check types and shapes."""
        check_type("facts", self.facts, RunFacts)
        check_type("trace", self.trace, Trace)
        shape = self.trace.image_id.shape
        check_array("images", self.images, np.uint8, 4, shape)
        check_array("anchor", self.anchor, np.int32, 1, shape[:1])
        check_array("fallbacks", self.fallbacks, np.int32, 1, shape[:1])
        if self.queries is not None:
            check_array("queries", self.queries, np.float32, 3, shape[:1])
        if self.densities is not None:
            check_array("densities", self.densities, np.float32, 2, (*shape[:1], self.facts.config.select))
        if self.grown is not None:
            check_array("grown", self.grown, np.int32, 4, (*shape, 3))
        if self.seam_energy is not None:
            check_array("seam_energy", self.seam_energy, np.float64, 2, (*shape[:1], 2))
        if self.codes is not None:
            check_array("codes", self.codes, np.uint8, 4, shape[:1])
            height, width = self.codes.shape[1:3]
            stride = shape[1] // height if height else 0
            if shape[1:] != (height * stride, width * stride):
                raise invalid("codes", f"a grid of square cells of {shape[1]}×{shape[2]} pixels", (height, width))
        if (self.coarse is None) != (self.facts.config.levels == 1):
            raise invalid("coarse", "there where the settings name levels, and only there", self.coarse)
        if self.coarse is not None:
            self.coarse.check(self.images.shape, self.facts.config.levels)
        if {self.grown is None, self.seam_energy is None} != {not self.config.seams}:
            raise ValueError("samples must have grown and seam_energy where config.seams is set, else neither")
        if (self.codes is None) != (self.facts.tokens_id is None):
            raise ValueError("samples must have both codes and tokens_id, or neither")
        if self.facts.n != len(self.images):
            raise invalid("n", f"{len(self.images)}, the number of images", self.facts.n)

    @classmethod
    def empty(
        cls,
        facts: RunFacts,
        shape: tuple[int, ...],
        queries: tuple[int, int] | None = None,
        codes: tuple[int, int, int] | None = None,
    ) -> Samples:
        """Make n canvases (H, W, C) of which nothing is known yet, with room for queries (S, D) and codes (h, w, Y)."""
        n, config = facts.n, facts.config
        return cls(
            facts,
            images=np.zeros((n, *shape), np.uint8),
            trace=Trace(*(np.zeros((n, *shape[:2]), dtype) for dtype in TRACE_DTYPES.values())),
            anchor=np.zeros(n, np.int32),
            fallbacks=np.zeros(n, np.int32),
            queries=None if queries is None else np.zeros((n, *queries), np.float32),
            densities=np.zeros((n, config.select), np.float32) if config.select > 1 else None,
            grown=np.zeros((n, *shape[:2], 3), np.int32) if config.seams else None,
            seam_energy=np.zeros((n, 2)) if config.seams else None,
            codes=None if codes is None else np.zeros((n, *codes), np.uint8),
            coarse=None if config.levels == 1 else CoarseLevels.empty(n, (shape[0], shape[1]), shape[2], config.levels),
        )

    @property
    def model(self) -> str:
        """Name of the model, as given to `npgen.generate`."""
        return self.facts.model

    @property
    def config(self) -> Config:
        """Settings, as given to `npgen.generate`."""
        return self.facts.config

    @property
    def seed(self) -> int:
        """Seed of all draws."""
        return self.facts.seed

    @property
    def first(self) -> int:
        """Index of the first of these samples in the run that the seed defines."""
        return self.facts.first

    @property
    def corpus_name(self) -> str:
        """Name of the corpus."""
        return self.facts.corpus_name

    @property
    def corpus_hash(self) -> str:
        """Hash of the corpus."""
        return self.facts.corpus_hash

    @property
    def encoder_id(self) -> str | None:
        """The encoder; None where the model uses no embedding."""
        return self.facts.encoder_id

    @property
    def tokens_id(self) -> str | None:
        """`Tokens.id` of the run's token store; None for a run of pixels."""
        return self.facts.tokens_id

    @property
    def indices(self) -> NDArray[np.uint64]:
        """Indices (n,) of the samples in the run that the seed defines."""
        return np.arange(self.first, self.first + len(self), dtype=np.uint64)

    @property
    def kept(self) -> NDArray[np.int64]:
        """Number (n,) of the draw that was kept of each sample: the densest, the first of equals."""
        return np.zeros(len(self), np.int64) if self.densities is None else self.densities.argmax(1)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images (n, H, W, C)."""
        return self.images

    @property
    def grid(self) -> tuple[int, int] | None:
        """Extents of the grid of tokens (h, w), or None where the samples are of pixels."""
        return None if self.codes is None else (self.codes.shape[1], self.codes.shape[2])

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width, channels = self.images.shape[1:]
        return (
            f"Samples(n={len(self)}, size={height}×{width}×{channels}, model={self.model!r}, "
            f"seed={self.seed}, first={self.first}, corpus={self.corpus_name!r})"
        )

    def _repr_png_(self) -> bytes | None:
        from npgen.output import samples_png

        return samples_png(self._pictures(), self.provenance())

    def _repr_html_(self) -> str:
        from npgen.output import samples_html

        return samples_html(self._pictures(), self._run_table(), self.config.to_json(), self.provenance())

    def _pictures(self) -> dict[str, Image.Image]:
        from npgen.output import sample_maps, sample_sheets

        if len(self) == 0:
            return {}
        if len(self) > 1:
            return sample_sheets(self.images, self.trace.image_id)
        distances, unit = distances_to_show(self)
        return sample_maps(self.first, self.images, self.trace.image_id, self.trace.pool_size, distances, unit)

    def _run_table(self) -> dict[str, str]:
        """Describe the run in words, for a table of two columns."""
        defaults = Config().to_json()
        changed = {name: value for name, value in self.config.to_json().items() if value != defaults.get(name)}
        height, width, channels = self.images.shape[1:]
        return {
            "samples": f"{len(self):,} of {height}×{width}×{channels}, the first is number {self.first}",
            "model": self.model,
            "seed": str(self.seed),
            "corpus": f"{self.corpus_name} ({self.corpus_hash[:16]})",
            "encoder": "none" if self.encoder_id is None else self.encoder_id[:16],
            "settings": ", ".join(f"{name} {value}" for name, value in changed.items()) or "the defaults",
        }

    def __getitem__(self, part: slice) -> Samples:
        """Return consecutive samples as views: writing to them writes to these."""
        check_type("part", part, slice)
        start, _, step = part.indices(len(self))
        if step != 1:
            raise invalid("step of a slice of samples", "1", step)
        images = self.images[part]
        return replace(
            self,
            facts=self.facts.part(self.first + start, len(images)),
            images=images,
            trace=self.trace[part],
            anchor=self.anchor[part],
            fallbacks=self.fallbacks[part],
            **self._optional(lambda array: array[part]),
        )

    def arrays(self) -> list[NDArray[Any]]:
        """Return all arrays, each with one row per sample."""
        return [*self._always(), *self.optional_arrays().values(), *self._coarse()]

    def drawn_arrays(self) -> list[NDArray[Any]]:
        """Return the arrays that follow from draws: all but queries, densities and codes."""
        seams = [array for array in (self.grown, self.seam_energy) if array is not None]
        return [*self._always(), *seams, *self._coarse()]

    def _always(self) -> list[NDArray[Any]]:
        return [self.images, *self.trace.arrays(), self.anchor, self.fallbacks]

    def _coarse(self) -> list[NDArray[Any]]:
        return [] if self.coarse is None else self.coarse.arrays()

    def optional_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that some samples lack and these have, by their names."""
        names = ("queries", "densities", "grown", "seam_energy", "codes")
        arrays = {name: getattr(self, name) for name in names}
        return {name: array for name, array in arrays.items() if array is not None}

    def mapped(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Samples:
        """Return samples with each array replaced by what `change` makes of it."""
        images = change(self.images)
        return replace(
            self,
            facts=self.facts.part(self.first, len(images)),
            images=images,
            trace=self.trace.mapped(change),
            anchor=change(self.anchor),
            fallbacks=change(self.fallbacks),
            **self._optional(change),
        )

    def _optional(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> dict[str, Any]:
        changed: dict[str, Any] = {name: change(array) for name, array in self.optional_arrays().items()}
        return changed if self.coarse is None else changed | {"coarse": self.coarse.mapped(change)}

    def put(self, rows: NDArray[np.bool_], others: Samples) -> None:
        """Overwrite what was drawn of the samples that the mask (n,) names with what was drawn of others."""
        for own, other in zip(self.drawn_arrays(), others.drawn_arrays(), strict=True):
            own[rows] = other

    def place_seed(
        self, anchors: NDArray[np.uint8], rect: tuple[int, int, int, int], corners: NDArray[np.int32] | None = None
    ) -> None:
        """Copy a patch of each anchor (n, …, C) to `rect`, (y, x, height, width); from a corner (n, 2) or the same."""
        y, x, height, width = rect
        if corners is None:
            corners = np.tile(np.array([y, x], np.int32), (len(self), 1))
        inside = (slice(None), slice(y, y + height), slice(x, x + width))
        self.trace.image_id[inside] = self.anchor[:, None, None]
        self.trace.y[inside] = corners[:, 0, None, None] + np.arange(height)[:, None]
        self.trace.x[inside] = corners[:, 1, None, None] + np.arange(width)
        each = np.arange(len(self))[:, None, None]
        self.images[inside] = anchors[each, self.trace.y[inside], self.trace.x[inside]]

    def replay(self, corpus: Corpus) -> NDArray[np.uint8]:
        """Rebuild the images from the corpus and the trace alone.

        Parameters
        ----------
        corpus
            The corpus that the samples were made from.

        Returns
        -------
        ndarray
            (n, H, W, C) uint8, equal to `images`.

        Raises
        ------
        ValueError
            If it is another corpus, or the samples are of tokens, of which `Tokens.decode` makes pixels.
        """
        if self.codes is not None:
            raise invalid("samples", "of pixels, each a copy of its source (of tokens, decode `codes`)", self)
        self.check_corpus(corpus)
        trace = self.trace
        return np.asarray(corpus.images[trace.image_id, trace.y, trace.x])

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise ValueError unless the samples were made from this corpus, and every address in them exists."""
        check_corpus(corpus)
        if corpus.hash != self.corpus_hash:
            expected = f"the one the samples were made from ({self.corpus_name!r}, {self.corpus_hash[:16]})"
            raise invalid("corpus", expected, f"{corpus.name}, {corpus.hash[:16]}")
        count, height, width = corpus.images.shape[:3]
        named = {"anchor": (self.anchor, count), "trace.image_id": (self.trace.image_id, count)}
        named |= {"trace.y": (self.trace.y, height), "trace.x": (self.trace.x, width)}
        for name, (array, extent) in named.items():
            if array.size and not 0 <= array.min() <= array.max() < extent:
                raise invalid(name, f"in 0…{extent - 1} (see npgen verify)", f"{array.min()}…{array.max()}")
        trace = self.trace
        if not corpus.holds(trace.image_id, trace.y, trace.x).all():
            raise invalid("trace", "of pixels inside their images (see npgen verify)", "some beyond")

    def provenance(self) -> dict[str, Any]:
        """Return, JSON-able, what it takes to make the samples again: the run's manifest without its shards."""
        return self.facts.to_json()

    def describe(self) -> dict[str, Any]:
        """Return, JSON-able, where the samples come from, as evaluations record it: model, config and seed."""
        return {"model": self.model, "config": self.config.to_json(), "model_seed": self.seed}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the samples as a run folder: all of it, or nothing.

        Parameters
        ----------
        path
            Folder to make. It holds `manifest.json` and shards of whole samples, plain `.npy` files.

        Raises
        ------
        FileExistsError
            If there is something already.
        OSError
            If it can't be written.
        """
        with new_folder(path) as folder:
            write_run(self, folder)


def distances_to_show(samples: Samples) -> tuple[NDArray[np.float64], str]:
    """Return distances (n, H, W) in a unit that people can read, and its name.

    For pixels: the square root of the trace's distance, the weighted root mean square difference of two windows in
    grey levels. For tokens: the share of the compared bits that differ, 0 to 1.
    """
    distances = samples.trace.distance.astype(np.float64)
    return (np.sqrt(distances), "grey levels") if samples.codes is None else (distances, "of the bits compared")


def check_samples(samples: Samples, corpus: Corpus) -> None:
    """Raise TypeError or ValueError unless these are samples, made from this corpus."""
    check_type("samples", samples, Samples)
    samples.check_corpus(corpus)
