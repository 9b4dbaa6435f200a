"""Labels of a corpus by class name."""

from __future__ import annotations

import numpy as np

from npgen.corpus.store import Corpus
from npgen.errors import invalid


def label_number(corpus: Corpus, label: int | str | None) -> int | None:
    """Return the label of a class.

    Parameters
    ----------
    corpus
        The corpus.
    label
        Label or class name, or None.

    Returns
    -------
    int or None
        The label; None if `label` is None.

    Raises
    ------
    ValueError
        If the corpus has no images of that class.
    """
    if label is None:
        return None
    if corpus.labels is None:
        raise invalid("label", "None where the corpus has no labels", label)
    if isinstance(label, str):
        if corpus.classes is None or label not in corpus.classes:
            known = "a number" if corpus.classes is None else f"a number, or one of {', '.join(corpus.classes)}"
            raise invalid("label", known, label)
        return corpus.classes.index(label)
    if not np.any(corpus.labels == label):
        raise invalid("label", "one that the corpus has images of", label)
    return int(label)
