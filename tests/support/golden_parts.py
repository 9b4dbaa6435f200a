"""What the golden test is made of: corpora of whole numbers, portable networks, and digests."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import npgen

# Settings that were the defaults of 0.1.0 before the sweep over photographs: runs of them have the bytes they had.
CONFIG = npgen.Config(
    window=5,
    sigma=5 / 6.4,
    locality=2,
    quota=30,
    max_share=None,
    shortlist=20,
    anchor_weight=0.5,
    query_expansion=0,
    seed_size=4,
)
DEFAULTS = npgen.Config(window=5, shortlist=20, seed_size=4)
SIZES = [(12, 9), (5, 30), (16, 16), (3, 2), (20, 7), (11, 14)]

# Corpora, of whole numbers alone


def random_bytes(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return an array of random bytes by SplitMix64, which no version of NumPy changes."""
    z = (np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(seed << 32 | 1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z >> np.uint64(56)).astype(np.uint8).reshape(shape)


def blobs(count: int, side: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (count, side, side, channels) of 1, 2 or 3 round blobs, and that number less 1 as the label."""
    labels = np.arange(count) % 3
    numbers = random_bytes((count, 3, 3 + channels), seed).astype(np.int64)
    y, x = np.indices((side, side))
    images = np.zeros((count, side, side, channels), np.uint8)
    for image, label, blob in zip(images, labels, numbers, strict=True):
        for at_y, at_x, width, *tint in blob[: label + 1]:
            squares = (y - side * (64 + at_y // 2) // 256) ** 2 + (x - side * (64 + at_x // 2) // 256) ** 2
            bright = np.maximum(0, 255 - 255 * squares // (4 + side * side * width // 8192))  # (side, side)
            colour = np.array(tint) if channels == 3 else np.array([255])
            image[...] = np.maximum(image, bright[:, :, None] * colour // 255)
    return images, labels


@functools.cache
def digits() -> npgen.Corpus:
    images, labels = blobs(80, 16, 1, seed=1)
    heldout = npgen.Corpus.from_arrays(images[60:], labels[60:])
    return npgen.Corpus.from_arrays(images[:60], labels[:60], name="digits", heldout=heldout)


@functools.cache
def colours() -> npgen.Corpus:
    return npgen.Corpus.from_arrays(*blobs(70, 12, 3, seed=2), ("one", "two", "three"), name="colours")


@functools.cache
def textures() -> npgen.Corpus:
    pictures = []
    for k, (height, width) in enumerate(SIZES):
        y, x = np.indices((height, width))
        waves = np.stack([abs((3 * y + (c + 2) * x + 5 * k) % 24 - 12) * 16 for c in range(3)], -1)  # (h, w, 3)
        pictures.append((waves + random_bytes((height, width, 1), k) // 8).astype(np.uint8))
    return npgen.Corpus.from_arrays(pictures, keep_sizes=True, name="textures")


# Digests

PROSE = ("notes", "name", "paper_name", "unit", "distance_unit")


def digest(*parts: Any) -> str:
    """Return the hash of arrays, bytes and JSON-able values."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            array = np.ascontiguousarray(part)
            found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
        elif isinstance(part, bytes):
            found.update(part)
        else:
            found.update(json.dumps(plain(part), sort_keys=True).encode())
    return found.hexdigest()


def plain(value: Any) -> Any:
    """Return a JSON-able value with its numbers rounded, and without timings and prose."""
    if isinstance(value, dict):
        kept = [key for key in value if "seconds" not in key and key not in PROSE]
        return {key: plain(value[key]) for key in kept}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        # Scaled a little, as round fractions may lie just between two roundings; and a sum of errors is 0.
        return 0.0 if abs(value) < 1e-9 else f"{value * 1.0000012345:.4e}"
    return value


def of_samples(samples: npgen.Samples) -> str:
    arrays = {"images": samples.images, "anchor": samples.anchor, "fallbacks": samples.fallbacks}
    arrays |= {name: getattr(samples.trace, name) for name in ("image_id", "y", "x", "distance", "pool_size")}
    arrays |= {"queries": samples.queries, "codes": samples.codes}
    if samples.coarse is not None:
        arrays |= dict(zip(("coarse", "coarse sources", "coarse distances"), samples.coarse.arrays(), strict=True))
    arrays |= {"grown": samples.grown, "seam_energy": samples.seam_energy}
    return digest(*(part for name, array in arrays.items() if array is not None for part in (name, array)))


def of_run(folder: Path) -> str:
    """Return the hash of a run folder: manifests and arrays, byte for byte."""
    files = sorted(path for path in folder.rglob("*") if path.suffix == ".npy" or path.name == "manifest.json")
    assert files
    return digest(*(part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())))


def of_tables(folder: Path) -> str:
    """Return the hash of a study's folder: names of all files, and the numbers in its tables and rows."""
    parts: list[Any] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        parts.append(str(path.relative_to(folder)))
        if path.suffix == ".npy" or path.name == "manifest.json":
            parts.append(path.read_bytes())
        elif path.suffix == ".json":
            parts.append(json.loads(path.read_text("utf-8")))
        elif path.suffix == ".csv":
            parts.append(of_csv(path))
        elif path.suffix == ".md":
            parts.append([row[:-1] for row in cells(path.read_text("utf-8"))])  # the last column is a timing
    return digest(*parts)


def of_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: number(cell) for key, cell in row.items() if "seconds" not in key and key not in PROSE}
            for row in csv.DictReader(file)
        ]


def number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def cells(markdown: str) -> list[list[str]]:
    """Return the numbers in the cells of a table's rows; cells that begin otherwise are left empty."""
    lines = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")]
    begins = re.compile(r"\s*[-–(]?\d")
    return [[" ".join(re.findall(r"-?[\d.]+", cell)) * bool(begins.match(cell)) for cell in line] for line in lines[2:]]


def approximate(samples: npgen.ScoreSamples) -> list[float]:
    """Return what is left of a score machine's arrays in a few numbers."""
    found = []
    for array in (samples.images, samples.weights, samples.entropy, samples.accounts):
        flat = array.astype(np.float64).ravel()
        found += [float(flat.mean()), float((flat * (np.arange(flat.size) % 31)).mean())]
    return found


# Networks that compute the same on every machine


def quarters(request: npgen.NetworkRequest) -> npgen.Network:
    """Make a network of exact features: sums over the quarters of an image, and shares of brightness."""

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, height, width, channels = images.shape
        blocks = images.reshape(n, 2, height // 2, 2, width // 2, channels).astype(np.int64)
        sums = blocks.sum((2, 4, 5)).reshape(n, 4)
        shares = (sums[:, :3] + 1) / (sums[:, :3] + 1).sum(1, keepdims=True)
        return sums / 1024, shares

    return npgen.Network(predict, id="quarters")


def autoencoder_file(path: Path, channels: int, levels: tuple[float, ...]) -> Path:
    """Write an autoencoder by hand: a bit tells whether a pixel is brighter than a level. All its sums are exact."""
    bits, pixels = 4 * channels * len(levels), 4 * channels
    shape = {"channels": channels, "stride": 2, "bits": bits, "kernel": 3, "width": bits, "blocks": 0, "reach": 1}
    encode = np.zeros((bits, channels, 3, 3))
    decode = np.zeros((bits, bits, 3, 3))
    shades = np.zeros((pixels, bits, 1, 1))
    bias = np.zeros(bits)
    for bit in range(bits):
        level, place = divmod(bit, pixels)
        channel, at = divmod(place, 4)
        encode[bit, channel, at // 2, at % 2] = 1
        bias[bit] = -levels[level]
        decode[bit, bit, 1, 1], decode[bit, bit, 1, 0] = 1, 0.25  # some of the cell on the left
        shades[place, bit] = 0.75 / len(levels)
    tensors = {"mean": np.full(channels, 0.5), "encoder.first.weight": encode, "encoder.first.bias": bias}
    tensors |= {"encoder.last.weight": np.eye(bits)[..., None, None], "encoder.last.bias": np.zeros(bits)}
    tensors |= {"decoder.first.weight": decode, "decoder.first.bias": np.zeros(bits)}
    tensors |= {"decoder.last.weight": shades, "decoder.last.bias": np.full(pixels, -0.5 + 1 / 32)}
    facts = json.dumps({"architecture": shape, "format_version": 1}, sort_keys=True)
    header: dict[str, Any] = {"__metadata__": {"npgen": facts}}
    data = b""
    for name, tensor in tensors.items():
        raw = tensor.astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def payload(page: Path) -> list[Any]:
    """Return the data of a report: its pictures as pixels."""
    data = json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S)[1]
    )
    sheets: list[Any] = []
    for uri in data["sheets"].pop("uris"):
        with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as picture:
            sheets.append(np.asarray(picture))
    return [data, *sheets]
