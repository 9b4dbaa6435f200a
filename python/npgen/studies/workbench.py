"""The common part of all studies: checks, runs that are made or read from folders, and their scores."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import MODELS, Config
from npgen.corpus import Corpus, check_corpus
from npgen.encoders import AnyEncoder, cache_keys, embed, load_encoder
from npgen.errors import check_seed, check_threads, check_type, check_whole, invalid
from npgen.evaluation import FEWEST, NetworkRequest, checked_heldout, evaluate, load_network
from npgen.evaluation import VERSION as EVALUATION_VERSION
from npgen.output import Row
from npgen.runs import (
    VERSION,
    RunFacts,
    Samples,
    TracedSamples,
    differences,
    load_samples,
    read_manifest,
    run_name,
    write_run,
)
from npgen.sampling import PixelPlan, generate
from npgen.storage import new_folder, read_json, write_json
from npgen.studies.measures import describe

# Ratios of scores to those of real images: key of the score, key of the ratio, row of the real images. Their intervals
# are those of the score, divided by the real images' score.
RATIOS = (
    ("inception_score", "inception_score_over_heldout", "heldout"),
    ("frechet", "frechet_over_training", "training"),
)


@dataclass(frozen=True, eq=False)
class Setting:
    """One run of a study.

    Attributes
    ----------
    model, config, n
        As for `npgen.generate`.
    images
        Number of source images: so many of the corpus's N.
    """

    model: str
    config: Config
    n: int
    images: int

    def __post_init__(self) -> None:
        """Check the type of the settings."""
        check_type("config", self.config, Config)


@dataclass(frozen=True, eq=False)
class Workbench:
    """The common arguments of all runs of a study.

    Attributes
    ----------
    corpus
        The corpus; samples from a part of it are scored in terms of the whole corpus.
    seed
        Seed of all draws: of the samples, of the images of smaller corpora and of the real images that are scored.
    encoder
        As for `npgen.generate`.
    heldout
        Real images to score beside the samples; None takes the corpus's own, if there are any.
    network, weights
        The network whose features are scored, and its weights, as for `npgen.evaluate`.
    batch_size, device, threads
        As for `npgen.generate`; samples don't depend on them.
    network_id
        Identifies the network and its weights; None if nothing is scored.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or samples could not be scored: before anything is run.
    """

    corpus: Corpus
    seed: int
    encoder: Any = "auto"
    heldout: Corpus | None = None
    network: str = "corpus"
    weights: str | os.PathLike[str] | None = None
    batch_size: int = 64
    device: str = "auto"
    threads: int | None = None
    network_id: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Check all arguments, and open the network of the scores."""
        check_corpus(self.corpus, one_size="a study")
        check_type("heldout", self.heldout, Corpus, type(None))
        if self.heldout is not None:
            check_corpus(self.heldout, one_size="a study", parameter="heldout")
        check_type("network", self.network, str)
        check_seed(self.seed)
        check_whole("batch_size", self.batch_size, 1)
        check_threads(self.threads)
        if self.unscored is None:  # checked here, as the first evaluation comes after the first run
            checked_heldout(self.corpus, self.heldout)
        object.__setattr__(self, "network_id", self._find_network_id())

    def check(self, setting: Setting) -> None:
        """Raise the errors that `generate` would raise, without a run; also if the encoder can't be found."""
        check_whole("n", setting.n, 2 if self.unscored else FEWEST)  # an interval needs two samples
        if setting.images > len(self.corpus):
            raise invalid("images", f"in 2..={len(self.corpus)} (the corpus's images)", setting.images)
        source, _ = self.source(setting.images)
        PixelPlan(source, setting.model, setting.config, self.seed)
        self.encoder_id(setting.model)

    @property
    def unscored(self) -> str | None:
        """Why samples can't be scored beside real images, as a clause; None if they can."""
        if self.corpus.labels is None and self.network == "corpus":
            return "the corpus has no labels to train a classifier on"
        if self.heldout is None and self.corpus.heldout is None:
            return "there are no held-out images: build the corpus with --holdout, or pass some as heldout"
        return None

    def _find_network_id(self) -> str | None:
        if self.unscored is not None:
            return None
        if self.network == "corpus":  # depends on the corpus alone; it is trained when there are samples to score
            return self.network
        weights = None if self.weights is None else Path(self.weights)
        network = load_network(self.network, NetworkRequest(self.corpus, weights, self.device, quiet=True))
        return network.id or self.network

    @cached_property
    def _loaded_encoder(self) -> AnyEncoder:
        return load_encoder(self.encoder, self.corpus, self.device)

    def encoder_id(self, model: str) -> str | None:
        """Return the id of the encoder of a model's runs; None if the model has no encoder."""
        return self._loaded_encoder.id if MODELS[model].embedding else None

    def source(self, images: int) -> tuple[Corpus, NDArray[np.int64]]:
        """Return a corpus of some of the images, and their ids (M,) in the whole corpus, ascending.

        They are the first images in a random order defined by the seed, so that smaller corpora are parts of larger
        ones. All images are the corpus itself.
        """
        if images not in self._sources:
            self._sources.clear()  # each entry holds a copy of its images
            self._sources[images] = self._part(images)
        return self._sources[images]

    @cached_property
    def _sources(self) -> dict[int, tuple[Corpus, NDArray[np.int64]]]:
        return {}

    def _part(self, images: int) -> tuple[Corpus, NDArray[np.int64]]:
        if images == len(self.corpus):
            return self.corpus, np.arange(images)
        order = np.random.default_rng([self.seed, len(self.corpus)]).permutation(len(self.corpus))
        ids = np.sort(order[:images])
        part = np.asarray(self.corpus.images[ids])  # (M, H, W, C)
        part.flags.writeable = False
        labels = None if self.corpus.labels is None else self.corpus.labels[ids]
        return Corpus.from_arrays(part, labels, self.corpus.classes, name=self.corpus.name), ids

    def run(self, setting: Setting, folder: Path | None) -> tuple[Samples, float]:
        """Make the samples of a setting, or read them from an earlier run's folder.

        Parameters
        ----------
        setting
            The setting.
        folder
            Run folder to write the samples to, or to read them from if it exists; None writes none.

        Returns
        -------
        samples
            Samples, with the ids of the whole corpus even if they were made from a part of it.
        seconds
            Wall time per sample, without the computation of keys.

        Raises
        ------
        ValueError
            If the folder holds another run.
        """
        if folder is not None and folder.exists():
            self.check_kept(setting, folder)
            seconds = read_json(folder / "study.json").get("seconds_per_sample")
            if not isinstance(seconds, int | float):
                raise invalid(f"seconds_per_sample in {str(folder / 'study.json')!r}", "a number", seconds)
            return load_samples(folder), float(seconds)
        source, ids = self.source(setting.images)
        encoder: Any = self.encoder
        if self.encoder_id(setting.model) is not None:
            encoder = self._loaded_encoder
            rows = embed(self.corpus, encoder, threads=self.threads, progress=False)  # (N, D)
            if source is not self.corpus:
                # A key depends on its image alone, so the part's keys are rows of the whole corpus's.
                cache_keys(source, encoder.id, rows[ids])
            encoder.encode(self.corpus.images[:1], threads=self.threads)
        # Not part of a sample's time: the encoder's first call above and the corpus hash here, which are slow once.
        whole_corpus = source.hash == self.corpus.hash
        start = time.perf_counter()
        samples = generate(
            source,
            setting.n,
            setting.model,
            setting.config,
            self.seed,
            encoder=encoder,
            batch_size=self.batch_size,
            device=self.device,
            threads=self.threads,
            progress=False,
        )
        seconds = (time.perf_counter() - start) / setting.n
        if not whole_corpus:
            trace = replace(samples.trace, image_id=ids[samples.trace.image_id].astype(np.int32))
            anchor = ids[samples.anchor].astype(np.int32)
            facts = replace(samples.facts, corpus_hash=self.corpus.hash)
            samples = replace(samples, facts=facts, trace=trace, anchor=anchor)
        if folder is not None:
            with new_folder(folder) as partial:
                write_run(samples, partial)
                write_json(partial / "study.json", {"seconds_per_sample": seconds, "images": setting.images})
        return samples, seconds

    def check_kept(self, setting: Setting, folder: Path) -> None:
        """Raise ValueError unless a folder holds the run of a setting."""
        found, _ = read_manifest(folder)
        encoder_id = self.encoder_id(setting.model)
        name, corpus = found.corpus_name, self.corpus.hash
        wanted = RunFacts(setting.model, setting.config, self.seed, 0, setting.n, name, corpus, encoder_id)
        wanted = replace(wanted, npgen=found.npgen)  # whichever version made it
        different = differences(wanted.to_json(), found.to_json())
        if different:
            named = [(key.removeprefix("config: "), *values) for key, *values in different]
            allowed = ", ".join(f"{key} {value!r}" for key, value, _ in named)
            got = ", ".join(f"{key} {value!r}" for key, _, value in named)
            raise ValueError(
                f"{run_name(folder)} must be of {allowed}, got {got}: "
                "it belongs to another study; choose another folder, or remove it"
            )

    def measure(self, samples: TracedSamples) -> dict[str, Any]:
        """Measure samples, and score them beside real images if there are any.

        Parameters
        ----------
        samples
            Samples of a run; or other images with a trace, which have no pools to describe.

        Returns
        -------
        dict
            `samples`, `heldout` and `training`: one row each, JSON-able; `network`: name, id and accuracy of the
            network whose features are scored. All but `samples` are None if nothing is scored.
        """
        measured = describe(samples, self.corpus) if isinstance(samples, Samples) else {}
        if self.unscored is not None:
            return {"samples": measured, "heldout": None, "training": None, "network": None}
        evaluation = evaluate(
            samples,
            self.corpus,
            heldout=self.heldout,
            network=self.network,
            weights=self.weights,
            seed=self.seed,
            device=self.device,
            quiet=True,
        )
        rows: dict[str, Row] = {
            "samples": evaluation.row() | measured,
            "heldout": evaluation.heldout_row(),
            "training": evaluation.training_row(),
        }
        for key, ratio, reference in RATIOS:
            real = rows[reference][key]
            for row in rows.values():
                for bound in ("_low", "_high"):
                    value = row[key + bound]
                    row[ratio + bound] = value / real if real and value is not None else None
        network = {name: getattr(evaluation, name) for name in ("network", "network_id", "network_accuracy")}
        return {**rows, "network": network}

    @property
    def identity(self) -> dict[str, Any]:
        """All facts that a measurement depends on besides its setting, JSON-able."""
        heldout = self.heldout or self.corpus.heldout
        return {
            "corpus": self.corpus.hash,
            "heldout": None if heldout is None else heldout.hash,
            "network": self.network_id,
            "seed": self.seed,
            "run_version": VERSION,
            "evaluation_version": EVALUATION_VERSION,
        }


def quality_notes(bench: Workbench, network: dict[str, Any] | None) -> list[str]:
    """Return notes on the scores and intervals of a table, or on why there are no scores."""
    interval = "Brackets are 95 % intervals; those of entropies (7×7 windows, nats) are over samples."
    if network is None:
        return [f"No scores beside real images: {bench.unscored}.", interval]
    accuracy = network["network_accuracy"]
    measured = "" if accuracy is None else f", accuracy on held-out images {accuracy:.2%}"
    foreign = "" if network["network"] == "inception" else ", not in Inception-v3: compare within this table"
    return [
        f"Inception Score and Fréchet distance in network {network['network']} ({network['network_id']}{measured})"
        f"{foreign}. Compare Fréchet distances at the same number of images only. Real images: means over disjoint "
        "sets. `npgen evaluate` prints more scores of a stored run.",
        interval,
    ]
