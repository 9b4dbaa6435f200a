"""The corpus: CIFAR-10's JPEG files from a tar file or a folder, or made-up images for a rehearsal."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_steps.check import ROOT, Check

PLACES = (ROOT / ".gpu" / "cifar10-jpeg.tar.xz", ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar")
TINY, TINY_HELD = 320, 80


def corpus(check: Check) -> dict[str, Any]:
    """Build the corpus, and compare it with the one that the shipped encoder was trained on."""
    import npgen

    if check.images.exists():
        check.say("corpus", "Kept from an earlier call with the same --work.", "")
    elif check.tiny:
        made_up(check.images)
    else:
        data = next((path for path in ([Path(check.data)] if check.data else PLACES) if path.exists()), None)
        if data is None:
            check.say("corpus", "No images: none of " + ", ".join(map(str, [check.data] if check.data else PLACES)))
            return {"failed": True}
        if (data / "manifest.json").exists():
            shutil.copytree(data, check.images, ignore=shutil.ignore_patterns("keys", "features", "classifier"))
        else:
            npgen.build_corpus(_unpacked(data, check), check.images, npgen.BuildOptions(name="cifar10", quiet=True))
    found = check.corpus()
    shipped = json.loads((check.site / "npgen" / "weights" / "cifar10.json").read_text(encoding="utf-8"))
    same = shipped["corpus_hash"] == found.hash
    which = "the shipped encoder's own" if same else "another than the shipped encoder's"
    check.say("corpus", f"{found!r}, {which}.")
    return {"images": len(found), "hash": found.hash, "as the shipped encoder's": same}


def _unpacked(data: Path, check: Check) -> Path:
    """Return the folder of images, unpacked if it is a tar file."""
    if data.is_dir():
        return data
    folder = Path(check.work) / "data"
    with tarfile.open(data) as archive:
        archive.extractall(folder, filter="data")
    return folder


def made_up(folder: Path) -> None:
    """Write a corpus of images of 32×32 in four classes, with held-out ones: coloured waves, and noise."""
    import npgen

    def some(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        random = np.random.default_rng(seed)
        labels = np.arange(count) % 4
        y, x = np.indices((32, 32))
        waves = [np.sin((y * (label < 2) + x * (label % 2)) / 2 + 6 * random.random()) for label in labels]
        tints = random.random((count, 1, 1, 3))
        noise = random.normal(0, 12, (count, 32, 32, 3))
        images = 127 + 100 * np.array(waves)[..., None] * tints + noise
        return images.clip(0, 255).astype(np.uint8), labels

    classes = ("flat", "columns", "rows", "diagonals")
    held = npgen.Corpus.from_arrays(*some(TINY_HELD, 1), classes, name="made-up")
    npgen.Corpus.from_arrays(*some(TINY, 0), classes, name="made-up", heldout=held).save(folder)
