"""CPU and device side by side: the same images embedded, shortlisted and sampled; bytes compared, time taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npgen
import npgen._core as _core
from gpu_steps.check import Check, Stopwatch, cores, table
from npgen.encoders import cache_keys

SHIPPED = "cifar10"
CPU_SECONDS = 30.0  # for embedding on the CPU: as many images as this takes
QUERIES, BATCHES = 1024, (64, 1024)


def embed(check: Check) -> dict[str, Any]:
    """Embed images on both devices with the shipped encoder, whole and partly known ones; keep both devices' keys."""
    corpus = check.corpus()
    cpu = npgen.Encoder.find(SHIPPED, corpus, "cpu")
    other = npgen.Encoder.find(SHIPPED, corpus, check.device)
    first = np.asarray(corpus.images[: 64 if check.tiny else 1024])
    for encoder in (cpu, other):
        encoder.encode(first)  # the first call loads weights and libraries
    with Stopwatch() as trial:
        cpu.encode(first)
    count = min(len(corpus), max(len(first), int(len(first) * CPU_SECONDS / trial.seconds)))
    images = np.asarray(corpus.images[:count])
    with Stopwatch() as on_cpu:
        expected = cpu.encode(images)
    with Stopwatch(check.device) as on_device:
        found = other.encode(images)
    np.save(Path(check.work) / "keys-cpu.npy", expected)
    np.save(Path(check.work) / "keys-device.npy", found)
    check.say("embed", f"{count} of {len(corpus)} images, encoder {cpu.id[:16]}; the CPU's threads: {cores()}.", "")
    rate = {"cpu": count / on_cpu.seconds, check.device: count / on_device.seconds}
    check.say("embed", *table(("images per second", *rate), [("embed", *(f"{value:,.0f}" for value in rate.values()))]))

    known = np.zeros(images.shape[1:3], np.bool_)
    known[8:24, 8:24] = True
    part = images[: len(first)]
    masked = difference(cpu.encode(part, known), other.encode(part, known))
    whole = difference(expected, found)
    names = {"numbers": ",d", "other bytes": ".2%", "largest": ".2e", "median": ".2e", "least cosine": ".9f"}
    rows = [
        (name, *(format(row[key], form) for key, form in names.items()))
        for name, row in (("whole images", whole), ("16×16 known", masked))
    ]
    check.say("embed", *table(("keys of both devices", *names), rows))
    again = bool((other.encode(part) == found[: len(part)]).all())
    order = np.random.default_rng(0).permutation(len(part))
    alone = bool((other.encode(part[order]) == found[order]).all())
    check.say(
        "embed", f"On {check.device}: a second pass gives {_same(again)}, images in another order {_same(alone)}."
    )
    return {"images": count, "rate": rate, "whole": whole, "masked": masked, "repeats": again, "order": alone}


def shortlist(check: Check) -> dict[str, Any]:
    """Compare shortlists of the core on the CPU with those of a matrix product and `topk` on the device."""
    import torch

    expected, found = (np.load(Path(check.work) / f"keys-{name}.npy") for name in ("cpu", "device"))
    barred = np.sort(np.random.default_rng(0).permutation(len(expected))[:QUERIES]).astype(np.int32)
    values: dict[str, Any] = {}
    for length in sorted({npgen.Config().shortlist, 15, 100}):
        length = min(length, len(expected) - 1)
        lists, _ = _core.shortlist(expected, expected[barred], length, barred, 0, None)
        product = {
            "other keys and other product": nearest(found, barred, length, check.device),
            "the CPU's keys, other product": nearest(expected, barred, length, check.device),
            "the device's keys, the core's product": _core.shortlist(found, found[barred], length, barred, 0, None)[0],
        }
        values[str(length)] = {name: _lists(lists, ids) for name, ids in product.items()}
    rows = [
        (length, name, row["other order"], row["other images"], f"{row['largest']}")
        for length, by in values.items()
        for name, row in by.items()
    ]
    head = ("K", "beside the CPU's", "lists of other order", "lists of other images", "most images that differ")
    check.say("shortlist", f"{len(barred)} queries, {len(expected)} keys of {expected.shape[1]} numbers.", "")
    check.say("shortlist", *table(head, rows))

    length, rates = min(npgen.Config().shortlist, len(expected) - 1), {}
    for batch in BATCHES:
        ids = np.resize(barred, batch)
        keys = torch.from_numpy(expected).to(check.device)
        queries = expected[ids]
        runs = {
            "core, CPU": ("cpu", lambda q=queries, b=ids: _core.shortlist(expected, q, length, b, 0, None)),
            f"torch, {check.device}": (check.device, lambda q=queries, b=ids, k=keys: _topk(k, q, b, length)),
        }
        rates[batch] = {name: batch / _fastest(device, run) for name, (device, run) in runs.items()}
    speeds = [(batch, *(f"{value:,.0f}" for value in by.values())) for batch, by in rates.items()]
    check.say(
        "shortlist", *table(("queries at a time", *(f"{name}: per second" for name in rates[BATCHES[0]])), speeds)
    )
    return {"lists": values, "rates": rates}


def generate(check: Check) -> dict[str, Any]:
    """Sample by keys and queries of the CPU, by those of the device, and by the CPU's keys and the device's queries."""
    stored = check.corpus()
    keys = {name: np.load(Path(check.work) / f"keys-{name}.npy") for name in ("cpu", "device")}
    count = len(keys["cpu"])
    labels = None if stored.labels is None else np.asarray(stored.labels[:count])
    n = 4 if check.tiny else 32
    config = npgen.Config(shortlist=min(npgen.Config().shortlist, 20)) if check.tiny else npgen.Config()

    def samples(which: str, device: str) -> tuple[npgen.Samples, npgen.Corpus, float]:
        # A corpus in memory for each: stored keys do not tell which device they are of.
        corpus = npgen.Corpus.from_arrays(np.asarray(stored.images[:count]), labels, stored.classes, name=stored.name)
        encoder = npgen.Encoder.find(SHIPPED, stored, device)
        cache_keys(corpus, encoder.id, keys[which])
        encoder.encode(corpus.images[:1])  # loads weights and libraries, before the clock runs
        with Stopwatch(device) as watch:
            made = npgen.generate(corpus, n, "full", config, encoder=encoder, seed=0, progress=False)
        return made, corpus, watch.seconds

    expected, _, seconds = samples("cpu", "cpu")
    rows: list[tuple[object, ...]] = [("cpu", "cpu", f"{seconds:.2f}", *[""] * 5)]
    values: dict[str, dict[str, Any]] = {}
    for which, name in (("device", check.device), ("cpu", "cpu")):
        made, corpus, seconds = samples(which, check.device)
        values[f"keys of {which}"] = facts = {
            "samples": int((made.images != expected.images).any((1, 2, 3)).sum()),
            "pixels": float((made.images != expected.images).any(3).mean()),
            "sources": float((made.trace.image_id != expected.trace.image_id).mean()),
            "largest": int(np.abs(made.images.astype(int) - expected.images).max()),
            "replays": bool((made.replay(corpus) == made.images).all()),
            "seconds": seconds,
        }
        shares = (f"{facts['pixels']:.2%}", f"{facts['sources']:.2%}")
        rows.append(
            (name, check.device, f"{seconds:.2f}", facts["samples"], *shares, facts["largest"], facts["replays"])
        )
    head = (
        "keys of",
        "queries of",
        "seconds",
        "samples that differ",
        "pixels",
        "sources",
        "largest difference",
        "replays",
    )
    check.say("generate", f"{n} samples of `full`, {count} images, {cores()} threads.", "", *table(head, rows))
    return {"n": n, "beside the CPU": values, "failed": not all(row["replays"] for row in values.values())}


def difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> dict[str, float]:
    """Compare embeddings (n, D) of two devices: number by number, and by the cosine between rows."""
    apart = np.abs(expected - found)
    cosines = np.einsum("nd,nd->n", expected.astype(np.float64), found.astype(np.float64))
    return {
        "numbers": expected.size,
        "other bytes": float((expected != found).mean()),
        "largest": float(apart.max()),
        "median": float(np.median(apart)),
        "least cosine": float(cosines.min()),
    }


def nearest(keys: NDArray[np.float32], ids: NDArray[np.int32], length: int, device: str) -> NDArray[np.int32]:
    """Return the `length` nearest others (n, K) of the images `ids` (n,) by their keys (N, D), computed on a device."""
    import torch

    return _topk(torch.from_numpy(keys).to(device), keys[ids], ids, length)


def _topk(keys: Any, queries: NDArray[np.float32], barred: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    import torch

    products = torch.from_numpy(queries).to(keys.device) @ keys.T  # (B, N)
    rows = torch.arange(len(barred), device=keys.device)
    products[rows, torch.from_numpy(barred.astype(np.int64)).to(keys.device)] = -torch.inf
    found: NDArray[np.int32] = products.topk(length).indices.cpu().numpy().astype(np.int32)
    return found


def _lists(expected: NDArray[np.int32], found: NDArray[np.int32]) -> dict[str, int]:
    """Count lists (n, K) that differ, in their order and in their images, and the most images that differ in one."""
    apart = np.array([len(set(a) - set(b)) for a, b in zip(expected.tolist(), found.tolist(), strict=True)])
    other = int((expected != found).any(1).sum())
    return {"other order": other, "other images": int((apart > 0).sum()), "largest": int(apart.max())}


def _fastest(device: str, run: Any) -> float:
    """Return the shortest of five times, in seconds, after one run that is not timed."""
    run()
    seconds = []
    for _ in range(5):
        with Stopwatch(device) as watch:
            run()
        seconds.append(watch.seconds)
    return min(seconds)


def _same(same: bool) -> str:
    return "the same bytes" if same else "**other bytes**"
