"""Complete verification of a corpus folder: every byte is read and compared with the manifest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npgen.corpus.checks import checked_classes, checked_labels
from npgen.corpus.store import Corpus, check_hashes, check_padding, open_corpus
from npgen.storage import open_array


@dataclass(frozen=True)
class CorpusReport:
    """Results of `verify_corpus`, all recomputed from the arrays.

    Attributes
    ----------
    corpus
        The verified corpus.
    class_counts
        Images per label value, or None without labels.
    bytes
        Size of the arrays' files.
    keys
        Names of the files in `keys/`, all of a shape that fits the corpus.
    heldout
        The report of the held-out images, or None without any.
    """

    corpus: Corpus
    class_counts: tuple[int, ...] | None
    bytes: int
    keys: tuple[str, ...]
    heldout: CorpusReport | None


def verify_corpus(path: str | os.PathLike[str]) -> CorpusReport:
    """Read a corpus folder completely and compare it with its manifest.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    CorpusReport
        Counts and sizes, recomputed.

    Raises
    ------
    ValueError
        At the first error: another hash, a label outside the classes, keys of another shape, or an image whose padding
        is not its repeated edges.
    """
    corpus = open_corpus(path)
    folder = Path(path).absolute()
    check_hashes(folder, corpus.array_hashes)
    check_padding(folder, corpus.images, corpus.sizes)
    total = sum((folder / f"{key}.npy").stat().st_size for key in corpus.array_hashes)
    counts = None
    if corpus.labels is not None:
        labels = checked_labels(corpus.labels, len(corpus))
        if corpus.classes is not None:
            checked_classes(corpus.classes, labels)
        counts = tuple(np.bincount(labels, minlength=len(corpus.classes or ())).tolist())
    keys = sorted((folder / "keys").glob("*.npy"))
    for file in keys:
        open_array(file, np.float32, (len(corpus), None))
    heldout = None if corpus.heldout is None else verify_corpus(folder / "heldout")
    return CorpusReport(corpus, counts, total, tuple(file.name for file in keys), heldout)
