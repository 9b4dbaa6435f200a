"""What a network says of images: of samples each time, of a corpus once, kept beside it.

The outputs for a stored corpus lie in `features/<network id>/` of its folder: `features.npy`, `probabilities.npy` if
the network gives any, and a manifest that names network and corpus.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import HASHED_BYTES, Corpus
from npgen.errors import invalid
from npgen.evaluation.networks import Network
from npgen.storage import new_folder, npy, read_json, sha256_file, write_json

VERSION = 1
# What a network may say, and the names of the files that it is kept in; the second may be missing.
OUTPUTS = ("features", "probabilities")

# Outputs for corpora that are in memory only, or whose folder can't be written, by network id.
_in_memory: WeakKeyDictionary[Corpus, dict[str, Outputs]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network says of n images.

    Attributes
    ----------
    features
        (n, F) float32.
    probabilities
        (n, K) float32 class probabilities, or None from a network that gives none.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None

    def __getitem__(self, ids: NDArray[np.int64]) -> Outputs:
        probabilities = None if self.probabilities is None else self.probabilities[ids]
        return Outputs(self.features[ids], probabilities)


def outputs_of(network: Network, images: NDArray[np.uint8], *, quiet: bool = True, what: str = "features") -> Outputs:
    """Ask a network about images.

    Parameters
    ----------
    network
        The network.
    images
        (n, H, W, C) uint8, at least one.
    quiet
        Show no progress.
    what
        The progress bar's name.

    Returns
    -------
    Outputs
        In memory.

    Raises
    ------
    ValueError
        If the network's answers are not what `Network` says.
    """
    parts = list(_answers(network, images, quiet, what))
    has_classes = parts[0].probabilities is not None
    return Outputs(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.probabilities for part in parts if part.probabilities is not None])
        if has_classes
        else None,
    )


def corpus_outputs(network: Network, corpus: Corpus, *, quiet: bool = True) -> Outputs:
    """Ask a network about all images of a corpus, or read what it said before.

    Parameters
    ----------
    network
        The network.
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
        If what was kept is damaged, or the network's answers are not what `Network` says.
    OSError
        If there is no space for them.
    """
    what = f"features of {corpus.name}"
    if network.id is None:
        return outputs_of(network, corpus.images, quiet=quiet, what=what)
    kept = _in_memory.setdefault(corpus, {})
    if network.id in kept:
        return kept[network.id]
    if corpus.path is not None:
        folder = corpus.path / "features" / network.id
        if folder.exists():
            return _open(folder, network, corpus)
        try:
            _store(folder, network, corpus, quiet, what)
            return _open(folder, network, corpus)
        except PermissionError as error:
            warnings.warn(f"features are kept in memory only: {error}", stacklevel=2)
        except FileExistsError:  # another process was first
            return _open(folder, network, corpus)
    kept[network.id] = outputs_of(network, corpus.images, quiet=quiet, what=what)
    return kept[network.id]


def _answers(network: Network, images: NDArray[np.uint8], quiet: bool, what: str) -> Iterator[Outputs]:
    """Ask batch by batch, and check every answer."""
    widths: tuple[int, int | None] | None = None
    with tqdm(total=len(images), desc=what, unit="image", disable=quiet) as bar:
        for start in range(0, len(images), network.batch_size):
            batch = np.array(images[start : start + network.batch_size])
            features, probabilities = (_matrix(answer, len(batch)) for answer in network.predict(batch))
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


def _matrix(answer: NDArray[np.floating] | None, count: int) -> NDArray[np.float32] | None:
    if answer is None:
        return None
    matrix = np.asarray(answer, np.float32)
    if matrix.ndim != 2 or len(matrix) != count or matrix.shape[1] < 1:
        raise invalid("a network's answer", f"of shape ({count}, F) for {count} images", matrix.shape)
    if not np.isfinite(matrix).all():
        raise invalid("a network's answer", "finite numbers", "others")
    return matrix


def _store(folder: Path, network: Network, corpus: Corpus, quiet: bool, what: str) -> None:
    with new_folder(folder) as partial, ExitStack() as stack:
        writers: dict[str, npy.ArrayWriter] = {}
        for part in _answers(network, corpus.images, quiet, what):
            for name, rows in vars(part).items():
                if rows is None:
                    continue
                if name not in writers:
                    shape = (len(corpus), rows.shape[1])
                    writers[name] = stack.enter_context(npy.array_writer(partial / f"{name}.npy", np.float32, shape))
                writers[name].write(rows)
        stack.close()
        arrays = {name: {"shape": writer.shape, "sha256": writer.sha256} for name, writer in writers.items()}
        manifest = {"version": VERSION, "network": network.id, "corpus": corpus.hash, "arrays": arrays}
        write_json(partial / "manifest.json", manifest)


def _open(folder: Path, network: Network, corpus: Corpus) -> Outputs:
    manifest = read_json(folder / "manifest.json")
    for name, expected in (("version", VERSION), ("network", network.id), ("corpus", corpus.hash)):
        if manifest.get(name) != expected:
            raise invalid(f"features {str(folder)!r}", f"of {name} {expected} ({_REMEDY})", manifest.get(name))
    hashes = manifest.get("arrays")
    if not isinstance(hashes, dict) or not (
        {"features"} <= set(hashes) <= set(OUTPUTS) and all(isinstance(facts, dict) for facts in hashes.values())
    ):
        raise invalid(f"features {str(folder)!r}", f"of arrays {' and '.join(OUTPUTS)} ({_REMEDY})", hashes)
    arrays: dict[str, NDArray[np.float32]] = {}
    for name in hashes:
        path = folder / f"{name}.npy"
        if path.stat().st_size <= HASHED_BYTES and hashes[name].get("sha256") != sha256_file(path):
            raise invalid(f"features {str(path)!r}", f"as they were written ({_REMEDY})", "altered bytes")
        arrays[name] = npy.open_array(path, np.float32, (len(corpus), None))
    return Outputs(arrays["features"], arrays.get("probabilities"))


_REMEDY = "delete the folder to have them made again"
