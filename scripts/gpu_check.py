"""Check npgen on a machine with an accelerator, and train CIFAR-10's encoder there: one command of at most ten minutes.

The machine needs Python 3.11 or later with NumPy, Pillow, safetensors, torch, torchvision, tqdm and typer, pytest and
hypothesis for the tests, and no network. Without a Rust toolchain it takes the core that was carried along, which must
be of the machine's processor. What is missing is named in the report, and the steps that need it are left out.

Rehearsal on this machine, in a minute or two:

    python scripts/gpu_check.py --device cpu --tiny

On a lent machine (64 MiB travel, so the 92 MB of JPEG files go as 18 MB), in the root of the checkout:

    mkdir -p .gpu && echo /.gpu/ >> .git/info/exclude
    xz -c ../shared/data/cifar10-jpeg.tar > .gpu/cifar10-jpeg.tar.xz

and then, with carry = [".gpu", "python/npgen/_core.abi3.so"] and timeout_s = 600, the command

    PYTHONUNBUFFERED=1 python3 scripts/gpu_check.py --train-seconds 240 --budget 560

Each step is a process with a time limit of its own; when one fails, the others go on. Under --out ($OUT by default) lie
`report.md`, renewed after every step, `report.json`, `log.txt`, and `encoder.safetensors` with its provenance, which
`npgen.load_encoder` reads; a training that was cut off leaves `encoder.snapshot.safetensors` instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_steps.check import ROOT, Check, run_step


@dataclass(frozen=True)
class Step:
    """One step: its name, the seconds it may take, those of a tiny rehearsal, and the steps it needs."""

    name: str
    limit: float
    tiny: float
    needs: tuple[str, ...] = ()


STEPS = (
    Step("environment", 60, 60),
    Step("install", 150, 60),
    Step("corpus", 90, 60, ("install",)),
    Step("tests", 120, 120, ("install",)),
    Step("embed", 90, 60, ("corpus",)),
    Step("shortlist", 45, 60, ("embed",)),
    Step("generate", 75, 60, ("embed",)),
    Step("train", 60, 60, ("corpus",)),  # besides the training itself
    Step("judge", 75, 60, ("corpus",)),
)
SHORTEST = 5.0  # a step is left out if less time than this is left for it, in seconds


def main() -> int:
    """Read the command line, run the steps and write the report."""
    options = arguments()
    if options.step:
        return run_step(options.step, Check.load(options.state))
    if options.budget <= 0 or options.train_seconds <= 0:
        sys.exit(f"gpu_check: budget and train-seconds must be above 0, got {options.budget}, {options.train_seconds}")
    options.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if options.work is None:
            options.work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="npgen-gpu-check-")))
        check = Check(
            device=options.device,
            tiny=options.tiny,
            data=str(options.data or ""),
            recipe=str(options.recipe or ""),
            out=str(options.out.resolve()),
            work=str(options.work.resolve()),
        )
        outcomes = run(check, options)
    failed = [name for name, outcome in outcomes.items() if outcome["status"] != "done"]
    print(f"\nreport: {options.out / 'report.md'}" + (f"; not done: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="what is compared with the CPU")
    parser.add_argument("--tiny", action="store_true", help="rehearse on a made-up corpus of few images")
    parser.add_argument("--train-seconds", type=float, default=None, help="time to train for (240; 5 if tiny)")
    parser.add_argument("--budget", type=float, default=560.0, help="seconds for everything")
    parser.add_argument("--data", type=Path, help="tar file or folder of CIFAR-10's JPEG files, or a corpus folder")
    parser.add_argument("--recipe", type=Path, help="JSON file of settings that replace those of the wide recipe")
    parser.add_argument("--steps", nargs="+", help="run only these, in their order, and those that they need")
    out = Path(os.environ.get("OUT") or ROOT / "runs" / "gpu-check")
    parser.add_argument("--out", type=Path, default=out, help="folder for the results")
    parser.add_argument("--work", type=Path, help="folder for all else, kept for the next call; by default a new one")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_seconds is None:
        options.train_seconds = 5.0 if options.tiny else 240.0
    unknown = set(options.steps or ()) - {step.name for step in STEPS}
    if unknown:
        parser.error(f"steps must be among {', '.join(step.name for step in STEPS)}, got {', '.join(sorted(unknown))}")
    return options


def run(check: Check, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Run all steps, each in a process of its own, and return their outcomes by name."""
    began = time.monotonic()
    wanted = chosen(options.steps)
    outcomes: dict[str, dict[str, Any]] = {}
    for step in STEPS:
        if step.name not in wanted:
            continue
        left = options.budget - (time.monotonic() - began)
        # Training and judging come last, and get their time before the other steps get theirs.
        later = STEPS[STEPS.index(step) + 1 :]
        kept = sum(limit(other, check) for other in later if other.name in ("train", "judge") and other.name in wanted)
        if step.name != "train" and any(other.name == "train" for other in later) and "train" in wanted:
            kept += options.train_seconds
        allowed = min(limit(step, check), left - kept)
        if step.name == "train":
            check.train_seconds = min(options.train_seconds, left - kept - limit(step, check))
            allowed = left - kept if check.train_seconds < SHORTEST else check.train_seconds + limit(step, check)
        missing = [name for name in step.needs if outcomes[name]["status"] != "done"]
        if missing:
            outcomes[step.name] = {"status": f"left out: it needs {', '.join(missing)}"}
        elif allowed < SHORTEST or (
            step.name == "train" and check.train_seconds < min(SHORTEST, options.train_seconds)
        ):
            outcomes[step.name] = {
                "status": f"left out: {max(allowed, 0):.0f} s are left for it of {options.budget:g} s"
            }
        else:
            outcomes[step.name] = attempt(step, check, allowed)
        print(section(step.name, outcomes[step.name]), flush=True)
        write(check, options, outcomes)
    return outcomes


def chosen(names: list[str] | None) -> set[str]:
    """Return names of steps with all that they need."""
    if names is None:
        return {step.name for step in STEPS}
    wanted = set(names)
    for step in reversed(STEPS):
        if step.name in wanted:
            wanted.update(step.needs)
    return wanted


def limit(step: Step, check: Check) -> float:
    """Return how many seconds a step may take."""
    return step.tiny if check.tiny else step.limit


def attempt(step: Step, check: Check, allowed: float) -> dict[str, Any]:
    """Run a step in a process of its own for at most `allowed` seconds, and return its outcome."""
    state = Path(check.work) / f"{step.name}.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    check.save(state)
    for path in (check.text(step.name), check.values(step.name)):
        path.unlink(missing_ok=True)
    log = Path(check.out) / "log.txt"
    began = time.monotonic()
    environment = {**os.environ, **check.environment()}
    with log.open("ab") as file:
        file.write(f"\n== {step.name}\n".encode())
        file.flush()
        size = file.tell()
        command = [sys.executable, __file__, "--step", step.name, "--state", str(state)]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
        try:
            status = f"failed with exit status {code}" if (code := process.wait(allowed)) else "done"
        except subprocess.TimeoutExpired:
            status = f"stopped after {allowed:.0f} s, its limit"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.wait()
    outcome = {"status": status, "seconds": round(time.monotonic() - began, 1)}
    with contextlib.suppress(FileNotFoundError):
        outcome["text"] = check.text(step.name).read_text(encoding="utf-8")
    with contextlib.suppress(FileNotFoundError):
        outcome["values"] = json.loads(check.values(step.name).read_text(encoding="utf-8"))
    if status != "done":
        outcome["end of the log"] = log.read_bytes()[size:].decode(errors="replace").strip()[-1500:]
    return outcome


def section(name: str, outcome: dict[str, Any]) -> str:
    """Return a step's section of the report, in Markdown."""
    seconds = f", {outcome['seconds']} s" if "seconds" in outcome else ""
    parts = [f"## {name}: {outcome['status']}{seconds}", outcome.get("text", "")]
    if "end of the log" in outcome:
        parts.append(f"```\n{outcome['end of the log']}\n```")
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def write(check: Check, options: argparse.Namespace, outcomes: dict[str, dict[str, Any]]) -> None:
    """Write the report on what is done so far, as Markdown and as JSON."""
    head = f"# gpu_check: {check.device} beside the CPU{', tiny rehearsal' if check.tiny else ''}\n"
    text = "\n".join([head, *(section(name, outcome) for name, outcome in outcomes.items())])
    settings = {"device": check.device, "tiny": check.tiny, "budget": options.budget, "steps": outcomes}
    for name, content in (("report.md", text), ("report.json", json.dumps(settings, indent=2) + "\n")):
        partial = Path(check.out) / f"{name}.partial"
        partial.write_text(content, encoding="utf-8")
        partial.replace(Path(check.out) / name)


if __name__ == "__main__":
    sys.exit(main())
