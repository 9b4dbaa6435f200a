"""`.npy` files: the writer, and readers that check the header."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from npgen.storage import files, npy

PLAIN_DTYPES = st.sampled_from([np.uint8, np.int32, np.int64, np.float32, np.float64])
ARRAYS = PLAIN_DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=4, min_side=0, max_side=6)))
in_place = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(array=ARRAYS)
@in_place
def test_array_round_trip(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "a.npy"
    digest = npy.write_array(path, array)
    assert digest == files.sha256_file(path) == npy.sha256_array(array)
    opened = npy.open_array(path, array.dtype, array.shape)
    np.testing.assert_array_equal(opened, array)
    np.testing.assert_array_equal(np.load(path), array)
    assert not opened.flags.writeable
    assert list(tmp_path.iterdir()) == [path]


def test_header_is_numpys_own_format_and_fixed() -> None:
    header = npy.npy_header(np.uint8, (60000, 28, 28, 1))
    assert len(header) == 128
    assert header[:10] == b"\x93NUMPY\x01\x00\x76\x00"
    assert header[10:].decode().rstrip() == "{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28, 1), }"
    assert header.endswith(b" \n")


@pytest.mark.parametrize("dtype", [object, [("a", np.uint8)]])
def test_header_refuses_other_than_plain_numbers(dtype: object) -> None:
    with pytest.raises(TypeError, match="dtype must be a plain number type, got"):
        npy.npy_header(dtype, (2,))  # type: ignore[arg-type]


def test_rows_of_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "CHUNK_BYTES", 64)
    array = np.arange(40 * 7, dtype=np.int32).reshape(40, 7)
    with npy.array_writer(tmp_path / "a.npy", np.int32, array.shape) as writer:
        writer.write(array[:3])
        writer.write(array[3:].copy(order="F"))
    assert writer.sha256 == files.sha256_file(tmp_path / "a.npy") == npy.sha256_array(array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((2, 3), np.int32), "rows must be uint8 of shape"),
        (np.zeros((2, 4), np.uint8), "rows must be uint8 of shape"),
        (np.zeros((5, 3), np.uint8), "rows must be at most 4 in all, got 5"),
        (np.zeros((3, 3), np.uint8), "rows written to .* must be 4, got 3"),
    ],
)
def test_writer_refuses_what_does_not_fit(tmp_path: Path, rows: np.ndarray, message: str) -> None:
    with (
        pytest.raises(ValueError, match=message),
        npy.array_writer(tmp_path / "a.npy", np.uint8, (4, 3)) as writer,
    ):
        writer.write(rows)
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_a_scalar(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape must be at least one extent"):
        npy.write_array(tmp_path / "a.npy", np.array(1))
    assert list(tmp_path.iterdir()) == []


def numpys(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


PLAIN = np.arange(12, dtype=np.uint8).reshape(3, 4)
HUGE = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
HUGE += b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }".ljust(117) + b"\n"
NEGATIVE = npy.npy_header(np.uint8, (3, 4)).replace(b"(3, 4)", b"(-3,4)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            numpys(PLAIN)[:-1],
            "must be 140 bytes for shape (3, 4) of uint8, got 139: the file is truncated or altered",
        ),
        (
            numpys(PLAIN) + b"\0",
            "must be 140 bytes for shape (3, 4) of uint8, got 141: the file is truncated or altered",
        ),
        (
            numpys(PLAIN)[:128],
            "must be 140 bytes for shape (3, 4) of uint8, got 128: the file is truncated or altered",
        ),
        (numpys(PLAIN)[:60], "must be a .npy file, got one that cannot be read"),
        (numpys(PLAIN)[:4], "must be a .npy file, got one that cannot be read"),
        (b"", "must be a .npy file, got one that cannot be read"),
        (b"GIF89a and so on", "must be a .npy file, got one that cannot be read"),
        (b"\x93NUMPY\x09\x00" + numpys(PLAIN)[8:], "must be a .npy file, got one that cannot be read"),
        (numpys(PLAIN).replace(b"(3, 4)", b"(3, 4]"), "must be a .npy file, got one that cannot be read"),
        (numpys(PLAIN).replace(b"'|u1'", b"'|zz'"), "must be a .npy file, got one that cannot be read"),
        (numpys(PLAIN.astype(np.float32)), "must be an array of uint8, got float32"),
        (numpys(np.asfortranarray(PLAIN)), "must be in C order, got Fortran order"),
        (numpys(PLAIN[:2]), "must be an array of shape (3, any), got (2, 4)"),
        (numpys(PLAIN[0]), "must be an array of shape (3, any), got (4,)"),
        (numpys(np.array([[{}]]), allow_pickle=True), "must hold plain numbers, got Python objects"),
        (NEGATIVE, "must be an array of non-negative extents, got (-3, 4)"),
        (pickle.dumps(PLAIN), "must be a .npy file, got one that cannot be read"),
    ],
)
def test_open_refuses(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} {re.escape(message)}"):
        npy.open_array(path, np.uint8, (3, None))


def test_open_allocates_nothing_for_a_lying_header(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(HUGE)
    with pytest.raises(ValueError, match="must be 1208925819614629174706304 bytes for shape"):
        npy.open_array(path, np.uint8, (None, None))


def test_open_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.npy"):
        npy.open_array(tmp_path / "a.npy", np.uint8, (1,))


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@in_place
def test_open_survives_any_altered_byte(tmp_path: Path, position: int, value: int) -> None:
    content = bytearray(numpys(PLAIN))
    content[position % len(content)] = value
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    try:
        opened = npy.open_array(path, np.uint8, (3, 4))
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert opened.shape == (3, 4)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return path


@given(array=ARRAYS, fortran=st.booleans())
@in_place
def test_arrays_of_an_archive(tmp_path: Path, array: np.ndarray, fortran: bool) -> None:
    laid_out = np.asfortranarray(array) if fortran else array
    np.savez_compressed(tmp_path / "a.npz", images=laid_out, other=array)
    names, arrays = npy.read_archive(tmp_path / "a.npz", {"images", "labels"})
    assert names == ["images", "other"]
    assert list(arrays) == ["images"]
    np.testing.assert_array_equal(arrays["images"], array)
    np.save(tmp_path / "a.npy", laid_out)
    np.testing.assert_array_equal(npy.open_any_array(tmp_path / "a.npy"), array)


def test_an_archive_takes_no_more_memory_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> dict[str, np.ndarray]:
        return npy.read_archive(path, {"x"})[1]

    path = archive(tmp_path / "a.npz", x=npy.npy_header(np.uint8, (1 << 40,)) + b"abc")
    with pytest.raises(ValueError, match=r"a.npz must be a valid .npz file: x must be 1099511627904 bytes .*, got 131"):
        read()
    path = archive(tmp_path / "a.npz", x=npy.npy_header(np.uint8, (1 << 20,)) + bytes(1 << 20))
    assert read()["x"].shape == (1 << 20,)
    monkeypatch.setattr(npy, "ARCHIVE_BYTES", 1 << 10)
    with pytest.raises(ValueError, match="x would unpack to more than 100 times its size"):
        read()
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}]), allow_pickle=True)
    path = archive(tmp_path / "a.npz", x=pickled.getvalue())
    with pytest.raises(ValueError, match="x must hold plain numbers, got Python objects, which are never unpickled"):
        read()
    data = bytearray(archive(tmp_path / "a.npz", x=npy.npy_header(np.uint8, (9,)) + b"123456789").read_bytes())
    data[data.index(b"x.npy") + 60] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match="a.npz must be a valid .npz file: "):
        read()
