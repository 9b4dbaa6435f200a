"""Checks of arguments: what they accept, what they return, and the one wording of their messages."""

import re
from fractions import Fraction

import numpy as np
import pytest

from npgen import errors


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.int64(3)])
def test_whole_numbers_become_plain_ones(value):
    assert type(errors.check_whole("x", value, 3, 3)) is int
    assert type(errors.check_number("x", value)) is float
    assert errors.check_odd("x", value) == 3
    assert errors.is_whole(value)


@pytest.mark.parametrize("value", [True, np.bool_(True), 1.0, np.float64(1), "1", None, Fraction(1, 1), [1]])
def test_nothing_else_is_a_whole_number(value):
    assert not errors.is_whole(value)
    for check in (errors.check_whole, errors.check_odd):
        with pytest.raises(TypeError, match="x must be a whole number, got " + re.escape(repr(value))):
            check("x", value)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: errors.check_whole("x", 0, 1), "x must be at least 1, got 0"),
        (lambda: errors.check_whole("x", 5, most=4), "x must be at most 4, got 5"),
        (lambda: errors.check_whole("x", 5, 1, 4), "x must be in 1…4, got 5"),
        (lambda: errors.check_whole("x", 0, 1, allowed="at least 1 or None"), "x must be at least 1 or None, got 0"),
        (lambda: errors.check_odd("x", 4), "x must be odd, at least 1, got 4"),
        (lambda: errors.check_odd("x", 9, 3, 7), "x must be odd, in 3…7, got 9"),
        (lambda: errors.check_whole_tuple("x", (3, 0), "a, b", 1), "each of x must be at least 1, got 0"),
        (lambda: errors.check_seed(-1), "seed must be in 0…2⁶⁴ − 1, got -1"),
        (lambda: errors.check_seed(2**64), f"seed must be in 0…2⁶⁴ − 1, got {2**64}"),
        (lambda: errors.check_threads(0), "threads must be in 1…1024, got 0"),
        (lambda: errors.check_number("x", float("nan")), "x must be a finite number, got nan"),
        (lambda: errors.check_number("x", 10**400, 0), "x must be a number of at least 0, got 1000"),
        (lambda: errors.check_number("x", -1.0, 0), "x must be a number of at least 0, got -1.0"),
        (lambda: errors.check_number("x", 0, above=0), "x must be a number above 0, got 0"),
        (lambda: errors.check_number("x", 2, 0, 1), "x must be in 0…1, got 2"),
        (lambda: errors.check_number("x", 1, 0, below=1), "x must be a number of at least 0 and below 1, got 1"),
        (lambda: errors.check_number("x", 0, most=1, above=0), "x must be a number above 0 and at most 1, got 0"),
        (lambda: errors.check_choice("x", "c", ("a", "b")), "x must be 'a' or 'b', got 'c'"),
        (lambda: errors.check_choice("x", ["a"], ("a", "b", "c")), "x must be one of 'a', 'b', 'c', got ['a']"),
        (lambda: errors.check_name("a/b"), "name must be one path component, got 'a/b'"),
        (lambda: errors.check_name("", "id"), "id must be one path component, got ''"),
    ],
)
def test_a_wrong_value_is_named(check, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check()


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: errors.check_whole_tuple("x", 3, "y, x"), "x must be whole numbers (y, x), got 3"),
        (lambda: errors.check_whole_tuple("x", (1, 2, 3), "y, x"), "x must be whole numbers (y, x), got (1, 2, 3)"),
        (lambda: errors.check_whole_tuple("x", [1, True], "y, x"), "x must be whole numbers (y, x), got [1, True]"),
        (lambda: errors.check_number("x", True), "x must be a number, got True"),
        (lambda: errors.check_number("x", "1"), "x must be a number, got '1'"),
        (lambda: errors.check_type("x", 1, str, type(None)), "x must be of type str or None, got int"),
        (lambda: errors.check_name(3), "name must be of type str, got int"),
        (lambda: errors.check_threads(1.5), "threads must be a whole number, got 1.5"),
    ],
)
def test_a_wrong_type_is_named(check, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        check()


def test_checks_return_plain_values():
    assert errors.check_seed(np.uint64(2**64 - 1)) == 2**64 - 1
    assert errors.check_threads(None) is None
    assert errors.check_threads(np.int32(4)) == 4
    assert errors.check_whole_tuple("x", np.array([1, 2]), "y, x") == (1, 2)
    assert errors.check_number("x", np.float32(0.25), 0, 1) == 0.25
    assert errors.check_name("a b", "id") == "a b"


def test_text_can_be_written():
    assert errors.is_text("é")
    assert not errors.is_text("\ud800")
