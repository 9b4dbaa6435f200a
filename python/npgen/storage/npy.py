"""`.npy` files: written row by row with a hash, and memory-mapped only after their header was checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Container, Iterator
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from npgen.errors import invalid
from npgen.storage.files import open_regular, replacing

CHUNK_BYTES = 1 << 22
# Arrays of an archive may unpack to ARCHIVE_BYTES, or to ARCHIVE_RATIO times their packed size if that is more. Images
# reach about a tenth of that ratio.
ARCHIVE_BYTES = 1 << 28
ARCHIVE_RATIO = 100


def npy_header(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> bytes:
    """Make the header of a C-ordered `.npy` file.

    NumPy's padding differs between releases. Hashes include the header, so it is defined here.

    Parameters
    ----------
    dtype
        Plain (unstructured, non-object) dtype.
    shape
        Extents of the array.

    Returns
    -------
    bytes
        Format version 1.0 header, padded to a multiple of 64 bytes.

    Raises
    ------
    TypeError
        If `dtype` is not plain.
    """
    described = np.dtype(dtype)
    if described.hasobject or described.names is not None:
        raise TypeError(f"dtype must be a plain number type, got {described}")
    extents = tuple(int(extent) for extent in shape)
    text = f"{{'descr': {described.str!r}, 'fortran_order': False, 'shape': {extents!r}, }}"
    padded = text + " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode("ascii")


def sha256_array(array: npt.NDArray[Any]) -> str:
    """Return the hash of the file that `write_array` would write, without writing it.

    Parameters
    ----------
    array
        Any plain array of one dimension or more.

    Returns
    -------
    str
        `sha256_file` of that file.
    """
    digest = hashlib.sha256(npy_header(array.dtype, array.shape))
    for chunk in _byte_chunks(array):
        digest.update(chunk)
    return digest.hexdigest()


class ArrayWriter:
    """Writer of one `.npy` file: rows are hashed as they are written."""

    def __init__(self, file: BinaryIO, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        if not shape:
            raise invalid("shape", "at least one extent, the number of rows", shape)
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.rows = 0
        self._file = file
        self._digest = hashlib.sha256()
        self._put(npy_header(self.dtype, shape))

    @property
    def sha256(self) -> str:
        """Hash of the bytes written so far; after the last row, that of the file."""
        return self._digest.hexdigest()

    def write(self, rows: npt.NDArray[Any]) -> None:
        """Append rows.

        Parameters
        ----------
        rows
            Array (n, ...) of the writer's dtype and trailing shape.

        Raises
        ------
        ValueError
            If dtype or trailing shape differ, or there are too many rows.
        """
        if rows.dtype != self.dtype or rows.shape[1:] != self.shape[1:]:
            raise invalid(
                "rows", f"{self.dtype} of shape (n, *{self.shape[1:]})", f"{rows.dtype} of shape {rows.shape}"
            )
        if self.rows + len(rows) > self.shape[0]:
            raise invalid("rows", f"at most {self.shape[0]} in all", self.rows + len(rows))
        for chunk in _byte_chunks(rows):
            self._put(chunk)
        self.rows += len(rows)

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)


@contextlib.contextmanager
def array_writer(path: str | os.PathLike[str], dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Iterator[ArrayWriter]:
    """Write an array of known shape row by row into a `.npy` file, atomically.

    Parameters
    ----------
    path
        Where the file goes.
    dtype, shape
        Of the whole array.

    Yields
    ------
    ArrayWriter
        Takes the rows in order. All must be written before the block ends, else it raises ValueError.
    """
    with replacing(path) as file:
        writer = ArrayWriter(file, dtype, shape)
        yield writer
        if writer.rows != shape[0]:
            raise invalid(f"rows written to {path}", str(shape[0]), writer.rows)


def write_array(path: str | os.PathLike[str], array: npt.NDArray[Any]) -> str:
    """Write an array atomically as C-ordered `.npy`.

    Parameters
    ----------
    path
        Where the file goes.
    array
        Any plain array of one dimension or more.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    with array_writer(path, array.dtype, array.shape) as writer:
        writer.write(array)
    return writer.sha256


def open_array(path: str | os.PathLike[str], dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """Memory-map a `.npy` file read-only, after checking its dtype, shape and length.

    A false header cannot cause a large allocation: its shape must match the length of the file.

    Parameters
    ----------
    path
        File to open.
    dtype
        Expected dtype.
    shape
        Expected shape, with None for any extent.

    Returns
    -------
    np.ndarray
        Read-only memory map.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not `.npy`, holds Python objects or Fortran order, has another dtype or shape, or is shorter or
        longer than its header implies.
    """
    expected = np.dtype(dtype)
    with open_regular(path) as file:
        found_shape, fortran, found = _read_header(file, path)
        if found != expected:
            raise ValueError(f"{path} must be an array of {expected}, got {found}")
        if fortran:
            raise ValueError(f"{path} must be in C order, got Fortran order")
        if len(found_shape) != len(shape) or any(
            want is not None and want != got for want, got in zip(shape, found_shape, strict=True)
        ):
            wanted = ", ".join("any" if extent is None else str(extent) for extent in shape)
            raise ValueError(f"{path} must be an array of shape ({wanted}), got {found_shape}")
        return _mapped(file, path, found_shape, expected, "C")


def open_any_array(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Memory-map a `.npy` file of any dtype, shape and order read-only.

    Parameters
    ----------
    path
        File to open.

    Returns
    -------
    np.ndarray
        Read-only memory map.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not `.npy`, holds Python objects, or is shorter or longer than its header implies.
    """
    with open_regular(path) as file:
        shape, fortran, dtype = _read_header(file, path)
        return _mapped(file, path, shape, dtype, "F" if fortran else "C")


def read_archive(path: str | os.PathLike[str], names: Container[str]) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    """Read arrays from a `.npz` file.

    False headers cannot cause large allocations: an array takes the memory that its packed bytes unpack to, which is
    limited by `ARCHIVE_BYTES` and `ARCHIVE_RATIO`.

    Parameters
    ----------
    path
        File to read.
    names
        Names of the arrays to read; those that do not exist are ignored.

    Returns
    -------
    list of str
        Names of all arrays in the file, sorted.
    dict
        The arrays that were read, by name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such an archive, or an array to read is damaged, holds Python objects or unpacks to too much.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            for name in sorted(name for name in members if name in names):
                if members[name].file_size > max(ARCHIVE_BYTES, ARCHIVE_RATIO * members[name].compress_size):
                    raise ValueError(f"{name} would unpack to more than {ARCHIVE_RATIO} times its size")
                with archive.open(members[name]) as packed:
                    arrays[name] = _unpacked(packed, name, members[name].file_size)
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile and zlib raise exceptions of their own for a damaged file
        raise ValueError(f"{path} must be a valid .npz file: {error}") from error
    return sorted(members), arrays


def _unpacked(packed: IO[bytes], name: str, size: int) -> npt.NDArray[Any]:
    shape, fortran, dtype = _read_header(packed, name)
    length = prod(shape) * dtype.itemsize
    if packed.tell() + length != size:
        raise ValueError(f"{name} must be {packed.tell() + length} bytes for shape {shape} of {dtype}, got {size}")
    data = packed.read(length)
    packed.read(1)  # at the end of the file zipfile checks its checksum
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")


def _mapped(
    file: BinaryIO, path: str | os.PathLike[str], shape: tuple[int, ...], dtype: np.dtype[Any], order: Literal["C", "F"]
) -> npt.NDArray[Any]:
    """Memory-map what follows a header, if it has the length that the header implies."""
    offset = file.tell()
    length = offset + prod(shape) * dtype.itemsize  # Python integers cannot overflow
    size = os.fstat(file.fileno()).st_size
    if size != length:
        raise ValueError(
            f"{path} must be {length} bytes for shape {shape} of {dtype}, got {size}: the file is truncated or altered"
        )
    if size == offset:  # an empty array, which cannot be memory-mapped
        empty = np.empty(shape, dtype)
        empty.flags.writeable = False
        return empty
    return np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)


def read_rows(array: npt.NDArray[Any], rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """Copy some rows of an array; those of a memory map are read from its file, so none of its pages becomes resident.

    Parameters
    ----------
    array
        (N, ...), C-ordered.
    rows
        (M,) indices in 0…N − 1.

    Returns
    -------
    ndarray
        (M, ...), in memory.

    Raises
    ------
    OSError
        If the file cannot be read or has become shorter.
    """
    if not isinstance(array, np.memmap) or array.filename is None:
        return np.asarray(array[rows])
    copied = np.empty((len(rows), *array.shape[1:]), array.dtype)
    size = array.nbytes // len(array)
    targets = copied.reshape(-1).view(np.uint8).data
    with Path(array.filename).open("rb", buffering=0) as file:
        for index, row in enumerate(rows.tolist()):
            file.seek(array.offset + row * size)
            if file.readinto(targets[index * size : (index + 1) * size]) != size:
                raise OSError(f"{array.filename} must hold row {row}, got a shorter file")
    return copied


def _read_header(file: IO[bytes], path: str | os.PathLike[str]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, fortran, dtype = readers[np.lib.format.read_magic(file)](file)
    except Exception as error:  # NumPy raises exceptions of many kinds for a damaged header
        raise ValueError(f"{path} must be a .npy file, got one that cannot be read: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{path} must hold plain numbers, got Python objects, which are never unpickled")
    if any(extent < 0 for extent in shape):
        raise ValueError(f"{path} must be an array of non-negative extents, got {shape}")
    return shape, fortran, dtype


def _byte_chunks(array: npt.NDArray[Any]) -> Iterator[memoryview]:
    """Yield the bytes in C order, `CHUNK_BYTES` at a time, so that a memory map is never copied completely."""
    step = max(1, CHUNK_BYTES // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step]).reshape(-1).view(np.uint8).data
