"""Keys: the embeddings of a corpus's images, made once and kept beside it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import HASHED_BYTES, Corpus, check_one_size
from npgen.encoders.encoder import AnyEncoder, Encoder
from npgen.encoders.pixels import PixelEncoder
from npgen.errors import check_type, invalid
from npgen.runtime import Ranks
from npgen.storage import npy, read_json, sha256_file, write_json

VERSION = 1
CHUNK = 1024

# Keys of corpora that are in memory only, or whose folder can't be written, by encoder id.
_IN_MEMORY: WeakKeyDictionary[Corpus, dict[str, NDArray[np.float32]]] = WeakKeyDictionary()


def embed(
    corpus: Corpus,
    encoder: AnyEncoder,
    *,
    threads: int | None = None,
    progress: bool = True,
    ranks: Ranks | None = None,
) -> NDArray[np.float32]:
    """Return the keys of a corpus, making and keeping them if they are not there yet.

    Keys of a stored corpus lie in `keys/<encoder id>.npy` of its folder, beside a manifest that names encoder and
    corpus; they are written in a stream, all or nothing.

    Parameters
    ----------
    corpus
        N images.
    encoder
        The encoder φ.
    threads
        CPU threads; None means one a core. No influence on the keys.
    progress
        Show a progress bar while keys are made.
    ranks
        Processes that share the work: all call this together, and read the same folder. None for this one alone.

    Returns
    -------
    ndarray
        φ of the full images, (N, D) float32, rows of length 1; a read-only memory map for a stored corpus.

    Raises
    ------
    ValueError
        If stored keys are damaged, or belong to another encoder or corpus, or images are of several sizes.
    OSError
        If there is no space for them.
    """
    check_type("corpus", corpus, Corpus)
    check_type("encoder", encoder, Encoder, PixelEncoder)
    check_one_size(corpus, "an encoder")
    ranks = ranks or Ranks()
    kept = _IN_MEMORY.setdefault(corpus, {})
    if not ranks.any(encoder.id not in kept):
        return kept[encoder.id]
    chunks = partial(_chunks, corpus, encoder, threads, progress, ranks)
    if corpus.path is not None:
        path = keys_path(corpus, encoder.id)
        if ranks.broadcast(path.with_suffix(".json").exists()) or _store(path, corpus, encoder, chunks, ranks):
            return _open(path, corpus, encoder.id)
    keys = np.empty((len(corpus), encoder.dim), np.float32)  # (N, D)
    for start, rows in chunks(ranks.all_gather):
        keys[start : start + len(rows)] = rows
    keys.flags.writeable = False
    keep_keys(corpus, encoder.id, keys)
    return keys


def keys_path(corpus: Corpus, encoder_id: str) -> Path:
    """Return the file that holds a stored corpus's keys."""
    if corpus.path is None:
        raise invalid("corpus", "one with a folder", corpus)
    return corpus.path / "keys" / f"{encoder_id[:16]}.npy"


def kept_keys(corpus: Corpus, encoder_id: str) -> NDArray[np.float32]:
    """Return keys (N, D) that are there already, without the encoder that made them.

    Raises
    ------
    ValueError
        If there are none, or stored ones are damaged.
    """
    kept = _IN_MEMORY.get(corpus, {})
    if encoder_id in kept:
        return kept[encoder_id]
    if corpus.path is None or not keys_path(corpus, encoder_id).with_suffix(".json").exists():
        raise invalid("corpus", f"one with keys of encoder {encoder_id[:16]} (npgen embed makes them)", corpus)
    return _open(keys_path(corpus, encoder_id), corpus, encoder_id)


def keep_keys(corpus: Corpus, encoder_id: str, keys: NDArray[np.float32]) -> None:
    """Give a corpus in memory the keys (N, D) that an encoder would make of it."""
    _IN_MEMORY.setdefault(corpus, {})[encoder_id] = keys


def _chunks(
    corpus: Corpus,
    encoder: AnyEncoder,
    threads: int | None,
    progress: bool,
    ranks: Ranks,
    gather: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Embed chunk after chunk, one a rank at a time; where they begin, and what is gathered of them."""
    together = ranks.count * CHUNK
    with tqdm(total=len(corpus), desc="keys", unit="image", disable=not progress, leave=False) as bar:
        for start in range(0, len(corpus), together):
            own = start + ranks.rank * CHUNK
            yield start, gather(encoder.encode(np.asarray(corpus.images[own : own + CHUNK]), threads=threads))
            bar.update(min(together, len(corpus) - start))


def _store(path: Path, corpus: Corpus, encoder: AnyEncoder, chunks: Callable[..., Any], ranks: Ranks) -> bool:
    """Write the keys, at rank 0; return whether the folder takes them."""
    shape = (len(corpus), encoder.dim)
    with contextlib.ExitStack() as stack:
        writer = None
        if ranks.rank == 0:
            try:
                path.parent.mkdir(exist_ok=True)
                writer = stack.enter_context(npy.array_writer(path, np.float32, shape))
            except PermissionError as error:
                warnings.warn(f"keys are kept in memory only: {error}", stacklevel=3)
        if not ranks.broadcast(writer is not None):
            return False
        for _, rows in chunks(ranks.gather):
            if writer is not None:
                writer.write(rows)
    if writer is not None:
        # The manifest comes last: keys without one are not trusted but made again.
        manifest = {
            "version": VERSION,
            "encoder": encoder.id,
            "corpus": corpus.hash,
            "shape": list(shape),
            "sha256": writer.sha256,
        }
        write_json(path.with_suffix(".json"), manifest)
    return bool(ranks.broadcast(True))  # there for all


def _open(path: Path, corpus: Corpus, encoder_id: str) -> NDArray[np.float32]:
    manifest = read_json(path.with_suffix(".json"))
    for name, expected in (("encoder", encoder_id), ("corpus", corpus.hash)):
        if manifest.get(name) != expected:
            raise invalid(f"keys {str(path)!r}", f"of {name} {expected[:16]}", manifest.get(name))
    if path.stat().st_size <= HASHED_BYTES and manifest.get("sha256") != sha256_file(path):
        raise invalid(f"keys {str(path)!r}", "as they were written (delete them to have them made again)", "altered")
    return npy.open_array(path, np.float32, (len(corpus), None))
