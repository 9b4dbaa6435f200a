"""The frontier: quality against novelty, for settings of a list beside controls that need no sampler."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.config import MODELS, Config, find_model
from npgen.corpus import Corpus
from npgen.encoders import embed, load_encoder
from npgen.errors import check_type, invalid
from npgen.output import Column, Row, labelled_rows, number, quality_columns, save_png
from npgen.sampling import PixelPlan
from npgen.storage import npy, parse_json, read_json
from npgen.studies.controls import CONTROLS, make_control
from npgen.studies.results import StudyResult
from npgen.studies.rows import check_row, row_file, write_row
from npgen.studies.workbench import Setting, Workbench, quality_notes

# Images of each row in the picture.
SHOWN = 12


@dataclass(frozen=True)
class FrontierSetting:
    """One row of the frontier.

    Attributes
    ----------
    name
        Name of the row.
    model, config
        As for `npgen.generate`.
    encoder
        As for `npgen.generate`; None means that of the study.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of range.
    """

    name: str
    model: str = "full"
    config: Config = dataclasses.field(default_factory=Config)
    encoder: str | None = None

    def __post_init__(self) -> None:
        """Check all values."""
        check_type("name", self.name, str)
        find_model(self.model)
        check_type("config", self.config, Config)
        check_type("encoder", self.encoder, str, type(None))
        if not self.name or self.name in CONTROLS or self.name.startswith("real "):
            raise invalid("name", "a name that no control has", self.name)

    @classmethod
    def from_json(cls, values: Any) -> FrontierSetting:
        """Make a setting from a JSON object of `name`, `model`, `preset`, `config` and `encoder`.

        Only the name is needed. `config` is an object of settings that replace those of the preset, "quality" by
        default.
        """
        if not isinstance(values, Mapping) or not set(values) <= {"name", "model", "preset", "config", "encoder"}:
            raise invalid("setting", "an object of name, model, preset, config and encoder", values)
        given = dict(values)
        base = Config.preset(given.pop("preset", "quality")).to_json()
        changes = given.pop("config", {})
        if not isinstance(changes, Mapping):
            raise invalid("config", "an object of settings", changes)
        if "name" not in given:
            raise invalid("setting", "one with a name", values)
        return cls(config=Config.from_json({**base, **changes}), **given)


def default_settings(corpus: Corpus) -> tuple[FrontierSetting, ...]:
    """Return the settings that `frontier` runs if none are given.

    Models with a shortlist, at several shares and with selection; those of labels only where the corpus has some. The
    models `local` and `texture` compare each pixel with all images and take long: name them in a list of your own.
    """

    def row(name: str, model: str, preset: str = "quality", **changes: Any) -> FrontierSetting:
        return FrontierSetting(name, model, dataclasses.replace(Config.preset(preset), **changes))

    shares = (0.2, 0.25, 0.35, 0.5)
    rows = []
    for model in ("full", "conditional"):
        rows.append(row(model, model))
        rows += [row(f"{model}, share {share}", model, max_share=share) for share in shares]
        rows.append(row(f"{model}, densest of 4", model, select=4))
        rows.append(row(f"{model}, recombination", model, "recombination"))
    rows += [row("semantic", "semantic"), row("class", "class")]
    return tuple(one for one in rows if corpus.labels is not None or not MODELS[one.model].label)


@dataclass(frozen=True)
class Frontier(StudyResult):
    """The result of `frontier`.

    Attributes
    ----------
    rows
        One row per setting, per control, and of real held-out and training images: JSON-able values by name. `kind` is
        "setting", "control" or "real"; `best` is True for settings that no other setting or control is better than at
        equal novelty.
    notes
        Sentences below the table that explain it.
    facts
        All facts that decide the rows: corpus, settings, seed.
    """

    FORMAT: ClassVar[str] = "npgen-frontier"
    VERSION: ClassVar[int] = 1

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def columns(self) -> list[Column]:
        """Return the columns of the Markdown table."""
        return [
            Column("", lambda row: f"**{row['name']}**" if row.get("best") else row["name"]),
            number("images", "n", "d"),
            *quality_columns(),
            number("KID", "kid", ".3g", interval=False),
            number("precision", "precision", ".3f", interval=False),
            number("recall", "recall", ".3f", interval=False),
            number("FLD", "feature_likelihood", ".4g"),
            number("largest share", "largest_share", ".2f"),
            number("effective sources", "effective_sources", ".1f"),
            number("image-ID entropy", "image_id_entropy", ".2f", interval=False),
            number("class entropy", "class_entropy", ".2f", interval=False),
            number("s / sample", "seconds_per_sample", ".3g"),
        ]


def frontier(
    corpus: Corpus,
    out: str | os.PathLike[str],
    settings: Sequence[FrontierSetting] | None = None,
    n: int = 1000,
    seed: int = 0,
    *,
    heldout: Corpus | None = None,
    network: str = "corpus",
    weights: str | os.PathLike[str] | None = None,
    encoder: str = "auto",
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
) -> Frontier:
    """Set quality against novelty, for settings of a list beside controls that need no sampler.

    A collage of a few whole images scores well and shows nothing new. So a setting is only better than another one, or
    than a control, if its Fréchet distance is smaller at no fewer effective sources and no more near copies. The
    controls are made of the images nearest to the anchors of the same samples: the nearest image itself, halves of two,
    their minimum cut, their cross-fade.

    Rows are stored one by one: the same call resumes an interrupted study, and a longer list adds rows. Of them are
    made `table.md`, `results.csv`, `results.json`, `samples.png`, `frontier.png`, `frontier.svg` and the page
    `frontier.html`.

    Parameters
    ----------
    corpus
        N source images, with held-out images, and labels unless the network needs none.
    out
        Folder to make, or that of an earlier call.
    settings
        The rows. None means `default_settings`.
    n
        Number of samples per row, at least 4.
    seed
        Seed of all draws. Sample k has the same anchor in all rows.
    heldout, network, weights
        As for `npgen.evaluate`.
    encoder
        As for `npgen.generate`; it also finds the controls' nearest images.
    batch_size, device, threads
        As for `npgen.generate`.
    quiet
        Show no progress bar.

    Returns
    -------
    Frontier
        The rows.

    Raises
    ------
    TypeError, ValueError
        If an argument or a setting is out of range or can't be scored, or `out` holds another study: before any run.
    FileExistsError
        If `out` holds other files.
    ModuleNotFoundError
        If the extra `figures` is not installed.

    Examples
    --------
    >>> digits = npgen.load_corpus("mnist-5k").images
    >>> corpus = npgen.Corpus.from_arrays(digits[:200], heldout=npgen.Corpus.from_arrays(digits[200:220]))
    >>> thumbnails = npgen.Network(lambda images: (images[:, ::4, ::4].reshape(len(images), -1), None), id="thumbnails")
    >>> npgen.register_network("thumbnails", lambda request: thumbnails)
    >>> one = npgen.FrontierSetting("full", "full", npgen.Config(window=5))
    >>> found = npgen.frontier(corpus, "frontier", [one], 8, network="thumbnails", encoder="pixels", quiet=True)
    >>> [row["name"] for row in found.rows][:3]
    ['full', 'nearest image', 'halves']
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError('plots need the extra `figures`: pip install "npgen[figures]"')
    # 1. Plan: everything is checked before the first run.
    bench = Workbench(corpus, seed, encoder, heldout, network, weights, batch_size, device, threads)
    if bench.unscored is not None:
        raise ValueError(f"corpus must be one whose samples can be scored: {bench.unscored}")
    chosen = default_settings(corpus) if settings is None else tuple(settings)
    benches = _benches(bench, chosen)
    for one in chosen:
        benches[one.encoder].check(_setting(one, n, corpus))
    phi = load_encoder(encoder, corpus, device)
    folder = Path(out)
    Frontier.claim(folder)
    keys = embed(corpus, phi, threads=threads, progress=not quiet)

    # 2. Run and measure; the tables grow with each row.
    found: list[dict[str, Any]] = []
    anchor = _anchors(corpus, seed, n)
    names = [one.name for one in chosen] + list(CONTROLS)
    notes = []
    if settings is None and corpus.labels is None:
        labelled = ", ".join(model for model, parts in MODELS.items() if parts.label)
        notes.append(f"Left out, as the corpus has no labels: {labelled}.")
    facts = {
        **bench.identity,
        "corpus_name": corpus.name,
        "encoder": phi.id,
        "n": n,
        "settings": [dataclasses.asdict(one) for one in chosen],
    }
    with tqdm(names, unit="row", disable=quiet) as bar:
        for at, name in enumerate(bar):
            bar.set_description(name)
            if at < len(chosen):
                one = chosen[at]
                found.append(_setting_row(benches[one.encoder], one, _setting(one, n, corpus), folder))
            else:
                found.append(_control_row(bench, name, keys, anchor, phi.id, folder))
            result = Frontier(tuple(_rows(found)), tuple(notes + _notes(bench, n, found[0]["network"])), facts)
            result.save(folder)

    # 3. Draw.
    from npgen.studies.frontier_plots import save_page, save_plots

    pictures = {one["name"]: np.load(folder / "rows" / f"{one['key']}.npy") for one in found}
    provenance = [{"corpus": corpus.hash, "seed": seed, "row": name} for name in pictures]
    save_png(labelled_rows(pictures), folder / "samples.png", provenance)
    save_plots(result.rows, folder, facts)
    save_page(result.rows, result.columns(), result.notes, corpus.name, folder)
    return result


def _benches(bench: Workbench, settings: Sequence[FrontierSetting]) -> dict[str | None, Workbench]:
    """Return a workbench per encoder of the settings; raise ValueError if two settings have one name."""
    if not settings:
        raise invalid("settings", "at least one", 0)
    for one in settings:
        check_type("settings", one, FrontierSetting)
    names = [one.name for one in settings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise invalid("settings", "of different names", twice)
    encoders = {one.encoder for one in settings}
    return {encoder: bench if encoder is None else dataclasses.replace(bench, encoder=encoder) for encoder in encoders}


def _setting(one: FrontierSetting, n: int, corpus: Corpus) -> Setting:
    return Setting(one.model, one.config, n, len(corpus))


def _anchors(corpus: Corpus, seed: int, n: int) -> NDArray[np.int32]:
    """Return the anchors (n,) that all runs of the seed have."""
    plan = PixelPlan(corpus, "local", Config(window=3, seed_size=1), seed)
    return plan.seeds.images(np.arange(n, dtype=np.uint64))


def _setting_row(bench: Workbench, one: FrontierSetting, setting: Setting, folder: Path) -> dict[str, Any]:
    facts = {
        **bench.identity,
        "version": Frontier.VERSION,
        "model": one.model,
        "encoder": bench.encoder_id(one.model),
        "config": one.config.to_json(),
        "n": setting.n,
    }

    def make() -> tuple[Any, float]:
        return bench.run(setting, None)

    return {"name": one.name, "kind": "setting", **_stored(bench, facts, make, folder)}


def _control_row(
    bench: Workbench, name: str, keys: NDArray[np.float32], anchor: NDArray[np.int32], encoder_id: str, folder: Path
) -> dict[str, Any]:
    version = {"version": Frontier.VERSION}
    facts = {**bench.identity, **version, "control": name, "encoder": encoder_id, "n": len(anchor)}

    def make() -> tuple[Any, None]:
        return make_control(name, bench.corpus, keys, anchor), None

    return {"name": name, "kind": "control", **_stored(bench, facts, make, folder)}


def _stored(bench: Workbench, facts: dict[str, Any], make: Any, folder: Path) -> dict[str, Any]:
    """Return the stored row of these facts, or make and measure its images."""
    file = row_file(folder, facts)
    shown = file.with_suffix(".npy")
    if file.exists() and shown.exists():
        names = {"samples", "heldout", "training", "network", "seconds_per_sample"}
        return {"key": file.stem, **check_row(file, read_json(file), names)}
    images, seconds = make()
    row = {"facts": facts, "seconds_per_sample": seconds, **bench.measure(images)}
    file.parent.mkdir(exist_ok=True)
    npy.write_array(shown, np.asarray(images.pixels[:SHOWN]))
    write_row(file, row)
    return {"key": file.stem, **row}


def _rows(found: Sequence[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = [
        {"name": one["name"], "kind": one["kind"], **one["samples"], "seconds_per_sample": one["seconds_per_sample"]}
        for one in found
    ]
    for row in rows:
        row["best"] = row["kind"] == "setting" and not any(_is_better(other, row) for other in rows)
    for name in ("heldout", "training"):
        label = "real held-out" if name == "heldout" else "real training"
        rows.append({"name": label, "kind": "real", **found[0][name]})
    return rows


def _is_better(one: Row, other: Row) -> bool:
    """Whether a row is better at equal novelty: closer to real images, from as many sources, with as few copies."""
    return bool(
        one["frechet"] < other["frechet"]
        and one["effective_sources"] >= other["effective_sources"]
        and one["near_copies"] <= other["near_copies"]
    )


def _notes(bench: Workbench, n: int, network: dict[str, Any] | None) -> list[str]:
    controls = "; ".join(f"{name}: {what}" for name, what in CONTROLS.items())
    return [
        f"Corpus {bench.corpus.name} ({len(bench.corpus)} images), {n} images per row, seed {bench.seed}: image k has "
        "the same anchor in all rows.",
        "Bold: no other setting or control has a smaller Fréchet distance with no fewer effective sources and no more "
        "near copies.",
        f"Controls, of the images nearest to the anchor in the embedding: {controls}.",
        "Effective sources: exp of the entropy of the source images' shares of the frame, median. FLD: feature "
        "likelihood divergence, less is better; about 0 for real images not in the corpus, thousands for whole copies.",
        *quality_notes(bench, network),
    ]


def read_settings(path: Path) -> tuple[FrontierSetting, ...]:
    """Read a list of settings from a JSON file: an array of objects as `FrontierSetting.from_json` takes them."""
    try:
        values = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"settings must be a JSON file, got {str(path)!r} ({error})") from error
    if not isinstance(values, list):
        raise invalid("settings", "a JSON array of settings", values)
    return tuple(FrontierSetting.from_json(one) for one in values)
