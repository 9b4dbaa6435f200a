"""`npgen evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import npgen
from npgen.cli.common import Device, Heldout, NetworkName, Quiet, RunCorpus, RunFolder, Weights
from npgen.corpus import find_recorded, open_corpus, resized
from npgen.els import is_score_run
from npgen.storage import write_bytes


def evaluate(
    run: RunFolder,
    corpus: RunCorpus = None,
    heldout: Heldout = None,
    network: NetworkName = "corpus",
    weights: Weights = None,
    seed: Annotated[int, typer.Option(help="Decides which real images are drawn.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score samples beside as many real images; writes evaluation.json and evaluation.md into the run.

    With another network than the corpus's own, the files are called evaluation-NETWORK.
    """
    samples, source, real = load_run(run, corpus, heldout)
    evaluation = npgen.evaluate(
        samples, source, heldout=real, network=network, weights=weights, seed=seed, device=device, quiet=quiet
    )
    name = "evaluation" if network == "corpus" else f"evaluation-{network}"
    evaluation.save(run / f"{name}.json")
    write_bytes(run / f"{name}.md", f"{evaluation.markdown()}\n".encode())
    typer.echo(evaluation.markdown())


def load_run(
    run: Path, corpus: str | None, heldout: str | None
) -> tuple[npgen.Samples | npgen.ScoreSamples, npgen.Corpus, npgen.Corpus | None]:
    """Load the samples of a run of `npgen generate` or `npgen els`, their corpus, and held-out images.

    Score machines work on resized images: corpus and held-out images then have the size of the samples.
    """
    if not is_score_run(run):
        samples = npgen.load_samples(run)
        source = open_corpus(find_recorded(samples.corpus_name, corpus))
        return samples, source, None if heldout is None else npgen.load_corpus(heldout)
    scores = npgen.load_score_samples(run)
    source = open_corpus(find_recorded(scores.settings["corpus"]["name"], corpus))
    real = source.heldout if heldout is None else npgen.load_corpus(heldout)
    size = scores.images.shape[1:3]
    return scores, resized(source, size), None if real is None else resized(real, size)
