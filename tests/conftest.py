"""What all tests share: the data on disk, if any, and a home that is not the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import corpora
import pytest

import npgen


def pytest_addoption(parser: pytest.Parser) -> None:
    # Written --data=DIR: with a space, pytest takes DIR for a test path until it has read this file.
    parser.addoption(
        "--data",
        metavar="DIR",
        type=Path,
        help="folder that holds MNIST/raw/..., as torchvision lays it out, for the tests on full data",
    )
    parser.addoption("--browser", metavar="FILE", help="Chromium for the tests of reports; by default one on the PATH")
    parser.addoption(
        "--report",
        metavar="RUN",
        action="append",
        default=[],
        type=Path,
        help="run folder with a report.html that the browser tests look at as well; may be given several times",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def data_root(request: pytest.FixtureRequest) -> Path:
    root: Path | None = request.config.getoption("--data")
    if root is None:
        pytest.skip("needs the full data: pytest --data=DIR")
    return root


@pytest.fixture(scope="session", autouse=True)
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep every test, and every process that it starts, out of the user's home."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NPGEN_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def digits():
    """60 grey images of 16×16 in three classes, in memory."""
    return corpora.digits()


@pytest.fixture(scope="session")
def colours():
    """70 RGB images of 12×12 in three classes, in memory."""
    return corpora.colours()


@pytest.fixture(scope="session")
def mnist_5k():
    """The demo corpus of 5,000 real digits."""
    return npgen.load_corpus("mnist-5k")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test a home of its own, where nothing is yet."""
    monkeypatch.setenv("NPGEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def out(tmp_path: Path, own_home: Path) -> Iterator[Path]:
    """Give a test of ingestion a target, and check afterwards that no half-made folder is left beside it."""
    yield tmp_path / "built" / "out"
    built = tmp_path / "built"
    assert not built.exists() or [path.name for path in built.iterdir()] == ["out"]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads gain nothing on networks and images so small, and wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
