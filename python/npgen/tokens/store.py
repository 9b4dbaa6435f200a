"""Tokens: the images of a corpus as encoded by an autoencoder, a few bits for each cell of s×s pixels.

A token store is a folder: `planes.npy` (memory-mapped, read-only), `manifest.json`, and `autoencoder.safetensors`,
which decodes tokens to pixels. The planes are position-major: for each byte of each cell, the values of all images lie
side by side, so that a scan of all images at one place reads memory in order.
"""

from __future__ import annotations

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

from npgen.corpus import HASHED_BYTES
from npgen.errors import check_type, check_whole, invalid
from npgen.storage import new_folder, npy, sha256_file
from npgen.tokens.autoencoder import MOST_BITS, Autoencoder, check_codes
from npgen.tokens.store_files import FORMAT, VERSION, read_store_manifest, seal_store


@dataclass(frozen=True, eq=False, repr=False)
class Tokens:
    """The tokens of a corpus's images. Made by `encode_tokens`, `load_tokens` and `Tokens.from_codes`.

    Attributes
    ----------
    planes
        (h, w, Y, N) uint8, read-only: byte y of the token of cell (i, j) of image n. Bit k of a token is bit k % 8 of
        byte k // 8; the unused bits of the last byte are 0.
    bits
        Bits of a token, b: 1 to 64. Y = ⌈b / 8⌉.
    autoencoder
        What encoded the images and decodes tokens; None: tokens can be sampled, but not decoded.
    corpus_hash
        `Corpus.hash` of the corpus that was encoded; "" if unknown.
    path
        Folder of the store; None if it is in memory only.
    stored_sha256
        Hash of `planes.npy` in the manifest; None if in memory only.

    Examples
    --------
    >>> codes = np.random.default_rng(0).integers(0, 8, (50, 4, 4, 1), np.uint8)  # 50 images of 4×4 tokens
    >>> tokens = npgen.Tokens.from_codes(codes, bits=3)
    >>> tokens
    Tokens(50 images, 4x4 tokens of 3 bits, in memory)
    >>> bool((tokens.codes([7]) == codes[7]).all())
    True
    """

    planes: NDArray[np.uint8]  # (h, w, Y, N)
    bits: int
    autoencoder: Autoencoder | None = None
    corpus_hash: str = ""
    path: Path | None = None
    stored_sha256: str | None = None

    def __post_init__(self) -> None:
        """Check values, and that they fit each other."""
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
        self.planes.flags.writeable = False  # unpickled arrays are writeable

    @classmethod
    def from_codes(
        cls, codes: ArrayLike, bits: int, autoencoder: Autoencoder | None = None, corpus_hash: str = ""
    ) -> Tokens:
        """Make a store in memory.

        Parameters
        ----------
        codes
            (N, h, w, Y) uint8: the tokens of each image.
        bits
            Bits of a token, b.
        autoencoder
            The autoencoder that made them, needed for decoding.
        corpus_hash
            Hash of the corpus that was encoded, if any.

        Returns
        -------
        Tokens
            In memory; `save` writes them to a folder.

        Raises
        ------
        TypeError
            If `codes` is not uint8.
        ValueError
            If shape and bits do not fit each other, or unused bits are set.
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
        # Pickling a memory map would copy all its bytes; a store on disk is pickled as its path.
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
        """Bits that the store holds per image: h · w · b."""
        return prod(self.grid) * self.bits

    @cached_property
    def id(self) -> str:
        """SHA-256 over the planes' hash, bits, corpus and autoencoder: the id of the store in runs."""
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
        """Copy the tokens of some images into a new store in memory.

        Parameters
        ----------
        ids
            (M,) image ids.
        corpus_hash
            Hash of the corpus of these images.

        Returns
        -------
        Tokens
            Of M images.
        """
        planes = np.ascontiguousarray(self.planes[..., np.asarray(ids, np.int64)])
        return Tokens(planes, self.bits, self.autoencoder, corpus_hash)

    def decode(self, codes: NDArray[np.uint8], *, threads: int | None = None) -> NDArray[np.uint8]:
        """Decode tokens to images.

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
            The folder to make; nothing may be there.

        Returns
        -------
        Tokens
            The same, memory-mapped from the folder.

        Raises
        ------
        FileExistsError
            If something is at `path`.
        OSError
            If it cannot be written, for instance because the disk is full; nothing is left then.
        """
        with new_folder(path) as folder:
            sha256 = npy.write_array(folder / "planes.npy", self.planes)
            seal_store(folder, self.bits, self.planes.shape, sha256, self.corpus_hash, self.autoencoder)
        return open_tokens(path)


def open_tokens(path: str | os.PathLike[str], *, device: str = "auto") -> Tokens:
    """Open the token store of any corpus.

    Parameters
    ----------
    path
        The folder.
    device
        Torch device of the autoencoder; "auto" takes an accelerator if there is one.

    Returns
    -------
    Tokens
        Memory-mapped.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it is not a token store, is of a newer format, or its files do not fit its manifest.
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


def _reopen(path: Path, expected: str) -> Tokens:
    tokens = open_tokens(path)
    if tokens.id != expected:
        raise ValueError(f"{path} must be the token store of id {expected}, got {tokens.id}: it was exchanged")
    return tokens
