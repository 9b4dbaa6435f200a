"""k-NN accuracy of an encoder on partly known images: how often the nearest keys are of the image's class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, check_corpus
from npgen.encoders.loading import AnyEncoder
from npgen.errors import invalid

CHUNK = 1024


def known_squares(height: int, width: int) -> tuple[int, ...]:
    """Return sides of known squares for images of a size: the whole image, three quarters of it, down to a quarter.

    Parameters
    ----------
    height, width
        Extents of the images.

    Returns
    -------
    tuple of int
        Sides, falling.

    Examples
    --------
    >>> known_squares(32, 32), known_squares(28, 28)
    ((32, 24, 20, 16, 12, 8), (28, 20, 16, 12, 8))
    """
    side = max(height, width)
    step = -(-side // 8)
    return (side, *range(3 * side // 4 // step * step, step, -step))


def knn_accuracy(
    encoder: AnyEncoder,
    corpus: Corpus,
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    squares: tuple[int, ...] | None = None,
    k: int = 20,
    progress: bool = False,
) -> dict[int, float]:
    """Measure how often the nearest source images of a partly known image are of its class.

    Of each test image only a centred square is known. Its k nearest keys vote on its label; a tie goes to the label of
    the greater summed similarity.

    Parameters
    ----------
    encoder
        The encoder to measure.
    corpus
        Labelled source images; the keys are those of all of them, unmasked.
    test_images
        Images (n, H, W, C), uint8, none of them in the corpus.
    test_labels
        Labels (n,), integers.
    squares
        Sides of the known squares, pixels; of a side beyond the image, the whole image is known. None takes
        `known_squares` of the corpus's images.
    k
        Number of keys that vote; at most N.
    progress
        Show a progress bar.

    Returns
    -------
    dict
        Share of test images labelled correctly, by side.

    Raises
    ------
    ValueError
        If the corpus has no labels, lengths differ, or k or a side is out of range.
    """
    check_corpus(corpus, one_size="an encoder")
    height, width = corpus.images.shape[1:3]
    squares = known_squares(height, width) if squares is None else squares
    if corpus.labels is None:
        raise invalid("corpus", "one with labels", corpus.name)
    if len(test_labels) != len(test_images) or len(test_images) == 0:
        raise invalid("test_labels", f"of length {len(test_images)}, at least 1", len(test_labels))
    if not 1 <= k <= len(corpus.images):
        raise invalid("k", f"in 1..{len(corpus.images)}", k)
    if any(side < 1 for side in squares):
        raise invalid("squares", "sides of at least 1", squares)
    total = len(corpus.images) + len(squares) * len(test_images)
    with tqdm(total=total, desc="accuracy", unit="image", disable=not progress, leave=False) as bar:
        keys = np.empty((len(corpus.images), encoder.dim), np.float32)  # (N, D)
        for start in range(0, len(keys), CHUNK):
            keys[start : start + CHUNK] = encoder.encode(corpus.images[start : start + CHUNK])
            bar.update(len(keys[start : start + CHUNK]))
        chunk = max(1, min(CHUNK, 2**25 // len(keys)))  # queries at a time: at most 128 MiB of similarities
        accuracy = {}
        for side in squares:
            top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
            known = np.zeros((height, width), np.bool_)
            known[top : top + side, left : left + side] = True
            correct = 0
            for start in range(0, len(test_images), chunk):
                queries = encoder.encode(test_images[start : start + chunk], known)
                voted = _vote(queries, keys, corpus.labels, k)
                correct += int((voted == test_labels[start : start + chunk]).sum())
                bar.update(len(queries))
            accuracy[side] = correct / len(test_images)
    return accuracy


def _vote(
    queries: NDArray[np.float32], keys: NDArray[np.float32], labels: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Return the label (n,) that the k nearest keys of each query vote for."""
    import torch
    from torch.nn.functional import one_hot

    similarity, nearest = torch.from_numpy(queries @ keys.T).topk(k)  # (n, k) both
    ballots = one_hot(torch.from_numpy(labels[nearest.numpy()]))  # (n, k, classes)
    # Similarities lie in [-1, 1]: summed over k and divided by 4 k they stay below half a vote.
    votes = ballots.sum(1) + (ballots * similarity[:, :, None]).sum(1) / (4 * k)
    winners: NDArray[np.int64] = votes.argmax(1).numpy()
    return winners
