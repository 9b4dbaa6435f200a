"""`scripts/fuzz.py`: a small number of its cases, and the processes that run and count them."""

import re
import subprocess
import sys
from pathlib import Path

import npgen
from npgen import _core

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Classes of results, which users do not make themselves.
RESULTS = {
    *("Ablation", "BuildAccount", "Denoised", "Difference", "Entropies", "Evaluation", "Explanation", "FillOrder"),
    *("Filled", "Frontier", "GammaStudy", "LeftOut", "NetworkRequest", "PartWhole", "Pool", "ReportFile", "RunReport"),
    *("ScoreSamples", "Sweep"),
}

# Cases with every kind of result.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from fuzzing.processes import outcomes

def escape():
    return Path("../secret").read_bytes()

def hidden():
    try:
        raise MemoryError
    except MemoryError as error:
        raise ValueError("no memory") from error

def refuse(error):
    raise error

CASES = {
    "fine": lambda: None,
    "refused": lambda: refuse(ValueError("x must be 1, got 2")),
    "mute": lambda: refuse(ValueError()),
    "wrong": lambda: {}["missing"],
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(3),
    "hang": lambda: time.sleep(60),
    "memory": lambda: bytearray(b"x") * (600 << 20),
    "greed": lambda: bytes(1 << 40),
    "hidden": hidden,
    "escape": escape,
    "write": lambda: Path("/tmp/npgen-fuzz-escape").write_bytes(b""),
    "device": lambda: open("/dev/null").read(),
    "after": lambda: Path("file").write_bytes(b"x"),
}
names = list(CASES)
scratch = Path(sys.argv[1])
run = lambda number: CASES[names[number]]()
hang = names.index("hang")
for numbers, limit in (([n for n in range(len(names)) if n != hang], 60.0), ([hang], 1.0)):
    for found in outcomes(numbers, names.__getitem__, run, scratch, jobs=2, batch=5, limit=limit):
        print(found.target, found.answer, found.fault, found.detail.strip().split("\\n")[-1], sep="|")
"""


def test_every_kind_of_result_is_recorded(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=SCRIPTS, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = {line.split("|")[0]: line.split("|")[1:] for line in result.stdout.splitlines()}
    answers = {name: (answer, fault == "True") for name, (answer, fault, _) in found.items()}
    assert answers == {
        "fine": ("success", False),
        "refused": ("ValueError", False),
        "mute": ("ValueError", True),
        "wrong": ("KeyError", True),
        "crash": ("died of SIGSEGV", True),
        "exit": ("exited with 3", True),
        "hang": ("hang, more than 1 s", True),
        "memory": ("memory", True),
        "greed": ("MemoryError", True),
        "hidden": ("MemoryError", True),
        "escape": ("Escape", True),
        "write": ("Escape", True),
        "device": ("success", False),
        "after": ("success", False),
    }
    assert found["refused"][2] == "x must be 1, got 2"
    assert re.match(r"(59|60)\d MiB more than before", found["memory"][2])
    assert list(tmp_path.iterdir()) == []  # the children's folders are gone
    assert not Path("/tmp/npgen-fuzz-escape").exists()


def fuzz(*arguments):
    command = [sys.executable, SCRIPTS / "fuzz.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_few_cases_have_no_faults(tmp_path):
    result = fuzz("--cases", 250, "--seed", 6, "--jobs", 1, "--log", tmp_path / "log")
    assert result.returncode == 0, result.stdout + result.stderr
    last = result.stdout.splitlines()[-2:]
    assert re.fullmatch(r"all +250  .*(success|Error) \d+", last[0])
    assert re.fullmatch(r"250 cases in \d+ s, 0 faults", last[1])
    log = (tmp_path / "log").read_text()
    assert len(re.findall(r"^case \d+ ", log, re.MULTILINE)) == 250
    assert log.endswith(result.stdout[-200:])


def test_every_public_function_is_a_target():
    listed = fuzz("--list").stdout.splitlines()
    public = {name for name in dir(_core) if not name.startswith("_")}
    public |= {
        f"{owner}.{name}"
        for owner in ("Filler", "Pools", "TokenFiller")
        for name in dir(getattr(_core, owner))
        if name[0] != "_"
    }
    assert {f"_core.{name}" for name in public - {"DenoisedArrays", "Pools"}} <= set(listed)
    called = {re.split(r"[.(\[]", name)[0] for name in listed}
    # A trace is a part of samples, whose parts are targets one by one.
    assert set(npgen.__all__) - RESULTS - called == {"Trace"}


def test_a_bad_number_is_refused():
    result = fuzz("--cases", 0)
    assert result.returncode == 2
    assert "cases and jobs must be at least 1, got 0 and" in result.stderr
