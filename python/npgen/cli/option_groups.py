"""Groups of options: a command takes one value, its user sees one option per part of it.

`takes_config` makes the options that set fields of `Config`, all from one table. `takes_study` makes those that all
studies share. Both replace one keyword-only parameter of the command by several.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin, get_type_hints

import typer

from npgen.cli.common import BatchSize, Device, F, Heldout, NetworkName, Quiet, Threads, Weights
from npgen.config import PRESETS, Config
from npgen.corpus import Corpus, load_corpus
from npgen.errors import invalid
from npgen.storage import parse_json

# Per field of `Config`, its option on the command line. The type is the field's.
CONFIG_OPTIONS: dict[str, Any] = {
    "window": typer.Option(help="Side w of the context window."),
    "sigma": typer.Option(help="Gaussian's σ in pixels; by default 3 w / 13."),
    "locality": typer.Option(help="Largest distance R between a pixel and its source."),
    "epsilon": typer.Option(help="Pool: candidates within (1 + ε) of the nearest."),
    "tolerance": typer.Option(help="ε relative to the nearest of: candidates, or the corpus."),
    "k_min": typer.Option(help="Pool: at least this many candidates."),
    "quota": typer.Option(help="Pixels of a window that may come from one image."),
    "max_share": typer.Option(help="Largest share of the frame that may come from one image."),
    "max_copy": typer.Option(help="Largest share of the frame that is copied from one image by one shift."),
    "shortlist": typer.Option(help="Length K of the shortlist."),
    "semantic": typer.Option(help="topk, or threshold: within (1 + ε) of the nearest."),
    "candidates": typer.Option(help="best or all positions of an image."),
    "anchor_weight": typer.Option(help="Weight β of the anchor in the query."),
    "query_expansion": typer.Option(help="Nearest images whose embeddings are added to the query."),
    "select": typer.Option(help="Draws of each sample, of which the densest in the embedding is kept."),
    "semantic_weight": typer.Option(help="Weight of the semantic distance of places beside a window's."),
    "levels": typer.Option(help="Levels of a pyramid, generated coarse to fine."),
    "coarse_weight": typer.Option(help="Weight of the coarser canvas's windows beside those of a level."),
    "seed_size": typer.Option(help="Side s of the seed patch."),
    "seed_at": typer.Option(help="Corner (y x) of the seed patch; by default centred."),
    "exclude_seed_image": typer.Option("--exclude-seed-image/--include-seed-image", help="Bar the seed's image."),
    "sweeps": typer.Option(help="Number of times that all drawn pixels are visited again."),
    "seams": typer.Option("--seams/--no-seams", help="Cut the borders between sources anew, by minimum cuts."),
    "size": typer.Option(help="Height and width of the samples, for a model without locality."),
    "stage_pixels": typer.Option(help="Pixels filled per query where β < 1; by default a ring."),
    "gamma": typer.Option(help="Tokens: range γ of contexts in cells; by default all."),
    "metric": typer.Option(help="Tokens: chebyshev or l2 distance within γ."),
    "order": typer.Option(help="Tokens: rings around a seed patch, or raster."),
    "draw": typer.Option(help="Tokens: from a pool, or by the weights of a histogram."),
    "flip": typer.Option(help="Tokens: bit-flip probability of the histogram."),
}


def takes_config(
    help: str, *fields: str, defaults: Callable[[Mapping[str, Any]], Config] = lambda others: Config()
) -> Callable[[F], F]:
    """Give a command, in place of its parameter `config: Config`, `--preset`, `--config FILE` and one option per field.

    Parameters
    ----------
    help
        Help of `--config`.
    fields
        Names of fields of `Config` that have an option. An option overrides the file, and the file the preset.
    defaults
        Returns the settings without `--preset`, given the values of the command's other parameters.
    """
    types = get_type_hints(Config)
    presets = typer.Option(help=f"Named settings that the others replace: {' or '.join(PRESETS)}.")
    options = [
        _option("preset", Annotated[str | None, presets], None),
        _option("config", Annotated[Path | None, typer.Option(help=help)], None),
    ]
    for name in fields:
        # `Config` checks names itself, with its own messages.
        kind = str if get_origin(types[name]) is Literal else types[name]
        options.append(_option(name, Annotated[kind | None, CONFIG_OPTIONS[name]], None))

    def make(others: Mapping[str, Any], preset: str | None, config: Path | None, **given: Any) -> Config:
        return read_config(defaults(others) if preset is None else Config.preset(preset), config, given)

    return lambda command: _replace_parameter(command, "config", options, make)


def read_config(base: Config, path: Path | None, given: Mapping[str, Any]) -> Config:
    """Return settings with those of a JSON file and the options given (not None) on top."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = parse_json(path.read_bytes())  # not `read_json`: the file may be a pipe
        except ValueError as error:
            raise ValueError(f"config must be a JSON file, got {str(path)!r} ({error})") from error
        if not isinstance(values, dict):
            raise invalid("config", "a JSON object of settings", values)
    return Config.from_json(
        base.to_json() | values | {name: value for name, value in given.items() if value is not None}
    )


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """Options that all studies (`ablate`, `sweep`, `gamma-study`) share."""

    heldout: Heldout = None
    network: NetworkName = "corpus"
    weights: Weights = None
    batch_size: BatchSize = 64
    device: Device = "auto"
    threads: Threads = None
    quiet: Quiet = False

    def arguments(self) -> dict[str, Any]:
        """Return keyword arguments of the study's function: the options, the held-out corpus loaded."""
        heldout: Corpus | None = None if self.heldout is None else load_corpus(self.heldout)
        return vars(self) | {"heldout": heldout}


def takes_study(command: F) -> F:
    """Give a command, in place of its parameter `study: StudyOptions`, one option per field of `StudyOptions`."""
    types = get_type_hints(StudyOptions, include_extras=True)
    options = [_option(field.name, types[field.name], field.default) for field in dataclasses.fields(StudyOptions)]
    return _replace_parameter(command, "study", options, lambda others, **values: StudyOptions(**values))


def _option(name: str, annotation: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _replace_parameter(command: F, name: str, options: Sequence[inspect.Parameter], make: Callable[..., Any]) -> F:
    """Return a command that has several options in place of one parameter, whose value is `make(others, **values)`.

    `others` are the values of the command's other parameters.

    Typer reads a command's signature and annotations; the command returned has those of its user's view.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters = [
        shown
        for parameter in signature.parameters.values()
        for shown in (options if parameter.name == name else [parameter])
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        values = {option.name: given.pop(option.name) for option in options}
        command(**given, **{name: make(given, **values)})

    with_options.__dict__["__signature__"] = signature.replace(parameters=parameters)
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options  # type: ignore[return-value]
