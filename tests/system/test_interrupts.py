"""Ctrl-C on the command line: any command ends soon, with one line and status 130."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import npgen
from npgen.storage.files import sha256_file

SCRIPT = Path(__file__).parents[2] / "scripts" / "interrupts.py"
# Seconds until a process that should take half a second counts as hung.
PATIENCE = 60

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals"),
    pytest.mark.xdist_group("time"),
]


@pytest.fixture(autouse=True)
def handle_ctrl_c():
    """Let child processes receive Ctrl-C: a shell starts background jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def command(app, before=""):
    """Run the command `npgen` with other code in place of npgen's; return its status, its stderr, and seconds."""
    indented = app.replace("\n", "\n    ")
    code = f"""
import hashlib, os, signal, sys, threading, time, types
import npgen_command.interrupts
{before}
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
def app():
    {indented}
sys.modules["npgen.cli"] = types.SimpleNamespace(app=app)
npgen_command.main()
"""
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    return result.returncode, result.stderr, time.monotonic() - began


SWALLOWED = """
try:
    interrupt()
    time.sleep(60)
except KeyboardInterrupt:
    {}"""


@pytest.mark.parametrize(
    "app",
    [
        "interrupt()\ntime.sleep(60)",
        SWALLOWED.format("raise ImportError('initialisation failed')"),  # as modules written in C do
        SWALLOWED.format("sys.exit(0)"),
        SWALLOWED.format("time.sleep(60)"),
        # One call that takes minutes, in which Python handles no signal.
        "threading.Timer(0.1, interrupt).start()\nhashlib.pbkdf2_hmac('sha256', b'', b'', 2**30)",
        # The commands themselves print the line and exit.
        SWALLOWED.format("print('npgen: interrupted', file=sys.stderr)\n    sys.exit(130)"),
    ],
    ids=["raised", "converted", "swallowed", "ignored", "computing", "reported"],
)
def test_a_command_ends_soon(app):
    status, stderr, seconds = command(app)
    assert (status, stderr) == (130, "npgen: interrupted\n")
    assert seconds < 20


def test_nothing_is_printed_while_modules_are_imported(tmp_path):
    """The signal then kills the process: in a shell, that is status 130."""
    (tmp_path / "npgen").mkdir()
    (tmp_path / "npgen" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    result = subprocess.run([sys.executable, "-m", "npgen_command"], capture_output=True, env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, b"", b"")


def test_a_second_ctrl_c_ends_the_command_at_once():
    app = SWALLOWED.format("interrupt()\n    time.sleep(60)")
    status, stderr, _ = command(app, before="npgen_command.interrupts.GRACE = 10 * 60")
    assert (status, stderr) == (130, "npgen: interrupted\n")


@pytest.mark.parametrize(
    ("app", "status"),
    [
        ("sys.exit(3)", 3),
        ("pass", 0),
        # Ctrl-C stays ignored where it was ignored from the start: in a shell's background job.
        ("assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\ninterrupt()", 0),
    ],
)
def test_other_exits_are_unchanged(app, status):
    before = "signal.signal(signal.SIGINT, signal.SIG_IGN)" if "SIG_IGN" in app else ""
    assert command(app, before)[:2] == (status, "")


def test_a_traceback_is_shown_as_usual():
    status, stderr, _ = command("raise ArithmeticError('mine')")
    assert status == 1
    assert stderr.endswith("ArithmeticError: mine\n")


def test_generate_keeps_whole_shards(colours, tmp_path):
    colours.save(tmp_path / "corpus")
    options = ["--model", "local", "--window", "5", "-n", "100000", "-q", "--out", tmp_path / "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "npgen_command", "generate", tmp_path / "corpus", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "run" / "00000064").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, stderr) == (130, "npgen: interrupted\n")
    shards = json.loads((tmp_path / "run" / "manifest.json").read_text())["shards"]
    assert shards
    for shard in shards:
        for array, sha256 in shard["sha256"].items():
            assert sha256_file(tmp_path / "run" / shard["name"] / f"{array}.npy") == sha256


def test_an_interrupted_import_is_completed(tmp_path):
    (tmp_path / "large.py").write_text("import time; print('once'); time.sleep(2); whole = True")
    code = """
import os, signal, sys, threading, time
from npgen.runtime.imports import import_uninterrupted
threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
began = time.monotonic()
try:
    import_uninterrupted("large")
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - began < 1.5, hasattr(sys.modules["large"], "whole"))
import_uninterrupted("large")
import_uninterrupted("large")
import large
print(large.whole)
for _ in range(2):
    try:
        import_uninterrupted("no_such_module")
    except ModuleNotFoundError as error:
        print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    lines = ["once", "interrupted True False", "True", *["No module named 'no_such_module'"] * 2]
    assert (result.stdout.splitlines(), result.stderr) == (lines, "")


def script(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def test_the_script_reports_times(digits, tmp_path):
    npgen.Corpus.from_arrays(np.repeat(digits.images, 2, axis=0)).save(tmp_path / "corpus")
    options = ["--encoder", "pixels", "--times", 2, "--on", "generate", "python", "--horizon", 1, "--limit", PATIENCE]
    result = script(tmp_path / "corpus", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(", median")[0] for line in lines] == ["generate: 1 interrupts", "python: 1 interrupts"]
    assert all(f"0 over {PATIENCE}.0 s, 0 not clean" in line for line in lines)


@pytest.mark.parametrize("name", ["times", "limit", "horizon"])
def test_bad_values_are_named(name):
    result = script("corpus", f"--{name}", 0)
    assert (result.returncode, f"interrupts: {name} must be more than 0, got 0" in result.stderr) == (1, True)
