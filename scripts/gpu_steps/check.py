"""What all steps of `scripts/gpu_check.py` share: settings, places of files, and the text and values that they report.

This module imports nothing of npgen: the first steps run before npgen can be imported.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from npgen import Corpus

ROOT = Path(__file__).parents[2]
# The module of each step, which has a function of the step's name.
MODULES = {
    "environment": "machine",
    "install": "machine",
    "corpus": "images",
    "tests": "machine",
    "embed": "compare",
    "shortlist": "compare",
    "generate": "compare",
    "train": "encoder",
    "judge": "encoder",
}


@dataclass
class Check:
    """Settings of a call.

    Parameters
    ----------
    device
        Torch device that is compared with the CPU.
    tiny
        Rehearse with few images.
    data, recipe
        As on the command line; "" where not given.
    out, work
        Folders, absolute.
    train_seconds
        Time to train for.
    """

    device: str
    tiny: bool
    data: str
    recipe: str
    out: str
    work: str
    train_seconds: float = 0.0

    @classmethod
    def load(cls, path: Path) -> Check:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self, path: Path) -> None:
        """Write all settings as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @property
    def site(self) -> Path:
        """The folder that npgen is installed to."""
        return Path(self.work) / "site"

    @property
    def images(self) -> Path:
        """The corpus's folder."""
        return Path(self.work) / "corpus"

    @property
    def weights(self) -> Path:
        """The file of the encoder that is trained."""
        return Path(self.out) / "encoder.safetensors"

    def text(self, step: str) -> Path:
        """Return the file of a step's section of the report."""
        return Path(self.work) / f"{step}.md"

    def values(self, step: str) -> Path:
        """Return the file of a step's results."""
        return Path(self.work) / f"{step}.values.json"

    def environment(self) -> dict[str, str]:
        """Return the variables that a step's process needs: npgen's place, and a home that is not the user's."""
        return {"PYTHONPATH": str(self.site), "NPGEN_HOME": str(Path(self.work) / "home"), "PYTHONUNBUFFERED": "1"}

    def say(self, step: str, *lines: str) -> None:
        """Add lines to a step's section, at once: they stay if the step is stopped later."""
        with self.text(step).open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def corpus(self) -> Corpus:
        """Open the corpus."""
        import npgen

        return npgen.load_corpus(self.images)


def run_step(name: str, check: Check) -> int:
    """Run a step in this process and write its results; return the exit status."""
    step = getattr(importlib.import_module(f"gpu_steps.{MODULES[name]}"), name)
    values: dict[str, Any] = step(check)
    check.values(name).write_text(json.dumps(values), encoding="utf-8")
    return 1 if values.get("failed") else 0


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table; all columns but the first are aligned right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines] + [""]


def wait(device: str) -> None:
    """Wait until a device has done all that it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


class Stopwatch:
    """Seconds of a block, all work of a device included."""

    seconds = 0.0

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def __enter__(self) -> Stopwatch:
        wait(self.device)
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wait(self.device)
        self.seconds = time.perf_counter() - self.began


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
