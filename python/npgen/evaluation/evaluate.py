"""The evaluation of samples: each score of theirs beside the same score of real images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus, check_corpus, image_digest
from npgen.errors import check_type, check_whole, invalid
from npgen.evaluation.entropy import WINDOW, entropy
from npgen.evaluation.features import Outputs, corpus_outputs, outputs_of
from npgen.evaluation.metrics import groups_of
from npgen.evaluation.networks import Network, NetworkRequest, load_network
from npgen.evaluation.novelty import (
    are_copies,
    distances_to,
    effective_sources,
    largest_regions,
    largest_shares,
    longest_runs,
    nearest_sources,
)
from npgen.evaluation.partwhole import part_whole
from npgen.evaluation.reference import Reference, draw_ids
from npgen.evaluation.scores import NEAR_COPY, VERSION, Evaluation, Scores
from npgen.runs import Samples, TracedSamples, check_traced
from npgen.sampling import filled_order

__all__ = ["VERSION", "Evaluation", "Scores", "evaluate"]

# Scores of real images are means over at most this many sets of n images: the scores of one set vary too much.
DRAWS = 10
# Smallest number of images to score: a covariance needs two images when the jackknife leaves some out.
FEWEST = 4


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

    Inception Score, Fréchet distance, KID, precision and recall are computed from the features of a network: by default
    a small classifier of the corpus, trained on first use. The classifier and its outputs for the corpus are stored in
    the corpus folder.

    All three rows are compared with one reference: all training images except those drawn for the training sets. So no
    set is compared with its own images, and all sets have the same size n and thus the same bias. The corpus's
    classifier was trained on the training images and has not seen the held-out ones: the training sets score what
    copies of whole training images would score, the held-out sets include the classifier's generalisation error. Scores
    of one set of real images vary (the Fréchet distance by a third at n = 1,000), so the real rows are means over up
    to 10 disjoint sets. KID is measured against up to 10,000 images of the reference, precision and recall against n.

    Parameters
    ----------
    samples
        At least 4 samples. For samples of a score machine, the source of a pixel is the one of largest weight in the
        last step; scores that need an anchor or a fill order are None.
    corpus
        The corpus that they were made from; with labels if the network is "corpus".
    heldout
        Real images that are not in the corpus; None takes `corpus.heldout`. Those that are in it all the same are
        counted in the result.
    network
        "corpus" for the corpus's classifier, "inception", a name registered by `register_network`, or a `Network`.
    weights
        The network's weights: a local file, for "inception" that of torch-fidelity. Nothing is ever downloaded.
    seed
        Seed of the draws of real images and of the groups of the jackknife.
    device
        Torch device for the network; "auto" takes an accelerator if there is one.
    quiet
        Show no progress bar.

    Returns
    -------
    Evaluation
        All scores. With fewer held-out images than samples, or fewer than twice as many training images as samples,
        only the first samples are scored, so that all sets have the same size.

    Raises
    ------
    ValueError
        If there are fewer than 4 samples or held-out images, the corpus has no labels and the network needs them, the
        samples were made from another corpus, shapes differ, or the network is unknown or its weights are missing.
    FileNotFoundError
        If the file of weights does not exist.
    ModuleNotFoundError
        If the network needs a package that is not installed.

    Examples
    --------
    Scores in the features of a network of your own, here the images at a quarter of their resolution:

    >>> digits = npgen.load_corpus("mnist-5k").images
    >>> corpus = npgen.Corpus.from_arrays(digits[:1000], heldout=npgen.Corpus.from_arrays(digits[1000:1100]))
    >>> samples = npgen.generate(corpus, 20, "local", npgen.Config(window=5), progress=False)
    >>> thumbnails = npgen.Network(lambda images: (images[:, ::4, ::4].reshape(len(images), -1), None))
    >>> found = npgen.evaluate(samples, corpus, network=thumbnails, quiet=True)
    >>> found.samples.n, found.heldout.draws, found.network
    (20, 5, 'unnamed')
    """
    check_whole("seed", seed, 0)
    if heldout is not None:
        check_type("heldout", heldout, Corpus)
    _check_scorable(samples, corpus)
    heldout = checked_heldout(corpus, heldout)
    name, opened = _network(network, corpus, weights, device, quiet)
    n = min(len(samples), len(heldout), len(corpus) // 2)
    given, samples = len(samples), samples[:n]
    images = samples.pixels
    # 1. Score real images, and take from them what samples are compared with.
    real = _real(opened, corpus, heldout, n, seed, quiet)
    # 2. Score the samples' features against the same reference.
    made = outputs_of(opened, images, quiet=quiet, what="features of samples")
    scores = real.reference.scores([made], groups_of(n, seed))
    scores |= real.reference.likelihood(made.features)
    # 3. Measure the distance of each sample to its nearest training image.
    _, squared = nearest_sources(images, corpus.images, quiet=quiet)
    scores |= {"n": n, **_nearest_scores(squared, images[0].size, real.heldout_median)}
    return Evaluation(
        samples=Scores(**scores, **_sample_scores(samples, corpus, squared)),
        heldout=Scores(**real.heldout),
        training=Scores(**real.training),
        given=given,
        reference_size=real.reference.size,
        kernel_reference_size=real.reference.kernel_size,
        pixels=images[0, :, :, 0].size,
        corpus_name=corpus.name,
        corpus_hash=corpus.hash,
        heldout_name=heldout.name,
        heldout_hash=heldout.hash,
        heldout_size=len(heldout),
        heldout_in_corpus=real.heldout_in_corpus,
        network=name,
        network_id=opened.id,
        network_accuracy=real.accuracy,
        first=samples.first,
        seed=seed,
        **samples.describe(),
    )


@dataclass(frozen=True, eq=False)
class _Real:
    """The scores of real images in sets of n, and what samples are compared with: the same for every run.

    Attributes
    ----------
    heldout, training
        Scores by name of the attribute of `Scores`.
    reference
        Features of training images.
    heldout_median
        Median L2 distance of held-out images to the nearest training image, grey levels.
    accuracy
        Share of the held-out images that the network classifies right, or None if it classifies none.
    heldout_in_corpus
        Number of held-out images that are exact copies of a training image.
    """

    heldout: dict[str, Any]
    training: dict[str, Any]
    reference: Reference
    heldout_median: float
    accuracy: float | None
    heldout_in_corpus: int


# The latest scores of real images by all that decides them; one entry, as a reference holds many features.
_REAL: dict[tuple[Any, ...], _Real] = {}


def _real(network: Network, corpus: Corpus, heldout: Corpus, n: int, seed: int, quiet: bool) -> _Real:
    """Score real images, or return the scores of the last call: studies evaluate run after run."""
    key = (network.id, corpus.hash, heldout.hash, n, seed)
    if network.id is None or key not in _REAL:
        found = _score_real(network, corpus, heldout, n, seed, quiet)
        _REAL.clear()
        _REAL[key] = found
    return _REAL[key]


def _score_real(network: Network, corpus: Corpus, heldout: Corpus, n: int, seed: int, quiet: bool) -> _Real:
    # 1. Draw disjoint sets of n held-out and n training images.
    draws = max(1, min(DRAWS, len(heldout) // n, len(corpus) // (2 * n)))
    heldout_ids = draw_ids(len(heldout), (draws, n), seed, 0)  # (draws, n)
    training_ids = draw_ids(len(corpus), (draws, n), seed, 1)  # (draws, n)
    of_heldout, of_training = (corpus_outputs(network, images, quiet=quiet) for images in (heldout, corpus))
    # 2. All other training images are the reference.
    others = np.ones(len(corpus), np.bool_)
    others[training_ids] = False
    reference = Reference.of(of_training, others, of_heldout, training_ids[0], seed)
    # 3. Score the sets in the network's features.
    groups = groups_of(n, seed)
    heldout_scores = reference.scores([of_heldout[ids] for ids in heldout_ids], groups)
    training_scores = reference.scores([of_training[ids] for ids in training_ids], groups)
    training_scores |= reference.likelihood(of_training.features[training_ids[0]])
    # 4. Measure distances of the first sets to the nearest training image, a training image's own left out.
    queries = np.concatenate([heldout.images[heldout_ids[0]], corpus.images[training_ids[0]]])
    excluded = np.concatenate([np.full(n, -1), training_ids[0]])
    _, squared = nearest_sources(queries, corpus.images, excluded=excluded, quiet=quiet)
    heldout_median = float(np.median(np.sqrt(squared[:n])))
    for scores, part in zip((heldout_scores, training_scores), squared.reshape(2, n), strict=True):
        scores |= {"n": n, **_nearest_scores(part, queries[0].size, heldout_median)}
    accuracy = _accuracy(network, of_heldout, heldout)
    return _Real(heldout_scores, training_scores, reference, heldout_median, accuracy, _shared(heldout, corpus))


def _shared(heldout: Corpus, corpus: Corpus) -> int:
    """Return the number of held-out images that are exact copies of an image of the corpus."""
    digests = set(map(image_digest, heldout.images))
    shared = {digest for digest in map(image_digest, corpus.images) if digest in digests}
    return sum(image_digest(image) in shared for image in heldout.images) if shared else 0


def _check_scorable(samples: TracedSamples, corpus: Corpus) -> None:
    """Raise TypeError or ValueError unless samples can be scored in terms of a corpus."""
    check_traced(samples, corpus)
    check_corpus(corpus, one_size="scores")
    if len(samples) < FEWEST:
        raise invalid("samples", f"at least {FEWEST}", len(samples))
    shape = corpus.images.shape[1:]
    if samples.pixels.shape[1:] != shape:
        raise invalid("samples", f"images of shape {shape}, as the corpus has", samples.pixels.shape[1:])


def checked_heldout(corpus: Corpus, heldout: Corpus | None) -> Corpus:
    """Return the real images that samples of a corpus are scored beside.

    Parameters
    ----------
    corpus
        The corpus, of images of one size.
    heldout
        Real images that are not in it; None takes `corpus.heldout`.

    Returns
    -------
    Corpus
        The held-out images.

    Raises
    ------
    TypeError, ValueError
        If there are no held-out images, or corpus or held-out images are too few, or of other shapes.
    """
    if heldout is not None:
        check_corpus(heldout, one_size="scores", parameter="heldout")
    shape = corpus.images.shape[1:]
    heldout = corpus.heldout if heldout is None else heldout
    if heldout is None:
        raise ValueError(
            f"corpus must be one with held-out images, got {corpus!r}. Build it with `npgen corpus build … "
            "--holdout 0.1`, or pass real images that are not in it: evaluate(…, heldout=Corpus)"
        )
    if heldout.images.shape[1:] != shape:
        raise invalid("heldout", f"images of shape {shape}, as the corpus has", heldout.images.shape[1:])
    if heldout.array_hashes["images"] == corpus.array_hashes["images"]:  # whatever their labels
        raise invalid("heldout", "of other images than the corpus", heldout)
    if len(heldout) < FEWEST:
        raise invalid("heldout", f"at least {FEWEST} images", len(heldout))
    if len(corpus) < 2 * FEWEST:  # a drawn set, and as many images for the reference
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


def _accuracy(network: Network, outputs: Outputs, corpus: Corpus) -> float | None:
    if network.labels is None or outputs.probabilities is None or corpus.labels is None:
        return None
    return float((network.labels[outputs.probabilities.argmax(1)] == corpus.labels).mean())


def _nearest_scores(squared: NDArray[np.int64], values: int, heldout_median: float) -> dict[str, float | None]:
    """Return the scores of squared distances (n,) to the nearest training image, of images of so many values."""
    distances = np.sqrt(squared)
    median = float(np.median(distances))
    # An exact copy is a copy even where the held-out images' median is 0, as in films and among duplicates.
    near = (squared == 0) | (distances < NEAR_COPY * heldout_median)
    return {
        "nearest_distance": median,
        "nearest_ratio": median / heldout_median if heldout_median else None,
        "near_copies": float(near.mean()),
        "copies": float(are_copies(squared, values).mean()),
        "exact_copies": float((squared == 0).mean()),
    }


def _sample_scores(samples: TracedSamples, corpus: Corpus, nearest: NDArray[np.int64]) -> dict[str, Any]:
    entropies = entropy(samples, corpus, min(WINDOW, *samples.pixels.shape[1:3]))
    regions, effective = largest_regions(samples.trace), effective_sources(samples.trace)
    parts = {} if corpus.labels is None else part_whole(samples, corpus).summary()
    return {
        "class_entropy": entropies.mean_class,
        "image_id_entropy": entropies.mean_image_id,
        "largest_share": float(np.median(largest_shares(samples.trace))),
        "effective_sources": float(np.median(effective)),
        "effective_sources_mean": float(np.mean(effective)),
        "largest_region": (float(np.median(regions)), int(regions.max())),
        **parts,
        **(_copying_scores(samples, corpus, nearest) if isinstance(samples, Samples) else {}),
    }


def _copying_scores(samples: Samples, corpus: Corpus, nearest: NDArray[np.int64]) -> dict[str, Any]:
    """Return the scores that need an anchor and a fill order."""
    to_anchor = distances_to(samples.images, corpus.images, samples.anchor)
    order = None if samples.codes is None else filled_order(samples).pixels
    runs = longest_runs(samples.trace, samples.config.window, order)
    return {
        "anchor_distance": float(np.median(np.sqrt(to_anchor))),
        "anchor_nearest": float((to_anchor <= nearest).mean()),
        "longest_run": (float(np.median(runs)), int(runs.max())),
    }
