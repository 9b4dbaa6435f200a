"""Files and folders that are whole or not there: atomic writers, hashes and JSON."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from npgen.errors import invalid

if os.name == "posix":
    import fcntl

# Manifests of the largest runs take some 100 MB; they are nested six deep.
JSON_BYTES = 1 << 28
JSON_DEPTH = 64

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hash a file without holding it in memory.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    str
        Lower-case hexadecimal SHA-256 of all its bytes.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to read it, unless it is a device, a pipe or anything else that may never end.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    io.BufferedReader
        Open for reading.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no regular file.
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        raise invalid("file", "a regular one", str(file))
    return file.open("rb")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when it is complete and on disk.

    A process that is killed leaves a hidden partial file, which the next to write the same one removes.

    Parameters
    ----------
    path
        Where the file goes; an older file there is replaced.

    Yields
    ------
    BinaryIO
        A temporary sibling, open for writing; removed again if the block raises.

    Raises
    ------
    OSError
        Naming `path`, when the disk is full or the folder cannot be written.
    """
    target = Path(path)
    with _partial_sibling(target) as partial:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        _sync_folder(target.parent)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes atomically.

    Parameters
    ----------
    path
        Where the file goes.
    data
        Its whole content.
    """
    with replacing(path) as file:
        file.write(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write readable UTF-8 JSON atomically.

    Parameters
    ----------
    path
        Where the file goes.
    value
        JSON-able value. Not-a-number is refused: it is not JSON.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode("utf-8") + b"\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    dict
        Its content.

    Raises
    ------
    ValueError
        If the file is not JSON, not an object, or nested too deep, or too large.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > JSON_BYTES:
            raise ValueError(f"{path} must be a JSON file of at most {JSON_BYTES} bytes, got {size}")
        text = file.read(size)
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{path} must be a JSON file, got one that cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must be a JSON object, got a {type(value).__name__}")
    return value


def parse_json(text: str | bytes) -> Any:
    """Parse JSON from anywhere into a value that can be written, compared and shown without further care.

    Parameters
    ----------
    text
        JSON; bytes are UTF-8.

    Returns
    -------
    Any
        Its value: finite numbers, sound Unicode, nested at most `JSON_DEPTH` deep.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        value = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise ValueError(f"nested more than {JSON_DEPTH} deep") from error
    level = [value]
    for _ in range(JSON_DEPTH):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                inner += [*part, *part.values()]
            elif isinstance(part, list):
                inner += part
            elif isinstance(part, str):
                part.encode("utf-8")  # half of a surrogate pair is no text, and could not be written
            elif isinstance(part, float) and not math.isfinite(part):
                raise ValueError(f"{part} is no JSON number")
        level = inner
        if not level:
            return value
    raise ValueError(f"nested more than {JSON_DEPTH} deep")


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Build a folder that appears under its name only when it is complete and on disk.

    A process that is killed leaves a hidden partial folder, which the next to build the same one removes.

    Parameters
    ----------
    path
        Where the folder goes. Missing parents are made, and removed again on failure.

    Yields
    ------
    Path
        A temporary sibling to fill; removed again if the block raises anything, Ctrl-C included.

    Raises
    ------
    FileExistsError
        If something is at `path` already, or appeared there meanwhile.
    OSError
        Naming `path`, when the disk is full.
    """
    target = Path(path).absolute()
    refuse_existing(target)
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _partial_sibling(target) as partial:
            partial.mkdir()
            yield partial
            for folder, _, names in os.walk(partial):
                for name in names:
                    with (Path(folder) / name).open("rb+") as file:
                        os.fsync(file.fileno())
                _sync_folder(folder)
            try:
                partial.rename(target)
            except OSError:
                refuse_existing(target)  # the usual reason: another process was first
                raise
    except BaseException:
        for parent in made:
            with contextlib.suppress(OSError):  # not empty: somebody else uses it by now
                parent.rmdir()
        raise
    _sync_folder(target.parent)


def refuse_existing(path: str | os.PathLike[str]) -> None:
    """Raise if a new folder could not go to `path`.

    Parameters
    ----------
    path
        Where a folder is about to be made.

    Raises
    ------
    FileExistsError
        If anything is there.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"out must be a path that does not exist yet, got {str(path)!r}")


@contextlib.contextmanager
def _partial_sibling(target: Path) -> Iterator[Path]:
    """Name a temporary sibling, to be renamed to `target`; remove it, file or folder, if the block raises."""
    prefix = f".{target.name}.{_MACHINE}"
    partial = target.with_name(f"{prefix}{secrets.token_hex(4)}.partial")
    with _swept(target.parent, re.compile(f"{re.escape(prefix)}[0-9a-f]{{8}}.partial")):
        try:
            yield partial
        except BaseException as error:
            _remove(partial)
            if isinstance(error, OSError) and error.errno in _NO_SPACE:  # from any depth: one message
                text = f"{os.strerror(error.errno)}; nothing was kept. Free some space or write elsewhere"
                raise OSError(error.errno, text, str(target)) from error
            raise


@contextlib.contextmanager
def _swept(folder: Path, partial: re.Pattern[str]) -> Iterator[None]:
    """Remove what killed writers left in a folder, then keep others from removing ours.

    All writers share a lock on the folder, which the kernel drops when a process ends, however it ends. Who
    gets that lock alone knows that no partial file has a writer. Some network file systems lock within one
    machine only, so each machine removes its own.
    """
    if os.name != "posix":  # Windows has no such locks
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # others write here, or this file system has no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder.iterdir():
                if partial.fullmatch(path.name):
                    _remove(path)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync_folder(folder: str | os.PathLike[str]) -> None:
    if os.name != "posix":  # Windows has no way to sync a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
