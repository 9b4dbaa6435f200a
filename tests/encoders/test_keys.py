"""Keys: made once, kept beside the corpus, never mistaken for another's."""

import json

import numpy as np
import pytest

import npgen
from npgen.encoders.keys import keys_path


@pytest.fixture
def stored(digits, tmp_path):
    return digits.save(tmp_path / "corpus")


@pytest.fixture
def encoder(digits):
    return npgen.load_encoder("pixels", digits)


def test_keys_are_the_embeddings_of_full_images(stored, encoder):
    keys = npgen.embed(stored, encoder, progress=False)
    np.testing.assert_array_equal(keys, encoder.encode(stored.images))
    assert keys.dtype == np.float32
    assert isinstance(keys, np.memmap)


def test_keys_are_made_once(stored, encoder, monkeypatch):
    npgen.embed(stored, encoder, progress=False)
    monkeypatch.setattr(type(encoder), "encode", None)
    npgen.embed(stored, encoder, progress=False)


def test_keys_in_memory_are_made_once(digits, encoder):
    keys = npgen.embed(digits, encoder, progress=False)
    assert npgen.embed(digits, encoder, progress=False) is keys


@pytest.mark.parametrize("name", ["encoder", "corpus"])
def test_keys_of_another_are_refused(stored, encoder, name):
    npgen.embed(stored, encoder, progress=False)
    path = keys_path(stored, encoder.id).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: "0" * 64}))
    with pytest.raises(ValueError, match=f"must be of {name} .*, got '0000"):
        npgen.embed(stored, encoder, progress=False)


def test_damaged_keys_are_refused(stored, encoder):
    npgen.embed(stored, encoder, progress=False)
    path = keys_path(stored, encoder.id)
    whole = path.read_bytes()
    for damaged in (whole[:-4], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"keys .* must be as written, in .*, got 'altered bytes'"):
            npgen.embed(stored, encoder, progress=False)


def test_a_stop_before_the_manifest_costs_nothing_but_time(stored, encoder):
    keys = np.array(npgen.embed(stored, encoder, progress=False))
    keys_path(stored, encoder.id).with_suffix(".json").unlink()
    keys_path(stored, encoder.id).write_bytes(b"half")
    np.testing.assert_array_equal(npgen.embed(stored, encoder, progress=False), keys)


def test_a_folder_that_may_not_be_written_to_is_no_obstacle(stored, encoder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(stored.path))

    monkeypatch.setattr("npgen.storage.npy.array_writer", refuse)
    with pytest.warns(
        UserWarning, match="keys held in memory only, as the corpus folder cannot be written: .*Permission denied"
    ):
        keys = npgen.embed(stored, encoder, progress=False)
    np.testing.assert_array_equal(keys, encoder.encode(stored.images))
