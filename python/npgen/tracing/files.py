"""All figures of chosen samples as files, with their provenance."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from npgen.corpus import Corpus
from npgen.errors import check_choice
from npgen.output import KEY, figure_bytes, own_style, provenance_text
from npgen.runs import Samples
from npgen.storage import write_bytes
from npgen.tracing import layouts, maps, usage
from npgen.tracing.canvas import STYLE, check_indices, panel_height, plain_figure

Format = Literal["png", "svg", "pdf"]
# Number of samples that are drawn if none are chosen.
FIRST = 4


def save_figures(
    samples: Samples,
    corpus: Corpus,
    folder: str | os.PathLike[str],
    indices: Sequence[int] | None = None,
    format: Format = "png",
    written: Callable[[Path], None] = lambda path: None,
) -> list[Path]:
    """Write all figures of chosen samples; without labels, the figures of classes are left out.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from.
    folder
        Folder of the files, made if it does not exist. Files are written atomically and replace older ones.
    indices
        Indices of the samples, from 0; 1 to 100, none twice. None means the first four.
    format
        "png", "svg" or "pdf". All hold `samples.provenance()` as JSON: a PNG in its `npgen` text chunk, an SVG in its
        description, a PDF in its keywords. The same samples give the same bytes with the same matplotlib.
    written
        Called with the path of each file after it was written.

    Returns
    -------
    list of Path
        The files, in the order of writing: those of all chosen samples, then those of each.

    Raises
    ------
    TypeError, ValueError
        If an index or the format is not allowed, or the samples were made from another corpus.
    OSError
        If a file can't be written.
    """
    check_choice("format", format, get_args(Format))
    chosen = check_indices(samples, range(min(FIRST, len(samples))) if indices is None else indices)
    samples.check_corpus(corpus)
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in _drawings(samples, corpus, chosen):
        path = Path(folder) / f"{name}.{format}"
        with own_style(STYLE):
            write_bytes(path, _encoded(draw(), name, samples, format))
        paths.append(path)
        written(path)
    return paths


def _drawings(samples: Samples, corpus: Corpus, chosen: list[int]) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name of each figure, and a function that draws it."""
    labelled = corpus.labels is not None
    yield "samples-with-maps", partial(_layout, layouts.samples_with_maps, samples, corpus, chosen)
    if labelled:
        class_maps = partial(layouts.samples_with_maps, maps=("class",), across=3)
        yield "class-maps", partial(_layout, class_maps, samples, corpus, chosen)
    yield "fill-order", partial(_panel, maps.fill_order_map, samples)
    for k in chosen:
        alone, sourced = (samples, k), (samples, corpus, k)
        yield f"sample-{k}-sources", partial(_layout, layouts.sources_around, *sourced)
        yield f"sample-{k}-timeline", partial(_layout, layouts.timeline_with_maps, *sourced)
        yield f"sample-{k}-image-id-map", partial(_panel, maps.image_id_map, *alone)
        yield f"sample-{k}-image-id-entropy", partial(_panel, maps.image_id_entropy, *alone)
        if labelled:
            yield f"sample-{k}-class-map", partial(_panel, maps.class_map, *sourced, legend=True)
            yield f"sample-{k}-class-entropy", partial(_panel, maps.class_entropy, *sourced)
        yield f"sample-{k}-pool-size", partial(_panel, maps.pool_size_map, *alone)
        yield f"sample-{k}-distance", partial(_panel, maps.distance_map, *alone)
        yield f"sample-{k}-mosaic", partial(_panel, usage.patch_mosaic, *sourced)


def _layout(draw: Callable[..., dict[Any, Axes]], *arguments: Any) -> Figure:
    made: list[Figure] = []

    def make(height: float) -> Figure:
        made.append(plain_figure(height))
        return made[0]

    draw(*arguments, figure=make)
    return made[0]


def _panel(draw: Callable[..., Axes], samples: Samples, *arguments: Any, legend: bool = False) -> Figure:
    figure = plain_figure(panel_height(samples, legend))
    draw(samples, *arguments, axes=figure.add_subplot())
    return figure


def _encoded(figure: Figure, title: str, samples: Samples, format: Format) -> bytes:
    """Return the bytes of a figure's file, with its provenance and without a date."""
    facts = provenance_text(samples.provenance())
    metadata: dict[str, str | None] = {
        "png": {"Title": title, KEY: facts, "Software": None},
        "svg": {"Title": title, "Description": facts, "Date": None},
        "pdf": {"Title": title, "Keywords": facts, "CreationDate": None},
    }[format]
    return figure_bytes(figure, format, metadata)
