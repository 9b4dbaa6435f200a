"""Labels by class name."""

from __future__ import annotations

import numpy as np
import pytest
from small_corpus import pixels, small

from npgen.corpus import Corpus, label_number


def test_a_class_has_a_number() -> None:
    assert label_number(small(), None) is None
    assert label_number(small(), "b") == 1
    assert label_number(small(), 2) == 2
    assert label_number(small(), np.int64(2)) == 2  # type: ignore[arg-type]


def test_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="label must be None where the corpus has no labels, got 1"):
        label_number(Corpus.from_arrays(pixels()), 1)
    with pytest.raises(ValueError, match="label must be a number, or one of a, b, c, got 'd'"):
        label_number(small(), "d")
    with pytest.raises(ValueError, match="label must be one that the corpus has images of, got 3"):
        label_number(small(), 3)
