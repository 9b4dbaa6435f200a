"""What each setting does: runs over a grid of settings, one row each, in tables and plots."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from npgen.config import Config
from npgen.corpus import Corpus
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, csv_table, markdown_table, number, quality_columns
from npgen.storage import read_json, write_bytes, write_json
from npgen.studies.workbench import Setting, Workbench, claim_folder, quality_notes

FORMAT = "npgen-sweep"
VERSION = 1
# The one axis that is no field of `Config`: the number of source images.
IMAGES = "images"


@dataclass(frozen=True)
class Sweep:
    """What `sweep` found.

    Attributes
    ----------
    axes
        The settings that were swept.
    rows
        A row a setting, JSON-able values by name: those of the axes, then all that was measured.
    base
        The values of the axes that were not swept otherwise.
    real
        Scores of real images, by "heldout" and "training"; None without scores.
    notes
        What the table needs said below it.
    facts
        Corpus, base settings, seed: what decides the rows.
    """

    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    base: Row
    real: dict[str, Row] | None
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def markdown(self) -> str:
        """Lay the rows out as a Markdown table with its notes."""
        columns = [
            *(_setting_column(axis) for axis in self.axes),
            *quality_columns(),
            number("class entropy", "class_entropy", ".3f"),
            number("image-ID entropy", "image_id_entropy", ".3f"),
            Column("pool, 5–50–95 %", _pool_cell),
            number("pools of one", "pool_one", ".1%"),
            number("fallbacks", "fallbacks", ".1%"),
            number("s / sample", "seconds_per_sample", ".3g"),
        ]
        real = [{self.axes[0]: f"real {name}", **row} for name, row in (self.real or {}).items()]
        table = markdown_table(columns, [*self.rows, *real], len(self.axes))
        return "\n".join([table, "", *(f"- {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}


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
    """Run a model at each setting of a grid, on the same seeds, and measure what changes.

    Each setting is one row, written as soon as it is finished and never run again: an interrupted sweep goes on where
    it stopped, and a larger grid adds to what is there. `results.csv`, `results.json`, `table.md` and plots (PNG and
    SVG) are made of the grid's rows; all but the timings are a function of the arguments.

    Parameters
    ----------
    corpus
        N source images. Scores need labels and held-out images; without them the rows have entropies, pools and
        timings only, and the table says so.
    out
        Folder to make, or that of an earlier sweep.
    grid
        Values by name of the setting: any field of `Config`, or "images", the number of source images. Those are the
        first ones in a random order of the corpus that the seed defines, so that smaller corpora are parts of larger
        ones; held-out images and scores stay those of the whole corpus.
    n
        Samples at each setting, at least 4; 2 if nothing is scored.
    config
        The base: settings that are not in the grid. None means the defaults.
    model
        A name of `npgen.config.MODELS`.
    seed
        Seed of all draws.
    product
        Take all combinations of the grid's values. Else one setting is changed at a time, and the base is a row, too.
    keep
        Keep the samples of each setting as a run folder, `runs/<key of the row>`.
    heldout
        Real images to score beside the samples; None takes the corpus's own.
    network, weights
        What the scores live in, as for `npgen.evaluate`.
    encoder, batch_size, device, threads
        As for `npgen.generate`.
    quiet
        Show no progress.

    Returns
    -------
    Sweep
        The rows, in the order of the grid.

    Raises
    ------
    TypeError, ValueError
        If an argument or any setting of the grid is out of range, or `out` holds something else: before anything is
        run.
    ModuleNotFoundError
        If the extra `figures` is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError('plots need the extra `figures`: pip install "npgen[figures]"')
    bench = Workbench(corpus, seed, encoder, heldout, network, weights, batch_size, device, threads)
    base = Setting(model, config or Config(), n, len(corpus))
    check_type("grid", grid, Mapping)
    settings = _plan(base, grid, product)
    for setting in settings:
        bench.check(setting)
    folder = Path(out)
    claim_folder(folder, FORMAT, VERSION)

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
            _save_tables(result, folder)
    from npgen.studies.sweep_plots import save_plots

    save_plots(result.axes, result.rows, result.base, result.facts, folder)
    return result


def parse_grid(axes: Sequence[str]) -> dict[str, list[Any]]:
    """Read a grid as the command line has it.

    Parameters
    ----------
    axes
        ``name=value,value,…`` each. Values are JSON, or words; `none` is None. A value with a comma in it is written in
        brackets: ``seed_at=[4,4],[10,10]``.

    Returns
    -------
    dict
        Lists of values by name.

    Raises
    ------
    ValueError
        If one is not of that form, or a name is there twice.
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
    """List the settings of a grid, each once; all of them are checked by being made."""
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
    return dataclasses.replace(base, config=config, images=check_whole(IMAGES, change.get(IMAGES, base.images), 2))


def _value(setting: Setting, axis: str) -> Any:
    return setting.images if axis == IMAGES else getattr(setting.config, axis)


def _row(bench: Workbench, setting: Setting, folder: Path, keep: bool) -> dict[str, Any]:
    """Run and measure a setting, unless its row is there already."""
    facts = {
        **bench.identity,
        "version": VERSION,
        "model": setting.model,
        "encoder": bench.encoder_id(setting.model),
        "config": setting.config.to_json(),
        "images": setting.images,
        "n": setting.n,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    file, run = folder / "rows" / f"{key}.json", folder / "runs" / key
    if file.exists() and (run.exists() or not keep):
        row = read_json(file)
        if not {"samples", "heldout", "training", "network", "seconds_per_sample"} <= set(row):
            raise invalid(f"row {str(file)!r}", "as it was written (delete it to have it made again)", sorted(row))
        return row
    samples, seconds = bench.run(setting, run if keep else None)
    row = {"facts": facts, "seconds_per_sample": seconds, **bench.measure(samples)}
    file.parent.mkdir(exist_ok=True)
    write_json(file, row)
    return row


def _save_tables(result: Sweep, folder: Path) -> None:
    write_json(folder / "results.json", result.to_json())
    write_bytes(folder / "results.csv", csv_table(result.rows))
    write_bytes(folder / "table.md", f"{result.markdown()}\n".encode())


def _notes(bench: Workbench, base: Setting, network: dict[str, Any] | None) -> list[str]:
    parts = [f"`{base.model}`, {base.n} samples a setting, corpus {bench.corpus.name} ({len(bench.corpus)} images)"]
    default = Config().to_json()
    changed = {name: value for name, value in base.config.to_json().items() if value != default[name]}
    parts.append(f"seed {bench.seed}, other settings " + (json.dumps(changed) if changed else "at their defaults"))
    return [", ".join(parts) + ".", *quality_notes(bench, network)]


def _setting_column(axis: str) -> Column:
    return Column(f"`{axis}`", lambda row: str(row[axis]) if axis in row else "")


def _pool_cell(row: Row) -> str | None:
    quantiles = [row.get(f"pool_{q}") for q in ("05", "50", "95")]
    return None if None in quantiles else "–".join(f"{q:.0f}" for q in quantiles)
