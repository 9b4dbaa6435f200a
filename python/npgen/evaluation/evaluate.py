"""Scores of samples, always with the same scores of real images beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus, check_one_size
from npgen.errors import check_type, check_whole, invalid
from npgen.evaluation.entropy import WINDOW, entropy
from npgen.evaluation.features import Outputs, corpus_outputs, outputs_of
from npgen.evaluation.metrics import (
    FrechetReference,
    KernelReference,
    Moments,
    NeighbourReference,
    estimate,
    groups_of,
    inception_score,
    without_each,
)
from npgen.evaluation.networks import Network, NetworkRequest, load_network
from npgen.evaluation.novelty import distances_to, largest_regions, largest_shares, longest_runs, nearest_sources
from npgen.evaluation.partwhole import part_whole
from npgen.evaluation.scores import NEAR_COPY, VERSION, Evaluation, Scores
from npgen.runs import Samples, TracedSamples, check_traced
from npgen.sampling import filled_order

__all__ = ["VERSION", "Evaluation", "Scores", "evaluate"]

# Scores of real images are means over up to so many sets of n images: one set alone is a noisy yardstick.
DRAWS = 10
# A covariance needs two images when the jackknife leaves some out.
FEWEST = 4
# KID refers to at most so many images: its error for these is one for all rows, and their pairs take time.
KERNEL_IMAGES = 10_000


def evaluate(
    samples: TracedSamples,
    corpus: Corpus,
    *,
    heldout: Corpus | None = None,
    network: str | Network = "corpus",
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> Evaluation:
    """Score samples, and sets of as many real held-out and real training images.

    Inception Score, Fréchet distance, KID, precision and recall live in the features of a network: by default a small
    classifier of the corpus, which is trained on first use. It and what it says of the corpus are kept in the corpus
    folder.

    One reference serves all three rows: all training images but those drawn for the training sets. So no set meets its
    own images there, and all have the same n and thus the same bias. The corpus's classifier was trained on the
    training images and never saw the held-out ones: the training sets score what a copier of whole training images
    would, the held-out sets add what the classifier fails to generalise. The scores of one set of real images vary a
    lot, those of the Fréchet distance by a third at n = 1,000, so that the real rows are means over up to 10 disjoint
    sets. KID refers to up to 10,000 images of the reference, precision and recall to n.

    Parameters
    ----------
    samples
        At least 4 samples. Of a score machine's, each pixel counts as of the source that weighs most in the last step,
        and what needs an anchor or an order of filling is left out.
    corpus
        The corpus they were made from; with labels if the network is "corpus".
    heldout
        Real images that are not in the corpus; None takes `corpus.heldout`.
    network
        "corpus" for the corpus's classifier, "inception", the name of one that `register_network` made known, or a
        network itself.
    weights
        The network's weights: a local file, for "inception" that of torch-fidelity. Nothing is ever downloaded.
    seed
        Decides which real images are drawn, and the groups of the jackknife.
    device
        Torch device for the network; "auto" takes an accelerator if there is one.
    quiet
        Show no progress.

    Returns
    -------
    Evaluation
        All scores. If there are fewer held-out images than samples, or fewer than twice as many training
        images, only the first samples are scored, as many as all rows can have.

    Raises
    ------
    ValueError
        If there are fewer than 4 samples or held-out images, the corpus has no labels where the network needs them or
        is another one than the samples', shapes differ, or the network is unknown or lacks its weights.
    FileNotFoundError
        If there is no such file of weights.
    ModuleNotFoundError
        If the network needs a package that is not installed.
    """
    heldout = check_scorable(samples, corpus, heldout, seed)
    name, eyes = _network(network, corpus, weights, device, quiet)
    n = min(len(samples), len(heldout), len(corpus) // 2)
    given, samples = len(samples), samples[:n]
    images = samples.pixels
    real = _real(eyes, corpus, heldout, n, seed, quiet)
    made = outputs_of(eyes, images, quiet=quiet, what="features of samples")
    scores = real.yardstick.of([made], groups_of(n, seed))
    _, squared = nearest_sources(images, corpus.images, quiet=quiet)
    scores |= {"n": n, **_nearest_scores(np.sqrt(squared), real.bar)}
    return Evaluation(
        samples=Scores(**scores, **_sample_scores(samples, corpus, squared)),
        heldout=Scores(**real.heldout),
        training=Scores(**real.training),
        given=given,
        reference_size=real.reference_size,
        kernel_reference_size=real.kernel_reference_size,
        pixels=images[0, :, :, 0].size,
        corpus_name=corpus.name,
        corpus_hash=corpus.hash,
        heldout_name=heldout.name,
        heldout_hash=heldout.hash,
        network=name,
        network_id=eyes.id,
        network_accuracy=real.accuracy,
        first=samples.first,
        seed=seed,
        **samples.describe(),
    )


@dataclass(frozen=True, eq=False)
class _Real:
    """What real images score, n at a time, and what samples are scored with: the same for every run."""

    heldout: dict[str, Any]
    training: dict[str, Any]
    yardstick: _NetworkScores
    reference_size: int
    kernel_reference_size: int
    # Median distance of held-out images to the nearest training image.
    bar: float
    accuracy: float | None


# By all that decides them; the latest only, as a yardstick holds features.
_REAL: dict[tuple[Any, ...], _Real] = {}


def _real(eyes: Network, corpus: Corpus, heldout: Corpus, n: int, seed: int, quiet: bool) -> _Real:
    """Score real images, or recall it: studies evaluate run after run."""
    key = (eyes.id, corpus.hash, heldout.hash, n, seed)
    if eyes.id is None or key not in _REAL:
        found = _score_real(eyes, corpus, heldout, n, seed, quiet)
        _REAL.clear()
        _REAL[key] = found
    return _REAL[key]


def _score_real(eyes: Network, corpus: Corpus, heldout: Corpus, n: int, seed: int, quiet: bool) -> _Real:
    draws = max(1, min(DRAWS, len(heldout) // n, len(corpus) // (2 * n)))
    unseen_ids = _draw(len(heldout), (draws, n), seed, 0)
    seen_ids = _draw(len(corpus), (draws, n), seed, 1)
    unseen, seen = (corpus_outputs(eyes, images, quiet=quiet) for images in (heldout, corpus))
    rest = np.ones(len(corpus), np.bool_)
    rest[seen_ids] = False
    reference = Moments.of(seen.features, rest)
    kernel_ids, neighbour_ids = (
        np.flatnonzero(rest)[_draw(reference.count, (1, size), seed, 3)[0]]
        for size in (min(KERNEL_IMAGES, reference.count), n)
    )
    yardstick = _NetworkScores(
        FrechetReference(reference.gaussian()),
        KernelReference(seen.features[kernel_ids]),
        NeighbourReference(seen.features[neighbour_ids]),
    )
    groups = groups_of(n, seed)
    unseen_row = yardstick.of([unseen[ids] for ids in unseen_ids], groups)
    seen_row = yardstick.of([seen[ids] for ids in seen_ids], groups)
    queries = np.concatenate([heldout.images[unseen_ids[0]], corpus.images[seen_ids[0]]])
    excluded = np.concatenate([np.full(n, -1), seen_ids[0]])
    _, squared = nearest_sources(queries, corpus.images, excluded=excluded, quiet=quiet)
    nearest = np.sqrt(squared).reshape(2, n)
    bar = float(np.median(nearest[0]))
    for row, distances in zip((unseen_row, seen_row), nearest, strict=True):
        row |= {"n": n, **_nearest_scores(distances, bar)}
    accuracy = _accuracy(eyes, unseen, heldout)
    return _Real(unseen_row, seen_row, yardstick, reference.count, len(kernel_ids), bar, accuracy)


def check_scorable(samples: TracedSamples, corpus: Corpus, heldout: Corpus | None, seed: int) -> Corpus:
    """Return the held-out images, or raise before anything is trained."""
    check_whole("seed", seed, 0)
    check_traced(samples, corpus)
    check_one_size(corpus, "scores")
    check_type("heldout", heldout, Corpus, type(None))
    if len(samples.pixels) < FEWEST:
        raise invalid("samples", f"at least {FEWEST}", len(samples.pixels))
    shape = corpus.images.shape[1:]
    if samples.pixels.shape[1:] != shape:
        raise invalid("samples", f"images of shape {shape}, as the corpus has", samples.pixels.shape[1:])
    heldout = corpus.heldout if heldout is None else heldout
    if heldout is None:
        raise ValueError(
            f"corpus must be one with held-out images, got {corpus!r}. Build it with `npgen corpus build … "
            "--holdout 0.1`, or pass real images that are not in it: evaluate(…, heldout=Corpus)"
        )
    check_one_size(heldout, "scores")
    if heldout.images.shape[1:] != shape:
        raise invalid("heldout", f"images of shape {shape}, as the corpus has", heldout.images.shape[1:])
    if heldout.hash == corpus.hash:
        raise invalid("heldout", "of other images than the corpus", heldout)
    if len(heldout) < FEWEST:
        raise invalid("heldout", f"at least {FEWEST} images", len(heldout))
    if len(corpus) < 2 * FEWEST:  # as many drawn as referred to
        raise invalid("corpus", f"of at least {2 * FEWEST} images", len(corpus))
    return heldout


def _network(
    network: str | Network, corpus: Corpus, weights: str | os.PathLike[str] | None, device: str, quiet: bool
) -> tuple[str, Network]:
    if not isinstance(network, Network):
        path = None if weights is None else Path(weights)
        return network, load_network(network, NetworkRequest(corpus, path, device, quiet))
    if weights is not None:
        raise invalid("weights", "given with the name of a network, not with a network", str(weights))
    return network.id or "unnamed", network


def _draw(count: int, shape: tuple[int, int], seed: int, stream: int) -> NDArray[np.int64]:
    """Draw sets of ids, none twice; each set ascending, so that a memory map is read forwards."""
    return np.sort(np.random.default_rng([seed, stream]).choice(count, shape, replace=False), axis=1)


class _NetworkScores:
    """The scores that are made from features, to one reference."""

    def __init__(self, gaussian: FrechetReference, kernel: KernelReference, neighbours: NeighbourReference) -> None:
        self.gaussian, self.kernel, self.neighbours = gaussian, kernel, neighbours

    def of(self, sets: list[Outputs], groups: NDArray[np.int64]) -> dict[str, Any]:
        """Score disjoint sets of n images each, whose groups (n,) the jackknife leaves out."""
        scores: dict[str, list[tuple[float, NDArray[np.float64]]]] = {}
        for outputs in sets:
            for name, score in self._of_one(outputs, groups).items():
                scores.setdefault(name, []).append(score)
        estimates = {name: estimate(*zip(*pairs, strict=True)) for name, pairs in scores.items()}
        return {"draws": len(sets), "inception_score": None, **estimates}

    def _of_one(self, outputs: Outputs, groups: NDArray[np.int64]) -> dict[str, tuple[float, NDArray[np.float64]]]:
        features, probabilities = outputs.features, outputs.probabilities

        def frechet(keep: NDArray[np.bool_] | None = None) -> float:
            return self.gaussian.distance(Moments.of(features, keep).gaussian())

        precision, recall = self.neighbours.precision_recall(features, groups)
        scores = {
            "frechet": (frechet(), without_each(frechet, groups)),
            "kid": self.kernel.kid(features, groups),
            "precision": precision,
            "recall": recall,
        }
        if probabilities is not None:
            left_out = without_each(lambda keep: inception_score(probabilities[keep]), groups)
            scores["inception_score"] = inception_score(probabilities), left_out
        return scores


def _accuracy(network: Network, outputs: Outputs, corpus: Corpus) -> float | None:
    if network.labels is None or outputs.probabilities is None or corpus.labels is None:
        return None
    return float((network.labels[outputs.probabilities.argmax(1)] == corpus.labels).mean())


def _nearest_scores(distances: NDArray[np.float64], heldout_median: float) -> dict[str, float | None]:
    median = float(np.median(distances))
    return {
        "nearest_distance": median,
        "nearest_ratio": median / heldout_median if heldout_median else None,
        "near_copies": float((distances < NEAR_COPY * heldout_median).mean()),
    }


def _sample_scores(samples: TracedSamples, corpus: Corpus, nearest: NDArray[np.int64]) -> dict[str, Any]:
    entropies = entropy(samples, corpus, min(WINDOW, *samples.pixels.shape[1:3]))
    regions = largest_regions(samples.trace)
    parts = {} if corpus.labels is None else part_whole(samples, corpus).summary()
    return {
        "class_entropy": entropies.mean_class,
        "image_id_entropy": entropies.mean_image_id,
        "largest_share": float(np.median(largest_shares(samples.trace))),
        "largest_region": (float(np.median(regions)), int(regions.max())),
        **parts,
        **(_copying_scores(samples, corpus, nearest) if isinstance(samples, Samples) else {}),
    }


def _copying_scores(samples: Samples, corpus: Corpus, nearest: NDArray[np.int64]) -> dict[str, Any]:
    """Measure what samples have that are copied pixel by pixel, from an anchor on."""
    to_anchor = distances_to(samples.images, corpus.images, samples.anchor)
    order = None if samples.codes is None else filled_order(samples).pixels
    runs = longest_runs(samples.trace, samples.config.window, order)
    return {
        "anchor_distance": float(np.median(np.sqrt(to_anchor))),
        "anchor_nearest": float((to_anchor <= nearest).mean()),
        "longest_run": (float(np.median(runs)), int(runs.max())),
    }
