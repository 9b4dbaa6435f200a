"""Tokens of a corpus: encoded now, or loaded from a store."""

from __future__ import annotations

import contextlib
import os

import numpy as np
from tqdm.auto import tqdm

from npgen.corpus import Corpus, check_corpus, home
from npgen.errors import check_type, invalid
from npgen.storage import new_folder, npy, refuse_existing, sha256_file
from npgen.tokens.autoencoder import Autoencoder, load_autoencoder
from npgen.tokens.store import Tokens, open_tokens
from npgen.tokens.store_files import seal_store, write_columns

# Images encoded at a time; also the length, in bytes, of each contiguous write to the planes.
BLOCK = 4096


def encode_tokens(
    corpus: Corpus,
    autoencoder: str | os.PathLike[str] | Autoencoder = "auto",
    out: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
) -> Tokens:
    """Encode the images of a corpus as tokens, block by block.

    Parameters
    ----------
    corpus
        N images.
    autoencoder
        What encodes the images: as in `load_autoencoder`.
    out
        Folder to make; nothing may be there. It appears when it is complete. None: tokens stay in memory.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.
    threads
        Threads that share the work on a CPU; None takes torch's own number. No influence on the tokens.
    progress
        Show a progress bar.

    Returns
    -------
    Tokens
        Memory-mapped from `out`, or in memory.

    Raises
    ------
    FileExistsError
        If something is at `out`.
    OSError
        If it cannot be written; nothing is left then.
    ValueError
        If the autoencoder does not take the images, there is none, or images are of several sizes.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> npgen.encode_tokens(corpus, "mnist", progress=False)
    Tokens(5000 images, 14x14 tokens of 8 bits, in memory)
    """
    model = load_autoencoder(autoencoder, corpus, device)
    if out is not None:
        refuse_existing(out)
    count, height, width, _ = corpus.images.shape
    shape = (height // model.stride, width // model.stride, model.architecture.bytes, count)
    starts = tqdm(range(0, count, BLOCK), desc="tokens", unit="block", disable=not progress, leave=False)
    blocks = (
        (start, model.encode(np.asarray(corpus.images[start : start + BLOCK]), threads=threads).transpose(1, 2, 3, 0))
        for start in starts
    )
    if out is None:
        planes = np.empty(shape, np.uint8)
        for start, block in blocks:
            planes[..., start : start + block.shape[3]] = block
        return Tokens(planes, model.bits, model, corpus.hash)
    with new_folder(out) as folder:
        with (folder / "planes.npy").open("xb") as file:
            file.write(npy.npy_header(np.uint8, shape))
            begin = file.tell()
            for start, block in blocks:
                write_columns(file, begin + start, count, block)
        sha256 = sha256_file(folder / "planes.npy")
        seal_store(folder, model.bits, shape, sha256, corpus.hash, model)
    return open_tokens(out)


def load_tokens(
    spec: str | os.PathLike[str] | Tokens,
    corpus: Corpus,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
) -> Tokens:
    """Load the tokens of a corpus.

    Parameters
    ----------
    spec
        "auto": the store in the corpus's folder (`tokens`, which `npgen tokens encode` makes), else one in npgen's home
        folder, which is made with the autoencoder "auto" if it is not there. A path: that store. Tokens are returned as
        they are.
    corpus
        The corpus of the tokens.
    device, threads, progress
        As in `encode_tokens`.

    Returns
    -------
    Tokens
        Tokens of `corpus`.

    Raises
    ------
    FileNotFoundError
        If there is no such store.
    ValueError
        If the store is damaged, of another corpus or of a newer npgen, there is no autoencoder for "auto", or images
        are of several sizes.

    Examples
    --------
    >>> corpus = npgen.Corpus.from_arrays(np.zeros((50, 4, 4, 1), np.uint8))
    >>> tokens = npgen.Tokens.from_codes(corpus.images >> 6, bits=2, corpus_hash=corpus.hash)
    >>> npgen.load_tokens(tokens, corpus) is tokens
    True
    """
    check_corpus(corpus, one_size="tokens")
    check_type("tokens", spec, str, os.PathLike, Tokens)
    if isinstance(spec, Tokens):
        tokens = spec
    elif spec == "auto":
        tokens = _own_tokens(corpus, device, threads, progress)
    else:
        tokens = open_tokens(spec, device=device)
    if tokens.corpus_hash not in ("", corpus.hash) or len(tokens) != len(corpus):
        allowed = f"tokens of corpus {corpus.name!r}, {len(corpus)} images of hash {corpus.hash[:16]}"
        raise invalid("tokens", allowed, f"{tokens!r} of {tokens.corpus_hash[:16] or 'an unknown one'}")
    if tokens.autoencoder is not None:
        load_autoencoder(tokens.autoencoder, corpus)  # checks that it decodes to images of the corpus's shape
    return tokens


def _own_tokens(corpus: Corpus, device: str, threads: int | None, progress: bool) -> Tokens:
    """Open the store beside a corpus, or the one in npgen's home folder, and make the latter if it is not there."""
    if corpus.path is not None and (own := corpus.path / "tokens").exists():
        return open_tokens(own, device=device)
    model = load_autoencoder("auto", corpus, device)
    folder = home() / "tokens" / f"{corpus.hash[:16]}-{model.id[:16]}"
    if not folder.exists():
        with contextlib.suppress(FileExistsError):  # another process finished it meanwhile
            encode_tokens(corpus, model, folder, threads=threads, progress=progress)
    return open_tokens(folder, device=device)
