"""Provenance is in every picture that npgen writes, and can be read from it."""

import importlib.metadata
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import npgen
from npgen.output import provenance
from npgen.output.provenance import read_provenance
from npgen.runs import pictures as figures

FAST = npgen.Config(window=5, shortlist=20, seed_size=4)
PIXELS = npgen.PixelEncoder(16, 16, 1).id


@pytest.fixture
def samples(digits):
    return npgen.generate(digits, 2, "full", FAST, 5, encoder="pixels", progress=False)


def written(path, text, key="npgen"):
    info = PngInfo()
    info.add_text(key, text)
    Image.new("RGB", (3, 2)).save(path, pnginfo=info)
    return path


def check_facts(facts, digits, encoder):
    """Check the four facts that every picture must contain."""
    assert npgen.Config.from_json(facts["config"]) == FAST
    assert facts["corpus"] == {"name": digits.name, "hash": digits.hash}
    assert facts["encoder"] == encoder
    assert facts["npgen"] == importlib.metadata.version("npgen")


def test_pictures_of_a_run_name_it(samples, digits, tmp_path):
    for path in figures.save_pictures(samples, digits, tmp_path):
        (facts,) = read_provenance(path)
        assert facts == samples.provenance()
        check_facts(facts, digits, PIXELS)


def test_the_panel_of_an_ablation_names_all_its_runs(digits, tmp_path):
    npgen.ablate(digits, tmp_path / "out", 2, ["full", "local"], FAST, counts={}, encoder="pixels", quiet=True)
    full, local = read_provenance(tmp_path / "out" / "panel.png")
    assert (full["model"], local["model"]) == ("full", "local")
    check_facts(full, digits, PIXELS)
    check_facts(local, digits, None)


def test_the_plots_of_a_sweep_name_their_grid(digits, tmp_path):
    npgen.sweep(digits, tmp_path / "out", {"k_min": [1, 2]}, 2, FAST, encoder="pixels", quiet=True)
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert pictures
    for path in pictures:
        (facts,) = read_provenance(path)
        check_facts(facts, digits, PIXELS)
        assert (facts["model"], facts["seed"], facts["n"], facts["grid"]) == ("full", 0, 2, {"k_min": [1, 2]})


def test_text_behind_the_pixels_is_found(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (3, 2)).save(path)
    data = path.read_bytes()
    chunk = b'tEXtnpgen\0{"seed": 3}'
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data[:-12] + late + data[-12:])
    assert read_provenance(path) == ({"seed": 3},)


def test_other_pictures_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        read_provenance(tmp_path / "nowhere.png")
    for name, save in (("a.jpg", lambda path: Image.new("L", (3, 2)).save(path)), ("b.png", lambda path: path.touch())):
        save(tmp_path / name)
        with pytest.raises(ValueError, match=f"picture must be a PNG file, got .*{name}"):
            read_provenance(tmp_path / name)
    with pytest.raises(ValueError, match="picture must be a PNG that npgen wrote, with its provenance inside, got"):
        read_provenance(written(tmp_path / "c.png", "{}", "Software"))
    for text in ("{", "[]", "[1]", "7", "null", "[" * 10_000, '{"seed": NaN}'):
        with pytest.raises(ValueError, match=r"provenance in '.*c\.png' must be JSON of one run or several, got"):
            read_provenance(written(tmp_path / "c.png", text))


def test_damaged_pictures_are_refused(samples, digits, tmp_path):
    path = figures.save_pictures(samples, digits, tmp_path)[0]
    data = path.read_bytes()
    random = np.random.default_rng(0)
    for at in [1, *random.integers(len(data), size=40).tolist()]:
        path.write_bytes(data[:at])
        with pytest.raises(ValueError, match="picture must be"):
            read_provenance(path)


def test_bombs_are_refused(tmp_path):
    path = written(tmp_path / "a.png", "{}")
    data = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    with pytest.raises(ValueError, match=r"picture must be a PNG file, got .*a\.png"):
        read_provenance(path)


def test_torch_is_not_imported(tmp_path):
    written(tmp_path / "a.png", provenance.provenance_text({"seed": 1}))
    code = (
        "import sys; from npgen.output.provenance import read_provenance; "
        "assert read_provenance(sys.argv[1]) == ({'seed': 1},); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"]).returncode == 0
