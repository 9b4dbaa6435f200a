"""Ranks: however they divide a run, its bytes are those of a single process."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npgen
from npgen.runtime.ranks import Ranks, TorchRanks, open_ranks
from npgen.sampling.library import Library, SharedLibrary

CONFIG = npgen.Config(window=5, shortlist=20, seed_size=4)


class ThreadRanks(Ranks):
    """Threads of this process for ranks: the same messages, without a network."""

    def __init__(self, rank, count, desk):
        self.rank, self.count = rank, count
        self.mail, self.barrier = desk

    def all_to_all(self, blocks):
        assert len(blocks) == self.count
        self.mail[self.rank] = [np.array(block) for block in blocks]
        self.barrier.wait()
        received = [theirs[self.rank] for theirs in self.mail]
        self.barrier.wait()
        return received


def together(count, work):
    """What `work` returns at each of so many ranks."""
    desk = [None] * count, threading.Barrier(count, timeout=60)

    def run(rank):
        try:
            return work(ThreadRanks(rank, count, desk))
        except BaseException:
            desk[1].abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run, rank) for rank in range(count)]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None and not isinstance(error, threading.BrokenBarrierError):
                raise error
        return [future.result() for future in futures]


def generated(monkeypatch, count, split, corpus, *arguments, **options):
    """Generate with so many ranks, and return what each of them gives."""
    here = threading.local()
    monkeypatch.setattr(
        sys.modules["npgen.sampling.generate"], "open_ranks", lambda split: contextlib.nullcontext(here.ranks)
    )

    def work(ranks):
        here.ranks = ranks
        options_of_all = {"encoder": "pixels", "progress": False, "threads": 1} | options
        return npgen.generate(corpus, *arguments, split=split, **options_of_all)

    return together(count, work)


def assert_same(one, other):
    for ours, theirs in zip(one.arrays(), other.arrays(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("split", ["samples", "corpus"])
@pytest.mark.parametrize("model", ["full", "local", "texture", "semantic", "class", "conditional"])
def test_ranks_make_what_one_process_makes(colours, monkeypatch, model, split):
    alone = npgen.generate(colours, 7, model, CONFIG, 5, first=3, encoder="pixels", progress=False)
    for count in (2, 3, 8):  # 8: more ranks than samples
        first, *others = generated(monkeypatch, count, split, colours, 7, model, CONFIG, 5, first=3, batch_size=2)
        assert_same(first, alone)
        assert [len(other) for other in others] == [0] * (count - 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"anchor_weight": 0.0, "sweeps": 1},
        {"anchor_weight": 1.0},
        {"semantic": "threshold", "epsilon": 0.3, "shortlist": 2, "k_min": 4},
        {"quota": 2, "candidates": "all"},
        {"quota": 1, "k_min": 3},
        {"exclude_seed_image": False, "shortlist": 40},
        {"max_share": 0.06},
        {"max_share": 0.1, "quota": 2},
        {"max_copy": 0.35, "candidates": "all"},
        {"query_expansion": 4, "anchor_weight": 0.5},
        {"seams": True, "max_share": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["full", "local"])
def test_whatever_the_settings(colours, monkeypatch, model, changes):
    config = dataclasses.replace(CONFIG, **changes)
    alone = npgen.generate(colours, 4, model, config, 1, encoder="pixels", progress=False)
    first, *_ = generated(monkeypatch, 3, "corpus", colours, 4, model, config, 1)
    assert_same(first, alone)


@pytest.mark.parametrize("model", ["full", "conditional"])
def test_ranks_keep_the_same_draws(colours, monkeypatch, model):
    config = dataclasses.replace(CONFIG, select=3, shortlist=5)
    alone = npgen.generate(colours, 5, model, config, 1, encoder="pixels", progress=False)
    for split in ("samples", "corpus"):
        first, *_ = generated(monkeypatch, 3, split, colours, 5, model, config, 1)
        assert_same(first, alone)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_keys_are_found_wherever_they_are(data):
    count = data.draw(st.integers(1, 5))
    total = data.draw(st.integers(max(2, count), 40))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # Few different keys, so that many products are equal; zeros of both signs.
    keys = random.integers(-1, 2, (total, 3)).astype(np.float32) * np.float32(random.choice([-1, 1]))
    queries = random.integers(-1, 2, (data.draw(st.integers(0, 6)), 3)).astype(np.float32)
    barred = random.integers(-1, total, len(queries)).astype(np.int32)
    wanted = data.draw(st.integers(1, total - 1))
    labels = random.integers(0, 3, total)
    corpus = npgen.Corpus.from_arrays(np.zeros((total, 8, 8), np.uint8), labels)
    alone = Library(corpus, keys, 1)
    like = random.integers(0, total, len(queries)).astype(np.int32) if data.draw(st.booleans()) else None
    expected = alone.nearest(queries, wanted, barred, like)
    if like is not None:
        found = expected[0] >= 0
        assert (labels[expected[0]] == labels[like][:, None])[found].all()
        eligible = (labels[None] == labels[like][:, None]) & (np.arange(total)[None] != barred[:, None])
        np.testing.assert_array_equal(found.sum(1), eligible.sum(1).clip(max=wanted))

    def find(ranks):
        library = SharedLibrary(corpus, ranks, keys, 1)
        start, end = ranks.own_range(len(queries))
        own = None if like is None else like[start:end]
        return start, library.nearest(queries[start:end], wanted, barred[start:end], own)

    for start, (ids, products) in together(count, find):
        np.testing.assert_array_equal(ids, expected[0][start : start + len(ids)])
        np.testing.assert_array_equal(products, expected[1][start : start + len(ids)])


def test_images_come_from_their_owners(colours):
    def read(ranks):
        library = SharedLibrary(colours, ranks, threads=1)
        asked = [np.array([9, 2, 2, len(colours) - 1 - ranks.rank], np.int32), np.array([2, 30], np.int32)]
        return [(ids, library.images(ids)) for ids in asked]  # the second time some are held

    for pairs in together(3, read):
        for ids, images in pairs:
            np.testing.assert_array_equal(images, colours.images[ids])


def test_ranks_of_different_calls_are_refused(colours, monkeypatch):
    here = threading.local()
    monkeypatch.setattr(
        sys.modules["npgen.sampling.generate"], "open_ranks", lambda split: contextlib.nullcontext(here.ranks)
    )

    def work(ranks):
        here.ranks = ranks
        npgen.generate(colours, 4, "local", CONFIG, seed=ranks.rank, split="samples", progress=False)

    with pytest.raises(ValueError, match=r"run of rank 1 must be rank 0's, .*\"seed\": 0.*, got .*\"seed\": 1"):
        together(2, work)


def test_bad_splits_are_refused(colours, monkeypatch):
    with pytest.raises(ValueError, match="split must be one of samples, corpus, or None, got 'pixels'"):
        npgen.generate(colours, 2, config=CONFIG, split="pixels")
    literal = dataclasses.replace(CONFIG, tolerance="corpus")
    expected = "split must be 'samples' or None where tolerance is relative to the corpus, got 'corpus'"
    with pytest.raises(ValueError, match=expected):
        npgen.generate(colours, 2, "local", literal, split="corpus", progress=False)
    few = npgen.Corpus.from_arrays(colours.images[:2])
    with pytest.raises(ValueError, match="corpus must be at least one image a rank, 3, got 2"):
        generated(monkeypatch, 3, "corpus", few, 2, "local", CONFIG)


def test_without_torchrun_a_process_is_alone(colours, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with open_ranks("corpus") as ranks:
        assert (ranks.rank, ranks.count) == (0, 1)
    alone = npgen.generate(colours, 3, "full", CONFIG, encoder="pixels", progress=False)
    assert_same(npgen.generate(colours, 3, "full", CONFIG, encoder="pixels", progress=False, split="corpus"), alone)


def test_a_rank_needs_a_block_for_each(monkeypatch):
    ranks = object.__new__(TorchRanks)
    ranks.count = 3
    with pytest.raises(ValueError, match="blocks must be 3, one per rank, got 2"):
        ranks.all_to_all([np.zeros(1)] * 2)


def test_the_core_checks_what_pools_are_asked_for(colours):
    from npgen import _core
    from npgen.sampling.filler import make_filler

    with pytest.raises(ValueError, match="sizes must be at least 1, got 0"):
        _core.draw_members(0, 0, np.zeros(1, np.uint64), 5, np.zeros(1, np.int64))
    with pytest.raises(ValueError, match=r"sizes must be of shape \[2\], got \[1\]"):
        _core.draw_members(0, 0, np.zeros(2, np.uint64), 5, np.ones(1, np.int64))
    blank = npgen.generate(colours, 1, "local", CONFIG, progress=False)
    filler = make_filler(colours.images, CONFIG, 1, 1)
    known = np.zeros((12, 12), np.bool_)
    known[4:8, 4:8] = True
    stage = {"known": known, "barred": blank.anchor}
    pools = filler.pools(blank.images, blank.trace.arrays(), pixel=(3, 5), **stage)
    canvases, distances, counts, places = pools.runs()
    assert (canvases == 0).all()
    assert (np.diff(distances) > 0).all()
    np.testing.assert_array_equal(places, np.cumsum(counts) - counts)
    order, before, taken = filler.merge_runs(canvases, distances, counts)
    np.testing.assert_array_equal(order, np.arange(len(counts)))
    np.testing.assert_array_equal(before, places)
    np.testing.assert_array_equal(taken, counts)
    with pytest.raises(ValueError, match="counts must be at least 0, got -1"):
        filler.merge_runs(canvases, distances, counts * 0 - 1)
    one = np.zeros(1, np.int64)
    assert pools.members(one, one).shape == (1, 3)
    for canvas, place in ((1, 0), (-1, 0), (0, counts.sum()), (0, -1)):
        with pytest.raises(ValueError, match=f"places must be inside the pools, got {place}"):
            pools.members(one + canvas, one + place)
    with pytest.raises(ValueError, match=r"places must be of shape \[1\], got \[0\]"):
        pools.members(one, one[:0])


SCRIPT = """
import json, os, signal, sys
import numpy as np
import npgen, npgen.sampling.pixel_run
from npgen.sampling.pixel_run import PixelRun
corpus, out, split, dies = sys.argv[1:]
npgen.runs.facts.SHARD = 4
if dies == os.environ["RANK"]:
    fill, calls = PixelRun.fill, []
    def dying(self, batch, bar):
        calls.append(batch)
        if len(calls) > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        fill(self, batch, bar)
    PixelRun.fill = dying
config = npgen.Config(window=5, shortlist=20, seed_size=4)
options = {"encoder": "pixels", "batch_size": 1, "progress": False}
npgen.generate(npgen.load_corpus(corpus), 13, config=config, seed=5, out=out, split=split, **options)
"""


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(count, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
    finished = subprocess.run([*command, *arguments], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    return finished.returncode, finished.stdout + finished.stderr


def two_processes(*arguments):
    """Start two ranks by hand: torchrun would end the other one. How each ends, and what it says."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, *arguments], env={**ENVIRONMENT, **place, "RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    said = [rank.communicate(timeout=120)[1] for rank in ranks]
    return [(rank.returncode, text) for rank, text in zip(ranks, said, strict=True)]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("split", ["samples", "corpus"])
def test_a_rank_that_dies_ends_the_run_and_torchrun_goes_on_with_it(colours, tmp_path, monkeypatch, split):
    monkeypatch.setattr("npgen.runs.facts.SHARD", 4)
    colours.save(tmp_path / "corpus")
    (tmp_path / "script.py").write_text(SCRIPT)
    stored = npgen.load_corpus(tmp_path / "corpus")
    npgen.generate(stored, 13, config=CONFIG, seed=5, encoder="pixels", out=tmp_path / "one", progress=False)
    call = [str(tmp_path / "script.py"), str(tmp_path / "corpus"), str(tmp_path / "run"), split]

    (status, said), (other, _) = two_processes(*call, "1")
    assert (status, other) == (1, -signal.SIGKILL)
    assert "ConnectionError: rank 1 of 2 is gone: " in said
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())["shards"]
    assert sum(shard["n"] for shard in kept) == 4

    status, said = torchrun(2, *call, "none")
    assert status == 0, said
    assert files(tmp_path / "run") == files(tmp_path / "one")


def test_what_torchrun_left_over_is_ignored(monkeypatch):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for size in ("1", "", " 1 "):
        monkeypatch.setenv("WORLD_SIZE", size)
        with open_ranks("samples") as ranks:
            assert (ranks.rank, ranks.count) == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match="environment must hold RANK, MASTER_ADDR, MASTER_PORT beside WORLD_SIZE=2"),
        open_ranks("samples"),
    ):
        pass
