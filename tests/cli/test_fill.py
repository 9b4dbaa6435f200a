"""`npgen fill`."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.cli.fill import read_picture


@pytest.fixture
def files(tmp_path):
    y, x = np.mgrid[:24, :26]
    wave = (120 + 60 * np.sin(x / 2) + 40 * np.sign(np.sin(y / 2.5))).astype(np.uint8)
    picture = np.stack([wave, wave // 2, 255 - wave], -1)
    hole = np.zeros((24, 26), np.uint8)
    hole[8:14, 9:16] = 255
    Image.fromarray(picture).save(tmp_path / "p.png")
    Image.fromarray(hole).save(tmp_path / "m.png")
    Image.fromarray(np.dstack([picture, 255 - hole])).save(tmp_path / "a.png")
    return tmp_path


def opened(path):
    with Image.open(path) as file:
        return np.array(file)


def invoke(*words):
    return CliRunner().invoke(app, ["fill", *map(str, words), "-q"])


def test_holes_of_a_mask_and_of_an_alpha_channel_are_filled(files):
    options = ["--window", "7", "-n", "2", "--seed", "5"]
    result = invoke("--image", files / "p.png", "--mask", files / "m.png", *options)
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"42 pixels of {files / 'p.png'} filled, 2 times" in result.output.replace("\n", "")
    picture, found = opened(files / "p.png"), np.load(files / "p-filled" / "trace.npz")
    known = found["known"]
    assert (~known).sum() == 42 and (found["image_id"][:, known] == -1).all() and found["picture"] == 0
    for k in range(2):
        image = opened(files / "p-filled" / f"{k:04d}.png")
        np.testing.assert_array_equal(image[known], picture[known])
        np.testing.assert_array_equal(image[~known], picture[found["y"][k, ~known], found["x"][k, ~known]])
    (provenance,) = npgen.read_provenance(files / "p-filled" / "0000.png")
    assert provenance["seed"] == 5
    assert invoke("--image", files / "a.png", "--out", files / "b", *options).exit_code == 0
    for k in range(2):
        name = f"{k:04d}.png"
        assert np.array_equal(opened(files / "b" / name), opened(files / "p-filled" / name))


def test_a_picture_grows_from_a_corpus(files, digits, monkeypatch):
    monkeypatch.setenv("NPGEN_HOME", str(files / "home"))
    digits.save(files / "home" / "corpora" / "digits")
    canvas, known = read_picture(files / "p.png", None, 3, 1)
    assert canvas.shape == (30, 32, 1) and known.sum() == 24 * 26 and known[3:-3, 3:-3].all()
    words = ["digits", "--image", files / "p.png", "--grow", "2", "--window", "5", "--out", files / "grown"]
    result = invoke(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    assert opened(files / "grown" / "0000.png").shape == (28, 30)


def test_errors_are_one_line(files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    Image.new("L", (3, 4)).save(files / "small.png")

    def message(*words):
        result = invoke("--image", files / "p.png", *words)
        assert result.exit_code == 2
        return result.stderr

    assert "mask must be 24×26, as the picture, got" in message("--mask", files / "small.png")
    assert "grow must be at least 0, got -1" in message("--grow", "-1")
    assert "model must be one of" in message("--model", "class")
