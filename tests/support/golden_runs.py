"""The small runs that the golden test pins: one of every kind, by name."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from golden_parts import (
    CONFIG,
    DEFAULTS,
    approximate,
    autoencoder_file,
    cells,
    colours,
    digest,
    digits,
    of_csv,
    of_run,
    of_samples,
    of_tables,
    payload,
    quarters,
    random_bytes,
    textures,
)

import npgen
from npgen.config import MODELS


class Stage:
    """A folder with the corpora in it, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "NPGEN_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
        for name in ("RANK", "WORLD_SIZE"):
            self.environment.pop(name, None)
        npgen.register_network("quarters", quarters)

    def new(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder)) / "out"

    def command(self, *arguments: Any, status: int = 0) -> str:
        command = [sys.executable, "-m", "npgen_command", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=300, check=False)
        assert ended.returncode == status, ended.stderr
        return ended.stdout

    @functools.cached_property
    def digits(self) -> Path:
        digits().save(self.folder / "digits")
        return self.folder / "digits"

    @functools.cached_property
    def generated(self) -> Path:
        """A run that the command line made."""
        out = self.new()
        self.command("generate", self.digits, *CALL, "-n", 5, "--out", out)
        return out

    @functools.cached_property
    def embedded(self) -> npgen.Corpus:
        """The corpus of that run, its keys beside it."""
        assert self.generated
        return npgen.load_corpus(self.digits)

    @functools.cache  # noqa: B019 (a stage lives as long as the module)
    def tokens(self, corpus: npgen.Corpus) -> npgen.Tokens:
        channels = corpus.images.shape[3]
        levels = (-0.245, 0.13) if channels == 1 else (-0.12,)
        file = autoencoder_file(self.folder / f"autoencoder-{channels}.safetensors", channels, levels)
        return npgen.encode_tokens(corpus, npgen.load_autoencoder(file, corpus, "cpu"), progress=False)


CALL = ("--encoder", "pixels", "--quiet", "--seed", 5, "--first", 2, "--batch-size", 2, "--threads", 1)
CALL = (*CALL, "--window", 5, "--shortlist", 20, "--seed-size", 4, "--sweeps", 1)
CALL_CONFIG = replace(DEFAULTS, sweeps=1)


def generated(
    corpus: Callable[[], npgen.Corpus], model: str, n: int = 4, batch_size: int = 3, **changes: Any
) -> Callable[..., str]:
    def run(stage: Stage, threads: int = 2) -> str:
        config = replace(CONFIG, **changes)
        options = {"encoder": "pixels", "batch_size": batch_size, "threads": threads, "progress": False}
        return of_samples(npgen.generate(corpus(), n, model, config, 5, first=3, **options))

    return run


def of_tokens(corpus: Callable[[], npgen.Corpus], model: str | None = None, **settings: Any) -> Callable[..., str]:
    def run(stage: Stage, threads: int = 2) -> str:
        tokens = stage.tokens(corpus())
        config = npgen.Config(**{"seed_size": 4, **settings})
        options = {"tokens": tokens, "batch_size": 2, "threads": threads, "progress": False}
        return of_samples(npgen.generate(corpus(), 5, model, config, 3, first=1, **options))

    return run


GUIDED = {"anchor_weight": 1.0, "coarse_weight": 0.3, "semantic_weight": 300, "max_share": 0.2, "locality": 4}
LITERAL = {"candidates": "all", "semantic": "threshold", "tolerance": "corpus", "shortlist": 2, "epsilon": 0.3}
GENERATED: dict[str, Callable[..., str]] = {
    **{f"{model}": generated(digits, model) for model in MODELS},
    **{f"{model} of colours": generated(colours, model) for model in MODELS},
    "sweeps": generated(digits, "full", sweeps=2),
    "sweeps without semantics": generated(digits, "local", sweeps=1, quota=None),
    "sweeps of texture": generated(digits, "texture", n=2, sweeps=1),
    "size": generated(digits, "texture", n=2, size=(9, 21)),
    "several sizes": generated(textures, "texture", size=(13, 18)),
    "several sizes, all candidates": generated(textures, "texture", n=2, size=(10, 8), candidates="all", sweeps=1),
    "threshold": generated(digits, "full", semantic="threshold", epsilon=0.3, shortlist=2, k_min=4),
    "threshold of semantic": generated(digits, "semantic", semantic="threshold", epsilon=0.2, shortlist=2),
    "tolerance": generated(digits, "full", tolerance="corpus"),
    "tolerance of colours": generated(colours, "local", n=2, tolerance="corpus", epsilon=0.3),
    "literal": generated(digits, "full", n=2, **LITERAL),
    "all candidates": generated(digits, "class", candidates="all", k_min=3, locality=1),
    "quota": generated(digits, "full", quota=2, window=7, sigma=7 / 6.4),
    "defaults": generated(digits, "full", **DEFAULTS.to_json()),
    "defaults of colours, conditional": generated(colours, "conditional", **DEFAULTS.to_json()),
    "expanded queries": generated(digits, "full", query_expansion=4),
    "share": generated(digits, "full", max_share=0.1),
    "share with sweeps and quota": generated(colours, "local", max_share=0.1, quota=3, sweeps=1),
    "densest of three": generated(digits, "full", select=3, shortlist=8),
    "densest of two, conditional": generated(colours, "conditional", select=2, shortlist=8, max_share=0.2),
    "seams": generated(digits, "full", seams=True),
    "seams of colours, densest of two": generated(colours, "conditional", seams=True, select=2, shortlist=8),
    "seams of several sizes": generated(textures, "texture", seams=True, size=(13, 18), sweeps=1),
    "the anchor alone": generated(digits, "full", anchor_weight=1.0),
    "the canvas alone": generated(digits, "full", anchor_weight=0.0, stage_pixels=20),
    "semantic distances": generated(digits, "full", semantic_weight=2000, anchor_weight=1.0),
    "semantic distances, conditional": generated(colours, "conditional", semantic_weight=500, locality=5, sweeps=1),
    "three levels": generated(digits, "full", levels=3, anchor_weight=1.0),
    "two levels, conditional": generated(colours, "conditional", levels=2, **GUIDED),
    "with the seed's image": generated(digits, "local", exclude_seed_image=False, seed_at=(1, 7), sigma=0.9),
    "tokens": of_tokens(digits),
    "tokens, range 2": of_tokens(digits, gamma=2),
    "tokens by histogram": of_tokens(digits, gamma=2, draw="histogram", flip=0.01),
    "tokens in raster order": of_tokens(digits, gamma=2, order="raster", k_min=3),
    "tokens in raster order by histogram": of_tokens(digits, gamma=1, order="raster", draw="histogram", flip=0.1),
    "tokens with sweeps": of_tokens(digits, gamma=3, metric="l2", sweeps=1, epsilon=0.3),
    "tokens of colours": of_tokens(colours, gamma=2, order="raster"),
    "tokens of a class": of_tokens(colours, "class", gamma=2),
    "tokens as a texture": of_tokens(colours, "texture", gamma=1),
}


def fill_order(stage: Stage) -> str:
    orders = [npgen.fill_order(16, 16, CONFIG.seed_rect(16, 16), 5), npgen.fill_order(9, 14, (2, 3, 3, 4), 7)]
    return digest(*(array for order in orders for array in (order.pixels, order.stages)))


def candidate_pool(stage: Stage) -> str:
    canvas, known = digits().images[7], random_bytes((16, 16), 9) < 150
    parts: list[Any] = []
    for changes in ({}, {"candidates": "all", "epsilon": 0.5}, {"k_min": 9}):
        pool = npgen.candidate_pool(digits(), canvas, known, (6, 9), replace(CONFIG, **changes), np.arange(0, 60, 2))
        parts += [pool.image_id, pool.y, pool.x, pool.distance]
    return digest(*parts)


def keys(stage: Stage) -> str:
    return digest(
        *(npgen.embed(corpus(), npgen.PixelEncoder(*corpus().images.shape[1:])) for corpus in (digits, colours))
    )


def corpus_folders(stage: Stage) -> str:
    folders = [stage.new() for _ in range(3)]
    for corpus, folder in zip((digits, colours, textures), folders, strict=True):
        corpus().save(folder)
    return digest(*map(of_run, folders), *(corpus().hash for corpus in (digits, colours, textures)))


def token_store(stage: Stage) -> str:
    out, tokens = stage.new(), stage.tokens(colours())
    tokens.save(out)
    return digest(
        of_run(out), tokens.id, tokens.decode(tokens.codes(range(70))), (out / "autoencoder.safetensors").read_bytes()
    )


def saved(stage: Stage) -> str:
    out = stage.new()
    npgen.generate(digits(), 3, "class", CONFIG, 5, progress=False).save(out)
    return of_run(out)


def entropies(stage: Stage) -> str:
    samples = npgen.generate(digits(), 4, "local", CONFIG, 5, progress=False)
    found = npgen.entropy(samples, digits(), 5)
    return digest([found.image_id, found.class_map, npgen.entropy_map(samples.trace.image_id[0], 3)])


def part_whole(stage: Stage) -> str:
    found = npgen.part_whole(npgen.load_samples(stage.generated), digits())
    numbers = [found.purity, found.largest_source, found.summary(), found.rows(), cells(found.markdown())]
    return digest(found.region, found.sample, found.label, found.pixels, found.sources, numbers)


def explained(stage: Stage) -> str:
    samples, parts = npgen.load_samples(stage.generated), []
    explainer = npgen.Explainer(samples, stage.embedded)
    for k, pixel in ((0, (0, 0)), (1, (5, 9)), (4, (15, 3))):
        found = explainer.explain(k, pixel)
        parts += [
            found.canvas,
            found.known,
            found.shortlist,
            found.barred,
            found.probability,
            [found.step, found.drawn],
        ]
        parts += [found.pool.image_id, found.pool.y, found.pool.x, found.pool.distance]
    return digest(*parts)


def verified(stage: Stage) -> str:
    """Pin what is found in a run one pixel of which was altered."""
    out = stage.new()
    samples = npgen.generate(stage.embedded, 3, "full", CONFIG, 5, encoder="pixels", progress=False)
    samples.save(out)
    assert npgen.verify_run(out, stage.embedded).ok
    file = next(out.glob("*/images.npy"))
    images = np.load(file)
    images[1, 2, 3] ^= 5
    np.save(file, images)
    report = npgen.verify_run(out, stage.embedded)
    assert not report.ok and len(report.problems) == 1
    places = [[one.sample, one.y, one.x, one.value, one.source, one.source_value] for one in report.differences]
    return digest([report.samples, report.pixels, report.different, places])


def evaluated(stage: Stage) -> str:
    parts: list[Any] = []
    tokens = stage.tokens(digits())
    for samples in (
        npgen.load_samples(stage.generated),
        npgen.generate(digits(), 5, config=npgen.Config(gamma=2, seed_size=4), tokens=tokens, progress=False),
    ):
        found = npgen.evaluate(samples, digits(), network="quarters", quiet=True)
        parts += [found.to_json(), found.row(), found.heldout_row(), found.training_row(), cells(found.markdown())]
    return digest(*parts)


STUDY = {"config": CONFIG, "encoder": "pixels", "network": "quarters", "quiet": True}


def ablated(stage: Stage) -> str:
    out = stage.new()
    npgen.ablate(digits(), out, 6, seed=4, counts={"texture": 4}, **STUDY)
    return digest(of_tables(out), npgen.read_provenance(out / "panel.png"))


def swept(stage: Stage) -> str:
    out, grid = stage.new(), {"window": [3, 5], "candidates": ["best", "all"], "images": [30, 60]}
    npgen.sweep(digits(), out, grid, 4, seed=4, keep=True, **STUDY)
    return digest(of_tables(out))


def gamma_study(stage: Stage) -> str:
    out, options = stage.new(), {"kinds": ("pixels", "tokens"), "network": "quarters", "quiet": True}
    npgen.gamma_study(digits(), out, (1, 4, None), 4, images=40, tokens=stage.tokens(digits()), **options)
    return digest(of_tables(out))


def reported(stage: Stage) -> str:
    pages = [stage.new(), stage.new()]
    npgen.report(npgen.load_samples(stage.generated), stage.embedded, pages[0], pools=[0, 3], progress=False)
    config, tokens = npgen.Config(gamma=2, order="raster"), stage.tokens(colours())
    samples = npgen.generate(colours(), 3, config=config, tokens=tokens, progress=False)
    npgen.report(samples, colours(), pages[1], count=2, progress=False)
    return digest(*payload(pages[0]), *payload(pages[1]))


def command_line(stage: Stage) -> str:
    return of_run(stage.generated)


def in_python(stage: Stage) -> str:
    out = stage.new()
    npgen.generate(digits(), 5, "full", CALL_CONFIG, 5, first=2, encoder="pixels", progress=False, out=out)
    return of_run(out)


def merged(stage: Stage) -> str:
    parts = [stage.new() for _ in range(2)]
    for index, part in enumerate(parts):
        stage.command("generate", stage.digits, *CALL, "-n", 5, "--shard", f"{index}/2", "--out", part)
    out = stage.new()
    stage.command("merge", *parts, "--out", out)
    return of_run(out)


def two_ranks(split: str) -> Callable[[Stage], str]:
    def run(stage: Stage) -> str:
        out = stage.new()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = str(taken.getsockname()[1])
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        call = ["generate", stage.digits, *CALL, "-n", 5, "--split", split, "--out", out]
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "npgen_command", *map(str, call)],
                env={**stage.environment, **place, "RANK": rank},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in "01"
        ]
        errors = [rank.communicate(timeout=120)[1] for rank in ranks]
        assert [rank.returncode for rank in ranks] == [0, 0], errors
        return of_run(out)

    return run


def command_files(stage: Stage) -> str:
    """Pin what the command line writes beside arrays, and the pictures' provenance."""
    run = stage.generated
    stage.command("partwhole", run, "--corpus", stage.digits)
    table = cells(stage.command("explain", run, 1, 5, 9, "--corpus", stage.digits))
    stage.command("report", run, "--corpus", stage.digits, "--quiet")
    stage.command("verify", run, "--corpus", stage.digits, "--quiet")
    pictures = [npgen.read_provenance(run / f"{name}.png") for name in ("samples", "image-id-map", "overview")]
    entropy = json.loads((run / "entropy.json").read_text("utf-8"))
    return digest(table, of_csv(run / "partwhole.csv"), entropy, pictures, *payload(run / "report.html"))


FOUND: dict[str, Callable[[Stage], str]] = {
    "fill order": fill_order,
    "candidate pool": candidate_pool,
    "keys": keys,
    "corpora": corpus_folders,
    "token store": token_store,
    "run folder": saved,
    "entropy": entropies,
    "part-whole": part_whole,
    "explain": explained,
    "verify": verified,
    "evaluate": evaluated,
    "ablate": ablated,
    "sweep": swept,
    "gamma study": gamma_study,
    "report": reported,
    "command line": command_line,
    "command line, its files": command_files,
}
# Other ways to the very bytes of "command line".
SAME: dict[str, Callable[[Stage], str]] = {
    "merged": merged,
    "two ranks, split samples": two_ranks("samples"),
    "two ranks, split corpus": two_ranks("corpus"),
    "in Python": in_python,
}


MACHINES = ("ideal", "local", "equivariant", "equivariant-borders")


def scores(machine: str, corpus: npgen.Corpus) -> npgen.ScoreSamples:
    noise = (random_bytes((3, *corpus.images.shape[1:]), 4).astype(np.float32) - 127.5) / 64
    return npgen.score_generate(
        corpus, 3, machine, [3, 3, 5, 7], 4, 1, noise=noise, every_step=True, batch_size=2, threads=2, progress=False
    )


def of_scores(name: str) -> list[float]:
    if name == "els":
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(Path(folder))
            call = ("--machine", "local", "--windows", "3,3,5", "--steps", 3, "--size", 8, 8, "--quiet", "-n", 2)
            stage.command("els", stage.digits, *call, "--out", stage.folder / "run")
            return approximate(npgen.load_score_samples(stage.folder / "run"))
    if name == "denoise":
        canvas = (random_bytes((2, 16, 16, 1), 6).astype(np.float32) - 127.5) / 100
        found = npgen.denoise(digits(), canvas, machine="equivariant-borders", window=5, signal=0.6, noise=0.8)
        return [float(array.mean()) for array in (found.mean, abs(found.mean), found.log_sum, found.entropy)]
    machine, _, kind = name.partition(" of ")
    return approximate(scores(machine, colours() if kind else digits()))


SCORED = (*MACHINES, "equivariant-borders of colours", "denoise", "els")
