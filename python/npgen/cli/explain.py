"""`npgen explain`: the pool of one pixel of a run."""

from __future__ import annotations

from typing import Annotated

import typer

import npgen
from npgen.cli.common import EncoderName, RunCorpus, RunFolder
from npgen.corpus import find_recorded, open_corpus
from npgen.output import Column, markdown_table, number


def explain(
    run: RunFolder,
    k: Annotated[int, typer.Argument(help="Index of a sample in the run, from 0.")],
    y: Annotated[int, typer.Argument(help="Row of the pixel.")],
    x: Annotated[int, typer.Argument(help="Column of the pixel.")],
    corpus: RunCorpus = None,
    encoder: EncoderName = "auto",
    top: Annotated[int, typer.Option(min=1, help="Candidates to show, the nearest first.")] = 20,
) -> None:
    """Show the candidate pool that a pixel was drawn from, as it was at the moment of the draw."""
    samples = npgen.load_samples(run)
    source = open_corpus(find_recorded(samples.corpus_name, corpus))
    found = npgen.explain(samples, source, k, (y, x), encoder=encoder)
    pool = found.pool
    shown = sorted({*range(min(top, len(pool))), found.drawn})
    rows = [
        {
            "candidate": f"{place + 1}{' (drawn)' if place == found.drawn else ''}",
            "image": int(pool.image_id[place]),
            "class": source.class_of(int(pool.image_id[place])),
            "place": f"({pool.y[place]}, {pool.x[place]})",
            "value": " ".join(map(str, source.images[pool.image_id[place], pool.y[place], pool.x[place]].tolist())),
            "distance": float(pool.distance[place]),
            "added": float(found.added[place]),
            "probability": float(found.probability[place]),
        }
        for place in shown
    ]
    columns = [
        Column("candidate", lambda row: str(row["candidate"])),
        Column("image", lambda row: str(row["image"])),
        Column("class", lambda row: row["class"]),
        Column("(y, x)", lambda row: str(row["place"])),
        Column("value", lambda row: str(row["value"])),
        number("distance", "distance", ".4g"),
        *([number("of this added", "added", ".4g")] if found.added.any() else []),
        number("probability", "probability", ".3g"),
    ]
    searched = (
        f"all {len(source)} images" if found.shortlist is None else f"a shortlist of {len(found.shortlist)} images"
    )
    known = int(found.known.sum())
    typer.echo(f"Sample {k} of the run, pixel ({y}, {x}), step {found.step}: {known} pixels known,")
    typer.echo(f"{searched}, {len(found.barred)} barred, a pool of {len(pool)}.\n")
    typer.echo(markdown_table(columns, rows, 1))
    if found.recut is not None:
        image, source_y, source_x = found.recut
        value = " ".join(map(str, samples.images[k, y, x].tolist()))
        typer.echo(f"\nWhen the borders were cut anew it got image {image}, ({source_y}, {source_x}), value {value}.")
    if len(shown) < len(pool):
        typer.echo(f"\n{len(pool) - len(shown)} more; --top {len(pool)} shows all.")
