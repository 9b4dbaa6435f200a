"""Scores of samples, always with the same scores of real images beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.entropy import WINDOW, entropy
from npgen.errors import invalid
from npgen.files import write_json
from npgen.novelty import distances_to, largest_regions, largest_shares, longest_runs, nearest_sources
from npgen.scores import Moments, frechet_distance, inception_score
from npgen.trace import Samples

# Class probabilities (n, K) and features (n, F) of a set of images.
_Output = tuple[NDArray[np.float64], NDArray[np.float32]]

FORMAT = "npgen-evaluation"
VERSION = 1
# An image closer to a training image than this share of the held-out images' median is called a near copy.
NEAR_COPY = 0.5
RESAMPLES = 20
# Scores of real images are means over up to so many sets of n images: one set alone is a noisy yardstick.
DRAWS = 10


@dataclass(frozen=True)
class Scores:
    """One row of the table: the scores of one set of images. None where a score makes no sense.

    Attributes
    ----------
    n
        Number of images of a set.
    draws
        Number of disjoint sets; Inception Score and Fréchet distance are means over them, all else is measured on
        the first.
    inception_score, inception_score_error
        exp of the mean KL divergence of the class probabilities from their mean, over all images in one
        split: at least 1, at most the number of classes. The error is the standard deviation of one set's
        score: over the sets if there are several, else by bootstrap.
    frechet, frechet_error
        Fréchet distance of the Gaussians of the images' and the reference's classifier features; error as
        above.
    class_entropy, image_id_entropy
        Mean sliding-window entropies of class and image-ID maps, nats.
    nearest_distance
        Median over images of the L2 distance to the nearest training image, grey levels.
    nearest_ratio
        The same over that of the held-out images.
    near_copies
        Share of images closer than `NEAR_COPY` times the held-out images' median.
    anchor_distance
        Median L2 distance to the anchor image, grey levels.
    anchor_nearest
        Share of images that no training image is nearer to than the anchor.
    largest_share
        Median over samples of the largest share of pixels from one source image.
    longest_run
        Median and maximum over samples of the longest verbatim run in fill order, pixels.
    largest_region
        Median and maximum over samples of the largest 4-connected verbatim region, pixels.
    """

    n: int
    draws: int
    inception_score: float
    inception_score_error: float
    frechet: float
    frechet_error: float
    nearest_distance: float
    nearest_ratio: float | None
    near_copies: float
    class_entropy: float | None = None
    image_id_entropy: float | None = None
    anchor_distance: float | None = None
    anchor_nearest: float | None = None
    largest_share: float | None = None
    longest_run: tuple[float, int] | None = None
    largest_region: tuple[float, int] | None = None


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    samples, heldout, training
        Scores of the samples, of real held-out images and of real training images.
    given
        How many samples there were; `samples.n` of them, the first ones, were scored.
    reference_size
        How many training images the Fréchet distances refer to.
    pixels
        Pixels of an image, H·W.
    corpus_name, corpus_hash
        The corpus.
    classifier_id, classifier_accuracy
        The classifier, and its accuracy on the corpus's held-out images, or None if it has none.
    model, config
        How the samples were made.
    seed
        Decides which real images were drawn.
    """

    samples: Scores
    heldout: Scores
    training: Scores
    given: int
    reference_size: int
    pixels: int
    corpus_name: str
    corpus_hash: str
    classifier_id: str
    classifier_accuracy: float | None
    model: str
    config: dict[str, Any]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"format": FORMAT, "version": VERSION, "near_copy_bar": NEAR_COPY, **asdict(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything as a JSON file, atomically.

        Parameters
        ----------
        path
            File to write or replace.
        """
        write_json(path, self.to_json())

    def markdown(self) -> str:
        """Lay the scores out as a Markdown table, one line a score, with notes on what they mean."""
        rows = (self.samples, self.heldout, self.training)
        lines = ["| | samples | real held-out | real training |", "|---|--:|--:|--:|"]
        for label, cell in self._lines():
            lines.append(f"| {label} | {' | '.join(_cell(cell, row) for row in rows)} |")
        return "\n".join([*lines, "", *self._notes()])

    def _lines(self) -> list[tuple[str, Callable[[Scores], str | None]]]:
        held_out, training = self.heldout, self.training
        return [
            ("images", lambda row: str(row.n) if row.draws == 1 else f"{row.draws} × {row.n}"),
            ("Inception Score", lambda row: f"{row.inception_score:.2f} ± {row.inception_score_error:.2f}"),
            ("… over held-out", lambda row: f"{row.inception_score / held_out.inception_score:.3f}"),
            ("Fréchet distance", lambda row: f"{row.frechet:.2f} ± {row.frechet_error:.2f}"),
            ("… over training", lambda row: _ratio(row.frechet, training.frechet)),
            ("class entropy, nats", lambda row: _number(row.class_entropy, ".2f")),
            ("image-ID entropy, nats", lambda row: _number(row.image_id_entropy, ".2f")),
            ("distance to nearest training image, median", lambda row: f"{row.nearest_distance:.0f}"),
            ("… over held-out", lambda row: _number(row.nearest_ratio, ".2f")),
            (f"near copies (ratio below {NEAR_COPY})", lambda row: f"{row.near_copies:.1%}"),
            ("distance to anchor, median", lambda row: _number(row.anchor_distance, ".0f")),
            ("anchor is the nearest training image", lambda row: _number(row.anchor_nearest, ".1%")),
            ("largest share of one source, median", lambda row: _number(row.largest_share, ".1%")),
            (f"longest verbatim run of {self.pixels} pixels", lambda row: _median_max(row.longest_run)),
            (f"largest verbatim region of {self.pixels} pixels", lambda row: _median_max(row.largest_region)),
        ]

    def _notes(self) -> list[str]:
        accuracy = self.classifier_accuracy
        measured = "not measured" if accuracy is None else f"{accuracy:.2%}"
        notes = [
            f"Corpus {self.corpus_name}; real images drawn by seed {self.seed}.",
            f"Inception Score and Fréchet distance in classifier {self.classifier_id} of that corpus "
            f"(accuracy on held-out images {measured}), not in Inception-v3: compare within this table only. "
            "Inception Score over all images of a set in one split. Real columns are means over disjoint sets. "
            "± is the standard deviation of one set's score: over the sets, where there is one by bootstrap "
            f"({RESAMPLES} resamples).",
            f"Fréchet distance of sets of {self.samples.n} images to one reference for all columns: the "
            f"{self.reference_size} training images that are not in the last column. It falls as n grows.",
            "Distances in pixels, L2, grey levels, of the first set; a training image is not compared with itself.",
            "Verbatim: copied from one image at one displacement. Runs are consecutive in fill order, "
            "regions are connected; the seed patch does not count. Median, maximum.",
        ]
        if self.given > self.samples.n:
            notes.insert(
                0,
                f"Only the first {self.samples.n} of {self.given} samples are scored: there are no more "
                "held-out images, or not twice as many training images.",
            )
        return [f"- {note}" for note in notes]


def evaluate(
    samples: Samples,
    corpus: Corpus,
    *,
    heldout: Corpus | None = None,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> Evaluation:
    """Score samples, and sets of as many real held-out and real training images.

    Inception Score and Fréchet distance live in a small classifier of the corpus, which is trained on first
    use and kept in the corpus folder.

    The Fréchet distance compares each set with one reference: all training images but those drawn for the
    training sets. So no set meets its own images there, and all have the same n and thus the same bias. The
    classifier was trained on the training images and never saw the held-out ones: the training sets score what
    a copier of whole training images would, the held-out sets add what the classifier fails to generalise. The
    scores of one set of real images vary a lot, those of the Fréchet distance by a third at n = 1,000, so that
    the real columns are means over up to 10 disjoint sets.

    Parameters
    ----------
    samples
        At least 2 samples.
    corpus
        The labelled corpus they were made from.
    heldout
        Real images that are not in the corpus; None takes `corpus.heldout`.
    seed
        Decides which real images are drawn.
    device
        Torch device for the classifier; "auto" takes an accelerator if there is one.
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
        If there are fewer than 2 samples or held-out images, the corpus has no labels or is another one than
        the samples', or shapes differ.
    """
    from npgen.classifier import labels_of, load_classifier

    labels_of(corpus)  # raises if there are none
    heldout = _check(samples, corpus, heldout, seed)
    classifier = load_classifier(corpus, device=device, quiet=quiet)
    n = min(len(samples), len(heldout), len(corpus) // 2)
    given, samples = len(samples), samples[:n]
    draws = max(1, min(DRAWS, len(heldout) // n, len(corpus) // (2 * n)))
    unseen_ids = _draw(len(heldout), (draws, n), seed, 0)
    seen_ids = _draw(len(corpus), (draws, n), seed, 1)

    def outputs(images: NDArray[np.uint8], sets: NDArray[np.int64]) -> list[_Output]:
        return [classifier.predict(images[ids], device=device) for ids in sets]

    made = outputs(samples.images, np.arange(n)[None])
    unseen, seen = outputs(heldout.images, unseen_ids), outputs(corpus.images, seen_ids)
    reference = classifier.moments
    for _, features in seen:
        reference = reference - Moments.of(features)
    classified = [_classifier_scores(sets, reference, seed) for sets in (made, unseen, seen)]

    queries = np.concatenate([samples.images, heldout.images[unseen_ids[0]], corpus.images[seen_ids[0]]])
    excluded = np.concatenate([np.full(2 * n, -1), seen_ids[0]])
    _, squared = nearest_sources(queries, corpus.images, excluded=excluded, quiet=quiet)
    nearest = np.sqrt(squared).reshape(3, n)
    bar = float(np.median(nearest[1]))
    rows: list[dict[str, Any]] = [
        {"n": n, **scores, **_nearest_scores(distances, bar)}
        for scores, distances in zip(classified, nearest, strict=True)
    ]
    return Evaluation(
        samples=Scores(**rows[0], **_sample_scores(samples, corpus, squared[:n])),
        heldout=Scores(**rows[1]),
        training=Scores(**rows[2]),
        given=given,
        reference_size=reference.count,
        pixels=samples.images[0, :, :, 0].size,
        corpus_name=corpus.name,
        corpus_hash=corpus.hash,
        classifier_id=classifier.id,
        classifier_accuracy=classifier.metadata["heldout_accuracy"],
        model=samples.model,
        config=samples.config.to_json(),
        seed=seed,
    )


def _check(samples: Samples, corpus: Corpus, heldout: Corpus | None, seed: int) -> Corpus:
    """Return the held-out images, or raise before anything is trained."""
    if seed < 0:
        raise invalid("seed", "at least 0", seed)
    if len(samples.images) < 2:
        raise invalid("samples", "at least 2", len(samples.images))
    samples.check_corpus(corpus)
    shape = corpus.images.shape[1:]
    if samples.images.shape[1:] != shape:
        raise invalid("samples", f"images of shape {shape}, as the corpus has", samples.images.shape[1:])
    heldout = corpus.heldout if heldout is None else heldout
    if heldout is None:
        raise ValueError(
            f"corpus must be one with held-out images, got {corpus!r}. Build it with `npgen corpus build … "
            "--holdout 0.1`, or pass real images that are not in it: evaluate(…, heldout=Corpus)"
        )
    if heldout.images.shape[1:] != shape:
        raise invalid("heldout", f"images of shape {shape}, as the corpus has", heldout.images.shape[1:])
    if heldout.hash == corpus.hash:
        raise invalid("heldout", "of other images than the corpus", heldout)
    if len(heldout) < 2:
        raise invalid("heldout", "at least 2 images", len(heldout))
    if len(corpus) < 4:  # two drawn, two to refer to
        raise invalid("corpus", "of at least 4 images", len(corpus))
    return heldout


def _draw(count: int, shape: tuple[int, int], seed: int, stream: int) -> NDArray[np.int64]:
    """Draw sets of ids, none twice; each set ascending, so that a memory map is read forwards."""
    return np.sort(np.random.default_rng([seed, stream]).choice(count, shape, replace=False), axis=1)


def _classifier_scores(sets: list[_Output], reference: Moments, seed: int) -> dict[str, float | int]:
    target = reference.gaussian()

    def both(probabilities: NDArray[np.float64], features: NDArray[np.float32]) -> tuple[float, float]:
        distance = frechet_distance(Moments.of(features).gaussian(), target)
        return inception_score(probabilities), distance

    scores = [both(*output) for output in sets]
    varied = scores
    if len(sets) == 1:
        probabilities, features = sets[0]
        random = np.random.default_rng([seed, 2])
        resamples = random.integers(len(features), size=(RESAMPLES, len(features)))
        varied = [both(probabilities[chosen], features[chosen]) for chosen in resamples]
    (score, distance), (score_error, distance_error) = np.mean(scores, 0), np.std(varied, 0, ddof=1)
    return {
        "draws": len(sets),
        "inception_score": float(score),
        "inception_score_error": float(score_error),
        "frechet": float(distance),
        "frechet_error": float(distance_error),
    }


def _nearest_scores(distances: NDArray[np.float64], heldout_median: float) -> dict[str, float | None]:
    median = float(np.median(distances))
    return {
        "nearest_distance": median,
        "nearest_ratio": median / heldout_median if heldout_median else None,
        "near_copies": float((distances < NEAR_COPY * heldout_median).mean()),
    }


def _sample_scores(samples: Samples, corpus: Corpus, nearest: NDArray[np.int64]) -> dict[str, Any]:
    to_anchor = distances_to(samples.images, corpus.images, samples.anchor)
    entropies = entropy(samples, corpus, min(WINDOW, *samples.images.shape[1:3]))
    runs, regions = longest_runs(samples.trace, samples.config.window), largest_regions(samples.trace)
    return {
        "class_entropy": entropies.mean_class,
        "image_id_entropy": entropies.mean_image_id,
        "anchor_distance": float(np.median(np.sqrt(to_anchor))),
        "anchor_nearest": float((to_anchor <= nearest).mean()),
        "largest_share": float(np.median(largest_shares(samples.trace))),
        "longest_run": (float(np.median(runs)), int(runs.max())),
        "largest_region": (float(np.median(regions)), int(regions.max())),
    }


def _cell(write: Callable[[Scores], str | None], row: Scores) -> str:
    return write(row) or "–"


def _ratio(value: float, real: float) -> str | None:
    return f"{value / real:.2f}" if real else None


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _median_max(value: tuple[float, int] | None) -> str | None:
    return None if value is None else f"{value[0]:.0f}, {value[1]}"
