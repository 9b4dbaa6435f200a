"""Names of devices."""

import pytest
import torch

from npgen.runtime import resolve_device


def test_names_that_torch_knows():
    assert resolve_device("cpu") == torch.device("cpu")


def test_auto_without_an_accelerator_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("local_rank", "index"), [(None, 0), ("1", 1), ("4", 1)])
def test_auto_gives_each_rank_of_a_machine_its_accelerator(monkeypatch, local_rank, index):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    if local_rank is None:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    else:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert resolve_device("auto") == torch.device("cuda", index)


@pytest.mark.parametrize("name", ["abacus", "meta:x", ""])
def test_unknown_names_are_refused(name):
    with pytest.raises(
        ValueError, match="device must be auto, cpu, or an accelerator that this machine and this torch"
    ):
        resolve_device(name)


def test_a_device_without_numbers_is_refused():
    with pytest.raises(ValueError, match="device must be auto, cpu, or an accelerator .*, got 'meta'"):
        resolve_device("meta")
    with pytest.raises(TypeError, match="device must be of type str, got int"):
        resolve_device(0)
