"""Keys: the embeddings of a corpus's images, computed once and stored beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, CorpusCache, check_corpus
from npgen.encoders.kinds import ENCODERS, AnyEncoder
from npgen.encoders.smoothing import SmoothedEncoder, smoothed
from npgen.errors import check_type, invalid
from npgen.runtime import Ranks
from npgen.storage import npy, read_json, write_json

VERSION = 1
CHUNK = 1024

# The entry is the manifest, which is written after the array.
CACHE: CorpusCache[NDArray[np.float32]] = CorpusCache("keys", "keys/{key:.16}.json")

# Collects the ranks' rows (n, D): at rank 0, or at all ranks.
Gather = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def embed(
    corpus: Corpus,
    encoder: AnyEncoder,
    *,
    threads: int | None = None,
    progress: bool = True,
    ranks: Ranks | None = None,
) -> NDArray[np.float32]:
    """Return the keys of a corpus: its images' embeddings, computed and stored now if they were not before.

    Keys of a stored corpus lie in `keys/<encoder id>.npy` of its folder, beside a manifest that names encoder and
    corpus. They are written as they are computed; an interrupted call leaves nothing.

    Parameters
    ----------
    corpus
        N images.
    encoder
        The encoder φ.
    threads
        CPU threads; None means one per core. They do not change the keys.
    progress
        Show a progress bar while keys are computed.
    ranks
        Processes that share the work: all call this together, and read the same folder. None for this process alone.

    Returns
    -------
    ndarray
        φ of the full images, (N, D) float32, rows of length 1; a read-only memory map for a stored corpus.

    Raises
    ------
    ValueError
        If stored keys are damaged, or belong to another encoder or corpus, or images have several sizes.
    OSError
        If the disk is full.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    >>> corpus = npgen.Corpus.from_arrays(images)
    >>> encoder = npgen.PixelEncoder(8, 8, 1)
    >>> keys = npgen.embed(corpus, encoder, progress=False)
    >>> keys.shape == (20, encoder.dim)
    True
    >>> np.allclose(np.linalg.norm(keys, axis=1), 1)
    True
    """
    check_corpus(corpus, one_size="an encoder")
    check_type("encoder", encoder, *ENCODERS)
    ranks = ranks or Ranks()
    if isinstance(encoder, SmoothedEncoder):
        embed(corpus, encoder.base, threads=threads, progress=progress, ranks=ranks)  # its keys are made of these
    chunks = partial(_chunks, corpus, encoder, threads, progress, ranks)

    def store(path: Path) -> NDArray[np.float32] | None:
        return _open(corpus, encoder.id, path) if _store(path, corpus, encoder, chunks, ranks) else None

    def make() -> NDArray[np.float32]:
        keys = np.empty((len(corpus), encoder.dim), np.float32)  # (N, D)
        for start, rows in chunks(ranks.all_gather):
            keys[start : start + len(rows)] = rows
        keys.flags.writeable = False
        return keys

    open_keys = partial(_open, corpus, encoder.id)
    return CACHE.fetch(corpus, encoder.id, open=open_keys, store=store, make=make, ranks=ranks)


def keys_path(corpus: Corpus, encoder_id: str) -> Path:
    """Return the file of a stored corpus's keys.

    Raises
    ------
    ValueError
        If the corpus is in memory only.
    """
    path = CACHE.path(corpus, encoder_id)
    if path is None:
        raise invalid("corpus", "one with a folder", corpus)
    return path.with_suffix(".npy")


def cached_keys(corpus: Corpus, encoder_id: str) -> NDArray[np.float32]:
    """Return keys (N, D) that were computed before; the encoder itself is not needed.

    Raises
    ------
    ValueError
        If there are none, or stored ones are damaged.
    """
    keys = CACHE.recall(corpus, encoder_id)
    if keys is not None:
        return keys
    path = CACHE.path(corpus, encoder_id)
    if path is None or not path.exists():
        raise invalid("corpus", f"one with keys of encoder {encoder_id[:16]} (npgen embed makes them)", corpus)
    return _open(corpus, encoder_id, path)


def cache_keys(corpus: Corpus, encoder_id: str, keys: NDArray[np.float32]) -> None:
    """Hold the keys (N, D) of a corpus in memory, so that `embed` need not compute them."""
    CACHE.remember(corpus, encoder_id, keys)


def _chunks(
    corpus: Corpus, encoder: AnyEncoder, threads: int | None, progress: bool, ranks: Ranks, gather: Gather
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (start, rows) in order of the images; each rank embeds one chunk per step."""
    step = ranks.count * CHUNK
    with tqdm(total=len(corpus), desc="keys", unit="image", disable=not progress, leave=False) as bar:
        for start in range(0, len(corpus), step):
            own = start + ranks.rank * CHUNK
            yield start, gather(_rows(corpus, encoder, slice(own, own + CHUNK), threads))
            bar.update(min(step, len(corpus) - start))


def _rows(corpus: Corpus, encoder: AnyEncoder, part: slice, threads: int | None) -> NDArray[np.float32]:
    """Return the keys of some images."""
    if isinstance(encoder, SmoothedEncoder):
        keys = encoder.base_keys()
        return smoothed(keys[part], keys, encoder.n, threads)  # as `encode` would, but for embedding the images again
    return encoder.encode(np.asarray(corpus.images[part]), threads=threads)


def _store(
    path: Path,
    corpus: Corpus,
    encoder: AnyEncoder,
    chunks: Callable[[Gather], Iterator[tuple[int, NDArray[np.float32]]]],
    ranks: Ranks,
) -> bool:
    """Compute the keys and write them, at rank 0; return False, before anything is computed, if it cannot write."""
    shape = (len(corpus), encoder.dim)
    with contextlib.ExitStack() as stack:
        writer = None
        if ranks.rank == 0:
            try:
                path.parent.mkdir(exist_ok=True)
                writer = stack.enter_context(npy.array_writer(path.with_suffix(".npy"), np.float32, shape))
            except PermissionError as error:
                CACHE.warn_not_stored(error)
        if not ranks.broadcast(writer is not None):
            return False
        for _, rows in chunks(ranks.gather):
            if writer is not None:
                writer.write(rows)
    if writer is not None:
        manifest = {
            "version": VERSION,
            "encoder": encoder.id,
            "corpus": corpus.hash,
            "shape": list(shape),
            "sha256": writer.sha256,
        }
        write_json(path, manifest)
    return bool(ranks.broadcast(True))  # the other ranks wait until rank 0 has written the manifest


def _open(corpus: Corpus, encoder_id: str, path: Path) -> NDArray[np.float32]:
    manifest, file = read_json(path), path.with_suffix(".npy")
    CACHE.check_manifest(path, manifest, {"encoder": encoder_id, "corpus": corpus.hash})
    return CACHE.open_rows(path, file, len(corpus), manifest.get("sha256"))
