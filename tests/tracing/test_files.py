"""Figures as files: the command, provenance, interruption."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image
from typer.testing import CliRunner

import npgen
from npgen import tracing
from npgen.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def stored(samples, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    digits.save(folder / "corpus")
    samples.save(folder / "run")
    return folder


LAYOUTS = ["samples-with-maps", "class-maps", "fill-order"]
OF_A_SAMPLE = [
    "sources", "timeline", "image-id-map", "image-id-entropy", "class-map", "class-entropy", "pool-size", "distance",
    "mosaic",
]  # fmt: skip


def test_the_command_writes_all_figures(stored, samples):
    result = run("figures", stored / "run", "--corpus", stored / "corpus", "--sample", 2)
    assert result.exit_code == 0, result.output
    names = [*LAYOUTS, *(f"sample-2-{name}" for name in OF_A_SAMPLE)]
    paths = [stored / "run" / "figures" / f"{name}.png" for name in names]
    assert result.stdout.split() == list(map(str, paths))
    assert sorted((stored / "run" / "figures").iterdir()) == sorted(paths)
    for name, path in zip(names, paths, strict=True):
        with Image.open(path) as picture:
            assert json.loads(picture.text["npgen"]) == samples.provenance()
            assert picture.text["Title"] == name and "Software" not in picture.text
            assert picture.width == 1005  # 3.35 inches at 300 dots
    assert npgen.load_samples(stored / "run").images.tolist() == samples.images.tolist()  # the run is as it was


def test_vector_figures_carry_their_provenance_and_are_reproducible(stored, samples, digits, tmp_path):
    paths = tracing.save_figures(samples, digits, tmp_path / "a", [0], "svg")
    again = tracing.save_figures(samples, digits, tmp_path / "b", [0], "svg")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    description = ElementTree.parse(paths[-1]).find(".//{http://purl.org/dc/elements/1.1/}description")
    assert json.loads(description.text) == samples.provenance()
    pdf = run(
        "figures", stored / "run", "--corpus", stored / "corpus", "--sample", 0, "--out", tmp_path, "--format", "pdf"
    )
    assert pdf.exit_code == 0, pdf.output
    facts = json.dumps(samples.provenance(), sort_keys=True).replace("(", r"\(").replace(")", r"\)")
    data = (tmp_path / "sample-0-sources.pdf").read_bytes()
    assert f"/Keywords ({facts})".encode() in data and b"CreationDate" not in data


def test_the_command_prints_what_it_leaves_out(bare, tmp_path):
    bare[0].save(tmp_path / "corpus")
    bare[1].save(tmp_path / "run")
    result = run("figures", tmp_path / "run", "--corpus", tmp_path / "corpus", "--out", tmp_path / "deep" / "out")
    assert result.exit_code == 0, result.output
    *paths, last = result.stdout.splitlines()
    assert last == "left out what needs classes: bare has no labels"
    per_sample = [name for name in OF_A_SAMPLE if not name.startswith("class")]
    assert len(paths) == 2 + 2 * len(per_sample)  # both samples, as none is chosen
    assert not any("class" in path for path in paths)


def test_what_the_command_refuses(stored, samples, digits, colours, tmp_path):
    for arguments, message in [
        ((stored / "run", "--sample", 4), "sample must be in 0…3, got 4"),
        ((stored / "run", "--sample", 1, "--sample", 1), "indices must be 1 to 100, none twice, got [1, 1]"),
        ((tmp_path / "none",), "No such file"),
    ]:
        result = run("figures", *arguments, "--corpus", stored / "corpus", "--out", tmp_path / "out")
        assert result.exit_code in (1, 2) and message in result.stderr, result.output
    colours.save(tmp_path / "other")
    result = run("figures", stored / "run", "--corpus", tmp_path / "other", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "corpus must be the one the samples were made from" in result.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="format must be one of 'png', 'svg', 'pdf', got 'gif'"):
        tracing.save_figures(samples, digits, tmp_path / "out", format="gif")
    (tmp_path / "file").write_text("")
    result = run("figures", stored / "run", "--corpus", stored / "corpus", "--out", tmp_path / "file")
    assert result.exit_code == 1 and "File exists" in result.stderr


def test_an_interruption_leaves_whole_files(samples, digits, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tracing.maps, "fill_order_map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracing.save_figures(samples, digits, tmp_path, [0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class-maps.png", "samples-with-maps.png"]


def test_without_matplotlib_the_extra_is_named(stored, monkeypatch):
    monkeypatch.setattr("npgen.cli.figures.find_spec", lambda name: None)
    result = run("figures", stored / "run", "--corpus", stored / "corpus")
    assert result.exit_code == 1 and 'pip install "npgen[figures]"' in result.stderr


def test_figures_need_neither_torch_nor_pyplot(stored, tmp_path):
    code = (
        "import sys; from npgen.cli import app; assert 'matplotlib' not in sys.modules\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    arguments = ["figures", stored / "run", "--corpus", stored / "corpus", "--sample", "0", "--out", tmp_path]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
