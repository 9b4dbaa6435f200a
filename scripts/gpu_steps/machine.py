"""The machine itself: what is on it, npgen on its import path, and the tests marked `cuda`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu_steps.check import ROOT, Check, cores, table

NEEDED = ("numpy", "pillow", "safetensors", "torch", "torchvision", "tqdm", "typer")
FOR_TESTS = ("pytest", "hypothesis")
LIBRARIES = {"Linux": ("libnpgen.so", "_core.abi3.so"), "Darwin": ("libnpgen.dylib", "_core.abi3.so")}


def environment(check: Check) -> dict[str, Any]:
    """Report processor, device, versions and tools, and what is missing."""
    import torch

    found = {name: _version(name) for name in (*NEEDED, *FOR_TESTS)}
    tools = {name: shutil.which(name) is not None for name in ("cargo", "nvidia-smi")}
    rows: list[tuple[str, object]] = [
        ("processor", f"{platform.machine()}, {cores()} cores, {_processor()}"),
        ("system", f"{platform.platform()}"),
        ("Python", platform.python_version()),
        *((name, version or "**missing**") for name, version in found.items()),
        *((name, "found" if there else "not found") for name, there in tools.items()),
    ]
    values: dict[str, Any] = {"versions": found, "tools": tools, "cuda": torch.cuda.is_available()}
    if torch.cuda.is_available():
        one = torch.cuda.get_device_properties(0)
        values["device"] = one.name
        rows.append(("device", f"{one.name}, {one.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"))
        rows.append(("cuDNN", torch.backends.cudnn.version()))  # type: ignore[no-untyped-call]
    else:
        rows.append(("device", "no CUDA"))
    check.say("environment", *table(("", "found"), rows))
    missing = [name for name in NEEDED if not found[name]]
    if missing:
        check.say("environment", f"npgen cannot run: {', '.join(missing)} are missing.")
    if check.device.startswith("cuda") and not torch.cuda.is_available():
        check.say("environment", f"There is no device {check.device!r} here: what needs it fails below.")
    return {**values, "failed": bool(missing)}


def install(check: Check) -> dict[str, Any]:
    """Put the package, its metadata and its core into the folder that all later steps import from."""
    site = check.site
    shutil.rmtree(site, ignore_errors=True)
    for package in ("npgen", "npgen_bench", "npgen_command"):
        ignored = shutil.ignore_patterns("__pycache__", "_core.*.so")
        shutil.copytree(ROOT / "python" / package, site / package, ignore=ignored)
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    metadata = site / f"npgen-{version[1]}.dist-info"
    metadata.mkdir()
    text = f"Metadata-Version: 2.1\nName: npgen\nVersion: {version[1]}\n"
    (metadata / "METADATA").write_text(text, encoding="utf-8")
    built, carried = _built_core(check), ROOT / "python" / "npgen" / "_core.abi3.so"
    core = built or (carried if carried.exists() else None)
    if core is None:
        check.say("install", "There is neither a core that could be built nor one at python/npgen/_core.abi3.so.")
        return {"failed": True}
    shutil.copy(core, site / "npgen" / "_core.abi3.so")
    command = [sys.executable, "-c", "import npgen._core; print(npgen.__version__)"]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(site)})
    whose = "built here" if built else "carried along"
    if result.returncode:
        check.say("install", f"The core {whose} cannot be imported:", "```", result.stderr.strip()[-1500:], "```")
        return {"failed": True}
    check.say("install", f"npgen {result.stdout.strip()}, its core {whose}.")
    return {"core": whose}


def _built_core(check: Check) -> Path | None:
    """Build the core if there is a Rust toolchain, and return its file."""
    if check.tiny:
        check.say("install", "Nothing is built in a tiny rehearsal.")
        return None
    names = LIBRARIES.get(platform.system())
    if shutil.which("cargo") is None or names is None:
        check.say("install", "Nothing is built: there is no Rust toolchain (cargo).")
        return None
    target = Path(check.work) / "target"
    command = ["cargo", "build", "--release", "--locked", "--features", "python,pyo3/extension-module"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_NET_RETRY": "0"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if result.returncode:
        check.say("install", "cargo could not build the core:", "```", result.stderr.strip()[-800:], "```")
        return None
    return target / "release" / names[0]


def tests(check: Check) -> dict[str, Any]:
    """Run the tests marked `cuda`."""
    marked = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r"pytest\.mark\.cuda\b", path.read_text(encoding="utf-8"))
    ]
    if not marked:
        check.say("tests", "There are no tests marked `cuda`.")
        return {"failed": True}
    absent = [name for name in FOR_TESTS if not _version(name)]
    if absent:
        check.say("tests", f"No test is run: {', '.join(absent)} are missing.")
        return {"failed": True}
    # The project's own options ask for plugins that a bare machine may lack, and for warnings of any library as errors.
    options = ["-m", "cuda", "-q", "-ra", "-p", "no:cacheprovider", "-o", "addopts=", "--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", *options, "-W", "default", *marked]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(result.stdout, result.stderr)
    lines = [line for line in result.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
    summary = result.stdout.strip().splitlines()[-1] if result.stdout.strip() else "no output"
    check.say("tests", f"{len(marked)} files with tests marked `cuda`: {summary.strip('= ')}.", "")
    check.say("tests", *(f"- {line}" for line in lines))
    return {"summary": summary, "failed": result.returncode not in (0, 5)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown"
