"""Imports in a thread. What Ctrl-C does to them is tested in tests/system/test_interrupts.py."""

import sys

import pytest

from npgen.runtime import import_uninterrupted


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that counts how often it is executed."""
    name = "npgen_test_counted"
    (tmp_path / f"{name}.py").write_text("import sys\nsys.npgen_test_count = getattr(sys, 'npgen_test_count', 0) + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "npgen_test_count", 0, raising=False)
    yield name
    sys.modules.pop(name, None)


def test_a_module_is_executed_once(module):
    for _ in range(3):
        import_uninterrupted(module)
    assert module in sys.modules
    assert sys.npgen_test_count == 1


def test_a_module_that_is_imported_already_starts_no_thread():
    from npgen.runtime import imports

    import_uninterrupted("json")
    assert "json" not in imports._started


def test_a_failed_import_can_be_tried_again(tmp_path, monkeypatch):
    name = "npgen_test_late"
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=name):
        import_uninterrupted(name)
    (tmp_path / f"{name}.py").write_text("")
    import importlib

    importlib.invalidate_caches()
    import_uninterrupted(name)
    assert sys.modules.pop(name)
