"""Threads and forked processes that generate at once make the same bytes as one after another, and none hangs."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import npgen
from npgen import _core
from npgen.sampling.pixel_run import PixelRun

CONFIG = npgen.Config(window=5, shortlist=20, seed_size=4)
# Seconds until a call that should take one or two counts as hung.
PATIENCE = 60


def together(*calls):
    """Make all calls at once, each in a thread of its own, and return their results or exceptions."""
    outcomes = [TimeoutError("hung")] * len(calls)
    ready = threading.Barrier(len(calls))

    def make(number):
        ready.wait()
        try:
            outcomes[number] = calls[number]()
        except BaseException as error:  # returned to the caller
            outcomes[number] = error

    # Daemons: one that hangs fails its test, but the process can still end.
    threads = [threading.Thread(target=make, args=[number], daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return outcomes


def arrays(samples):
    return [
        samples.images,
        samples.anchor,
        *samples.trace.arrays(),
        *([] if samples.queries is None else [samples.queries]),
    ]


def same(samples, others):
    assert isinstance(samples, npgen.Samples), samples
    for ours, theirs in zip(arrays(samples), arrays(others), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def generate(corpus, model="full", seed=3, n=6, **options):
    return npgen.generate(corpus, n, model, CONFIG, seed, batch_size=4, progress=False, **options)


def test_eight_threads_generate_what_one_does(colours, tmp_path):
    colours.save(tmp_path / "corpus")
    stored = npgen.load_corpus(tmp_path / "corpus")  # without keys: several threads make them at the same time
    models = ["full", "full", "full", "class", "semantic", "local", "texture", "full"]
    seeds = [3, 3, 4, 3, 3, 5, 3, 5]

    def call(number, name):
        # Every other one writes a run folder.
        out = tmp_path / f"{name}-{number}" if number % 2 else None
        threads = 1 + number % 3
        return generate(stored, models[number], seeds[number], encoder="pixels", threads=threads, out=out)

    at_once = together(*(lambda number=number: call(number, "at once") for number in range(8)))
    for number, samples in enumerate(at_once):
        same(samples, call(number, "alone"))
        if number % 2:
            assert files(tmp_path / f"at once-{number}") == files(tmp_path / f"alone-{number}")
    keys = list((tmp_path / "corpus" / "keys").iterdir())
    assert sorted(path.suffix for path in keys) == [".json", ".npy"]


def test_threads_share_a_network(colours):
    import torch
    from corpora import random_encoder

    before = torch.get_num_threads()
    for threads in (None, 3):
        encoder = random_encoder(channels=3)  # not used by any thread yet
        call = lambda: generate(colours, encoder=encoder, threads=threads)  # noqa: B023, E731 (called at once)
        first, *others = together(*[call] * 8)
        same(first, generate(colours, encoder=random_encoder(channels=3)))
        for samples in others:
            same(samples, first)
    assert torch.get_num_threads() == before
    assert together(torch.get_num_threads) == [before]  # new threads take the last number that was set


def test_a_run_folder_has_one_writer(colours, tmp_path, monkeypatch):
    entered, proceed = threading.Event(), threading.Event()
    fill = PixelRun.fill

    def waiting(self, batch, bar):
        entered.set()
        assert proceed.wait(PATIENCE)
        fill(self, batch, bar)

    monkeypatch.setattr(PixelRun, "fill", waiting)
    out = tmp_path / "run"

    def second():
        assert entered.wait(PATIENCE)
        try:
            return generate(colours, "local", out=out)
        finally:
            proceed.set()

    first, refused = together(lambda: generate(colours, "local", out=out), second)
    assert isinstance(refused, FileExistsError)
    assert str(refused).startswith(f"run {str(out)!r} is being written")
    same(first, generate(colours, "local"))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such locks")
def test_threads_that_begin_one_folder_at_once_write_it_once(colours, tmp_path):
    out = tmp_path / "run"
    outcomes = together(*[lambda: generate(colours, "local", out=out)] * 8)
    alone = generate(colours, "local")
    made = [samples for samples in outcomes if isinstance(samples, npgen.Samples)]
    assert made
    for samples in made:
        same(samples, alone)
    for error in (outcome for outcome in outcomes if not isinstance(outcome, npgen.Samples)):
        assert isinstance(error, FileExistsError) and "is being written" in str(error)
    same(npgen.load_samples(out), alone)


def test_an_error_in_one_thread_is_its_own(colours):
    bad = np.full((70, 8), np.nan, np.float32)

    def fails():
        for _ in range(50):
            with pytest.raises(ValueError, match="keys must be finite"):
                _core.shortlist(bad, np.ones((3, 8), np.float32), 5, np.full(3, -1, np.int32), 2)
        raise ArithmeticError("mine")

    *made, error = together(*[lambda: generate(colours, encoder="pixels", threads=2)] * 3, fails)
    assert repr(error) == "ArithmeticError('mine')"
    for samples in made:
        same(samples, generate(colours, encoder="pixels"))


@pytest.mark.xdist_group("time")
def test_python_runs_while_the_core_works(colours):
    config = npgen.Config(window=7, shortlist=60, seed_size=4, anchor_weight=1.0)  # one call of the core per batch
    began, ended, ticks = [], [], []

    def work():
        began.append(time.monotonic())
        npgen.generate(colours, 512, "full", config, encoder="pixels", batch_size=512, threads=1, progress=False)
        ended.append(time.monotonic())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive() and (not began or time.monotonic() < began[0] + PATIENCE):
        ticks.append(time.monotonic())
        time.sleep(0.001)
    assert ended
    # If the core held the GIL, the longest pause would be nearly the whole call.
    pause = max(np.diff([began[0], *(tick for tick in ticks if began[0] < tick < ended[0]), ended[0]]))
    assert pause < 0.8 * (ended[0] - began[0])


FORKS = """
import hashlib, multiprocessing, os, sys, threading, time
import numpy as np
import corpora, npgen

corpus, config = corpora.colours(), npgen.Config(window=5, shortlist=20, seed_size=4)

def digest(encoder="pixels"):
    samples = npgen.generate(corpus, 6, "full", config, 3, encoder=encoder, batch_size=4, threads=2, progress=False)
    return hashlib.sha256(b"".join(a.tobytes() for a in (samples.images, *samples.trace.arrays()))).hexdigest()

def forked(*arguments):
    child = os.fork()
    if child == 0:
        os._exit(0 if digest(*arguments) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def put_digest(queue):
    queue.put(digest())

expected = digest()  # starts the core's threads
forked()
"""
IN_A_CHILD_S_CHILD = """
child = os.fork()
if child == 0:
    assert digest() == expected
    forked()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
BY_MULTIPROCESSING = """
context = multiprocessing.get_context("fork")
queue = context.SimpleQueue()
processes = [context.Process(target=put_digest, args=[queue]) for _ in range(3)]
[process.start() for process in processes]
assert [queue.get() for _ in processes] == 3 * [expected]
[process.join() for process in processes]
"""
WHILE_A_THREAD_GENERATES = """
stop = threading.Event()
def work():
    while not stop.is_set():
        assert digest() == expected
thread = threading.Thread(target=work)
thread.start()
for _ in range(8):
    forked()
    time.sleep(0.02)
stop.set()
thread.join()
assert digest() == expected
"""
WITH_A_NETWORK = """
import torch
from corpora import random_encoder
torch.set_num_threads(2)
torch.rand(600, 600) @ torch.rand(600, 600)  # starts torch's threads
torch.nn.functional.conv2d(torch.rand(32, 3, 32, 32), torch.rand(16, 3, 3, 3))
encoder = random_encoder(channels=3, layers=((64, 3, 2), (96, 3, 1)))
expected = digest(encoder)
forked(encoder)
forked(random_encoder(channels=3, layers=((64, 3, 2), (96, 3, 1))))  # whose weights the child converts
"""
IN_A_DATA_LOADER = """
import torch
from torch.utils.data import DataLoader, Dataset
from corpora import random_encoder

class Made(Dataset):
    def __init__(self):
        self.encoder = random_encoder(channels=3)
    def __len__(self):
        return 4
    def __getitem__(self, index):
        made = npgen.generate(corpus, 1, "full", config, 3, first=index, encoder=self.encoder, progress=False)
        known = np.zeros((12, 12), bool)
        known[:6] = True
        pool = npgen.candidate_pool(corpus, made.images[0], known, (6, index), config)
        return torch.from_numpy(made.images[0].copy()), len(pool), float(pool.distance.sum())

expected = [Made()[index] for index in range(4)]
loader = DataLoader(Made(), None, num_workers=2, multiprocessing_context="fork", timeout=30)
for (image, size, total), (ours, our_size, our_total) in zip(loader, expected, strict=True):
    assert torch.equal(image, ours) and (size, total) == (our_size, our_total)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(
    "code",
    [IN_A_CHILD_S_CHILD + BY_MULTIPROCESSING, WHILE_A_THREAD_GENERATES, WITH_A_NETWORK, IN_A_DATA_LOADER],
    ids=["children", "threads", "network", "loader"],
)
def test_forked_processes_generate_the_same(code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1] / "support"), *sys.path])}
    # A session of its own, so that hanging children can be ended as well.
    with subprocess.Popen(
        [sys.executable, "-c", FORKS + code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            _, stderr = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
    assert process.returncode == 0, stderr
