"""The result of a verification: damaged files and pixels that differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Difference:
    """A pixel that is no copy of its source, or that breaks a rule of the run's model.

    Attributes
    ----------
    sample
        Index of the sample in the run, 0…n − 1.
    y, x
        The pixel.
    value
        The pixel's value in the sample, C numbers.
    source
        The pixel's address in the trace: image id, y, x.
    source_value
        Value of that source pixel in the corpus, C numbers; None if the corpus has no such pixel.
    reasons
        What is wrong, one phrase each.
    """

    sample: int
    y: int
    x: int
    value: tuple[int, ...]
    source: tuple[int, int, int]
    source_value: tuple[int, ...] | None
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        image, y, x = self.source
        theirs = "none" if self.source_value is None else value_text(self.source_value)
        return (
            f"sample {self.sample}, y {self.y}, x {self.x}: value {value_text(self.value)}; "
            f"source image {image}, y {y}, x {x}: value {theirs}; {'; '.join(self.reasons)}"
        )


@dataclass(frozen=True)
class RunReport:
    """The result of `verify_run`.

    Attributes
    ----------
    samples, pixels
        Number of samples and pixels that were replayed.
    problems
        Files that were altered or can't be read, and checks that were left out because of it: one sentence each.
    differences
        The first of the pixels that differ.
    different
        Number of pixels that differ.
    """

    samples: int
    pixels: int
    problems: tuple[str, ...]
    differences: tuple[Difference, ...]
    different: int

    @property
    def ok(self) -> bool:
        """Whether all files are unaltered, and every pixel is a copy of its source and keeps the rules."""
        return not self.problems and self.different == 0

    def __str__(self) -> str:
        lines = [*self.problems, *map(str, self.differences)]
        if self.different > len(self.differences):
            lines.append(f"… and {self.different - len(self.differences):,} pixels more")
        if not self.samples:
            return "\n".join([*lines, "no sample could be replayed"])
        equal = "all equal" if self.different == 0 else f"{self.different:,} differ"
        count = f"{self.samples:,} sample{'' if self.samples == 1 else 's'}"
        return "\n".join([*lines, f"{count}, {self.pixels:,} pixels replayed, {equal}"])


def numbers_of(pixel: NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the value of a pixel (C,) as Python integers."""
    return tuple(int(part) for part in pixel)


def value_text(numbers: tuple[int, ...]) -> str:
    """Return the value of a pixel as text: one number, or several in parentheses."""
    return str(numbers[0] if len(numbers) == 1 else numbers)
