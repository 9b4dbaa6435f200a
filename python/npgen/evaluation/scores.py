"""The result of an evaluation: the scores of samples and real images, and the table of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from npgen.errors import invalid
from npgen.evaluation.metrics import FEWEST_FOR_INTERVALS, Estimate
from npgen.evaluation.novelty import COPY
from npgen.output import Column, markdown_table, number, quality_columns
from npgen.storage import write_json

FORMAT = "npgen-evaluation"
VERSION = 3
# A near copy is an image closer to a training image than this share of the held-out images' median distance.
NEAR_COPY = 0.5


@dataclass(frozen=True)
class Scores:
    """The scores of one kind of images: samples, held-out or training images. None if a score is not defined for them.

    Attributes
    ----------
    n
        Number of images in a set.
    draws
        Number of disjoint sets. Scores in the network's features are means over the sets; all others are of the first.
    inception_score
        exp of the mean KL divergence of the class probabilities from their mean, over all images in one split: between
        1 and the number of classes. None if the network gives no probabilities.
    frechet
        Fréchet distance of the Gaussians of the images' and the reference's features.
    kid
        Unbiased squared maximum mean discrepancy between the images' and the reference's features, with the kernel
        (x·y / F + 1)³: about 0 for real images.
    precision, recall
        Share of the images inside a neighbourhood of the reference, and of the reference inside one of the images.
    nearest_distance
        Median over images of the L2 distance to the nearest training image, grey levels.
    nearest_ratio
        `nearest_distance` divided by that of the held-out images.
    near_copies
        Share of images whose distance to the nearest training image is 0, or below `NEAR_COPY` times the held-out
        images' median.
    copies
        Share of images that are copies of a training image: of a PSNR of at least 25 dB to it, as in γ studies.
    exact_copies
        Share of images that are identical to a training image.
    class_entropy, image_id_entropy
        Mean sliding-window entropies of class and image-ID maps, nats.
    anchor_distance
        Median L2 distance to the anchor image, grey levels.
    anchor_nearest
        Share of images whose nearest training image is the anchor.
    largest_share
        Median over samples of the largest share of pixels from one source image.
    effective_sources, effective_sources_mean
        Median and mean over samples of exp of the entropy of the source images' shares of the frame.
    feature_likelihood
        Feature likelihood divergence (FLD): by how much less likely held-out images are under Gaussians around the
        images than under Gaussians around as many training images, hundredths of a nat per feature; see
        `feature_likelihood`. Less is better: about 0 for real images that are not in the corpus, thousands or more for
        copies of whole training images, as of the training images themselves. None for held-out images.
    feature_likelihood_gap
        The same of training less that of held-out images: about 0 or, if the images are near training images, negative.
    longest_run
        Median and maximum over samples of the longest verbatim run in fill order, pixels.
    largest_region
        Median and maximum over samples of the largest 4-connected verbatim region, pixels.
    regions
        Mean over samples of the number of coherent regions; see `npgen.part_whole`.
    class_purity
        Mean over samples of the share of pixels whose source is of the class of their region.
    sources_per_region
        Median over pixels of the number of source images of the pixel's region.
    largest_source
        Mean over samples of the share of pixels that come from the main source image of their region.
    multi_image
        Mean over samples of the share of the area in regions of at least two source images.
    part_whole
        Mean over samples of the share of the area in regions that meet both criteria of part–whole generalisation.
    """

    n: int
    draws: int
    inception_score: Estimate | None
    frechet: Estimate
    kid: Estimate
    precision: Estimate
    recall: Estimate
    nearest_distance: float
    nearest_ratio: float | None
    near_copies: float
    copies: float
    exact_copies: float
    class_entropy: float | None = None
    image_id_entropy: float | None = None
    anchor_distance: float | None = None
    anchor_nearest: float | None = None
    largest_share: float | None = None
    effective_sources: float | None = None
    effective_sources_mean: float | None = None
    feature_likelihood: float | None = None
    feature_likelihood_gap: float | None = None
    longest_run: tuple[float, int] | None = None
    largest_region: tuple[float, int] | None = None
    regions: float | None = None
    class_purity: float | None = None
    sources_per_region: float | None = None
    largest_source: float | None = None
    multi_image: float | None = None
    part_whole: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes
    ----------
    samples, heldout, training
        Scores of the samples, of real held-out images and of real training images.
    given
        Number of samples given; the first `samples.n` of them were scored.
    reference_size
        Number of training images that the Fréchet distances are measured against.
    kernel_reference_size
        Number of them that KID is measured against; for precision and recall it is `samples.n`.
    pixels
        Pixels of an image, H·W.
    corpus_name, corpus_hash
        The corpus.
    heldout_name, heldout_hash, heldout_size
        The corpus of held-out images, and their number.
    heldout_in_corpus
        Number of held-out images that are exact copies of an image of the corpus; 0 in a sound comparison.
    network, network_id
        Name of the network whose features are scored, and the id of the network and its weights, or None.
    network_accuracy
        Share of the held-out images that the network classifies right, or None if it classifies none.
    model, config, model_seed, first
        Model, settings, seed and first index of the samples.
    seed
        Seed of the draws of real images.
    """

    samples: Scores
    heldout: Scores
    training: Scores
    given: int
    reference_size: int
    kernel_reference_size: int
    pixels: int
    corpus_name: str
    corpus_hash: str
    heldout_name: str
    heldout_hash: str
    heldout_size: int
    heldout_in_corpus: int
    network: str
    network_id: str | None
    network_accuracy: float | None
    model: str
    config: dict[str, Any]
    model_seed: int | None
    first: int
    seed: int

    def row(self) -> dict[str, float | None]:
        """Return the samples' scores as one flat row, which has the same keys for all evaluations.

        Returns
        -------
        dict
            All attributes of `Scores`: scores with an interval as `name`, `name_low` and `name_high`, medians with a
            maximum as `name` and `name_max`; also `inception_score_over_heldout` and `frechet_over_training`. None if
            a score is not defined, or there are too few images for an interval.
        """
        return self._row(self.samples)

    def heldout_row(self) -> dict[str, float | None]:
        """Return the real held-out images' scores, as `row` does."""
        return self._row(self.heldout)

    def training_row(self) -> dict[str, float | None]:
        """Return the real training images' scores, as `row` does."""
        return self._row(self.training)

    def _row(self, scores: Scores) -> dict[str, float | None]:
        row: dict[str, float | None] = {"n": scores.n, "draws": scores.draws}
        for name in ("inception_score", "frechet", "kid", "precision", "recall"):
            estimate: Estimate | None = getattr(scores, name)
            row |= {name: None, f"{name}_low": None, f"{name}_high": None}
            if estimate is not None:
                row[name] = estimate.value
                if scores.n >= FEWEST_FOR_INTERVALS:
                    row |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            if name == "inception_score":
                row["inception_score_over_heldout"] = self._over_heldout(scores)
            elif name == "frechet":
                row["frechet_over_training"] = self._over_training(scores)
        for name, value in vars(scores).items():
            if isinstance(value, tuple) or name in ("longest_run", "largest_region"):
                row[name], row[f"{name}_max"] = value or (None, None)
            elif name not in row:
                row[name] = value
        return row

    def _over_heldout(self, scores: Scores) -> float | None:
        ours, theirs = scores.inception_score, self.heldout.inception_score
        return None if ours is None or theirs is None else ours.value / theirs.value

    def _over_training(self, scores: Scores) -> float | None:
        return scores.frechet.value / self.training.frechet.value if self.training.frechet.value else None

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
        """Return the scores as a Markdown table, one line per score, with notes that explain them."""
        rows = (self.samples, self.heldout, self.training)
        lines = ["| | samples | real held-out | real training |", "|---|--:|--:|--:|"]
        for label, cell in self._lines():
            lines.append(f"| {label} | {' | '.join(cell(row) or '–' for row in rows)} |")
        return "\n".join([*lines, "", *self._notes()])

    def _lines(self) -> list[tuple[str, Callable[[Scores], str | None]]]:
        return [
            ("images", lambda row: str(row.n) if row.draws == 1 else f"{row.draws} × {row.n}"),
            ("of all held-out images, also in the corpus", self._shared),
            ("Inception Score", lambda row: _interval(row, row.inception_score, ".2f")),
            ("… over held-out", lambda row: _number(self._over_heldout(row), ".3f")),
            ("Fréchet distance", lambda row: _interval(row, row.frechet, ".2f")),
            ("… over training", lambda row: _number(self._over_training(row), ".2f")),
            ("KID", lambda row: _interval(row, row.kid, ".3g")),
            ("precision", lambda row: _interval(row, row.precision, ".3f")),
            ("recall", lambda row: _interval(row, row.recall, ".3f")),
            ("feature likelihood divergence (FLD)", lambda row: _number(row.feature_likelihood, ".4g")),
            ("… gap, training less held-out", lambda row: _number(row.feature_likelihood_gap, ".4g")),
            ("class entropy, nats", lambda row: _number(row.class_entropy, ".2f")),
            ("image-ID entropy, nats", lambda row: _number(row.image_id_entropy, ".2f")),
            ("coherent regions of a sample, mean", lambda row: _number(row.regions, ".1f")),
            ("class purity of regions", lambda row: _number(row.class_purity, ".1%")),
            ("source images of a region, median over pixels", lambda row: _number(row.sources_per_region, ".0f")),
            ("share of a region's main source image", lambda row: _number(row.largest_source, ".1%")),
            ("area in regions of two source images or more", lambda row: _number(row.multi_image, ".1%")),
            ("area in part–whole regions", lambda row: _number(row.part_whole, ".1%")),
            ("distance to nearest training image, median", lambda row: f"{row.nearest_distance:.0f}"),
            ("… over held-out", lambda row: _number(row.nearest_ratio, ".2f")),
            (f"near copies (ratio below {NEAR_COPY})", lambda row: f"{row.near_copies:.1%}"),
            (f"copies (PSNR of {COPY:g} dB or more)", lambda row: f"{row.copies:.1%}"),
            ("exact copies", lambda row: f"{row.exact_copies:.1%}"),
            ("distance to anchor, median", lambda row: _number(row.anchor_distance, ".0f")),
            ("anchor is the nearest training image", lambda row: _number(row.anchor_nearest, ".1%")),
            ("largest share of one source, median", lambda row: _number(row.largest_share, ".1%")),
            ("effective number of sources, median", lambda row: _number(row.effective_sources, ".1f")),
            (f"longest verbatim run of {self.pixels} pixels", lambda row: _median_max(row.longest_run)),
            (f"largest verbatim region of {self.pixels} pixels", lambda row: _median_max(row.largest_region)),
        ]

    def _shared(self, row: Scores) -> str | None:
        return f"{self.heldout_in_corpus:,}" if row is self.heldout else None

    def _notes(self) -> list[str]:
        accuracy = self.network_accuracy
        name = " ".join(filter(None, [self.network, self.network_id and f"({self.network_id})"]))
        measured = "" if accuracy is None else f", accuracy on held-out images {accuracy:.2%}"
        foreign = "" if self.network == "inception" else ", not in Inception-v3: compare within this table only"
        notes = [
            f"{self.model}, seed {self.model_seed}, samples {self.first} to {self.first + self.samples.n - 1}. "
            f"Corpus {self.corpus_name}, held-out images {self.heldout_name}; real images drawn by seed {self.seed}.",
            f"Scores above the entropies in network {name}{measured}{foreign}. "
            "Inception Score over all images of a set in one split. Real columns are means over disjoint sets.",
            "Brackets are 95 % intervals of the score expected of a set of so many images, from a "
            "delete-a-group jackknife. They cover the choice of images, not that of reference or network.",
            f"Fréchet distance to the {self.reference_size} training images that are not in the last column; it "
            f"falls as n grows. KID to {self.kernel_reference_size} of them, precision and recall to "
            f"{self.samples.n}. All columns have the same reference.",
            "FLD: how much less likely held-out images are under Gaussians around the images' features than around as "
            "many training images', hundredths of a nat per feature. Widths are fitted to all training images: they "
            "shrink at copies. Less is better, real images not in the corpus have about 0, copies far more.",
            "Regions: connected pixels whose neighbourhoods are dominated by one class. Of a part–whole region, more "
            "than half comes from one class, and no source image contributes more than half.",
            "L2 distances between pixels, grey levels, of the first set; a training image is not compared with itself.",
            "Verbatim: copied from one image at one displacement. Runs are consecutive in fill order, "
            "regions are connected; the seed patch does not count. Median, maximum.",
        ]
        if self.model.startswith("els "):
            notes.append(
                "Entropies, regions and shares of a score machine: a pixel counts as of the source that weighs most in "
                "the last step. Nothing is copied in fill order, so there are no verbatim runs."
            )
        if self.samples.n < FEWEST_FOR_INTERVALS:
            notes.insert(
                0,
                f"Only {self.samples.n} images are scored, too few to say how well they do: scores of so small sets "
                f"say little, and intervals are shown from {FEWEST_FOR_INTERVALS} images on.",
            )
        if self.heldout_in_corpus:
            notes.insert(
                0,
                f"{self.heldout_in_corpus:,} of {self.heldout_size:,} held-out images are exact copies of images of "
                "the corpus: what the samples are compared with is not new to it.",
            )
        if self.given > self.samples.n:
            notes.insert(
                0,
                f"Only the first {self.samples.n} of {self.given} samples are scored: there are fewer held-out images "
                "than samples, or fewer than twice as many training images.",
            )
        return [f"- {note}" for note in notes]


def novelty_table(evaluations: Mapping[str, Evaluation]) -> str:
    """Return the scores of several runs as one Markdown table, with those of real images below them.

    Parameters
    ----------
    evaluations
        Evaluations by name, of the same number of samples, corpus and network.

    Returns
    -------
    str
        The table.

    Raises
    ------
    ValueError
        If there are no evaluations, or their scores of real images differ.
    """
    if not evaluations:
        raise invalid("evaluations", "at least one", 0)
    first = next(iter(evaluations.values()))
    rows = []
    for name, found in evaluations.items():
        if (found.heldout, found.training) != (first.heldout, first.training):
            raise invalid(f"evaluation {name!r}", "beside the same real images as the others", found.heldout.n)
        rows.append({"name": name, **found.row()})
    rows += [{"name": "real held-out", **first.heldout_row()}, {"name": "real training", **first.training_row()}]
    columns = [
        Column("", lambda row: str(row["name"])),
        number("images", "n", "d"),
        *quality_columns(),
        number("class entropy", "class_entropy", ".3f"),
        number("image-ID entropy", "image_id_entropy", ".3f"),
        number("part–whole area", "part_whole", ".1%"),
        number("largest share of one source", "largest_share", ".1%"),
        number("effective sources", "effective_sources", ".1f"),
        number("largest verbatim region, median", "largest_region", ".0f"),
    ]
    return markdown_table(columns, rows)


def _interval(row: Scores, value: Estimate | None, form: str) -> str | None:
    if value is None:
        return None
    if row.n < FEWEST_FOR_INTERVALS:
        return f"{value.value:{form}} (too few images to say)"
    low, middle, high = (format(number, form) for number in (value.low, value.value, value.high))
    return f"{middle} [{low}, {high}]"


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _median_max(value: tuple[float, int] | None) -> str | None:
    return None if value is None else f"{value[0]:.0f}, {value[1]}"
