"""Atomic files and folders, and readers of untrusted JSON."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npgen.storage import files, npy


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_round_trip_and_replacement(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    files.write_json(path, {"old": 1})
    files.write_json(path, {"grün": [1, 2.5, None]})
    assert files.read_json(path) == {"grün": [1, 2.5, None]}
    assert left_in(tmp_path) == ["m.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "must be a JSON file, got one that cannot be read"),
        (b"\xff\xfe", "must be a JSON file, got one that cannot be read"),
        (b"[" * 100_000, "must be a JSON file, got one that cannot be read"),
        (b"[1]", "must be a JSON object, got a list"),
    ],
)
def test_bad_json(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        files.read_json(path)


def test_failed_replacement_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"not a number": float("nan")})
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["f"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "a.npy"
    with pytest.raises(OSError, match="nothing was kept") as caught:
        npy.write_array(path, np.zeros(3))
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert left_in(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="RLIMIT_FSIZE is a POSIX limit")
def test_no_space_in_a_folder_names_the_folder(tmp_path: Path) -> None:
    program = """
import resource, sys, numpy as np
from npgen.storage import files, npy
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with files.new_folder(sys.argv[1]) as folder:
    npy.write_array(folder / "small.npy", np.zeros(10, np.uint8))
    npy.write_array(folder / "large.npy", np.zeros(10_000, np.uint8))
"""
    target = tmp_path / "deep" / "out"
    done = subprocess.run([sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"nothing was kept. Free some space or write elsewhere: '{target}'")
    assert left_in(tmp_path) == []


def test_other_os_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        files.write_bytes(tmp_path / "missing" / "f", b"")


def test_new_folder(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with files.new_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "f").write_text("x")
        assert not target.exists()
    assert (target / "inner" / "f").read_text() == "x"
    assert left_in(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_new_folder_refuses_what_exists(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "folder":
        target.mkdir()
    elif kind == "file":
        target.touch()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(FileExistsError, match=re.escape(f"out must be a path that does not exist yet, got '{target}'")),
        files.new_folder(target),
    ):
        pytest.fail("the block must not run")
    assert left_in(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_new_folder_leaves_nothing_after_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), files.new_folder(tmp_path / "a" / "b" / "c") as folder:
        (folder / "f").touch()
        raise error
    assert left_in(tmp_path) == []


def test_new_folder_loses_a_race_without_harm(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with (
        pytest.raises(FileExistsError, match="out must be a path that does not exist yet"),
        files.new_folder(target),
    ):
        target.mkdir()
        (target / "winner").touch()
    assert left_in(tmp_path) == ["out"]
    assert left_in(target) == ["winner"]


FOLDER = """
with files.new_folder(sys.argv[1]) as folder:
    (folder / "f").touch()
    wait()
"""
FILE = """
with files.replacing(sys.argv[1]) as file:
    file.write(b"half")
    wait()
"""


@contextlib.contextmanager
def half_written(target: Path, block: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, in the middle of its writing; killed at the end of the block."""
    program = f"""
import sys, time
from npgen.storage import files
def wait():
    print("half", flush=True)
    time.sleep(60)
{block}"""
    command = [sys.executable, "-c", program, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        yield process
        process.kill()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX locks")
@pytest.mark.parametrize("block", [FOLDER, FILE], ids=["folder", "file"])
def test_killed_writer_leaves_nothing_for_long(tmp_path: Path, block: str) -> None:
    for name in ("out", "other", "out.txt"):
        with half_written(tmp_path / name, block):
            pass
        assert not (tmp_path / name).exists()
    left = left_in(tmp_path)
    assert len(left) == 3
    assert all(name.startswith(".o") and name.endswith(".partial") for name in left)
    mine = tmp_path / ".out.my-own.partial"
    mine.touch()
    if block == FOLDER:
        with files.new_folder(tmp_path / "out"):
            pass
    else:
        files.write_bytes(tmp_path / "out", b"complete")
    others = [name for name in left if not re.fullmatch(r"\.out\.[0-9a-f]+\.partial", name)]
    assert len(others) == 2
    assert left_in(tmp_path) == sorted([*others, mine.name, "out"])


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX locks")
def test_living_writer_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with half_written(target, FOLDER):
        (partial,) = left_in(tmp_path)
        with files.new_folder(target):
            pass
        assert left_in(tmp_path) == [partial, "out"]
        assert (tmp_path / partial / "f").exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX locks")
def test_writing_needs_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    stale = tmp_path / f".out.{files._MACHINE}00000000.partial"
    stale.touch()
    monkeypatch.setattr("fcntl.flock", unsupported)
    files.write_bytes(tmp_path / "out", b"complete")
    assert left_in(tmp_path) == [stale.name, "out"]


def test_importing_files_is_light() -> None:
    program = "import sys; import npgen.storage.files; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_json_is_readable(tmp_path: Path) -> None:
    files.write_json(tmp_path / "m.json", {"a": [1]})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": [1]}
    assert (tmp_path / "m.json").read_text().count("\n") > 2


# Files that would never end, and JSON that could not be used


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
@pytest.mark.parametrize(
    "reader", [files.sha256_file, files.read_json, lambda path: npy.open_array(path, np.uint8, (1,))]
)
def test_only_regular_files_are_read(tmp_path: Path, reader: Any) -> None:
    os.mkfifo(tmp_path / "pipe")  # without a writer
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zeros", "folder"):
        with pytest.raises(ValueError, match=re.escape(f"file must be a regular one, got '{tmp_path / name}'")):
            reader(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        reader(tmp_path / "missing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than 64 deep"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than 64 deep"),
        ('{"a": NaN}', "nan is not a JSON number"),
        ('{"a": [1, -Infinity]}', "-inf is not a JSON number"),
        ('{"a": 1e999}', "inf is not a JSON number"),
        (r'{"a": "\ud800"}', "surrogates not allowed"),
        (r'{"\udfff": 1}', "surrogates not allowed"),
        ("1" * 5000, "Exceeds the limit"),
    ],
)
def test_json_that_could_not_be_written_again_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=f"a.json must be a JSON file, got one that cannot be read: .*{message}"):
        files.read_json(tmp_path / "a.json")


def test_json_of_any_depth_in_use_is_read(tmp_path: Path) -> None:
    value: Any = {"a": [1, 2.5, "ü", None, True, {}]}
    for _ in range(60):
        value = {"a": value}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value


def test_json_larger_than_any_manifest_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "JSON_BYTES", 10)
    (tmp_path / "a.json").write_text('{"a": 12345}')
    with pytest.raises(ValueError, match="a.json must be a JSON file of at most 10 bytes, got 12"):
        files.read_json(tmp_path / "a.json")
