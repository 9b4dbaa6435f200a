"""The paper's ablation: all models with the same seeds, in one table and one picture (Tables 1 and 2, Figure 2)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tqdm.auto import tqdm

from npgen.config import MODELS, Config, find_model
from npgen.corpus import Corpus, known_data_set
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, enlarged, number, quality_columns, save_png, side_by_side, stacked
from npgen.runs import Samples
from npgen.storage import read_json, sha256_file, write_json
from npgen.studies.results import StudyResult
from npgen.studies.workbench import Setting, Workbench, quality_notes

# Rows of the panel: number of samples of each model.
PANEL_ROWS = 10
# Smallest width in pixels that the panel's images are enlarged to; gaps between them, and height of the heads.
PANEL_SIDE = 168
PANEL_GAP = PANEL_SIDE // 28
PANEL_HEAD = round(PANEL_SIDE / 2.2)


@dataclass(frozen=True)
class Paper:
    """Name of a model in the paper (arXiv 2510.22196), and its scores on CIFAR-10: Tables 1 and 2."""

    name: str
    inception_score: float | None = None
    fid: float | None = None
    class_entropy: float | None = None
    image_id_entropy: float | None = None


PAPER = {
    "full": Paper("NS + L + H", 5.903, 60.357, 1.075, 2.4962),
    "local": Paper("NS + L", class_entropy=1.461, image_id_entropy=2.2046),
    "texture": Paper("L"),
    "semantic": Paper("NS + H", 4.081, 32.924),
    "class": Paper("CC", class_entropy=0.0, image_id_entropy=1.550),
}


@dataclass(frozen=True)
class Ablation(StudyResult):
    """The result of `ablate`.

    Attributes
    ----------
    rows
        One row per model, then real held-out and real training images for each number of samples: JSON-able values by
        name.
    notes
        Sentences below the table that explain it.
    facts
        All facts that decide the rows: corpus, settings, seed.
    """

    FORMAT: ClassVar[str] = "npgen-ablation"
    VERSION: ClassVar[int] = 1
    CSV: ClassVar[str] = "table.csv"

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def columns(self) -> list[Column]:
        """Return the columns of the Markdown table."""
        return [
            Column("", lambda row: row["name"]),
            Column("paper's name", lambda row: row["paper_name"]),
            number("images", "n", "d"),
            *quality_columns(),
            number("paper's IS¹", "paper_inception_score", ".3f"),
            number("paper's FID¹", "paper_fid", ".2f"),
            number("class entropy", "class_entropy", ".3f"),
            number("paper's class entropy¹", "paper_class_entropy", ".3f"),
            number("image-ID entropy", "image_id_entropy", ".3f"),
            number("paper's image-ID entropy¹", "paper_image_id_entropy", ".3f"),
            number("part–whole area", "part_whole", ".1%"),
            number("pools of one", "pool_one", ".1%"),
            number("fallbacks", "fallbacks", ".1%"),
            number("s / sample", "seconds_per_sample", ".3g"),
        ]

    def labels(self) -> int:
        """Return the number of leftmost columns that hold text: npgen's name and the paper's."""
        return 2

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        parts = {"rows": list(self.rows), "notes": list(self.notes)}
        return {"format": self.FORMAT, "version": self.VERSION, **self.facts, **parts}


def ablate(
    corpus: Corpus,
    out: str | os.PathLike[str],
    n: int = 1000,
    models: Sequence[str] | None = None,
    config: Config | None = None,
    seed: int = 0,
    *,
    counts: Mapping[str, int] | None = None,
    heldout: Corpus | None = None,
    network: str = "corpus",
    weights: str | os.PathLike[str] | None = None,
    encoder: Any = "auto",
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
) -> Ablation:
    """Run all models with the same seeds and compare them: Tables 1 and 2, and Figure 2 of the paper.

    Each model's samples are stored as a run folder, `runs/<model>`, and their scores beside it. Stored samples and
    scores are not made again, so that the same call resumes an interrupted study. `table.md`, `table.csv`,
    `results.json` and the picture `panel.png` are written at the end; all but the timings are a function of the
    arguments.

    Parameters
    ----------
    corpus
        N source images. Scores need labels and held-out images; without them the table has entropies and timings only,
        and a note about it.
    out
        Folder to make, or that of an earlier call with the same settings.
    n
        Number of samples per model, at least 4; at least 2 if nothing is scored.
    models
        Names of models; None means all, without those of labels if the corpus has none.
    config
        Settings of all models; None means the defaults.
    seed
        Seed of all draws. Sample k has the same seed patch in all models.
    counts
        Smaller numbers of samples for single models, by name. None means 100 of "texture", which is slow.
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
    Ablation
        The table.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `out` holds another study: before anything is run.
    FileExistsError
        If `out` holds other files.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> config = npgen.Config(window=5)
    >>> table = npgen.ablate(corpus, "ablation", 2, ["local", "class"], config, quiet=True)
    >>> [(row["name"], row["class_entropy"] == 0) for row in table.rows]
    [('`local`', False), ('`class`', True)]
    """
    # 1. Plan: one setting per model, all checked before the first run.
    bench = Workbench(corpus, seed, encoder, heldout, network, weights, batch_size, device, threads)
    names = _chosen(models, corpus)
    config = config or Config()
    counts = {"texture": 100} if counts is None else counts
    check_type("counts", counts, Mapping)
    for name, count in counts.items():
        find_model(name)
        check_whole(f"counts[{name!r}]", count, 2)
    check_whole("n", n, 2)
    settings = [Setting(name, config, int(min(n, counts.get(name, n))), len(corpus)) for name in names]
    folder = Path(out)
    for setting in settings:
        bench.check(setting)
        if (folder / "runs" / setting.model).exists():
            bench.check_kept(setting, folder / "runs" / setting.model)
    Ablation.claim(folder)

    # 2. Run and measure.
    found: list[dict[str, Any]] = []
    shown: list[Samples] = []
    with tqdm(settings, unit="model", disable=quiet) as bar:
        for setting in bar:
            bar.set_description(setting.model)
            samples, seconds = bench.run(setting, folder / "runs" / setting.model)
            measured = _measured(bench, samples, folder / "runs" / setting.model)
            found.append({"setting": setting, "seconds": seconds, **measured})
            shown.append(samples[: min(PANEL_ROWS, setting.n)])

    # 3. Write tables and picture.
    facts = {**bench.identity, "corpus_name": corpus.name, "config": config.to_json(), "n": n, "models": names}
    ablation = Ablation(
        tuple(_rows(found, _is_cifar10(corpus))), tuple(_notes(bench, names, found[0]["network"])), facts
    )
    save_png(_panel(shown, corpus), folder / "panel.png", [samples.provenance() for samples in shown], dpi=300)
    ablation.save(folder)
    return ablation


def _chosen(models: Sequence[str] | None, corpus: Corpus) -> list[str]:
    if models is None:
        return [name for name in MODELS if name not in _of_labels() or corpus.labels is not None]
    for name in models:
        find_model(name)
    if not models or len(set(models)) < len(models):
        raise invalid("models", "one or more models, each once", list(models))
    for name in _of_labels():
        if name in models and corpus.labels is None:
            raise invalid("models", f"without {name!r}, as the corpus has no labels", list(models))
    return list(models)


def _of_labels() -> list[str]:
    """Return the names of the models that need labels."""
    return [name for name, model in MODELS.items() if model.label]


def _measured(bench: Workbench, samples: Samples, run: Path) -> dict[str, Any]:
    """Measure a stored run, or read the measurements of an earlier call of the same run."""
    file = run.with_name(f"{run.name}.json")
    key = {"run": sha256_file(run / "manifest.json"), **bench.identity}
    if file.exists():
        stored = read_json(file)
        if stored.get("key") == key:
            try:
                return {name: stored[name] for name in ("samples", "heldout", "training", "network")}
            except KeyError as error:
                raise ValueError(f"{file} must be as it was written (delete it), got one without {error}") from error
    measured = bench.measure(samples)
    write_json(file, {"key": key, **measured})
    return measured


def _rows(found: list[dict[str, Any]], with_paper: bool) -> list[Row]:
    rows: list[Row] = []
    for one in found:
        setting: Setting = one["setting"]
        paper = PAPER.get(setting.model, Paper(""))
        row = {"name": f"`{setting.model}`", "paper_name": paper.name or None, **one["samples"]}
        row |= {"n": row.get("n", setting.n), "seconds_per_sample": one["seconds"]}
        if with_paper:
            row |= {f"paper_{key}": value for key, value in dataclasses.asdict(paper).items() if key != "name"}
        rows.append(row)
    real: dict[int, list[Row]] = {}
    for one in found:
        if one["heldout"] is not None:
            pair = (("real held-out", one["heldout"]), ("real training", one["training"]))
            real[one["heldout"]["n"]] = [{"name": name, "paper_name": None, **scores} for name, scores in pair]
    return rows + [row for _, pair in sorted(real.items(), reverse=True) for row in pair]


def _notes(bench: Workbench, names: list[str], network: dict[str, Any] | None) -> list[str]:
    notes = [
        f"Corpus {bench.corpus.name} ({len(bench.corpus)} images), seed {bench.seed}: sample k has the same seed patch "
        "in all models.",
        *quality_notes(bench, network),
    ]
    if _is_cifar10(bench.corpus):
        notes.append(
            "¹ The paper's numbers (arXiv 2510.22196, Tables 1 and 2, CIFAR-10): Inception Score and FID in "
            "Inception-v3, on another number of samples; not comparable with scores in another network."
        )
    if bench.corpus.labels is None:
        notes += [f"`{name}` is left out: the corpus has no labels." for name in _of_labels()]
    return notes


def _is_cifar10(corpus: Corpus) -> bool:
    return known_data_set(corpus) == "cifar10"


def _panel(shown: list[Samples], corpus: Corpus) -> Image.Image:
    """Draw Figure 2: one column for the seeds' source images and one per model, one row per seed."""
    rows = min(len(samples) for samples in shown)
    height, width = corpus.images.shape[1:3]
    scale = max(1, math.ceil(PANEL_SIDE / width))
    sources = _column("source", "seed framed", np.asarray(corpus.images[shown[0].anchor[:rows]]), scale)
    y, x, seed_height, seed_width = (scale * extent for extent in shown[0].config.seed_rect(height, width))
    draw = ImageDraw.Draw(sources)
    for row in range(rows):
        top = PANEL_HEAD + row * (height * scale + PANEL_GAP) + y
        frame = (x - 1, top - 1, x + seed_width, top + seed_height)
        draw.rectangle(frame, outline="#E69F00", width=max(2, scale // 2))
    columns = [
        _column(samples.model, PAPER.get(samples.model, Paper("")).name, samples.images[:rows], scale)
        for samples in shown
    ]
    return side_by_side([sources, side_by_side(columns)], gap=2 * PANEL_GAP)


def _column(name: str, subtitle: str, images: NDArray[np.uint8], scale: int) -> Image.Image:
    """Draw images (n, H, W, C) below each other, with a name and a subtitle above, and a gap at the right and below."""
    pictures = [Image.fromarray(enlarged(image, scale).copy()) for image in images]
    width = pictures[0].width
    head = Image.new("RGB", (width + PANEL_GAP, PANEL_HEAD), "white")
    column = ImageOps.expand(stacked([head, stacked(pictures, PANEL_GAP)]), (0, 0, 0, PANEL_GAP), "white")
    draw = ImageDraw.Draw(column)
    for text, size, y in ((name, 5.2, 0.3), (subtitle, 6.4, 0.75)):
        font = ImageFont.load_default(size=PANEL_SIDE / size)
        draw.text((width / 2, y * PANEL_HEAD), text, "black", font, anchor="mm")
    return column
