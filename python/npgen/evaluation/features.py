"""Outputs of a network for images: for samples computed each time, for a corpus once and then stored beside it.

The outputs for a stored corpus lie in `features/<network id>/` of its folder: `features.npy`, `probabilities.npy` if
the network returns any, and a manifest that names network and corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, CorpusCache
from npgen.errors import invalid
from npgen.evaluation.networks import Network
from npgen.storage import new_folder, npy, read_json, write_json

VERSION = 1
# Names of a network's outputs, and of their files; the second may be missing.
OUTPUTS = ("features", "probabilities")


@dataclass(frozen=True, eq=False)
class Outputs:
    """Outputs of a network for n images.

    Attributes
    ----------
    features
        (n, F) float32.
    probabilities
        (n, K) float32 class probabilities, or None if the network returns none.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None

    def __getitem__(self, ids: NDArray[np.int64]) -> Outputs:
        probabilities = None if self.probabilities is None else self.probabilities[ids]
        return Outputs(self.features[ids], probabilities)


CACHE: CorpusCache[Outputs] = CorpusCache("features", "features/{key}")


def outputs_of(network: Network, images: NDArray[np.uint8], *, quiet: bool = True, what: str = "features") -> Outputs:
    """Compute a network's outputs for images.

    Parameters
    ----------
    network
        The network.
    images
        (n, H, W, C) uint8, at least one.
    quiet
        Show no progress.
    what
        Label of the progress bar.

    Returns
    -------
    Outputs
        In memory.

    Raises
    ------
    ValueError
        If the network returns something else than `Network` describes.
    """
    parts = list(_outputs(network, images, quiet, what))
    has_classes = parts[0].probabilities is not None
    return Outputs(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.probabilities for part in parts if part.probabilities is not None])
        if has_classes
        else None,
    )


def corpus_outputs(network: Network, corpus: Corpus, *, quiet: bool = True) -> Outputs:
    """Return a network's outputs for all images of a corpus, computed and stored now if they were not before.

    Parameters
    ----------
    network
        The network. Without an id its outputs are computed each time.
    corpus
        N images.
    quiet
        Show no progress.

    Returns
    -------
    Outputs
        (N, …); read-only memory maps for a stored corpus.

    Raises
    ------
    ValueError
        If stored outputs are damaged, or the network returns something else than `Network` describes.
    OSError
        If the disk is full.
    """

    def make() -> Outputs:
        return outputs_of(network, corpus.images, quiet=quiet, what=f"features of {corpus.name}")

    def store(folder: Path) -> Outputs | None:
        try:
            with suppress(FileExistsError):  # another process was first
                _store(folder, network, corpus, quiet)
        except PermissionError as error:
            CACHE.warn_not_stored(error)
            return None
        return open_outputs(folder)

    if network.id is None:
        return make()
    open_outputs = partial(_open, network, corpus)
    return CACHE.fetch(corpus, network.id, open=open_outputs, store=store, make=make)


def _outputs(network: Network, images: NDArray[np.uint8], quiet: bool, what: str) -> Iterator[Outputs]:
    """Yield the checked outputs of batch after batch."""
    widths: tuple[int, int | None] | None = None
    with tqdm(total=len(images), desc=what, unit="image", disable=quiet) as bar:
        for start in range(0, len(images), network.batch_size):
            batch = np.array(images[start : start + network.batch_size])
            features, probabilities = (_matrix(output, len(batch)) for output in network.predict(batch))
            if features is None:
                raise invalid("features", "an array (n, F)", None)
            if probabilities is not None and not (
                (probabilities >= 0).all() and np.allclose(probabilities.sum(1), 1, atol=1e-3)
            ):
                raise invalid("probabilities", "at least 0, of sum 1 for each image", probabilities.sum(1))
            found = features.shape[1], None if probabilities is None else probabilities.shape[1]
            widths = widths or found
            if found != widths:
                raise invalid("features and probabilities", f"of widths {widths} for all batches", found)
            yield Outputs(features, probabilities)
            bar.update(len(batch))


def _matrix(output: NDArray[np.floating] | None, count: int) -> NDArray[np.float32] | None:
    if output is None:
        return None
    matrix = np.asarray(output, np.float32)
    if matrix.ndim != 2 or len(matrix) != count or matrix.shape[1] < 1:
        raise invalid("a network's output", f"of shape ({count}, F) for {count} images", matrix.shape)
    if not np.isfinite(matrix).all():
        raise invalid("a network's output", "finite numbers", "others")
    return matrix


def _store(folder: Path, network: Network, corpus: Corpus, quiet: bool) -> None:
    with new_folder(folder) as unfinished, ExitStack() as stack:
        writers: dict[str, npy.ArrayWriter] = {}
        for part in _outputs(network, corpus.images, quiet, f"features of {corpus.name}"):
            for name, rows in vars(part).items():
                if rows is None:
                    continue
                if name not in writers:
                    shape = (len(corpus), rows.shape[1])
                    writers[name] = stack.enter_context(npy.array_writer(unfinished / f"{name}.npy", np.float32, shape))
                writers[name].write(rows)
        stack.close()
        arrays = {name: {"shape": writer.shape, "sha256": writer.sha256} for name, writer in writers.items()}
        manifest = {"version": VERSION, "network": network.id, "corpus": corpus.hash, "arrays": arrays}
        write_json(unfinished / "manifest.json", manifest)


def _open(network: Network, corpus: Corpus, folder: Path) -> Outputs:
    manifest = read_json(folder / "manifest.json")
    CACHE.check_manifest(folder, manifest, {"version": VERSION, "network": network.id, "corpus": corpus.hash})
    arrays = manifest.get("arrays")
    if not isinstance(arrays, dict) or not (
        {"features"} <= set(arrays) <= set(OUTPUTS) and all(isinstance(facts, dict) for facts in arrays.values())
    ):
        raise CACHE.damaged(folder, f"of arrays {' and '.join(OUTPUTS)}", arrays)
    opened = {
        name: CACHE.open_rows(folder, folder / f"{name}.npy", len(corpus), facts.get("sha256"))
        for name, facts in arrays.items()
    }
    return Outputs(opened["features"], opened.get("probabilities"))
