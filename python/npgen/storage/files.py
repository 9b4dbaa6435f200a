"""Atomic files and folders, hashes and JSON."""

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

# Limits of JSON files: manifests of the largest runs take about 100 MB, and are nested six levels deep.
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
        SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file for reading; refuse devices, pipes and anything else that may never end.

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
        If it is not a regular file.
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        raise invalid("file", "a regular one", str(file))
    return file.open("rb")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file atomically: it appears under its name only when it is complete and on disk.

    A process that is killed leaves a hidden partial file, which the next writer of the same file removes.

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
        If the disk is full or the folder cannot be written; the error names `path`.
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
        JSON-able value. Not-a-number and infinity are refused, as JSON has no such numbers.
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
        If the file is not JSON, not an object, nested too deep or too large.
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
    """Parse JSON from an untrusted source, so that the value can be written, compared and shown safely.

    Parameters
    ----------
    text
        JSON; bytes are UTF-8.

    Returns
    -------
    Any
        Its value, with finite numbers and valid Unicode only, nested at most `JSON_DEPTH` levels deep.

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
                part.encode("utf-8")  # raises for half of a surrogate pair
            elif isinstance(part, float) and not math.isfinite(part):
                raise ValueError(f"{part} is not a JSON number")
        level = inner
        if not level:
            return value
    raise ValueError(f"nested more than {JSON_DEPTH} deep")


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Build a folder atomically: it appears under its name only when it is complete and on disk.

    A process that is killed leaves a hidden partial folder, which the next writer of the same folder removes.

    Parameters
    ----------
    path
        Where the folder goes. Missing parent folders are made, and removed again on failure.

    Yields
    ------
    Path
        A temporary sibling to fill; removed again if the block raises any exception, KeyboardInterrupt included.

    Raises
    ------
    FileExistsError
        If something exists at `path`, before or after the block.
    OSError
        If the disk is full; the error names `path`.
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
                refuse_existing(target)  # raises if another process was first, the usual reason
                raise
    except BaseException:
        for parent in made:
            with contextlib.suppress(OSError):  # not empty: another process uses it
                parent.rmdir()
        raise
    _sync_folder(target.parent)


def refuse_existing(path: str | os.PathLike[str]) -> None:
    """Raise FileExistsError if anything, even a broken link, exists at `path`, where a new folder is to be made."""
    if os.path.lexists(path):
        raise FileExistsError(f"out must be a path that does not exist yet, got {str(path)!r}")


@contextlib.contextmanager
def _partial_sibling(target: Path) -> Iterator[Path]:
    """Yield the path of a temporary sibling of `target`; remove it, file or folder, if the block raises."""
    prefix = f".{target.name}.{_MACHINE}"
    partial = target.with_name(f"{prefix}{secrets.token_hex(4)}.partial")
    with _locked_and_cleaned(target.parent, re.compile(f"{re.escape(prefix)}[0-9a-f]{{8}}.partial")):
        try:
            yield partial
        except BaseException as error:
            _remove(partial)
            if isinstance(error, OSError) and error.errno in _NO_SPACE:  # raised anywhere in the block
                text = f"{os.strerror(error.errno)}; nothing was kept. Free some space or write elsewhere"
                raise OSError(error.errno, text, str(target)) from error
            raise


@contextlib.contextmanager
def _locked_and_cleaned(folder: Path, partial: re.Pattern[str]) -> Iterator[None]:
    """Remove partial files that killed writers left in a folder, and hold a lock that protects those of living ones.

    Every writer holds a shared lock on the folder, which the kernel releases when the process ends. A writer that gets
    the exclusive lock therefore knows that no partial file there belongs to a living writer. Some network file systems
    apply locks within one machine only: names of partial files contain the machine, and each machine removes its own.
    """
    if os.name != "posix":  # Windows cannot lock folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # there are other writers, or this file system has no locks
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
    if os.name != "posix":  # Windows cannot sync folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
