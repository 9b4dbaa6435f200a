"""Networks in files: a saved and loaded network is the same function, and other files are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from lines import LineArchitecture, LineModule, Lines
from safetensors.numpy import load_file, save_file

from npgen.nn import module_shapes, module_tensors
from npgen.nn.tensors import read_safetensors

TENSORS = {
    "line.weight": np.array([[2.0], [3.0]], np.float32),
    "line.bias": np.array([0.5, -1.0], np.float32),
    "norm.running_mean": np.zeros(2, np.float32),
    "norm.running_var": np.ones(2, np.float32),
}


def lines(**options):
    return Lines(LineArchitecture(2), dict(TENSORS), **options)


def test_a_module_is_its_weights_without_counts_of_batches():
    assert module_shapes(lambda: LineModule(LineArchitecture(2))) == {
        "line.weight": (2, 1),
        "line.bias": (2,),
        "norm.running_mean": (2,),
        "norm.running_var": (2,),
    }
    module = LineModule(LineArchitecture(2))
    assert list(module_tensors(module)) == list(TENSORS)
    assert "norm.num_batches_tracked" in module.state_dict()


def test_a_network_runs_as_its_module_and_draws_no_random_numbers():
    state = torch.random.get_rng_state()
    module, device = lines().module("cpu")
    assert torch.equal(state, torch.random.get_rng_state())
    assert device.type == "cpu" and not module.training
    np.testing.assert_array_equal(module(torch.tensor([[2.0]])).detach().numpy(), [[4.5, 5.0]])
    network = lines()
    assert network.module("cpu")[0] is network.module()[0]


def test_tensors_of_any_layout_in_memory_make_the_same_module():
    weight = torch.empty(8, 1, 3, 3).to(memory_format=torch.channels_last)
    assert weight.contiguous().stride() != torch.empty(8, 1, 3, 3).stride()  # counts as contiguous as it is
    network = lines()
    network.tensors["line.weight"] = np.lib.stride_tricks.as_strided(TENSORS["line.weight"], (2, 1), (4, 8))
    assert network.module("cpu")[0].line.weight.stride() == (1, 1)


def test_a_loaded_network_is_the_one_saved(tmp_path):
    path = tmp_path / "lines.safetensors"
    network = lines(metadata={"recipe": {"epochs": 3}, "name": "π"})
    network.save(path)
    again = Lines.load(path, device="cpu")
    assert (again.id, again.metadata, again.architecture) == (network.id, network.metadata, network.architecture)
    assert again.device == "cpu" and list(again.tensors) == list(TENSORS)
    header = json.loads(read_safetensors(path)[0])
    assert header == {**network.metadata, "architecture": {"count": 2}, "format_version": 1}
    before = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == before


def rewritten(path, **changes):
    """Write the file again with another header."""
    header = {**json.loads(read_safetensors(path)[0]), **changes}
    save_file(load_file(path), path, metadata={"npgen": json.dumps(header)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, r"lines '.*' must be of format version 1 \(a newer npgen may read this file\), got 2"),
        ({"format_version": None}, "lines must be a safetensors file written by npgen, got "),
        ({"architecture": {"count": 1}}, r"lines file '.*' is damaged: tensor 'line.bias' must be float32 of shape"),
        ({"architecture": {"width": 1}}, "lines file '.*' is damaged: architecture must be of count"),
        ({"architecture": None}, "lines file '.*' is damaged: architecture must be of count"),
    ],
)
def test_other_headers_are_refused(tmp_path, changes, message):
    path = tmp_path / "lines.safetensors"
    lines().save(path)
    rewritten(path, **changes)
    with pytest.raises(ValueError, match=message):
        Lines.load(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "lines.safetensors"
    with pytest.raises(FileNotFoundError, match="lines must be an existing file, got "):
        Lines.load(path)
    lines().save(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="lines must be a whole safetensors file, got "):
        Lines.load(path)
    for text in (None, "{", "[1]", '"text"'):
        save_file(TENSORS, path, metadata=None if text is None else {"npgen": text})
        with pytest.raises(ValueError, match="lines must be a safetensors file written by npgen, got "):
            Lines.load(path)


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="architecture must be of type LineArchitecture, got dict"):
        Lines({"count": 2}, TENSORS)
    with pytest.raises(TypeError, match="metadata must be of type dict or None, got str"):
        lines(metadata="facts")
    with pytest.raises(ValueError, match="tensors must be complete, with 'line.weight'"):
        Lines(LineArchitecture(2), {})
