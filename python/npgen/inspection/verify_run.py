"""A run folder replayed against its corpus, so that no pixel is other than its address says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, find_corpus, open_corpus
from npgen.encoders import kept_keys
from npgen.errors import invalid
from npgen.inspection.rules import Breach, Rules, inside_corpus, outside_corpus
from npgen.runs import (
    TRACE_DTYPES,
    RunFacts,
    Samples,
    Shard,
    Trace,
    check_finished,
    read_manifest,
    run_name,
)
from npgen.sampling import Library, PixelPlan, PixelRun, TokenRun
from npgen.storage import npy, sha256_file
from npgen.tokens import Tokens, load_tokens

# Arrays of a shard that say something about pixels; the others are about whole samples.
PIXELS = {"images", "anchor", *TRACE_DTYPES}
# Differing pixels that a report names.
NAMED = 20
# Pixels of a block of samples, and with it the memory that verification takes.
BLOCK_PIXELS = 1 << 20
# Samples that are grown again side by side.
BATCH = 64


@dataclass(frozen=True)
class Difference:
    """A pixel that is not what its address and the run's rules say.

    Attributes
    ----------
    sample
        Place of its sample in the run, 0…n − 1.
    y, x
        The pixel.
    value
        What the image holds there, C numbers.
    source
        The address that the trace has: image id, y, x.
    source_value
        What the corpus holds there, C numbers; None where it has no such pixel.
    reasons
        What is wrong, one phrase each.
    """

    sample: int
    y: int
    x: int
    value: tuple[int, ...]
    source: tuple[int, int, int]
    source_value: tuple[int, ...] | None
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        image, y, x = self.source
        theirs = "none" if self.source_value is None else _value(self.source_value)
        return (
            f"sample {self.sample}, y {self.y}, x {self.x}: value {_value(self.value)}; "
            f"source image {image}, y {y}, x {x}: value {theirs}; {'; '.join(self.reasons)}"
        )


@dataclass(frozen=True)
class RunReport:
    """What `verify_run` found.

    Attributes
    ----------
    samples, pixels
        How many were replayed.
    problems
        Files that are not as they were written, and what could not be done because of it: one sentence each.
    differences
        The first of the pixels that differ.
    different
        How many pixels differ.
    """

    samples: int
    pixels: int
    problems: tuple[str, ...]
    differences: tuple[Difference, ...]
    different: int

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written, and every pixel as its address says."""
        return not self.problems and self.different == 0

    def __str__(self) -> str:
        lines = [*self.problems, *map(str, self.differences)]
        if self.different > len(self.differences):
            lines.append(f"… and {self.different - len(self.differences):,} pixels more")
        equal = "all equal" if self.different == 0 else f"{self.different:,} differ"
        count = f"{self.samples:,} sample{'' if self.samples == 1 else 's'}"
        return "\n".join([*lines, f"{count}, {self.pixels:,} pixels replayed, {equal}"])


def verify_run(
    path: str | os.PathLike[str],
    corpus: Corpus | str | os.PathLike[str] | None = None,
    *,
    tokens: Tokens | str | os.PathLike[str] = "auto",
    progress: bool = False,
) -> RunReport:
    """Replay all traces of a run folder against its corpus, and check the rules that every pixel keeps.

    Nothing is trusted: files are compared with the hashes in the manifests, and read whatever these say. Where a hash
    shows that images or traces were altered, the samples are grown again from the run's queries and the corpus's keys,
    if they are there, which tells every pixel apart that the replay alone can't: one that was moved to an equal source,
    or a pool size. No encoder is needed. Memory is bounded, however long the run.

    Samples of tokens are all grown and decoded again, and compared byte for byte.

    Parameters
    ----------
    path
        The run folder.
    corpus
        The corpus of the run, its name or its folder; None means the one of the name that the run gives.
    tokens
        The token store of a run of tokens, as `load_tokens` takes it.
    progress
        Show a progress bar.

    Returns
    -------
    RunReport
        Altered files, and pixels that differ.

    Raises
    ------
    FileNotFoundError
        If there is no such run or corpus.
    ValueError
        If a manifest can't be read, or it is another corpus or token store.
    """
    folder = Path(path)
    facts, shards = read_manifest(folder)
    check_finished(folder, facts.n, shards, "generate")
    for shard in shards:
        for name in sorted(PIXELS - set(shard.sha256)):
            raise ValueError(f"{run_name(folder)} must have a complete manifest, got one without {name!r}")
    source = _opened(facts.corpus_name if corpus is None else corpus)
    if source.hash != facts.corpus_hash:
        expected = f"the one the samples were made from ({facts.corpus_name!r}, {facts.corpus_hash[:16]})"
        raise invalid("corpus", expected, f"{source.name}, {source.hash[:16]}")
    store = None
    if facts.tokens_id is not None:
        store = load_tokens(tokens, source, progress=progress)
        if store.id != facts.tokens_id:
            raise invalid("tokens", f"those the samples were made from, {facts.tokens_id[:16]}", store.id[:16])
    verification = _Verification(folder, facts, source, store)
    with tqdm(total=facts.n, unit="sample", disable=not progress, leave=False) as bar:
        for shard in shards:
            verification.check(shard, bar)
    return verification.report()


def _opened(corpus: Corpus | str | os.PathLike[str]) -> Corpus:
    """Open a corpus whose arrays need not be as they were written."""
    if not isinstance(corpus, Corpus):
        return open_corpus(find_corpus(corpus), verified=False)
    return corpus


def _altered(file: Path, sha256: str) -> str | None:
    """Say how a file is not as it was written; None if it is."""
    found = sha256_file(file)
    if found == sha256:
        return None
    return f"{file} must have sha256 {sha256[:16]}…, got {found[:16]}…: it was altered"


class _Verification:
    """A verification in progress: what is checked against, and what was found so far."""

    def __init__(self, folder: Path, facts: RunFacts, corpus: Corpus, tokens: Tokens | None) -> None:
        self.folder, self.facts, self.corpus, self.tokens = folder, facts, corpus, tokens
        # Of tokens nothing but the whole sample, grown again, is a rule.
        self.rules = None if tokens else Rules(corpus, facts.model, facts.config, facts.seed)
        self.shape = self.rules.shape if self.rules else (corpus.images.shape[1], corpus.images.shape[2])
        self.problems: list[str] = []
        self.differences: list[Difference] = []
        self.different = self.samples = 0
        if corpus.path is not None:
            for key, sha256 in corpus.array_hashes.items():
                self._note(_altered(corpus.path / f"{key}.npy", sha256))
        self.sound_corpus = not self.problems

    def report(self) -> RunReport:
        height, width = self.shape
        pixels = self.samples * height * width
        return RunReport(self.samples, pixels, tuple(self.problems), tuple(self.differences), self.different)

    def check(self, shard: Shard, bar: tqdm) -> None:  # type: ignore[type-arg]
        """Check the files of a shard, then its samples, some at a time."""
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
        again = self._regrowth(samples, altered) if self.tokens is not None or altered & PIXELS else None
        height, width = self.shape
        step = BATCH if again else max(1, BLOCK_PIXELS // (height * width))
        for start in range(0, shard.n, step):
            block = samples[start : start + step]
            breaches = list(self.rules.breaches(block)) if self.rules else [outside_corpus(block, self.corpus)]
            if again is not None:
                breaches.append(again.breach(block))
            self._collect(block, breaches)
            self.samples += len(block)
            bar.update(len(block))

    def _note(self, problem: str | None) -> bool:
        if problem is not None:
            self.problems.append(problem)
        return problem is not None

    def _open(self, shard: Shard) -> Samples:
        """Map the arrays of a shard, whatever their hashes."""
        facts, frame = self.facts, (shard.n, *self.shape)
        channels = self.corpus.images.shape[3]
        shapes: dict[str, tuple[int | None, ...]] = {
            "images": (*frame, channels),
            "anchor": (shard.n,),
            "fallbacks": (shard.n,),
            "queries": (shard.n, None, None),
            "codes": (shard.n, None, None, None),
        }
        dtypes: dict[str, type[Any]] = {"images": np.uint8, "anchor": np.int32, **TRACE_DTYPES}
        dtypes |= {"fallbacks": np.int32, "queries": np.float32, "codes": np.uint8}
        arrays: dict[str, Any] = {
            key: npy.open_array(self.folder / shard.name / f"{key}.npy", dtype, shapes.get(key, frame))
            for key, dtype in dtypes.items()
            if key in shard.sha256
        }
        arrays.setdefault("fallbacks", np.zeros(shard.n, np.int32))  # version 1 did not count them
        trace = Trace(*(arrays.pop(key) for key in TRACE_DTYPES))
        return Samples(facts.part(shard.first, shard.n), trace=trace, **arrays)

    def _regrowth(self, samples: Samples, altered: set[str]) -> _Regrowth | None:
        try:
            if not self.sound_corpus:
                raise ValueError("the corpus was altered")
            if "queries" in altered:
                raise ValueError("its queries were altered")
            return _Regrowth(samples, self.corpus, self.tokens)
        except (ValueError, OSError) as error:
            self._note(f"samples {samples.first - self.facts.first} and on can't be grown again: {error}")
            return None

    def _collect(self, samples: Samples, breaches: Sequence[Breach]) -> None:
        wrong = np.logical_or.reduce([breach.where for breach in breaches])  # (n, H, W)
        self.different += int(wrong.sum())
        inside = inside_corpus(samples, self.corpus)
        for where in _first(wrong, NAMED - len(self.differences)):
            k, y, x = where
            image, source_y, source_x = (int(part[where]) for part in samples.trace.arrays()[:3])
            theirs = _numbers(self.corpus.images[image, source_y, source_x]) if inside[where] else None
            reasons = tuple(breach.tell(where) for breach in breaches if breach.where[where])
            place = samples.first - self.facts.first + k
            address = (image, source_y, source_x)
            self.differences.append(Difference(place, y, x, _numbers(samples.images[where]), address, theirs, reasons))


class _Regrowth:
    """Grows samples of a shard again, without their encoder."""

    def __init__(self, samples: Samples, corpus: Corpus, tokens: Tokens | None) -> None:
        self.run: PixelRun | TokenRun
        if tokens is not None:
            self.run = TokenRun(corpus, samples.model, samples.config, samples.seed, None, tokens)
            return
        plan = PixelPlan(corpus, samples.model, samples.config, samples.seed)
        y, x = plan.rect[:2]
        indices = np.arange(samples.first, samples.first + len(samples), dtype=np.uint64)
        drawn = plan.seeds.images(indices)
        if not ((drawn == samples.anchor) | (drawn == samples.trace.image_id[:, y, x])).all():
            raise ValueError("their seeds were drawn otherwise, as from a part of the corpus")
        keys = None
        if plan.model.semantics == "embedding":
            if samples.queries is None or samples.encoder_id is None:
                raise ValueError("the run has no queries")
            keys = kept_keys(corpus, samples.encoder_id)
        self.run = PixelRun(plan, Library(corpus, keys))

    def breach(self, samples: Samples) -> Breach:
        """Compare samples with what they are when grown again."""
        again = samples.mapped(lambda array: np.zeros(array.shape, array.dtype))
        self.run.fill(replace(again, queries=samples.queries), tqdm(disable=True))
        images, arrays = again.images, (samples.trace.arrays(), again.trace.arrays())
        pairs = dict(zip(TRACE_DTYPES, zip(*arrays, strict=True), strict=True))
        where = (images != samples.images).any(axis=-1)
        for ours, theirs in pairs.values():
            where = where | (ours != theirs)
        other = np.zeros_like(where)
        if samples.codes is not None and again.codes is not None:
            stride = where.shape[1] // samples.codes.shape[1]
            other = (samples.codes != again.codes).any(axis=-1).repeat(stride, axis=1).repeat(stride, axis=2)

        def tell(at: tuple[int, int, int]) -> str:
            said = [f"{key} {theirs[at]}" for key, (ours, theirs) in pairs.items() if ours[at] != theirs[at]]
            if (images[at] != samples.images[at]).any():
                said.append(f"value {_value(_numbers(images[at]))}")
            if other[at]:
                said.append("another token")
            return f"grown again it has {', '.join(said)}"

        return Breach(where | other, tell)


def _first(mask: NDArray[np.bool_], count: int) -> Iterator[tuple[int, int, int]]:
    """Go through the first places where a mask (n, H, W) is true."""
    for flat in np.flatnonzero(mask)[: max(0, count)].tolist():
        k, y, x = np.unravel_index(flat, mask.shape)
        yield int(k), int(y), int(x)


def _numbers(pixel: NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(int(part) for part in pixel)


def _value(numbers: tuple[int, ...]) -> str:
    return str(numbers[0] if len(numbers) == 1 else numbers)
