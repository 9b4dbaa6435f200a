"""Verification of a run folder: every pixel must be a copy of its source and keep the rules of the run's model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, find_recorded, open_corpus
from npgen.encoders import AnyEncoder
from npgen.errors import invalid
from npgen.inspection.regenerate import Regeneration
from npgen.inspection.rules import TraceRules
from npgen.inspection.run_report import Difference, RunReport, numbers_of
from npgen.inspection.violations import Place, Violation, inside_corpus, outside_corpus
from npgen.runs import (
    COARSE_ARRAYS,
    TRACE_DTYPES,
    RunFacts,
    Samples,
    Shard,
    Trace,
    at_level,
    check_finished,
    coarse_forms,
    coarse_of,
    read_manifest,
    run_name,
)
from npgen.storage import npy, sha256_file
from npgen.tokens import Tokens, load_tokens

# Arrays of a shard that a pixel depends on.
PIXELS = {"images", "anchor", *TRACE_DTYPES}
SEAMS = {"grown", "seam_energy"}
DRAWN = PIXELS | SEAMS | {*COARSE_ARRAYS.values()}
# Largest number of differing pixels that a report lists.
NAMED = 20
# Pixels of a block of samples: bounds the memory of verification.
BLOCK_PIXELS = 1 << 20
# Samples that are generated again in one batch.
BATCH = 64


def verify_run(
    path: str | os.PathLike[str],
    corpus: Corpus | str | os.PathLike[str] | None = None,
    *,
    tokens: Tokens | str | os.PathLike[str] = "auto",
    encoder: str | os.PathLike[str] | AnyEncoder = "auto",
    progress: bool = False,
) -> RunReport:
    """Replay all traces of a run folder with its corpus, and check the rules that every pixel must keep.

    Files are compared with the hashes in the manifests, and replayed whether or not the hashes agree. If a hash shows
    that images or traces were altered, the samples are generated again from the run's queries and the corpus's keys, if
    these are stored. This finds changes that replay alone can't: a pixel whose source was replaced by one of equal
    value, or another pool size. Memory is bounded for runs of any length.

    Samples of tokens are always generated and decoded again, and compared byte for byte.

    Parameters
    ----------
    path
        The run folder.
    corpus
        The corpus of the run, its name or its folder; None means the corpus named in the run's manifest.
    tokens
        The token store of a run of tokens, as for `load_tokens`.
    encoder
        The encoder of the run, as for `load_encoder`, which samples with semantic distances (`Config.semantic_weight`)
        need to be generated again; "auto" looks for it.
    progress
        Show a progress bar.

    Returns
    -------
    RunReport
        Altered files, and pixels that differ.

    Raises
    ------
    FileNotFoundError
        If the run or the corpus does not exist.
    ValueError
        If a manifest can't be read, or corpus or token store are not those of the run.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 2, "local", npgen.Config(window=5), progress=False)
    >>> samples.save("verified")
    >>> print(npgen.verify_run("verified", corpus))
    2 samples, 1,568 pixels replayed, all equal
    """
    folder = Path(path)
    facts, shards = read_manifest(folder)
    check_finished(folder, facts.n, shards, "generate")
    needed = PIXELS | (SEAMS if facts.config.seams else set())
    for shard in shards:
        for name in sorted(needed - set(shard.sha256)):
            raise ValueError(f"{run_name(folder)} must have a complete manifest, got one without {name!r}")
    source = _opened(facts.corpus_name, corpus)
    if source.hash != facts.corpus_hash:
        expected = f"the one the samples were made from ({facts.corpus_name!r}, {facts.corpus_hash[:16]})"
        raise invalid("corpus", expected, f"{source.name}, {source.hash[:16]}")
    store = None
    if facts.tokens_id is not None:
        store = load_tokens(tokens, source, progress=progress)
        if store.id != facts.tokens_id:
            raise invalid("tokens", f"those the samples were made from, {facts.tokens_id[:16]}", store.id[:16])
    verification = _Verification(folder, facts, source, store, encoder)
    with tqdm(total=facts.n, unit="sample", disable=not progress, leave=False) as bar:
        for shard in shards:
            verification.check(shard, bar)
    return verification.report()


def _opened(name: str, corpus: Corpus | str | os.PathLike[str] | None) -> Corpus:
    """Open the corpus given, or else the one of a name; its arrays need not be as they were written."""
    return corpus if isinstance(corpus, Corpus) else open_corpus(find_recorded(name, corpus), verified=False)


def _altered(file: Path, sha256: str) -> str | None:
    """Describe how a file was altered; None if it was not."""
    found = sha256_file(file)
    if found == sha256:
        return None
    return f"{file} must have sha256 {sha256[:16]}…, got {found[:16]}…: it was altered"


class _Verification:
    """A verification in progress: what is checked, and the results so far."""

    def __init__(
        self,
        folder: Path,
        facts: RunFacts,
        corpus: Corpus,
        tokens: Tokens | None,
        encoder: str | os.PathLike[str] | AnyEncoder,
    ) -> None:
        self.folder, self.facts, self.corpus, self.tokens, self.encoder = folder, facts, corpus, tokens, encoder
        # Samples of tokens have no rules per pixel: they are generated again.
        self.rules = None if tokens else TraceRules(corpus, facts.model, facts.config, facts.seed)
        self.shape = self.rules.shape if self.rules else (corpus.images.shape[1], corpus.images.shape[2])
        self.coarse_rules: dict[int, TraceRules] = {}
        self.problems: list[str] = []
        self.differences: list[Difference] = []
        self.different = self.samples = 0
        if corpus.path is not None:
            for key, sha256 in corpus.array_hashes.items():
                self._note(_altered(corpus.path / f"{key}.npy", sha256))
        self.corpus_unaltered = not self.problems

    def report(self) -> RunReport:
        height, width = self.shape
        pixels = self.samples * height * width
        return RunReport(self.samples, pixels, tuple(self.problems), tuple(self.differences), self.different)

    def check(self, shard: Shard, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Check the files of a shard, then its samples in blocks."""
        altered = set()
        try:
            for key, sha256 in shard.sha256.items():
                if self._note(_altered(self.folder / shard.name / f"{key}.npy", sha256)):
                    altered.add(key)
            samples = self._open(shard)
        except (ValueError, OSError) as error:
            self._note(f"{error}; the {shard.n:,} samples of shard {shard.name} could not be replayed")
            bar.update(shard.n)
            return
        regeneration = self._regeneration(samples, altered) if self.tokens is not None or altered & DRAWN else None
        height, width = self.shape
        step = BATCH if regeneration else max(1, BLOCK_PIXELS // (height * width))
        for start in range(0, shard.n, step):
            block = samples[start : start + step]
            violations = list(self.rules.violations(block)) if self.rules else [outside_corpus(block, self.corpus)]
            if regeneration is not None:
                violations.append(regeneration.violation(block))
            self._collect(block, violations)
            self._check_coarse(block, regeneration)
            self.samples += len(block)
            bar.update(len(block))

    def _check_coarse(self, samples: Samples, regeneration: Regeneration | None) -> None:
        """Check the coarser levels of samples by the same rules, and note the pixels that break one."""
        for level in range(1, samples.config.levels):
            part = at_level(samples, level)
            if level not in self.coarse_rules:
                facts = self.facts
                self.coarse_rules[level] = TraceRules(self.corpus, facts.model, facts.config, facts.seed, level)
            violations = list(self.coarse_rules[level].violations(part))
            if regeneration is not None and not any(violation.where.any() for violation in violations):
                violations.append(regeneration.violation(samples, level))
            for violation in violations:
                for k, y, x in _first(violation.where, NAMED):
                    index, reason = samples.first - self.facts.first + k, violation.reason((k, y, x))
                    self._note(f"sample {index}, level {level}, pixel ({y}, {x}): {reason}")

    def _note(self, problem: str | None) -> bool:
        if problem is not None:
            self.problems.append(problem)
        return problem is not None

    def _open(self, shard: Shard) -> Samples:
        """Open the arrays of a shard as memory maps, without a look at their hashes."""
        facts, frame = self.facts, (shard.n, *self.shape)
        channels = self.corpus.images.shape[3]
        shapes: dict[str, tuple[int | None, ...]] = {
            "images": (*frame, channels),
            "anchor": (shard.n,),
            "fallbacks": (shard.n,),
            "queries": (shard.n, None, None),
            "densities": (shard.n, facts.config.select),
            "grown": (*frame, 3),
            "seam_energy": (shard.n, 2),
            "codes": (shard.n, None, None, None),
        }
        dtypes: dict[str, type[Any]] = {"images": np.uint8, "anchor": np.int32, **TRACE_DTYPES}
        dtypes |= {"fallbacks": np.int32, "queries": np.float32, "densities": np.float32, "codes": np.uint8}
        dtypes |= {"grown": np.int32, "seam_energy": np.float64}
        arrays: dict[str, Any] = {
            key: npy.open_array(self.folder / shard.name / f"{key}.npy", dtype, shapes.get(key, frame))
            for key, dtype in dtypes.items()
            if key in shard.sha256
        }
        for key, form in coarse_forms(shard.n).items():
            if key in shard.sha256:
                arrays[key] = npy.open_array(self.folder / shard.name / f"{key}.npy", *form)
        arrays.setdefault("fallbacks", np.zeros(shard.n, np.int32))  # version 1 did not count them
        coarse = coarse_of(arrays)
        trace = Trace(*(arrays.pop(key) for key in TRACE_DTYPES))
        return Samples(facts.part(shard.first, shard.n), trace=trace, coarse=coarse, **arrays)

    def _regeneration(self, samples: Samples, altered: set[str]) -> Regeneration | None:
        """Prepare to generate samples again; None, and a problem noted, if they can't be."""
        try:
            if not self.corpus_unaltered:
                raise ValueError("the corpus was altered")
            for name in ("queries", "densities"):
                if name in altered:
                    raise ValueError(f"its {name} were altered")
            return Regeneration(samples, self.corpus, self.tokens, self.encoder)
        except (ValueError, OSError) as error:
            self._note(f"samples from {samples.first - self.facts.first} on can't be generated again: {error}")
            return None

    def _collect(self, samples: Samples, violations: Sequence[Violation]) -> None:
        wrong = np.logical_or.reduce([violation.where for violation in violations])  # (n, H, W)
        self.different += int(wrong.sum())
        inside = inside_corpus(samples, self.corpus)
        for at in _first(wrong, NAMED - len(self.differences)):
            k, y, x = at
            image, source_y, source_x = (int(part[at]) for part in samples.trace.arrays()[:3])
            source_value = numbers_of(self.corpus.images[image, source_y, source_x]) if inside[at] else None
            reasons = tuple(violation.reason(at) for violation in violations if violation.where[at])
            value, source = numbers_of(samples.images[at]), (image, source_y, source_x)
            index = samples.first - self.facts.first + k
            self.differences.append(Difference(index, y, x, value, source, source_value, reasons))


def _first(mask: NDArray[np.bool_], count: int) -> Iterator[Place]:
    """Yield the first places where a mask (n, H, W) is true, at most `count`."""
    for flat in np.flatnonzero(mask)[: max(0, count)].tolist():
        k, y, x = np.unravel_index(flat, mask.shape)
        yield int(k), int(y), int(x)
