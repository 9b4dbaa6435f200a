"""The γ study: how samples change from new images into copies as the sampler's context grows.

Three samplers, each over a series of ranges γ: of pixels (`local`, window 2γ + 1, same place), of tokens (same place,
raster order), and the parametric twin of the tokens' sampler. The same is measured for all: the distance to the nearest
training image, the share of copies, the entropy of the sources, and the quality scores.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from tqdm.auto import tqdm

from npgen.config import Config
from npgen.corpus import Corpus
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, number
from npgen.studies.gamma_measures import QUANTILES
from npgen.studies.gamma_points import KINDS, VERSION, PointRunner, points_of
from npgen.studies.results import StudyResult
from npgen.studies.workbench import Workbench
from npgen.tokens import Tokens


@dataclass(frozen=True)
class GammaStudy(StudyResult):
    """The result of `gamma_study`.

    Attributes
    ----------
    rows
        One row per sampler and range, then one of real held-out images: JSON-able values by name.
    notes
        Sentences below the table that explain it.
    facts
        All facts that decide the rows: corpus, settings, seed.
    """

    FORMAT: ClassVar[str] = "npgen-gamma-study"
    VERSION: ClassVar[int] = VERSION

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def columns(self) -> list[Column]:
        """Return the columns of the Markdown table."""
        return [
            Column("sampler", lambda row: row["kind"]),
            Column("γ", lambda row: row.get("gamma")),
            number("γ, pixels", "range", "d"),
            Column("PSNR to nearest training image, 5–50–95 %", lambda row: _quantiles(row, "psnr")),
            number("copies", "copies", ".1%"),
            Column("… to nearest as decoded", lambda row: _quantiles(row, "decoded_psnr")),
            number("copies as decoded", "decoded_copies", ".1%"),
            number("image-ID entropy", "image_id_entropy", ".3f"),
            number("IS", "inception_score", ".2f"),
            number("Fréchet", "frechet", ".2f"),
            number("nats / token", "loss", ".3f"),
            number("s / sample", "seconds_per_sample", ".3g"),
        ]

    def labels(self) -> int:
        """Return the number of leftmost columns that hold text: sampler and range."""
        return 2


def gamma_study(
    corpus: Corpus,
    out: str | os.PathLike[str],
    gammas: Sequence[int | None] = (1, 2, 3, 5, 8, 12, None),
    n: int = 200,
    *,
    kinds: Sequence[str] = KINDS,
    images: int | None = None,
    tokens: str | os.PathLike[str] | Tokens = "auto",
    config: Config | None = None,
    twin_steps: int = 1000,
    seed: int = 0,
    heldout: Corpus | None = None,
    network: str = "corpus",
    weights: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
) -> GammaStudy:
    """Run samplers over a series of ranges, and measure the transition from generation to memorisation.

    Each sampler and range is one row, which is stored as soon as it is measured and is not run again: the same call
    resumes an interrupted study. `results.csv`, `results.json`, `table.md` and a plot (PNG and SVG) are made from the
    rows; all but the timings are a function of the arguments.

    Parameters
    ----------
    corpus
        N source images. Quality scores need labels, or another network.
    out
        Folder to make, or that of an earlier study.
    gammas
        Ranges: in pixels for pixels, in cells for tokens and their twin. None is global: all earlier cells, or the
        largest possible window. A range beyond the images is left out if it would repeat the global one.
    n
        Number of samples per row, at least 4.
    kinds
        Samplers: some of "pixels", "tokens" and "twin".
    images
        Number of source images: the first ones in a random order of the corpus defined by the seed; None means all.
        Held-out images and quality scores are always those of the whole corpus.
    tokens
        The corpus's tokens, as for `load_tokens`.
    config
        Settings that tokens are drawn with: `epsilon`, `k_min`, `metric`, `draw`, `flip`; None means the defaults.
    twin_steps
        Number of steps that each twin is trained for.
    seed
        Seed of all draws.
    heldout
        Real images to measure beside the samples; None takes the corpus's own, if there are any.
    network, weights
        The network of the quality scores, and its weights, as for `npgen.evaluate`.
    batch_size, device, threads
        As for `npgen.generate`.
    quiet
        Show no progress bar.

    Returns
    -------
    GammaStudy
        The rows.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `out` holds another study: before anything is run.
    FileExistsError
        If `out` holds other files.
    ModuleNotFoundError
        If the extra `figures` is not installed.

    Examples
    --------
    >>> corpus = npgen.Corpus.from_arrays(npgen.load_corpus("mnist-5k").images[:200])
    >>> study = npgen.gamma_study(corpus, "gamma", (1, 2), 4, kinds=["pixels"], quiet=True)
    >>> [(row["gamma"], row["copies"]) for row in study.rows]
    [('1', 0.0), ('2', 0.0)]
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError('plots need the extra `figures`: pip install "npgen[figures]"')
    # 1. Plan: all arguments are checked before the first run.
    bench = Workbench(corpus, seed, "pixels", heldout, network, weights, batch_size, device, threads)
    check_whole("n", n, 4)
    check_whole("images", len(corpus) if images is None else images, 2, len(corpus))
    check_whole("twin_steps", twin_steps, 1)
    check_type("config", config, Config, type(None))
    base = dataclasses.replace(config or Config(), order="raster", gamma=None)
    base.check_ignored_settings(tokens=True)
    runner = PointRunner(bench, points_of(kinds, gammas), n, images or len(corpus), tokens, base, twin_steps, quiet)
    points = runner.distinct()
    folder = Path(out)
    GammaStudy.claim(folder)
    # 2. Run and measure; the tables grow with each row.
    rows: list[Row] = []
    with tqdm(points, unit="point", disable=quiet) as bar:
        for point in bar:
            bar.set_description(f"{point.kind} γ {point.name}")
            rows.append(runner.row(point, folder))
            result = GammaStudy((*rows, *runner.real), tuple(runner.notes()), runner.facts)
            result.save(folder)
    # 3. Draw.
    from npgen.studies.gamma_plots import save_plot

    save_plot(result.rows, result.facts, folder)
    return result


def parse_gammas(text: str) -> list[int | None]:
    """Parse the ranges of the command line: whole numbers and `global`, with commas between them."""
    try:
        return [None if part.strip() == "global" else int(part) for part in text.split(",")]
    except ValueError as error:
        raise invalid("gammas", "whole numbers or global, with commas between them", text) from error


def _quantiles(row: Row, key: str) -> str | None:
    values = [row.get(f"{key}_{q:02}") for q in QUANTILES]
    return None if None in values else "–".join(f"{value:.1f}" for value in values)
