"""Ways to make a file malformed: functions of its valid bytes and a stream of random numbers."""

from __future__ import annotations

import functools
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from random import Random
from typing import Any, Literal

import numpy as np

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 255, 256, 999_999, 1_000_000, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**400, -2, -(2**31), -(2**63), -(2**63) - 1, -(10**400)),
    *(0.0, -0.0, 0.5, 1.5, 1e-320, 1e18, 1e308, math.nan, math.inf, -math.inf),
)  # fmt: skip
# No text names a path outside a worker's folder: a bug in npgen must not destroy a file of the machine.
TEXTS = (
    *("", " ", ".", "..", "/", "x", "0", "-1", "None", "nan", "full", "local", "class", "images", "heldout"),
    *("../secret", "../../secret", "../secret/00000000", "00000000/../../secret", "./00000000", "secret\\x", "~"),
    *("a\0b", "a\nb", "\r", "\ud800", "\udcff", "x" * 300, "x" * 100_000, "<script>alert(1)</script>", "é", "\u202e"),
    *("%s%n{}", "${HOME}", "__class__", "mnist-5k.", "cuda:99", "pixels", "00000001"),
)  # fmt: skip
DTYPES = (
    "|u1",
    "|i1",
    "<i4",
    ">i4",
    "<i8",
    ">i8",
    "<f4",
    ">f4",
    "<f8",
    "|O",
    "|b1",
    "<U3",
    "|S0",
    "<M8[s]",
    "<c8",
    "|V5",
)


@dataclass(frozen=True)
class Odd:
    """An entry of a store in place of a regular file: a symbolic link, a folder, a pipe, or nothing."""

    kind: Literal["link", "folder", "pipe", "nothing"]
    target: str = ""


# The content of a store, by path.
Files = dict[str, bytes | Odd]

ODDS = (
    *(Odd("nothing"), Odd("folder"), Odd("pipe"), Odd("link", "/dev/zero"), Odd("link", "/dev/null")),
    *(Odd("link", "nowhere"), Odd("link", "."), Odd("link", "manifest.json")),
)  # fmt: skip


def mutated(random: Random, path: str, data: bytes) -> bytes | Odd:
    """Make a file malformed, by its format or byte by byte."""
    if random.random() < 0.03:
        return random.choice(ODDS)
    special = SPECIAL.get(PurePosixPath(path).suffix, mutated_bytes)
    return mutated_bytes(random, data) if random.random() < 0.25 else special(random, data)


def mutated_bytes(random: Random, data: bytes) -> bytes:
    """Flip, cut, grow, swap, repeat or blank bytes anywhere."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5, 50))):
        # Headers, near the front, are changed more often than the rest.
        span = len(changed) if random.random() < 0.5 else min(len(changed), 200)
        at, to = random.randrange(span + 1), random.randrange(span + 1)
        start, end = min(at, to), max(at, to)
        match random.randrange(8):
            case 0 | 1 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 2:
                del changed[at:]
            case 3:
                changed[at:at] = random.randbytes(random.choice((1, 8, 1000)))
            case 4:
                del changed[start:end]
            case 5:
                changed[start:end] = bytes(end - start)
            case 6:
                changed += changed[start:end] or b"\0"
            case _ if at < len(changed):
                changed[at : at + 8] = random.choice(
                    (b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7, random.randbytes(8))
                )
    return bytes(changed)


def mutated_json(random: Random, data: bytes) -> bytes:
    """Change the values, names and shape of a JSON file."""
    if random.random() < 0.08:
        return random.choice(_HOSTILE_JSON)
    try:
        value = json.loads(data)
    except ValueError:
        return mutated_bytes(random, data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = mutated_value(random, value)
    text = json.dumps(value)
    if random.random() < 0.03 and "{" in text:  # a name twice
        text = text.replace("{", '{"n": 1, "version": 1, ', 1)
    return text.encode("utf-8")


_HOSTILE_JSON = (
    *(b"", b"null", b"[]", b"{}", b"0", b'"x"', b"{", b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b'{"a": 1,}', b"\x00"),
    *(b"[" * 100_000, b'{"a":' * 50_000, b"[" * 900 + b"]" * 900, b'{"format": ' + b"9" * 5000 + b"}"),
    *(b'{"format": "npgen-run", "version": 2, "n": NaN}', b'{"format": -Infinity}', b'{"version": 1e999}'),
    b'{"\\ud800": 1}',
)  # fmt: skip


def mutated_value(random: Random, value: Any) -> Any:
    """Change a value of JSON types in one place."""
    places = list(_places(value, ()))
    where = random.choice(places)
    if not where:
        return junk_value(random)
    parent = value
    for step in where[:-1]:
        parent = parent[step]
    last = where[-1]
    match random.randrange(8):
        case 0:
            del parent[last]
        case 1 if isinstance(parent, dict):
            parent[random.choice(TEXTS)] = parent.pop(last)
        case 1:
            parent.insert(last, parent[last])
        case 2 if isinstance(parent, dict):
            parent[random.choice(TEXTS)] = junk_value(random)
        case 3:
            other = value
            for step in random.choice(places):
                other = other[step]
            parent[last] = json.loads(json.dumps(other))
        case 4:
            parent[last] = _nudged(random, parent[last])
        case 5:
            for _ in range(random.choice((1, 2, 50, 300))):
                parent[last] = random.choice(([parent[last]], {"x": parent[last]}))
        case _:
            parent[last] = junk_value(random)
    return value


def _places(value: Any, where: tuple[Any, ...]) -> Any:
    yield where
    if isinstance(value, dict | list):
        for step, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(part, (*where, step))


def _nudged(random: Random, value: Any) -> Any:
    """Change a value a little."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return random.choice((value + 1, value - 1, -value, value * 2, float(value), str(value), value + 2**32))
    if isinstance(value, str):
        at = random.randrange(len(value) + 1)
        return random.choice(
            (value[:at], value[at:], value[:at] + "\0" + value[at:], value.upper(), value + "/x", value * 2)
        )
    return random.choice(([], {}, list(value) * 2, list(value)[::-1]))


def junk_value(random: Random) -> Any:
    """Return a value of JSON types that is likely wrong."""
    return random.choice(
        (
            *(None, True, False, [], {}, [[]], [{}], {"": None}, [None] * 3, ["x"] * 4, list(range(2000))),
            *random.sample(NUMBERS, 8),
            *random.sample(TEXTS, 6),
        )
    )  # fmt: skip


def mutated_npy(random: Random, data: bytes) -> bytes:
    """Write a wrong header to an array's file, or extreme values."""
    length = 10 + int.from_bytes(data[8:10], "little")
    header, payload = data[10:length].decode("latin-1"), data[length:]
    shape = [int(part) for part in header.split("(")[1].split(")")[0].split(",") if part.strip()]
    descr = header.split("'descr': '")[1].split("'")[0]
    kind = random.randrange(10)
    if kind < 4:
        return data[:length] + _extreme(random, payload, descr)
    fortran, version = False, b"\x01\x00"
    match kind:
        case 4:
            shape[random.randrange(len(shape))] = random.choice(NUMBERS[:26])
        case 5:
            descr = random.choice(DTYPES)
        case 6:
            fortran = True
        case 7:
            version = random.choice((b"\x02\x00", b"\x03\x00", b"\x09\x00", b"\x00\x00"))
        case 8:
            shape = random.choice(
                ([], [len(payload)], [*shape, 1], shape[1:], shape[::-1], [0, *shape[1:]], [-1, *shape[1:]])
            )
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {tuple(shape)!r}, }}"
    if kind == 9:
        text = random.choice(
            (
                *("(" * 5000, "{" * 9000, text * 200, "__import__('os')", "[]", "{'descr': 1}", "\0" * 40),
                *(text.replace("}", ""), text.replace("(", "(True, "), text.replace("'descr'", "b'descr'")),
                text.replace(descr, "<u1" + "9" * 50),
            )
        )
    wide = version != b"\x01\x00"
    stated = len(text) if random.random() < 0.8 else random.choice((0, 1, 65_535, 2**32 - 1 if wide else 60_000))
    return b"\x93NUMPY" + version + stated.to_bytes(4 if wide else 2, "little") + text.encode() + payload


def _extreme(random: Random, payload: bytes, descr: str) -> bytes:
    dtype = np.dtype(descr)
    values = np.frombuffer(payload, dtype).copy()
    if not len(values):
        return payload
    limits: list[Any] = [0, 1]
    if dtype.kind in "iu":
        limits += [np.iinfo(dtype).min, np.iinfo(dtype).max, -1 % 2**8 if dtype == np.uint8 else -1, 100]
    elif dtype.kind == "f":
        limits += [np.nan, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny, -1.0]
    start = random.randrange(len(values))
    values[start : random.choice((start + 1, len(values)))] = random.choice(limits)
    return values.tobytes()


def mutated_safetensors(random: Random, data: bytes) -> bytes:
    """Write a wrong header to a safetensors file, or wrong JSON of npgen in it."""
    length = int.from_bytes(data[:8], "little")
    header, payload = json.loads(data[8 : 8 + length]), data[8 + length :]
    match random.randrange(5):
        case 0:
            text = mutated_json(random, data[8 : 8 + length])
        case 1 | 2:
            inside = header.get("__metadata__", {})
            inside["npgen"] = mutated_json(random, str(inside.get("npgen", "{}")).encode()).decode("utf-8", "replace")
            text = json.dumps(header | {"__metadata__": inside}).encode()
        case 3:
            name = random.choice([name for name in header if name != "__metadata__"])
            facts = header[name]
            change = random.randrange(4)
            if change == 0:
                facts["shape"] = random.choice(
                    ([], [0], facts["shape"][::-1], [2**40, 2**40], [2**63], [-1], [*facts["shape"], 1])
                )
            elif change == 1:
                facts["dtype"] = random.choice(("F32", "I8", "BOOL", "F64", "F8_E4M3", "BF16", "X"))
            elif change == 2:
                facts["data_offsets"] = random.choice(
                    ([0, 0], [0, 2**63], [2**64 - 1, 0], [-1, 1], facts["data_offsets"][::-1])
                )
            else:
                header["x" * random.choice((0, 1, 70_000))] = facts
            text = json.dumps(header).encode()
        case _:
            text = data[8 : 8 + length]
            halves = np.frombuffer(payload[: len(payload) // 2 * 2], "<f2").copy()
            if len(halves):
                halves[random.randrange(len(halves))] = random.choice((np.nan, np.inf, 65_504, 0))
            payload = halves.tobytes()
    stated = len(text) if random.random() < 0.9 else random.choice((0, 2**64 - 1, 2**40, len(data), len(text) - 1))
    return stated.to_bytes(8, "little") + text + payload


def mutated_zip(random: Random, data: bytes) -> bytes:
    """Change the members of an archive, or replace it by a zip bomb."""
    if random.random() < 0.1:
        return zip_bomb(random.choice(("images.npy", "labels.npy", "x.npy")), random.choice((3 << 30, 1 << 42)))
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
            names = old.namelist()
            chosen = random.choice(names)
            for name in names:
                content = old.read(name)
                if name == chosen:
                    if random.random() < 0.15:
                        continue
                    change = mutated_npy if name.endswith(".npy") and random.random() < 0.7 else mutated_bytes
                    content = change(random, content)
                    name = (
                        name
                        if random.random() < 0.8
                        else random.choice(("../secret.npy", "/x.npy", "images", "\n.npy"))
                    )
                new.writestr(name, content)
    except (zipfile.BadZipFile, ValueError, EOFError):
        return mutated_bytes(random, data)
    return made.getvalue()


def zip_bomb(name: str, stated: int) -> bytes:
    """Make an archive of one array of zeros, 3 GiB in 3 MB, whose header states an even larger size."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({stated},), }}".encode()
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    packed = squeezed(start, 3 << 10, -15)
    size = min(len(start) + (3 << 30), 2**32 - 2)
    facts = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, 0, len(packed), size) + struct.pack("<HH", len(name), 0)
    local = b"PK\x03\x04" + facts + name.encode()
    listed = b"PK\x01\x02\x14\x00" + facts + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), len(local) + len(packed), 0)
    return local + packed + listed + b"PK\x05\x06" + end


@functools.cache
def squeezed(start: bytes, megabytes: int, bits: int) -> bytes:
    """Deflate some bytes and many zeros after them, without holding these in memory."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, bits)
    first = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH)
    zeros = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return first + zeros * megabytes + squeeze.flush()


def mutated_png(random: Random, data: bytes) -> bytes:
    """Change a chunk of a PNG, with a checksum that fits."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    number = random.randrange(len(chunks))
    name, content = chunks[number]
    if name == b"IHDR":
        sides = [random.choice((0, 1, 8, 9, 10_000, 60_000, 2**31 - 1)) for _ in range(2)]
        content = struct.pack(">II", *sides) + (content[8:] if random.random() < 0.5 else random.randbytes(5))
    elif name == b"tEXt" and random.random() < 0.7:
        content = b"npgen\0" + mutated_json(random, content.partition(b"\0")[2])
    elif random.random() < 0.2:
        name, content = b"zTXt", b"npgen\0\0" + squeezed(b"{", 100, 15)[: random.choice((100, 1 << 20))]
    else:
        content = mutated_bytes(random, content)
    chunks[number] = name, content
    made = data[:8]
    for name, content in chunks:
        made += len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
    return made


SPECIAL: dict[str, Callable[[Random, bytes], bytes]] = {
    ".checkpoint": mutated_zip,
    ".json": mutated_json,
    ".npy": mutated_npy,
    ".npz": mutated_zip,
    ".png": mutated_png,
    ".pth": mutated_zip,
    ".safetensors": mutated_safetensors,
}
