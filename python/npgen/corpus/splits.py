"""Lists of images that are read on demand, and how the parts of a source are told apart by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from npgen.corpus.store import Corpus

Part = Literal["train", "heldout"]

# Usual names of the parts of a data set, in lower case: that of the source images, and those that are held out.
TRAIN_NAMES = ("train", "training", "trainset", "train_set", "trn", "tr")
HELDOUT_NAMES = (
    "test", "testing", "testset", "test_set", "tst", "te", "val", "valid", "validation", "validate", "validset",
    "valset", "val_set", "validation_set", "dev", "devel", "development", "eval", "evaluation", "heldout", "held_out",
    "held-out", "holdout", "hold_out", "hold-out",
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """A list of images that are read on demand.

    Attributes
    ----------
    count
        Number of images.
    read
        Returns (image, label) by index: the image in any form that `decode.to_pil` accepts, the label or None.
    where
        Returns the name of the image of an index for messages.
    classes
        Class names, if the source knows them.
    source
        Where the images come from, JSON-able.
    settled
        Whether values are known to be grey levels from 0 to 255.
    left_out
        Names of what is not among the images, by reason; images that are read add their further frames.
    """

    count: int
    read: Callable[[int], tuple[Any, Any]]
    where: Callable[[int], str]
    classes: tuple[str, ...] | None
    source: dict[str, Any]
    settled: bool = False
    left_out: dict[str, list[str]] = field(default_factory=dict)


def part_of_name(name: str) -> Part | None:
    """Return which part of a data set a name stands for; None for any other name.

    Parameters
    ----------
    name
        Name of a folder or an array, such as "Train", "val" or "cats".
    """
    plain = name.lower()  # not casefold(), which is the same here, nor anything that depends on the locale
    return "train" if plain in TRAIN_NAMES else "heldout" if plain in HELDOUT_NAMES else None


def joined(splits: Sequence[Split]) -> Split | None:
    """Join splits of the same classes to one; None of none.

    Parameters
    ----------
    splits
        The splits, in the order of their images.
    """
    if len(splits) < 2:
        return splits[0] if splits else None
    items = [(split, index) for split in splits for index in range(split.count)]
    sources = [split.source for split in splits]
    return Split(
        len(items),
        lambda number: items[number][0].read(items[number][1]),
        lambda number: items[number][0].where(items[number][1]),
        next((split.classes for split in splits if split.classes is not None), None),
        {**sources[0], "parts": sources},
        all(split.settled for split in splits),
        _merged([split.left_out for split in splits]),
    )


def corpus_split(corpus: Corpus, indices: Sequence[int] | None = None) -> Split:
    """List the images of a corpus.

    Parameters
    ----------
    corpus
        The corpus; its held-out images are not listed.
    indices
        Which images, in this order; None means all.

    Returns
    -------
    Split
        Those images.
    """
    chosen = range(len(corpus)) if indices is None else indices

    def read(index: int) -> tuple[Any, Any]:
        image_id = chosen[index]
        return corpus.image(image_id), None if corpus.labels is None else corpus.labels[image_id]

    return Split(
        len(chosen),
        read,
        lambda index: f"image {chosen[index]} of {corpus.name}",
        corpus.classes,
        corpus.source,
        settled=True,
    )


def _merged(groups: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Join groups of names by reason."""
    result: dict[str, list[str]] = {}
    for group in groups:
        for reason, names in group.items():
            result.setdefault(reason, []).extend(names)
    return result
