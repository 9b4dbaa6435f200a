"""Predict the time of a sample from the amount of work, and compare the prediction with runs at several corpus sizes.

The work of each part of a run follows from its shapes (docs/scaling.md). The time per unit of work is measured once, at
the first size; the times at the other sizes are predictions.

    python scripts/cost_model.py mnist --sizes 20000 5000 60000 --model full --seconds 20
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import npgen
from npgen.sampling import PixelPlan
from npgen_bench import Task, measure_model


def work(corpus: npgen.Corpus, model: str, config: npgen.Config, width: int) -> dict[str, float]:
    """Return the units of work of each part of a sample: the cost model of docs/scaling.md."""
    total, height, wide, channels = corpus.images.shape
    plan = PixelPlan(corpus, model, config, seed=0)
    seen, known = 0, np.zeros((height, wide), np.bool_)
    y, x, side, _ = config.seed_rect(height, wide)
    known[y : y + side, x : x + side] = True
    half = config.window // 2
    for y, x in plan.order.pixels:
        seen += int(known[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1].sum())
        known[y, x] = True
    pixels = len(plan.order.pixels)
    stages = sum(1 for _ in plan.stages())
    embedded = plan.model.embedding
    candidates = config.shortlist if embedded else total
    places = (2 * config.locality + 1) ** 2
    return {
        "encoder": (1 if config.anchor_weight == 1 else stages) * height * wide * channels if embedded else 0,
        "shortlist": stages * total * width if embedded else 0,
        "scan": seen * candidates * places * channels,
        "rest": pixels,
    }


def part_of(corpus: npgen.Corpus, size: int, folder: Path) -> npgen.Corpus:
    """Store `size` random images of a corpus as a corpus of their own."""
    ids = np.sort(np.random.default_rng(0).permutation(len(corpus))[:size])
    labels = None if corpus.labels is None else corpus.labels[ids]
    npgen.Corpus.from_arrays(corpus.images[ids], labels, corpus.classes).save(folder)
    return npgen.load_corpus(folder)


def main() -> None:
    """Measure the time per unit at the first size; predict and measure the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="name of a corpus, or its folder")
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="numbers of images; the first calibrates")
    parser.add_argument("--model", default="full")
    parser.add_argument("--encoder", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="time of each measurement")
    options = parser.parse_args()
    whole, config = npgen.load_corpus(options.corpus), npgen.Config()
    phi = npgen.load_encoder(options.encoder, whole)
    name = options.encoder
    cost: dict[str, float] = {}
    worst = 0.0
    print("Times in ms per sample, measured / predicted.\n")
    print("| images | measured | predicted | ratio | encoder | shortlist | scan | rest |\n" + 8 * "|--:" + "|")
    with tempfile.TemporaryDirectory() as place:
        if name == "auto":  # a part of a corpus is another corpus, without the encoder of the first
            name = str(Path(place) / "encoder.safetensors")
            phi.save(name)
        for size in options.sizes:
            corpus = part_of(whole, size, Path(place) / str(size))
            todo = work(corpus, options.model, config, phi.dim)
            task = Task(
                options.model, str(corpus.path), name, config, options.threads, options.seconds, options.batch_size
            )
            (row,) = measure_model(task)
            count = len(row.details["batches"]) * options.batch_size
            spent = {part: seconds / count for part, seconds in row.details["spent"].items()}
            cost = cost or {part: spent[part] / amount if amount else 0.0 for part, amount in todo.items()}
            predicted = {part: cost[part] * amount for part, amount in todo.items()}
            ratio = sum(predicted.values()) / sum(spent.values())
            worst = max(worst, abs(ratio - 1))
            shares = " | ".join(f"{1000 * spent[part]:.2f} / {1000 * predicted[part]:.2f}" for part in todo)
            print(
                f"| {size:,} | {1000 * sum(spent.values()):.2f} | {1000 * sum(predicted.values()):.2f} "
                f"| {ratio:.2f} | {shares} |",
                flush=True,
            )
    print(f"farthest from the measured time: {worst:.0%}")
    print("time per unit, in ns: " + ", ".join(f"{part} {1e9 * value:.4g}" for part, value in cost.items()))
    sys.exit(worst > 0.25)


if __name__ == "__main__":
    main()
