"""What a run is: one record of all that decides its samples, with one reader, one comparison and one writer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from npgen.config import PIXEL_SETTINGS, Config, find_model
from npgen.errors import check_name, check_type, check_whole, invalid

FORMAT = "npgen-run"
# Format versions: 1 had neither queries nor fallbacks; 2 is written for runs of pixels; 3 for runs of tokens, which a
# reader of version 2 would take for copies of pixels.
VERSION = 2
TOKEN_VERSION = 3
READABLE = range(1, TOKEN_VERSION + 1)
# Settings that manifests of earlier versions do not name, as their runs had them; and what σ was where none was given.
EARLIER = {"max_share": None, "query_expansion": 0}
EARLIER_WINDOW_PER_SIGMA = 6.4
# Samples per shard. A run that is stopped loses one unfinished shard at most: shards are large where a sample takes
# milliseconds, and small where each sample scans all images.
SHARD = 1024
SLOW_SHARD = 64


@dataclass(frozen=True)
class RunFacts:
    """All that decides the samples of a run.

    Two runs with equal facts have the same bytes. Nothing here depends on how the samples are made: batch size,
    threads, device and processes are left out.

    Attributes
    ----------
    model, config, seed
        As given to `npgen.generate`.
    first, n
        Index of the first sample in the run that the seed defines, and the number of samples.
    corpus_name, corpus_hash
        The corpus.
    encoder_id
        The encoder; None where the model uses no embedding.
    tokens_id
        `Tokens.id` of the token store; None for a run of pixels.
    npgen
        Version of npgen that makes the samples.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of range, as these may come from a file.
    """

    model: str
    config: Config
    seed: int
    first: int
    n: int
    corpus_name: str
    corpus_hash: str
    encoder_id: str | None = None
    tokens_id: str | None = None
    npgen: str = field(default_factory=lambda: version("npgen"))

    def __post_init__(self) -> None:
        """Check types and ranges."""
        find_model(self.model)
        check_type("config", self.config, Config)
        for name in ("seed", "first", "n"):
            check_whole(name, getattr(self, name), 0, 2**64 - 1)
        for name in ("corpus_name", "corpus_hash"):
            check_type(name, getattr(self, name), str)
        check_name(self.corpus_name)  # a name by which the corpus is looked up, never a path
        check_type("encoder_id", self.encoder_id, str, type(None))
        check_type("tokens_id", self.tokens_id, str, type(None))

    @classmethod
    def from_json(cls, run: str, manifest: Mapping[str, Any]) -> RunFacts:
        """Read the facts from a manifest.

        Parameters
        ----------
        run
            What error messages call the run.
        manifest
            The manifest's JSON object. Settings that it does not name are those of the earlier version that wrote it.

        Raises
        ------
        ValueError
            If the manifest is of another format or a newer version, incomplete, or has values out of range.
        """
        if manifest.get("format") != FORMAT:
            raise invalid(run, f"a folder of format {FORMAT!r}", manifest.get("format"))
        if manifest.get("version") not in READABLE:
            allowed = f"of format version {READABLE[0]} to {READABLE[-1]} (a newer npgen may read it)"
            raise invalid(run, allowed, manifest.get("version"))
        for name in ("model", "config", "seed", "first", "n", "corpus", "encoder", "shards"):
            if name not in manifest:
                raise ValueError(f"{run} must have a complete manifest, got one without {name!r}")
        corpus = manifest["corpus"]
        if not isinstance(corpus, dict) or not all(isinstance(corpus.get(name), str) for name in ("name", "hash")):
            raise invalid(run, "of a corpus with name and hash", corpus)
        if not isinstance(manifest["config"], dict):
            raise invalid(run, "of a config, an object of settings", manifest["config"])
        try:
            return cls(
                model=manifest["model"],
                config=Config.from_json(settings_of(manifest)),
                seed=manifest["seed"],
                first=manifest["first"],
                n=manifest["n"],
                corpus_name=corpus["name"],
                corpus_hash=corpus["hash"],
                encoder_id=manifest["encoder"],
                tokens_id=manifest.get("tokens"),
                npgen=str(manifest.get("npgen")),
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{run} must have a complete manifest, got one in which {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a JSON object: the manifest of the run without its shards."""
        return {
            "format": FORMAT,
            "version": VERSION if self.tokens_id is None else TOKEN_VERSION,
            "npgen": self.npgen,
            "model": self.model,
            "config": self.config.to_json(),
            "seed": self.seed,
            "first": self.first,
            "n": self.n,
            "corpus": {"name": self.corpus_name, "hash": self.corpus_hash},
            "encoder": self.encoder_id,
            "tokens": self.tokens_id,
        }

    def part(self, first: int, n: int) -> RunFacts:
        """Return the facts of n samples of the same run, from index `first` on."""
        return replace(self, first=first, n=n)

    @property
    def shard_size(self) -> int:
        """Samples that the run writes at a time."""
        model = find_model(self.model)
        if self.tokens_id is not None:
            return SHARD if model.locality else SLOW_SHARD
        return SLOW_SHARD if not model.semantics or self.config.tolerance == "corpus" else SHARD


def settings_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a manifest; one without `max_share` is of an earlier version with other defaults."""
    config: dict[str, Any] = manifest["config"]
    if "max_share" in config:
        return config
    if manifest.get("tokens") is not None:  # settings of pixels had no effect, and now have other defaults
        return {name: value for name, value in config.items() if name not in PIXEL_SETTINGS}
    earlier: dict[str, Any] = {**EARLIER, **config}
    window = earlier.get("window")
    if earlier.get("sigma") is None and isinstance(window, int):
        earlier["sigma"] = window / EARLIER_WINDOW_PER_SIGMA
    return earlier


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """List where two runs differ, by the JSON objects of their facts.

    Parameters
    ----------
    wanted, found
        Facts as JSON objects; objects inside them are compared entry by entry. Entries that only `found` has do not
        count.

    Returns
    -------
    list of tuple
        Name (``config: window`` inside an object), wanted value and found value of each difference.
    """
    different: list[tuple[str, Any, Any]] = []
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            different += [(f"{name}: {inner}", *values) for inner, *values in differences(value, other)]
            different += [(f"{name}: {inner}", None, other[inner]) for inner in other if inner not in value]
        elif value != other:
            different.append((name, value, other))
    return different


def run_name(folder: Path) -> str:
    """Return what error messages call the run in a folder."""
    return f"run {str(folder)!r}"
