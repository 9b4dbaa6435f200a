"""The documents: every command and Python example of README and guide runs, and paths and links lead to files."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image
from typer.testing import CliRunner

from npgen.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")

# Large runs and trainings are made small: the test is that the commands work.
SMALLER = [
    (r"-n [12]000\b", "-n 20"),
    (r"^npgen generate photos -n \d+", "npgen generate photos -n 8"),
    (r"--n-texture 100", "--n-texture 4"),
    (r"--size 64 96", "--size 16 18"),
]
ADDED = {
    "npgen encoder train": "--epochs 1 --batch-size 16",
    "npgen bench": "--seconds 0.1 --batch-size 4 --threads 1",
    "npgen gamma-study": "--gammas 1 -n 4 --images 40 --twin-steps 1",
    "npgen tokens compare": "--gammas 1 --contexts 4 --steps 1",
    "npgen tokens train": "--epochs 0 --settling-epochs 1",
}


def commands_of(text):
    """List the commands of a page: first those in blocks, then those within sentences."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`(npgen [^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " "))
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines()]
    commands = [part.strip() for line in lines + inline for part in line.split("&&")]
    return [command for command in commands if command.startswith("npgen ") and command.split()[2:]]


def run(command):
    for pattern, replacement in SMALLER:
        command = re.sub(pattern, replacement, command)
    for start, options in ADDED.items():
        if command.startswith(start):
            command = f"{command} {options}"
    words = shlex.split(command)[1:]
    found = typer.main.get_command(app)
    for word in words:
        found = getattr(found, "commands", {}).get(word, found)
    if any("--quiet" in option.opts for option in found.params):
        words.append("--quiet")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (command, result.output)


def write_idx(path, array):
    """Write an array as an IDX file, the format of MNIST."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(extent.to_bytes(4, "big") for extent in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def folder(tmp_path, monkeypatch, colours):
    """Return a folder with the images that the commands expect: photos, in class folders, and textures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NPGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("npgen.evaluation.classifier_recipe._epochs", lambda shown, count: 1)
    for k, image in enumerate(np.concatenate([colours.images] * 2)):
        inside = tmp_path / "photos" / colours.classes[colours.labels[k % len(colours)]]
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(inside / f"{k}.png")
    (tmp_path / "textures").mkdir()
    for k, side in enumerate((12, 24, 36)):
        Image.fromarray(np.concatenate(colours.images[: side // 12], k % 2)).save(tmp_path / "textures" / f"{k}.png")
    return tmp_path


@pytest.fixture
def mnist_files(folder, mnist_5k):
    """Write a part of MNIST to DATA, in the layout of the data set."""
    raw = folder / "DATA" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, part in (("train", slice(0, None, 4)), ("t10k", slice(1, None, 10))):
        write_idx(raw / f"{name}-images-idx3-ubyte", mnist_5k.images[part, ..., 0])
        write_idx(raw / f"{name}-labels-idx1-ubyte", mnist_5k.labels[part].astype(np.uint8))


def test_every_command_of_the_readme_runs(mnist_files):
    commands = commands_of(README)
    assert len(commands) >= 9
    # Corpora are built first; all other commands run in the README's order.
    for command in sorted(commands, key=lambda command: not command.startswith("npgen corpus build")):
        run(command)


def test_the_python_of_the_readme_runs(mnist_5k):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})


def test_every_command_of_the_guide_runs_and_then_its_python(folder):
    commands = commands_of(GUIDE)
    assert len(commands) >= 13
    for command in commands:
        run(command)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "guide.md", "exec"), {})


def pages():
    """List the README and all pages of docs/, with the folder that their links start from."""
    return [(ROOT / "README.md", ROOT), *((path, path.parent) for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize(("page", "folder"), pages(), ids=lambda path: path.name)
def test_links_and_paths_lead_to_files(page, folder):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (folder / link).exists(), link
    for path in re.findall(r"`((?:python|rust|tests|scripts|benches|npgen|npgen_bench|npgen_command)/[\w/.]*)`", text):
        assert (ROOT / path).exists() or (ROOT / "python" / path).exists(), path
    for module in re.findall(r"python -m (npgen[\w.]*)", text):
        assert importlib.util.find_spec(module), module


def test_the_architecture_page_has_the_import_rule():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    rows = ast.parse((ROOT / "tests" / "test_layering.py").read_text(encoding="utf-8")).body
    (layers,) = (ast.literal_eval(row.value) for row in rows if ast.unparse(row).startswith("LAYERS ="))
    assert blocks[-1].split("\n")[:-1] == [", ".join(row) for row in layers]
    table = re.findall(r"^\| `(?:npgen/)?([\w/]+?)(?:\.py)?` \|", text, re.MULTILINE)
    assert [name.replace("__init__", "npgen") for name in table] == [name for row in layers for name in row]


def test_the_architecture_page_names_what_packages_offer():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package, names in re.findall(r"^\| `(npgen/[a-z]+|npgen_[a-z]+)` \|.*\| (.*) \|$", text, re.MULTILINE):
        tree = ast.parse((ROOT / "python" / package / "__init__.py").read_text(encoding="utf-8"))
        (face,) = (ast.literal_eval(node.value) for node in tree.body if ast.unparse(node).startswith("__all__ ="))
        assert set(re.findall(r"`(\w+)`", names)) <= set(face), package
