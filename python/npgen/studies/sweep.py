"""The sweep: runs over a grid of settings, one row per setting, in tables and plots."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from tqdm.auto import tqdm

from npgen.config import Config
from npgen.corpus import Corpus
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, number, quality_columns
from npgen.storage import read_json
from npgen.studies.results import StudyResult
from npgen.studies.rows import check_row, row_file, write_row
from npgen.studies.workbench import Setting, Workbench, quality_notes

# The only axis that is not a field of `Config`: the number of source images.
IMAGES = "images"


@dataclass(frozen=True)
class Sweep(StudyResult):
    """The result of `sweep`.

    Attributes
    ----------
    axes
        Names of the settings that were swept.
    rows
        One row per setting: JSON-able values by name, first those of the axes, then all measurements.
    base
        Values of the axes in the base setting.
    real
        Scores of real images, by "held-out" and "training"; None without scores.
    notes
        Sentences below the table that explain it.
    facts
        All facts that decide the rows: corpus, base settings, seed.
    """

    FORMAT: ClassVar[str] = "npgen-sweep"
    VERSION: ClassVar[int] = 1

    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    base: Row
    real: dict[str, Row] | None
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def columns(self) -> list[Column]:
        """Return the columns of the Markdown table."""
        return [
            *(_setting_column(axis) for axis in self.axes),
            *quality_columns(),
            number("class entropy", "class_entropy", ".3f"),
            number("image-ID entropy", "image_id_entropy", ".3f"),
            Column("pool, 5–50–95 %", _pool_cell),
            number("pools of one", "pool_one", ".1%"),
            number("fallbacks", "fallbacks", ".1%"),
            number("s / sample", "seconds_per_sample", ".3g"),
        ]

    def labels(self) -> int:
        """Return the number of leftmost columns that hold text: those of the axes."""
        return len(self.axes)

    def markdown_rows(self) -> list[Row]:
        """Return the rows of the Markdown table: the settings', then those of real images."""
        real = [{self.axes[0]: f"real {name}", **row} for name, row in (self.real or {}).items()]
        return [*self.rows, *real]


def sweep(
    corpus: Corpus,
    out: str | os.PathLike[str],
    grid: Mapping[str, Sequence[Any]],
    n: int = 500,
    config: Config | None = None,
    model: str = "full",
    seed: int = 0,
    *,
    product: bool = False,
    keep: bool = False,
    heldout: Corpus | None = None,
    network: str = "corpus",
    weights: str | os.PathLike[str] | None = None,
    encoder: Any = "auto",
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
) -> Sweep:
    """Run a model at each setting of a grid, with the same seeds, and measure the samples.

    Each setting is one row, which is stored as soon as it is measured and is not run again: the same call resumes an
    interrupted sweep, and a larger grid adds rows to the stored ones. `results.csv`, `results.json`, `table.md` and
    plots (PNG and SVG) are made from the grid's rows; all but the timings are a function of the arguments.

    Parameters
    ----------
    corpus
        N source images. Scores need labels and held-out images; without them the rows have entropies, pools and
        timings only, and the table has a note about it.
    out
        Folder to make, or that of an earlier sweep.
    grid
        Values by name of the setting: any field of `Config`, or "images", the number of source images. These are the
        first images in a random order of the corpus defined by the seed, so that smaller corpora are parts of larger
        ones; held-out images and scores are always those of the whole corpus.
    n
        Number of samples per setting, at least 4; at least 2 if nothing is scored.
    config
        The base setting: values that are not in the grid. None means the defaults.
    model
        A name of `npgen.config.MODELS`.
    seed
        Seed of all draws.
    product
        Run all combinations of the grid's values. Otherwise one setting is changed at a time, and the base is a row
        too.
    keep
        Store the samples of each setting as a run folder, `runs/<key of the row>`.
    heldout
        Real images to score beside the samples; None takes the corpus's own.
    network, weights
        The network whose features are scored, and its weights, as for `npgen.evaluate`.
    encoder, batch_size, device, threads
        As for `npgen.generate`.
    quiet
        Show no progress bar.

    Returns
    -------
    Sweep
        The rows, in the order of the grid.

    Raises
    ------
    TypeError, ValueError
        If an argument or any setting of the grid is out of range, or `out` holds another study: before anything is
        run.
    FileExistsError
        If `out` holds other files.
    ModuleNotFoundError
        If the extra `figures` is not installed.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> grid = {"window": [3, 5]}
    >>> found = npgen.sweep(corpus, "sweep", grid, 2, npgen.Config(window=3), "local", quiet=True)
    >>> [row["window"] for row in found.rows]
    [3, 5]
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError('plots need the extra `figures`: pip install "npgen[figures]"')
    # 1. Plan: all settings are checked before the first run.
    bench = Workbench(corpus, seed, encoder, heldout, network, weights, batch_size, device, threads)
    base = Setting(model, config or Config(), n, len(corpus))
    check_type("grid", grid, Mapping)
    settings = _plan(base, grid, product)
    for setting in settings:
        bench.check(setting)
    folder = Path(out)
    Sweep.claim(folder)

    # 2. Run and measure; the tables grow with each row.
    axes = tuple(grid)
    facts = {
        **bench.identity,
        "corpus_name": corpus.name,
        "model": model,
        "encoder": bench.encoder_id(model),
        "config": base.config.to_json(),
        "n": n,
        "product": product,
    }
    base_row = {axis: _value(base, axis) for axis in axes}
    rows: list[Row] = []
    real = None
    with tqdm(settings, unit="setting", disable=quiet) as bar:
        for setting in bar:
            values = {axis: _value(setting, axis) for axis in axes}
            bar.set_description(", ".join(f"{axis} {value}" for axis, value in values.items()))
            found = _row(bench, setting, folder, keep)
            rows.append({**values, **found["samples"], "seconds_per_sample": found["seconds_per_sample"]})
            if found["heldout"] is not None:
                real = {"held-out": found["heldout"], "training": found["training"]}
            result = Sweep(axes, tuple(rows), base_row, real, tuple(_notes(bench, base, found["network"])), facts)
            result.save(folder)

    # 3. Draw.
    from npgen.studies.sweep_plots import save_plots

    save_plots(result.axes, result.rows, result.base, result.facts, folder)
    return result


def parse_grid(axes: Sequence[str]) -> dict[str, list[Any]]:
    """Parse the grid of the command line.

    Parameters
    ----------
    axes
        Texts ``name=value,value,…``. Values are JSON or words; `none` is None. A value with commas is written in
        brackets: ``seed_at=[4,4],[10,10]``.

    Returns
    -------
    dict
        Lists of values by name.

    Raises
    ------
    ValueError
        If a text has another form, or a name occurs twice.
    """
    grid: dict[str, list[Any]] = {}
    for axis in axes:
        name, equals, text = axis.partition("=")
        if not (name and equals and text):
            raise invalid("set", "NAME=VALUE,VALUE,…", axis)
        if name in grid:
            raise invalid("set", "given once for each setting", axis)
        try:
            grid[name] = json.loads(f"[{text}]")
        except ValueError:
            grid[name] = [_word(part.strip()) for part in text.split(",")]
    return grid


def _word(text: str) -> Any:
    try:
        return None if text.lower() == "none" else json.loads(text)
    except ValueError:
        return text


def _plan(base: Setting, grid: Mapping[str, Sequence[Any]], product: bool) -> list[Setting]:
    """List the settings of a grid, each once; their constructors check them."""
    fields = [field.name for field in dataclasses.fields(Config)]
    if not grid:
        raise invalid("grid", "values of at least one setting", dict(grid))
    for axis, values in grid.items():
        if axis != IMAGES and axis not in fields:
            raise invalid("grid", "made of " + ", ".join([*fields, IMAGES]), axis)
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise invalid(f"grid[{axis!r}]", "a list of one or more values", values)
    if product:
        changes = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    else:
        changes = [{}, *({axis: value} for axis, values in grid.items() for value in values)]
    settings = [_changed(base, change) for change in changes]
    return list({json.dumps([s.images, s.config.to_json()]): s for s in settings}.values())


def _changed(base: Setting, change: Mapping[str, Any]) -> Setting:
    config = dataclasses.replace(base.config, **{name: value for name, value in change.items() if name != IMAGES})
    images = change.get(IMAGES, base.images)
    check_whole(IMAGES, images, 2)
    return dataclasses.replace(base, config=config, images=int(images))


def _value(setting: Setting, axis: str) -> Any:
    return setting.images if axis == IMAGES else getattr(setting.config, axis)


def _row(bench: Workbench, setting: Setting, folder: Path, keep: bool) -> dict[str, Any]:
    """Return the stored row of a setting, or run and measure the setting."""
    facts = {
        **bench.identity,
        "version": Sweep.VERSION,
        "model": setting.model,
        "encoder": bench.encoder_id(setting.model),
        "config": setting.config.to_json(),
        "images": setting.images,
        "n": setting.n,
    }
    file = row_file(folder, facts)
    run = folder / "runs" / file.stem
    if file.exists() and (run.exists() or not keep):
        return check_row(file, read_json(file), {"samples", "heldout", "training", "network", "seconds_per_sample"})
    samples, seconds = bench.run(setting, run if keep else None)
    row = {"facts": facts, "seconds_per_sample": seconds, **bench.measure(samples)}
    write_row(file, row)
    return row


def _notes(bench: Workbench, base: Setting, network: dict[str, Any] | None) -> list[str]:
    parts = [f"`{base.model}`, {base.n} samples per setting, corpus {bench.corpus.name} ({len(bench.corpus)} images)"]
    default = Config().to_json()
    changed = {name: value for name, value in base.config.to_json().items() if value != default.get(name)}
    parts.append(f"seed {bench.seed}, other settings " + (json.dumps(changed) if changed else "at their defaults"))
    return [", ".join(parts) + ".", *quality_notes(bench, network)]


def _setting_column(axis: str) -> Column:
    return Column(f"`{axis}`", lambda row: str(row[axis]) if axis in row else "")


def _pool_cell(row: Row) -> str | None:
    quantiles = [row.get(f"pool_{q}") for q in ("05", "50", "95")]
    return None if None in quantiles else "–".join(f"{q:.0f}" for q in quantiles)
