"""The examples in the docstrings of the public interface run, and every public function has one."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest

import npgen

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = {name: getattr(npgen, name) for name in npgen.__all__}
EXAMPLES = [
    test
    for name, thing in PUBLIC.items()
    for test in doctest.DocTestFinder(recurse=True).find(thing, name, globs={"npgen": npgen, "np": np})
    if test.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_gives_what_it_shows(example, mnist_5k, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    outcome = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(example, out=said.append)
    assert outcome.failed == 0, "".join(said)


def test_every_public_function_has_an_example():
    functions = {name for name, thing in PUBLIC.items() if inspect.isfunction(thing)}
    assert functions - {example.name for example in EXAMPLES} == set()
