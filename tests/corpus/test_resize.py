"""Resized corpora."""

import numpy as np
import pytest

from npgen.corpus.resize import resized


def test_resizing_keeps_labels_and_sizes_that_fit(digits, colours):
    assert resized(digits, 16) is digits
    tall = resized(colours, (20, 10))
    assert tall.images.shape == (70, 20, 10, 3) and np.array_equal(tall.labels, colours.labels)
    with pytest.raises(ValueError, match="size must be in 1…1024, got 0"):
        resized(digits, 0)
