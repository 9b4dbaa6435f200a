"""What the tests of ingestion share: sources of several kinds, and the refusal that leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from npgen.corpus.build import BuildOptions, build_corpus

QUIET = BuildOptions(quiet=True)


def options(**changes: Any) -> BuildOptions:
    return BuildOptions(quiet=True, **changes)


def pixels(count: int, height: int = 4, width: int = 3, channels: int = 1) -> np.ndarray:
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write(path: Path, image: Any, **parameters: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(path, **parameters)
    return path


def class_folders(root: Path, count: int = 4) -> np.ndarray:
    images = pixels(2 * count)[..., 0]
    for index in range(count):
        write(root / "cat" / f"{index}.png", images[index])
        write(root / "dog" / f"{index}.png", images[count + index])
    return images


def refused(source: Any, out: Path, message: str, error: type[Exception] = ValueError, **changes: Any) -> None:
    with pytest.raises(error, match=message):
        build_corpus(source, out, options(**changes))
    assert not out.parent.exists()


class Pairs:
    """A map-style dataset."""

    def __init__(self, images: Any, labels: Any, classes: Any = None) -> None:
        self.images, self.labels, self.classes = images, labels, classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.images[index], self.labels[index]
