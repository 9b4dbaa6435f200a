"""Make one run with 1, 2 and 4 ranks, on one machine and in two network namespaces, and compare all bytes.

Rank 0 sums up the time of its exchanges with the others, waiting for slower ranks included, and the bytes it sends.
Two namespaces with a virtual cable between them stand in for two machines; making them requires root.

    python scripts/ranks.py mnist-5k -n 64 --model full
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SPACES = ("npgen-a", "npgen-b")
CABLE = ("npgen-va", "npgen-vb")
ADDRESSES = ("10.213.7.1", "10.213.7.2")


def work(arguments: argparse.Namespace) -> None:
    """Make the run as one of the ranks; rank 0 writes the time and the number of its exchanges."""
    import torch.distributed  # noqa: F401 (imported before the time is taken)

    import npgen
    from npgen.runtime.ranks import TorchRanks
    from npgen.sampling.library import SharedLibrary

    spent = {"seconds": 0.0, "bytes": 0, "exchanges": 0, "searches": 0}
    all_to_all, nearest = TorchRanks.all_to_all, SharedLibrary.nearest

    def timed(self: TorchRanks, blocks: Any) -> Any:
        start = time.perf_counter()
        try:
            return all_to_all(self, blocks)
        finally:
            spent["seconds"] += time.perf_counter() - start
            spent["bytes"] += sum(block.nbytes for peer, block in enumerate(blocks) if peer != self.rank)
            spent["exchanges"] += 1

    def counted(self: SharedLibrary, *search: Any) -> Any:
        spent["searches"] += 1
        return nearest(self, *search)

    TorchRanks.all_to_all, SharedLibrary.nearest = timed, counted  # type: ignore[method-assign]
    corpus = npgen.load_corpus(arguments.corpus)
    start = time.perf_counter()
    npgen.generate(
        corpus,
        arguments.n,
        arguments.model,
        out=arguments.out,
        split=arguments.split,
        seed=1,
        progress=False,
        threads=1,
    )
    spent["total"] = time.perf_counter() - start
    if os.environ.get("RANK", "0") == "0":
        Path(f"{arguments.out}.json").write_text(json.dumps(spent))


@contextmanager
def namespaces() -> Iterator[None]:
    """Make two network namespaces with a virtual cable between them, for as long as the context lasts."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for space in SPACES:
            ip("netns", "add", space)
        ip("link", "add", CABLE[0], "type", "veth", "peer", "name", CABLE[1])
        for space, end, address in zip(SPACES, CABLE, ADDRESSES, strict=True):
            ip("link", "set", end, "netns", space)
            ip("-n", space, "addr", "add", f"{address}/24", "dev", end)
            for device in (end, "lo"):
                ip("-n", space, "link", "set", device, "up")
        yield
    finally:
        for space in SPACES:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def launch(count: int, spaces: bool, *call: str) -> None:
    """Run the workers, all on this machine or half of them in each namespace, and wait for them."""
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not spaces:
        commands = [(environment, [*torchrun, "--standalone", f"--nproc-per-node={count}"])]
    else:
        head = ["--nnodes=2", f"--nproc-per-node={count // 2}", f"--master-addr={ADDRESSES[0]}", "--master-port=29413"]
        commands = [
            (
                {**environment, "GLOO_SOCKET_IFNAME": end},
                ["ip", "netns", "exec", space, *torchrun, *head, f"--node-rank={node}", f"--local-addr={address}"],
            )
            for node, (space, end, address) in enumerate(zip(SPACES, CABLE, ADDRESSES, strict=True))
        ]
    started = [subprocess.Popen([*command, *call], env=environment) for environment, command in commands]
    failed = [process.args for process in started if process.wait()]
    if failed:
        raise SystemExit(f"failed: {failed[0]}")


def same(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same files, byte for byte."""
    names = [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) for folder in (one, other)
    ]
    return names[0] == names[1] and not any(filecmp.cmpfiles(one, other, names[0], shallow=False)[1:])


def main() -> None:
    """Run the comparison, or one worker of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="name of a corpus, or its folder")
    parser.add_argument("-n", type=int, default=64, help="samples")
    parser.add_argument("--model", default="full")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4], help="numbers of ranks")
    parser.add_argument("--no-namespaces", action="store_true", help="stay on one machine")
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--split", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.out:
        work(arguments)
        return
    settings = [arguments.corpus, "-n", str(arguments.n), "--model", arguments.model]
    different = 0
    with tempfile.TemporaryDirectory() as place:
        alone = Path(place) / "alone"
        subprocess.run([sys.executable, __file__, *settings, "--out", str(alone)], check=True)
        total = json.loads(Path(f"{alone}.json").read_text())["total"]
        print(f"alone, 1 thread: {total:.2f} s")
        for spaces in (False,) if arguments.no_namespaces else (False, True):
            for count in [count for count in arguments.counts if not spaces or count % 2 == 0]:
                for split in ("samples", "corpus"):
                    out = Path(place) / f"{count}-{split}-{spaces}"
                    call = [__file__, *settings, "--out", str(out), "--split", split]
                    if spaces:
                        with namespaces():
                            launch(count, spaces, *call)
                    else:
                        launch(count, spaces, *call)
                    spent = json.loads(Path(f"{out}.json").read_text())
                    equal = same(alone, out)
                    different += not equal
                    where = "two namespaces" if spaces else "one machine"
                    print(
                        f"{count} ranks, {split}, {where}: {'same bytes' if equal else 'OTHER BYTES'}, "
                        f"{spent['total']:.2f} s; rank 0: {spent['exchanges']} exchanges for {spent['searches']} "
                        f"searches, {spent['seconds']:.2f} s, {spent['bytes'] / 2**20:.1f} MiB sent"
                    )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
