"""Named tensors: their check and hash, npgen's files, and files of other software, of which nothing is executed."""

from __future__ import annotations

import argparse
import pickle

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from npgen.nn.tensors import check_tensors, read_foreign_tensors, read_safetensors, tensors_id, write_safetensors

SHAPES = {"mean": (2,), "layer.weight": (3, 2)}


def tensors(dtype=np.float16):
    return {name: np.arange(np.prod(shape), dtype=dtype).reshape(shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_tensors_that_fit_are_accepted(dtype):
    check_tensors(SHAPES, tensors(dtype), dtype)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda t: t.pop("mean"), ValueError, r"tensors must be complete, with 'mean', got \['layer.weight'\]"),
        (lambda t: t.update(bias=t["mean"]), ValueError, "tensors must be only mean, layer.weight, got 'bias'"),
        (lambda t: t.update(mean=[0, 1]), TypeError, "tensor 'mean' must be of type ndarray, got list"),
        (
            lambda t: t.update(mean=np.zeros(3, np.float16)),
            ValueError,
            r"tensor 'mean' must be float16 of shape \(2,\), got 'float16 of shape \(3,\)'",
        ),
        (
            lambda t: t.update(mean=np.zeros(2)),
            ValueError,
            r"tensor 'mean' must be float16 of shape \(2,\), got 'float64 of shape \(2,\)'",
        ),
        (
            lambda t: t.update(mean=np.array([0, np.inf], np.float16)),
            ValueError,
            "tensor 'mean' must be finite numbers, got '1 that are not'",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, kind, message):
    given = tensors()
    change(given)
    with pytest.raises(kind, match=message):
        check_tensors(SHAPES, given)


def test_the_id_depends_on_architecture_names_and_values():
    ids = {
        tensors_id({"width": 2}, tensors()),
        tensors_id({"width": 3}, tensors()),
        tensors_id({"width": 2}, {f"{name}_": tensor for name, tensor in tensors().items()}),
        tensors_id({"width": 2}, {name: tensor + np.float16(1) for name, tensor in tensors().items()}),
        tensors_id({"width": 2}, tensors(np.float32)),
    }
    assert len(ids) == 5
    big_endian = {name: tensor.astype(">f2") for name, tensor in tensors().items()}
    assert tensors_id({"width": 2}, big_endian) in ids
    # Runs and keys refer to networks by these: they must never change.
    assert tensors_id({"width": 2}, tensors()).startswith("c4cfbccc")


def test_a_file_holds_header_and_tensors(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"b": 1, "a": [2.5, "µ"]}, tensors())
    text, found = read_safetensors(path)
    assert text == '{"a": [2.5, "\\u00b5"], "b": 1}'
    assert set(found) == set(SHAPES)
    for name, tensor in tensors().items():
        np.testing.assert_array_equal(found[name], tensor)
    before = path.read_bytes()
    write_safetensors(path, {"a": [2.5, "µ"], "b": 1}, tensors())
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_without_a_header_has_an_empty_one(tmp_path):
    save_file(tensors(), tmp_path / "a.safetensors")
    assert read_safetensors(tmp_path / "a.safetensors")[0] == ""
    (tmp_path / "a.safetensors").write_bytes(b"12")
    with pytest.raises(SafetensorError):
        read_safetensors(tmp_path / "a.safetensors")


def test_a_foreign_file_gives_tensors_by_the_path_of_their_names(tmp_path):
    nested = {
        "state_dict": {"backbone": {"conv1.weight": torch.ones(2)}, 3: torch.zeros(1)},
        "epoch": 7,
        "args": argparse.Namespace(rate=0.1),
        "history": [torch.zeros(1)],
    }
    torch.save(nested, tmp_path / "a.pt")
    found = read_foreign_tensors(tmp_path / "a.pt", "checkpoint")
    assert list(found) == ["state_dict.backbone.conv1.weight", "state_dict.3"]
    assert torch.equal(found["state_dict.backbone.conv1.weight"], torch.ones(2))
    save_file({"x.y": np.ones(2)}, tmp_path / "a.safetensors")
    assert list(read_foreign_tensors(tmp_path / "a.safetensors", "checkpoint")) == ["x.y"]


def test_a_foreign_file_is_never_executed(tmp_path):
    class Harmful:
        def __reduce__(self):
            return open, (str(tmp_path / "harm"), "w")

    for write in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))):
        write({"x": Harmful()}, tmp_path / "a.pt")
        with pytest.raises(ValueError, match="weights must be safetensors, or .* needs the code of .*open"):
            read_foreign_tensors(tmp_path / "a.pt", "weights")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_what_is_no_foreign_file_is_refused(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="weights must be an existing file, got "):
        read_foreign_tensors(tmp_path / name, "weights")
    for data in (b"", b"no tensors here", pickle.dumps(object)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=r"weights must be safetensors, or a file of torch\.save"):
            read_foreign_tensors(tmp_path / name, "weights")
