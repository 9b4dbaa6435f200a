"""Malformed arguments: in place of a valid one, a similar one or any other object."""

from __future__ import annotations

import decimal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from fuzzing.mutations import DTYPES, NUMBERS, TEXTS


def odd(random: Random, value: Any, others: list[Any], things: Sequence[Any]) -> Any:
    """Return a value to put in the place of a valid one, of its type or of another.

    Parameters
    ----------
    random
        Decides which.
    value
        The valid value.
    others
        Arrays that are arguments of the same call, which may be passed twice.
    things
        Objects that are arguments of other calls.
    """
    if random.random() < 0.2:
        return junk(random, things)
    if isinstance(value, np.ndarray):
        return odd_array(random, value, others)
    if isinstance(value, tuple | list) and value:
        parts = list(value)
        at = random.randrange(len(parts))
        match random.randrange(4):
            case 0:
                del parts[at]
            case 1:
                parts.append(parts[at])
            case _:
                parts[at] = odd(random, parts[at], others, things)
        return random.choice((type(value), type(value), list))(parts)
    if isinstance(value, dict) and value:
        changed = dict(value)
        key = random.choice(list(changed))
        changed[key if random.random() < 0.8 else random.choice(TEXTS)] = odd(random, changed[key], others, things)
        return changed
    if isinstance(value, bool):
        return random.choice((not value, int(value), np.bool_(value), junk(random, things)))
    if isinstance(value, int | float):
        return random.choice(
            (*NUMBERS, value + 1, value - 1, np.int64(value), np.float32(value), np.array(value), str(value))
        )
    if isinstance(value, str):
        return random.choice((*TEXTS, value.encode("utf-8", "replace"), Path(value)))
    return junk(random, things)


def odd_array(random: Random, array: np.ndarray[Any, Any], others: list[Any]) -> Any:
    """Change the type, shape, memory layout or content of an array, or return another argument of the same call."""
    axis = random.randrange(array.ndim) if array.ndim else 0
    match random.randrange(20):
        case 0 | 1:
            dtype = np.dtype(random.choice(DTYPES))
            try:
                return array.astype(dtype)
            except (TypeError, ValueError):
                return np.zeros(array.shape, dtype)
        case 2 if array.ndim:
            return array.take(range(random.randrange(array.shape[axis] + 1)), axis)
        case 3 if array.size:
            return np.concatenate([array, array], axis) if array.ndim else array
        case 4:
            return random.choice(
                (array.reshape(-1), array[None], array[..., None], array.reshape(-1)[:1].reshape(())[()])
            )
        case 5:
            return array.T
        case 6 if array.ndim:
            return array[::2]
        case 7 if array.ndim:
            return array[..., ::-1]
        case 8 if array.ndim and array.shape[axis]:
            return np.broadcast_to(array.take([0], axis), array.shape)
        case 9:
            return np.asfortranarray(array)
        case 10:
            changed = array.copy()
            changed.flags.writeable = False
            return changed
        case 11:
            memory = np.zeros(array.nbytes + 1, np.uint8)
            unaligned = memory[1:].view(array.dtype).reshape(array.shape)
            unaligned[...] = array
            return unaligned
        case 12:
            return random.choice((np.ma.masked_array(array), array.tolist(), memoryview(array), array.tobytes()))
        case 13:
            return random.choice(others) if others else array
        case 14:
            with tempfile.TemporaryFile(dir=".") as file:
                file.write(array.tobytes() or b"\0")
                file.flush()
                return (
                    np.memmap(file, array.dtype, random.choice(("r", "c", "r+")), shape=array.shape)
                    if array.size
                    else array
                )
        case 15:
            shape = list(array.shape)
            if shape:
                shape[axis] = 0
            return np.zeros(shape, array.dtype)
        case _:
            return _extreme(random, array)


def _extreme(random: Random, array: np.ndarray[Any, Any]) -> Any:
    values: list[Any] = [0, 1, 2]
    if array.dtype.kind in "iu":
        values += [np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, 5, 11, 12]
    elif array.dtype.kind == "f":
        values += [np.nan, np.inf, -np.inf, np.finfo(array.dtype).max, np.finfo(array.dtype).tiny, -1]
    changed = array.copy()
    if changed.size:
        start = random.randrange(changed.size)
        changed.reshape(-1)[start : random.choice((start + 1, changed.size))] = random.choice(values)
    return changed


def junk(random: Random, things: Sequence[Any]) -> Any:
    """Return a random object."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: random.choice(NUMBERS),
        lambda: random.choice(NUMBERS),
        lambda: random.choice(TEXTS),
        lambda: random.choice(
            (True, False, b"x", b"", (), [], {}, set(), [[]], [None], ..., NotImplemented, object(), object, len)
        ),
        lambda: random.choice((np.int8(-1), np.uint64(2**64 - 1), np.float32("nan"), np.bool_(True), np.str_("x"))),
        lambda: random.choice((1j, decimal.Decimal("NaN"), range(3), slice(None), iter([1]), Path("missing"), Path())),
        lambda: random.choice((*things, Image.new("L", (2, 2)))),
        lambda: np.zeros(
            random.choice(((), (0,), (1,), (2, 2), (0, 8), (3, 8, 8), (2, 8, 8, 1), (1,) * 40)), random.choice(DTYPES)
        ),
    )
    return random.choice(kinds)()
