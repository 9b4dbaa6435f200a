"""The encoder: trained for the time there is, and judged beside the shipped one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import npgen
from gpu_steps.check import Check, Stopwatch, table
from gpu_steps.compare import SHIPPED, nearest
from npgen.encoders import Recipe, knn_accuracy
from npgen.nn import Layer

SNAPSHOTS = 45.0  # seconds between snapshots
SQUARES = (32, 24, 16, 8)
NEIGHBOURS = (15, 100)
ANCHORS = 2000


def wide_layers(a: int, b: int, c: int, d: int) -> tuple[Layer, ...]:
    """Return the photographs' layers at other widths of their four stages."""
    return (
        *((a, 3, 1), (a, 3, 1), (a, 3, 1, 2)),
        *((b, 3, 2), (b, 3, 1, 2)),
        *((c, 3, 2), (c, 3, 1, 2), (c, 3, 1), (c, 3, 1, 2)),
        *((d, 3, 2), (d, 3, 1, 2)),
    )


# 4.96 MB in float16. Epochs count as shares of the time: two thirds without masks, then half of the views masked.
WIDE: dict[str, Any] = {
    "layers": wide_layers(64, 96, 160, 304),
    "batch_size": 2048,
    "epochs": 200,
    "masked_epochs": 100,
    "masked_rate": None,
    "full": 1.0,
    "masked_full": 0.5,
    "warmup_epochs": 10.0,
    "projection": 256,
    "draws": "device",
}
TINY: dict[str, Any] = {**WIDE, "layers": wide_layers(8, 8, 16, 16), "batch_size": 64, "projection": 32}


def train(check: Check) -> dict[str, Any]:
    """Train by the wide recipe for the time given, and leave weights."""
    from npgen.encoders.simclr import train_encoder

    corpus = check.corpus()
    given = json.loads(Path(check.recipe).read_text(encoding="utf-8")) if check.recipe else {}
    recipe = replace(Recipe.for_corpus(corpus), **(TINY if check.tiny else WIDE))
    recipe = Recipe.from_json({**recipe.to_json(), **given})
    seconds = check.train_seconds
    check.say("train", f"Recipe: `{json.dumps({**recipe.to_json(), 'seconds': seconds})}`", "")
    options: dict[str, Any] = {"device": check.device, "resume": False, "progress": False}
    encoder = train_encoder(corpus, check.weights, recipe, **options, seconds=seconds, snapshot_every=SNAPSHOTS)
    size = check.weights.stat().st_size
    epochs, loss = encoder.metadata["epochs"], encoder.metadata["loss"]
    facts = {"seconds": seconds, "epochs": epochs, "bytes": size, "loss": loss, "id": encoder.id}
    # The last epoch is seldom a whole one, and counts as half of one here.
    rate = (epochs - 0.5) * len(corpus) / seconds
    check.say("train", f"{size / 1e6:.2f} MB, {epochs} epochs in {seconds:g} s, about {rate:,.0f} images per second.")
    check.say("train", f"Mean loss of the last epoch: {loss}.")
    if size > 5e6:
        check.say("train", "More than 5 MB: too large to be shipped.")
    return facts


def judge(check: Check) -> dict[str, Any]:
    """Measure shipped and trained encoder: 20-NN accuracy at known squares, purity of neighbours, time on a CPU."""
    corpus = check.corpus()
    paths: dict[str, str | Path] = {"shipped": SHIPPED, "trained": check.weights}
    snapshot = check.weights.with_suffix(".snapshot.safetensors")
    if not check.weights.exists():
        paths = {"shipped": SHIPPED, **({"snapshot": snapshot} if snapshot.exists() else {})}
        check.say("judge", "There is no trained encoder" + (", but a snapshot." if snapshot.exists() else "."), "")
    values = {name: _measured(corpus, path, check) for name, path in paths.items()}
    names = list(next(iter(values.values())))
    check.say("judge", *table(("", *names), [(name, *(row[key] for key in names)) for name, row in values.items()]))
    return {"encoders": values}


def _measured(corpus: npgen.Corpus, spec: str | Path, check: Check) -> dict[str, Any]:
    encoder = npgen.Encoder.find(spec, corpus, check.device)
    row: dict[str, Any] = {}
    heldout = corpus.heldout
    assert heldout is not None and heldout.labels is not None and corpus.labels is not None
    k = min(20, len(corpus) - 1)
    accuracy = knn_accuracy(encoder, corpus, heldout.images, heldout.labels, SQUARES, k)
    row.update({f"20-NN at {side}": round(share, 4) for side, share in accuracy.items()})
    keys = npgen.embed(corpus, encoder, progress=False)
    anchors = np.linspace(0, len(corpus) - 1, min(ANCHORS, len(corpus))).round().astype(np.int32)
    labels = np.asarray(corpus.labels)
    for length in NEIGHBOURS:
        ids = nearest(np.array(keys), anchors, length, check.device)
        row[f"purity of {length}"] = round(float((labels[ids] == labels[anchors, None]).mean()), 4)
    on_cpu = npgen.Encoder.find(spec, corpus, "cpu")
    few = np.asarray(corpus.images[:256])
    on_cpu.encode(few)
    with Stopwatch() as watch:
        on_cpu.encode(few)
    row["CPU, ms per image"] = round(1000 * watch.seconds / len(few), 2)
    row["MB"] = round(sum(tensor.nbytes for tensor in encoder.tensors.values()) / 1e6, 2)
    return row
