"""What studies of many runs share: a run made and measured, runs that are kept and found again, and tables."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npgen.config import MODELS, Config
from npgen.corpus import Corpus, check_one_size
from npgen.encoders import AnyEncoder, embed, keep_keys, load_encoder
from npgen.errors import check_type, invalid
from npgen.evaluation import FEWEST, WINDOW, NetworkRequest, check_scorable, entropy, evaluate, load_network
from npgen.evaluation import VERSION as EVALUATION_VERSION
from npgen.output import Row
from npgen.runs import VERSION, RunFacts, Samples, differences, load_samples, read_manifest, run_name, write_run
from npgen.sampling import PixelPlan, generate
from npgen.storage import new_folder, read_json, write_json

# Quantiles of pool sizes that are reported, in per cent.
POOL_QUANTILES = (5, 25, 50, 75, 95)
# Scores over those of real images: key, key of the ratio, row of the real images. Intervals are the score's alone.
RATIOS = (
    ("inception_score", "inception_score_over_heldout", "heldout"),
    ("frechet", "frechet_over_training", "training"),
)
# Half a 95 % confidence interval, in standard errors.
CONFIDENCE = 1.96


@dataclass(frozen=True, eq=False)
class Setting:
    """One run of a study.

    Attributes
    ----------
    model, config, n
        As `npgen.generate` takes them.
    images
        How many of the corpus's N images it has for sources.
    """

    model: str
    config: Config
    n: int
    images: int

    def __post_init__(self) -> None:
        """Check the type of what is looked into first."""
        check_type("config", self.config, Config)


@dataclass(frozen=True, eq=False)
class Workbench:
    """What all runs of a study have in common.

    Attributes
    ----------
    corpus
        The corpus; all samples are scored in terms of all of it.
    seed
        Seed of all draws; also decides which images smaller corpora hold, and which real ones are scored.
    encoder
        As `npgen.generate` takes it.
    heldout
        Real images to score beside the samples; None takes the corpus's own, if there are any.
    network, weights
        What the scores live in, as `npgen.evaluate` takes it.
    batch_size, device, threads
        As `npgen.generate` takes them; no part in the samples.
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

    def __post_init__(self) -> None:
        """Check what all runs share."""
        check_type("corpus", self.corpus, Corpus)
        check_one_size(self.corpus, "a study")
        check_type("heldout", self.heldout, Corpus, type(None))
        if self.heldout is not None:
            check_one_size(self.heldout, "a study")
        check_type("network", self.network, str)
        whole("seed", self.seed, 0)
        whole("batch_size", self.batch_size, 1)
        if self.threads is not None:
            whole("threads", self.threads, 1)
        if self.unscored is None:  # else the first evaluation would complain, after the first run
            facts = RunFacts("full", Config(), 0, 0, FEWEST, self.corpus.name, self.corpus.hash)
            some = Samples.empty(facts, self.corpus.images.shape[1:])
            check_scorable(some, self.corpus, self.heldout, self.seed)
            self._network_id  # noqa: B018 (loads the network)

    def check(self, setting: Setting) -> None:
        """Raise what `generate` would, at no cost; an encoder that can't be found included."""
        whole("n", setting.n, 2 if self.unscored else FEWEST)  # one sample has no interval
        if setting.images > len(self.corpus):
            raise invalid("images", f"in 2..={len(self.corpus)} (the corpus's images)", setting.images)
        source, _ = self.source(setting.images)
        PixelPlan(source, setting.model, setting.config, self.seed)
        self.encoder_id(setting.model)

    @property
    def unscored(self) -> str | None:
        """Why there can be no scores beside real images; None if there can."""
        if self.corpus.labels is None and self.network == "corpus":
            return "the corpus has no labels to train a classifier on"
        if self.heldout is None and self.corpus.heldout is None:
            return "there are no held-out images: build the corpus with --holdout, or pass some as heldout"
        return None

    @cached_property
    def _phi(self) -> AnyEncoder:
        return load_encoder(self.encoder, self.corpus, self.device)

    def encoder_id(self, model: str) -> str | None:
        """Return the id of the encoder of a model's runs, None if it has no use for one."""
        return self._phi.id if MODELS[model].semantics == "embedding" else None

    def source(self, images: int) -> tuple[Corpus, NDArray[np.int64]]:
        """Return a corpus of some of the images, (M,), and their ids in all of it, ascending.

        They are the first ones in a random order that the seed defines, so that smaller corpora are parts of larger
        ones. The whole corpus is itself.
        """
        if images not in self._sources:
            self._sources.clear()  # each is a copy
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
        """Make the samples of a setting, or read those that a folder keeps already.

        Parameters
        ----------
        setting
            What to run.
        folder
            Run folder to keep the samples in; None keeps none.

        Returns
        -------
        samples
            In terms of the whole corpus, also where they were made from a part of it.
        seconds
            Wall time a sample, once keys are there.

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
            encoder = self._phi
            rows = embed(self.corpus, encoder, threads=self.threads, progress=False)  # (N, D)
            if source is not self.corpus:
                # A key depends on its image alone: the part's keys are there already.
                keep_keys(source, encoder.id, rows[ids])
            encoder.encode(self.corpus.images[:1], threads=self.threads)
        # The encoder's first call and the hash take long once: they are no part of a sample's time.
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
            allowed = ", ".join(f"{key} {value!r}" for key, value, _ in different)
            got = ", ".join(f"{key} {value!r}" for key, _, value in different)
            raise ValueError(
                f"{run_name(folder)} must be of {allowed}, got {got}: "
                "it belongs to another study; choose another folder, or remove it"
            )

    def measure(self, samples: Samples) -> dict[str, Any]:
        """Measure samples, and score them beside real images where there are any.

        Returns
        -------
        dict
            `samples`, `heldout` and `training`: one row each, JSON-able; `network`: facts about what the scores live
            in. All but `samples` are None without scores.
        """
        measured = describe(samples, self.corpus)
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

    @cached_property
    def _network_id(self) -> str | None:
        if self.unscored is not None:
            return None
        if self.network == "corpus":  # a function of the corpus; training it can wait until there are samples
            return self.network
        weights = None if self.weights is None else Path(self.weights)
        network = load_network(self.network, NetworkRequest(self.corpus, weights, self.device, quiet=True))
        return network.id or self.network

    @property
    def identity(self) -> dict[str, Any]:
        """What a measurement depends on besides its setting, JSON-able."""
        heldout = self.heldout or self.corpus.heldout
        return {
            "corpus": self.corpus.hash,
            "heldout": None if heldout is None else heldout.hash,
            "network": self._network_id,
            "seed": self.seed,
            "run_version": VERSION,
            "evaluation_version": EVALUATION_VERSION,
        }


def describe(samples: Samples, corpus: Corpus) -> Row:
    """Measure what needs no real images: entropies and pools.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus they are made of.

    Returns
    -------
    dict
        `image_id_entropy`, `class_entropy` (Table 2; nats), each with a 95 % interval from `…_low` to `…_high`;
        `pool_05` … `pool_95`, quantiles of the pools' sizes over drawn pixels; `pool_one`, the share of them that had
        one candidate; `fallbacks`, the share of them whose candidate sets had no common member, None if not counted.
    """
    entropies = entropy(samples, corpus, min(WINDOW, *samples.images.shape[1:3]))
    row: Row = {}
    for name, values in (("image_id", entropies.image_id), ("class", entropies.class_map)):
        key = f"{name}_entropy"
        row |= {key: None, f"{key}_low": None, f"{key}_high": None}
        if values is not None:
            mean, half = float(values.mean()), CONFIDENCE * float(values.std(ddof=1)) / len(values) ** 0.5
            row |= {key: mean, f"{key}_low": mean - half, f"{key}_high": mean + half}
    pools = samples.trace.pool_size
    drawn = pools[pools > 0]  # the seed patch's pixels were not drawn
    quantiles = np.percentile(drawn, POOL_QUANTILES) if drawn.size else np.zeros(len(POOL_QUANTILES))
    row |= {f"pool_{q:02}": float(value) for q, value in zip(POOL_QUANTILES, quantiles, strict=True)}
    row["pool_one"] = float((drawn == 1).mean()) if drawn.size else 0.0
    literal = samples.config.tolerance == "corpus"
    draws = drawn.size * (1 + samples.config.sweeps)
    row["fallbacks"] = float(samples.fallbacks.sum() / max(1, draws)) if literal else None
    return row


def claim_folder(folder: Path, form: str, version: int) -> None:
    """Make the folder of a study, or raise unless it is one of that format already.

    Raises
    ------
    FileExistsError
        If it holds anything else.
    """
    marker = folder / "results.json"
    if marker.exists():
        facts = read_json(marker)
        if facts.get("format") != form:
            raise invalid("out", f"a folder of format {form!r}, or a new one", facts.get("format"))
        if facts.get("version") != version:
            raise invalid("out", f"of format version {version}, or a new folder", facts.get("version"))
        return
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"out must be a new folder or one of an earlier call, got {str(folder)!r}")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(marker, {"format": form, "version": version})  # a study that is under way


def whole(name: str, value: object, least: int) -> int:
    """Return a whole number, or raise TypeError or ValueError naming it."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise invalid(name, f"at least {least}", value)
    return int(value)


def quality_notes(bench: Workbench, network: dict[str, Any] | None) -> list[str]:
    """Say what the scores mean, or why there are none."""
    interval = "Brackets are 95 % intervals; those of entropies (7×7 windows, nats) are over samples."
    if network is None:
        return [f"No scores beside real images: {bench.unscored}.", interval]
    accuracy = network["network_accuracy"]
    measured = "" if accuracy is None else f", accuracy on held-out images {accuracy:.2%}"
    foreign = "" if network["network"] == "inception" else ", not in Inception-v3: compare within this table"
    return [
        f"Inception Score and Fréchet distance in network {network['network']} ({network['network_id']}{measured})"
        f"{foreign}. Compare Fréchet distances at the same number of images only. Real images: means over disjoint "
        "sets. `npgen evaluate` says more about a run that was kept.",
        interval,
    ]
