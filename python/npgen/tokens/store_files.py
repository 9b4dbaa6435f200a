"""Files of a token store's folder: the planes, written in blocks of images, and the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from npgen.errors import invalid
from npgen.storage import read_json, write_json
from npgen.tokens.autoencoder import MOST_BITS, Autoencoder

FORMAT = "npgen-tokens"
VERSION = 1


def write_columns(file: BinaryIO, begin: int, count: int, block: NDArray[np.uint8]) -> None:
    """Write the tokens of a block of neighbouring images into the file of the planes of all images.

    On a full disk a write raises an error, while a memory map would end the process.

    Parameters
    ----------
    file
        The open file.
    begin
        Position of the block's first image in the first plane, bytes.
    count
        Number of all images, N.
    block
        (h, w, Y, M) uint8.
    """
    for place, column in enumerate(np.ascontiguousarray(block).reshape(-1, block.shape[3])):
        file.seek(begin + place * count)
        file.write(column.data)


def seal_store(
    folder: Path, bits: int, shape: tuple[int, ...], sha256: str, corpus_hash: str, autoencoder: Autoencoder | None
) -> None:
    """Write autoencoder and manifest beside the planes: the last step of making a store.

    Parameters
    ----------
    folder
        The folder, with `planes.npy`.
    bits
        Bits of a token, b.
    shape
        Shape of the planes, (h, w, Y, N).
    sha256
        Hash of `planes.npy`.
    corpus_hash
        Hash of the corpus that the tokens were made of; "" if unknown.
    autoencoder
        What made the tokens, if anything.
    """
    if autoencoder is not None:
        autoencoder.save(folder / "autoencoder.safetensors")
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "bits": bits,
        "stride": 1 if autoencoder is None else autoencoder.stride,
        "shape": list(shape),
        "sha256": sha256,
        "corpus": corpus_hash,
        "autoencoder": None if autoencoder is None else autoencoder.id,
    }
    write_json(folder / "manifest.json", manifest)


def read_store_manifest(file: Path) -> dict[str, Any]:
    """Read the manifest of a store; what is wrong in it is a ValueError."""
    manifest = read_json(file)
    for name, allowed, fits in _checks(manifest):
        if not fits:
            raise invalid(f"{name} in {file}", allowed, manifest.get(name))
    return manifest


def _checks(manifest: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """List the entries of a manifest: name, allowed values, and whether the value is one of them."""
    bits, shape = manifest.get("bits"), manifest.get("shape")
    sound = type(bits) is int and 1 <= bits <= MOST_BITS
    return [
        ("format", repr(FORMAT), manifest.get("format") == FORMAT),
        ("version", f"{VERSION} (a newer npgen may read this store)", manifest.get("version") == VERSION),
        ("bits", f"a whole number in 1…{MOST_BITS}", sound),
        (
            "shape",
            "[h, w, Y, N], all positive, with Y bytes for the bits",
            isinstance(shape, list)
            and len(shape) == 4
            and all(type(extent) is int and extent > 0 for extent in shape)
            and isinstance(bits, int)
            and shape[2] == -(-bits // 8),
        ),
        ("sha256", "a hash", isinstance(manifest.get("sha256"), str)),
        ("corpus", "a hash", isinstance(manifest.get("corpus"), str)),
        ("autoencoder", "a hash or null", isinstance(manifest.get("autoencoder", 0), str | type(None))),
    ]
