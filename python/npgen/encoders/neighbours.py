"""How often the nearest keys of partly known images are of the image's class: k-NN accuracy and purity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, check_corpus
from npgen.encoders.kinds import AnyEncoder
from npgen.errors import invalid

CHUNK = 1024
# Numbers of nearest keys that purity is the mean over: a short and a long shortlist.
SHORT, LONG = 15, 100


@dataclass(frozen=True)
class NeighbourScores:
    """How well the nearest keys tell the label of a partly known image.

    Attributes
    ----------
    accuracy
        Share of images whose k nearest keys vote for their label.
    purity_short, purity_long
        Mean share of the 15 and of the 100 nearest keys that have the image's label (of all, where there are fewer).
    """

    accuracy: float
    purity_short: float
    purity_long: float


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
    scores = knn_scores(encoder, corpus, test_images, test_labels, squares, k, progress=progress)
    return {side: score.accuracy for side, score in scores.items()}


def knn_scores(
    encoder: AnyEncoder,
    corpus: Corpus,
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    squares: tuple[int, ...] | None = None,
    k: int = 20,
    keys: NDArray[np.float32] | None = None,
    progress: bool = False,
) -> dict[int, NeighbourScores]:
    """Measure how often the nearest source images of a partly known image are of its class, by vote and by share.

    Parameters
    ----------
    encoder, corpus, test_images, test_labels, squares, k, progress
        As in `knn_accuracy`.
    keys
        The corpus's keys (N, D), where they are there already; None embeds it.

    Returns
    -------
    dict
        `NeighbourScores` by side of the known square.

    Raises
    ------
    ValueError
        As in `knn_accuracy`.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> from npgen.encoders import knn_scores
    >>> images, labels = corpus.heldout.images[:20], corpus.heldout.labels[:20]
    >>> scores = knn_scores(npgen.load_encoder("pixels", corpus), corpus, images, labels, (28,))
    >>> 0 <= scores[28].purity_long <= scores[28].purity_short <= 1
    True
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
    total = (len(corpus.images) if keys is None else 0) + len(squares) * len(test_images)
    with tqdm(total=total, desc="accuracy", unit="image", disable=not progress, leave=False) as bar:
        if keys is None:
            keys = np.empty((len(corpus.images), encoder.dim), np.float32)  # (N, D)
            for start in range(0, len(keys), CHUNK):
                keys[start : start + CHUNK] = encoder.encode(corpus.images[start : start + CHUNK])
                bar.update(len(keys[start : start + CHUNK]))
        chunk = max(1, min(CHUNK, 2**25 // len(keys)))  # queries at a time: at most 128 MiB of similarities
        scores = {}
        for side in squares:
            top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
            known = np.zeros((height, width), np.bool_)
            known[top : top + side, left : left + side] = True
            sums = np.zeros(3)  # correct votes, and the two purities
            for start in range(0, len(test_images), chunk):
                queries = encoder.encode(test_images[start : start + chunk], known)
                sums += _score(queries, keys, corpus.labels, test_labels[start : start + chunk], k)
                bar.update(len(queries))
            scores[side] = NeighbourScores(*(sums / len(test_images)).tolist())
    return scores


def _score(
    queries: NDArray[np.float32],
    keys: NDArray[np.float32],
    labels: NDArray[np.int64],
    expected: NDArray[np.int64],
    k: int,
) -> NDArray[np.float64]:
    """Return the sums, over queries (n, D), of correct votes of the k nearest keys and of both purities."""
    import torch
    from torch.nn.functional import one_hot

    similarity, nearest = torch.from_numpy(queries @ keys.T).topk(min(max(k, LONG), len(keys)))  # (n, ≥ k) both
    found = labels[nearest.numpy()]
    ballots = one_hot(torch.from_numpy(found[:, :k]))  # (n, k, classes)
    # Similarities lie in [-1, 1]: summed over k and divided by 4 k they stay below half a vote.
    votes = ballots.sum(1) + (ballots * similarity[:, :k, None]).sum(1) / (4 * k)
    same = found == expected[:, None]
    return np.array([(votes.argmax(1).numpy() == expected).sum(), *(same[:, :m].mean(1).sum() for m in (SHORT, LONG))])
