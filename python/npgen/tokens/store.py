"""Tokens: a corpus as an autoencoder keeps it, a few bits for each cell of s×s pixels.

A token store is a folder: `planes.npy` (memory-mapped, read-only), `manifest.json`, and `autoencoder.safetensors`,
which turns tokens into pixels again. The planes are position-major: the same byte of the same cell of every image lies
side by side, so that a scan of all images at one place reads memory in order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from npgen.corpus import HASHED_BYTES, Corpus, check_corpus, home
from npgen.errors import check_type, check_whole, invalid
from npgen.storage import new_folder, npy, refuse_existing, sha256_file
from npgen.tokens.autoencoder import MOST_BITS, Autoencoder, check_codes, load_autoencoder
from npgen.tokens.store_files import FORMAT, VERSION, read_store_manifest, seal_store, write_columns

# Images encoded at a time: a run of as many bytes is written at each of a plane's places.
BLOCK = 4096


@dataclass(frozen=True, eq=False, repr=False)
class Tokens:
    """The tokens of a corpus's images. Made by `encode_tokens`, `load_tokens` and `Tokens.from_codes`.

    Attributes
    ----------
    planes
        (h, w, Y, N) uint8, read-only: byte y of the token of cell (i, j) of image n. Bit k of a token is bit k % 8 of
        byte k // 8; the bits after the last are 0.
    bits
        Bits of a token, b: 1 to 64. Y = ⌈b / 8⌉.
    autoencoder
        What made them, and makes pixels of them; None: tokens can be sampled, but not decoded.
    corpus_hash
        `Corpus.hash` of the corpus they were made of; "" if that is not known.
    path
        Folder of the store; None while it is in memory only.
    stored_sha256
        Hash of `planes.npy` as the manifest has it; None while in memory only.
    """

    planes: NDArray[np.uint8]  # (h, w, Y, N)
    bits: int
    autoencoder: Autoencoder | None = None
    corpus_hash: str = ""
    path: Path | None = None
    stored_sha256: str | None = None

    def __post_init__(self) -> None:
        """Check what must fit together."""
        check_whole("bits", self.bits, 1, MOST_BITS)
        check_type("planes", self.planes, np.ndarray)
        check_type("autoencoder", self.autoencoder, Autoencoder, type(None))
        check_type("corpus_hash", self.corpus_hash, str)
        if self.planes.dtype != np.uint8:
            raise TypeError(f"planes must be of dtype uint8, got {self.planes.dtype}")
        if self.planes.ndim != 4 or self.planes.shape[2] != -(-self.bits // 8) or 0 in self.planes.shape:
            allowed = f"of shape (h, w, {-(-self.bits // 8)}, N) for {self.bits} bits, none of them 0"
            raise invalid("planes", allowed, self.planes.shape)
        if self.autoencoder is not None and self.autoencoder.bits != self.bits:
            raise invalid("autoencoder", f"one of {self.bits} bits", self.autoencoder)
        self.planes.flags.writeable = False  # also after unpickling, which forgets it

    @classmethod
    def from_codes(
        cls, codes: ArrayLike, bits: int, autoencoder: Autoencoder | None = None, corpus_hash: str = ""
    ) -> Tokens:
        """Make a store in memory.

        Parameters
        ----------
        codes
            (N, h, w, Y) uint8: the tokens of image after image.
        bits
            Bits of a token, b.
        autoencoder
            What made them, if they are to be decoded.
        corpus_hash
            Hash of the corpus they were made of, if any.

        Returns
        -------
        Tokens
            With `path` None; `save` writes them.

        Raises
        ------
        TypeError
            If `codes` is not uint8.
        ValueError
            If shape and bits do not fit, or bits after the last are set.
        """
        array = np.asarray(codes)
        check_whole("bits", bits, 1, MOST_BITS)
        check_codes("codes", array, bits)
        unused = 0xFF & ~((1 << ((bits - 1) % 8 + 1)) - 1)
        if np.any(array[..., -1] & unused):
            raise invalid("codes", f"0 in the bits after the last of {bits}", int(array[..., -1].max()))
        planes = np.ascontiguousarray(array.transpose(1, 2, 3, 0))
        return cls(planes if planes.base is None else planes.copy(), bits, autoencoder, corpus_hash)

    def __len__(self) -> int:
        return int(self.planes.shape[3])

    def __repr__(self) -> str:
        height, width = self.grid
        where = "in memory" if self.path is None else str(self.path)
        return f"Tokens({len(self)} images, {height}x{width} tokens of {self.bits} bits, {where})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A memory map pickles as all its bytes; a store on disk is opened again instead.
        if self.path is not None:
            return _reopen, (self.path, self.id)
        return Tokens, (self.planes, self.bits, self.autoencoder, self.corpus_hash)

    @property
    def grid(self) -> tuple[int, int]:
        """Extents of an image's tokens, (h, w)."""
        return self.planes.shape[0], self.planes.shape[1]

    @property
    def stride(self) -> int:
        """Side of a cell, pixels: s. Without an autoencoder, a token stands for one pixel."""
        return 1 if self.autoencoder is None else self.autoencoder.stride

    @property
    def bits_per_image(self) -> int:
        """What the store keeps of an image: h · w · b."""
        return prod(self.grid) * self.bits

    @cached_property
    def id(self) -> str:
        """SHA-256 over the planes' hash, bits, corpus and autoencoder: what runs refer to."""
        sha256 = self.stored_sha256 or npy.sha256_array(self.planes)
        autoencoder = None if self.autoencoder is None else self.autoencoder.id
        identity = [FORMAT, VERSION, self.bits, sha256, self.corpus_hash, autoencoder]
        return hashlib.sha256(json.dumps(identity).encode("ascii")).hexdigest()

    def codes(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """Copy the tokens of some images.

        Parameters
        ----------
        ids
            (M,) image ids.

        Returns
        -------
        ndarray
            (M, h, w, Y) uint8.
        """
        return np.ascontiguousarray(self.planes[..., np.asarray(ids, np.int64)].transpose(3, 0, 1, 2))

    def part(self, ids: ArrayLike, corpus_hash: str = "") -> Tokens:
        """Copy the tokens of some images into a store of their own, in memory.

        Parameters
        ----------
        ids
            (M,) image ids.
        corpus_hash
            Hash of the corpus that these images are.

        Returns
        -------
        Tokens
            Of M images.
        """
        planes = np.ascontiguousarray(self.planes[..., np.asarray(ids, np.int64)])
        return Tokens(planes, self.bits, self.autoencoder, corpus_hash)

    def decode(self, codes: NDArray[np.uint8], *, threads: int | None = None) -> NDArray[np.uint8]:
        """Turn tokens into images.

        Parameters
        ----------
        codes
            (B, h, w, Y) uint8.
        threads
            Threads that share the work on a CPU; None takes torch's own number. No influence on the result.

        Returns
        -------
        ndarray
            Images (B, H, W, C), uint8.

        Raises
        ------
        ValueError
            If the tokens have no autoencoder, or the codes do not fit it.
        """
        if self.autoencoder is None:
            raise ValueError(f"tokens must have an autoencoder to be decoded, got {self!r}")
        return self.autoencoder.decode(codes, threads=threads)

    def save(self, path: str | os.PathLike[str]) -> Tokens:
        """Write the store as a folder, atomically.

        Parameters
        ----------
        path
            Where the folder goes; nothing may be there.

        Returns
        -------
        Tokens
            The same, memory-mapped from the folder.

        Raises
        ------
        FileExistsError
            If something is at `path`.
        OSError
            If it cannot be written, for instance because the disk is full; nothing is kept then.
        """
        with new_folder(path) as folder:
            sha256 = npy.write_array(folder / "planes.npy", self.planes)
            seal_store(folder, self.bits, self.planes.shape, sha256, self.corpus_hash, self.autoencoder)
        return open_tokens(path)


def encode_tokens(
    corpus: Corpus,
    autoencoder: str | os.PathLike[str] | Autoencoder = "auto",
    out: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
) -> Tokens:
    """Turn a corpus into tokens, some images at a time.

    Parameters
    ----------
    corpus
        N images.
    autoencoder
        What makes the tokens: as in `load_autoencoder`.
    out
        Folder to make, where nothing may be yet; it appears when it is complete. None: tokens stay in memory.
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
        If it cannot be written; nothing is kept then.
    ValueError
        If the autoencoder does not fit the corpus, or there is none, or images are of several sizes.
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
    """Find the tokens of a corpus.

    Parameters
    ----------
    spec
        "auto": the store in the corpus's folder (`tokens`, which `npgen tokens encode` makes), else one that is made
        now, with the autoencoder "auto", and kept in `home()/tokens`. A path: that store. Tokens: themselves.
    corpus
        The corpus they must be of.
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
        load_autoencoder(tokens.autoencoder, corpus)  # refuses what makes images of another shape
    return tokens


def open_tokens(path: str | os.PathLike[str], *, device: str = "auto") -> Tokens:
    """Open a token store, of whatever corpus.

    Parameters
    ----------
    path
        The folder.
    device
        Torch device that the autoencoder is to run on; "auto" takes an accelerator if there is one.

    Returns
    -------
    Tokens
        Memory-mapped.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it is no token store, is of a newer format, or its files do not fit its manifest.
    """
    folder = Path(path).absolute()
    file = folder / "manifest.json"
    if not file.is_file():
        allowed = "the folder of a token store (npgen tokens encode makes one)"
        raise FileNotFoundError(f"tokens must be {allowed}, got {os.fspath(path)!r}, where there is none")
    manifest = read_store_manifest(file)
    planes_file = folder / "planes.npy"
    planes = npy.open_array(planes_file, np.uint8, tuple(manifest["shape"]))
    if planes.nbytes <= HASHED_BYTES and (found := sha256_file(planes_file)) != manifest["sha256"]:
        expected = manifest["sha256"]
        raise ValueError(f"{planes_file} must have sha256 {expected}, got {found}: it was altered; encode it again")
    model = None
    if manifest["autoencoder"] is not None:
        model = Autoencoder.load(folder / "autoencoder.safetensors", device=device)
        if model.id != manifest["autoencoder"]:
            raise invalid(f"autoencoder in {folder}", f"the one of id {manifest['autoencoder']}", model.id)
    return Tokens(planes, manifest["bits"], model, manifest["corpus"], folder, manifest["sha256"])


def _own_tokens(corpus: Corpus, device: str, threads: int | None, progress: bool) -> Tokens:
    if corpus.path is not None and (own := corpus.path / "tokens").exists():
        return open_tokens(own, device=device)
    model = load_autoencoder("auto", corpus, device)
    kept = home() / "tokens" / f"{corpus.hash[:16]}-{model.id[:16]}"
    if not kept.exists():
        with contextlib.suppress(FileExistsError):  # another process finished it meanwhile
            encode_tokens(corpus, model, kept, threads=threads, progress=progress)
    return open_tokens(kept, device=device)


def _reopen(path: Path, expected: str) -> Tokens:
    tokens = open_tokens(path)
    if tokens.id != expected:
        raise ValueError(f"{path} must be the token store of id {expected}, got {tokens.id}: it was exchanged")
    return tokens
