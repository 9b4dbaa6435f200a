"""Make a corpus larger than memory from a small one: its images, randomly cropped, flipped, brightened or darkened.

    python scripts/make_big_corpus.py cifar10 OUT --count 1000000 --size 64

A million images of 64×64×3 are 12.3 GB. They are written one chunk after another; each depends on its index and the
seed only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from npgen import Corpus, load_corpus
from npgen.corpus.store import write_corpus_manifest
from npgen.errors import invalid
from npgen.storage import new_folder, npy

CHUNK = 1024
# Shortest side of a crop, as a share of the image's; and the largest change of brightness.
LEAST_CROP = 0.6
BRIGHTNESS = 0.25


def main() -> None:
    """Read the command line and make the corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("source", help="name or folder of the small corpus")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--count", type=int, default=1_000_000, help="images to make")
    parser.add_argument("--size", type=int, default=64, help="their height and width in pixels")
    parser.add_argument("--seed", type=int, default=0, help="seed of crops, flips and brightness")
    options = parser.parse_args()
    try:
        corpus = make(load_corpus(options.source), options.out, options.count, options.size, options.seed)
    except (ValueError, OSError) as error:
        sys.exit(f"make_big_corpus: {error}")
    print(corpus)


def make(source: Corpus, out: Path, count: int, size: int, seed: int) -> Corpus:
    """Write `count` images of side `size` into the new folder `out`; image i is made of image i mod N of the source."""
    for name, number, least in (("count", count, 1), ("size", size, 1), ("seed", seed, 0)):
        if number < least:
            raise invalid(name, f"at least {least}", number)
    shape = (count, size, size, source.images.shape[3])
    with new_folder(out) as folder:
        with npy.array_writer(folder / "images.npy", np.uint8, shape) as writer:
            for start in tqdm(range(0, count, CHUNK), unit="chunk", disable=None):
                writer.write(_chunk(source, start, size, seed)[: count - start])
        sha256 = {"images": writer.sha256}
        labels = None
        if source.labels is not None:
            labels = np.resize(source.labels, count)
            sha256["labels"] = npy.write_array(folder / "labels.npy", labels)
        images = npy.open_array(folder / "images.npy", np.uint8, shape)
        made = {"kind": "augmented", "of": source.name, "hash": source.hash, "size": size, "seed": seed}
        corpus = Corpus(images, labels, source.classes, out.name, source=made)
        write_corpus_manifest(corpus, folder, sha256)
    # Opened like any corpus, with all checks.
    return load_corpus(out.absolute())


def _chunk(source: Corpus, start: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Make images start…start + CHUNK."""
    random = np.random.default_rng([seed, start])
    height, width = source.images.shape[1:3]
    ids = np.arange(start, start + CHUNK) % len(source)
    images = source.images[ids]  # (B, H, W, C)
    least = random.integers(np.ceil([LEAST_CROP * height, LEAST_CROP * width]), [height + 1, width + 1])
    corners = random.integers(0, np.array([height, width]) - least + 1, (CHUNK, 2))
    rows = corners[:, 0, None] + np.arange(least[0])
    columns = corners[:, 1, None] + np.arange(least[1])
    flipped = random.random(CHUNK) < 0.5
    columns[flipped] = columns[flipped, ::-1]
    crops = images[np.arange(CHUNK)[:, None, None], rows[:, :, None], columns[:, None]].astype(np.float32)
    crops *= random.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS, (CHUNK, 1, 1, 1)).astype(np.float32)
    down, across = _bilinear(least[0], size), _bilinear(least[1], size)
    tall = np.matmul(down, crops.reshape(CHUNK, least[0], -1))  # (B, size, w·C)
    turned = tall.reshape(CHUNK, size, least[1], -1)
    large = np.matmul(across, turned)  # (B, size, size, C)
    np.round(large, out=large)
    made: NDArray[np.uint8] = np.clip(large, 0, 255, out=large).astype(np.uint8)
    return made


def _bilinear(extent: int, size: int) -> NDArray[np.float32]:
    """Return the weights (size, extent) that resize a line of pixels, with pixel centres aligned."""
    at = np.clip((np.arange(size) + 0.5) * extent / size - 0.5, 0, extent - 1)
    lines = [np.interp(at, np.arange(extent), line) for line in np.eye(extent)]
    return np.stack(lines, 1).astype(np.float32)


if __name__ == "__main__":
    main()
