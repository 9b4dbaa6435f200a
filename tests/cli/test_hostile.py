"""Every command with hostile values: one line on stderr, status 2 for wrong arguments, before any work."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import npgen
from npgen.cli import app

NUMBERS = ["nan", "99999999999999999999999", "half"]
TEXTS = ["", "\N{PILE OF POO}"]


def commands() -> dict[str, Any]:
    """All commands by the words that name them, and their parameters."""
    found: dict[str, Any] = {}

    def walk(group: Any, words: tuple[str, ...]) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(command, (*words, name))
            else:
                found[" ".join((*words, name))] = command

    walk(typer.main.get_command(app), ())
    return found


COMMANDS = commands()


@pytest.fixture(scope="module")
def place(tmp_path_factory, digits):
    """A home with a corpus and a run of it, in which commands are called."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NPGEN_HOME", str(folder / "home"))
        heldout = npgen.Corpus.from_arrays(digits.images[40:], digits.labels[40:])
        corpus = npgen.Corpus.from_arrays(digits.images[:40], digits.labels[:40], name="c", heldout=heldout)
        corpus.save(folder / "home" / "corpora" / "c")
        config = npgen.Config(window=5, shortlist=5)
        npgen.generate(corpus, 4, "full", config, encoder="pixels", progress=False).save(folder / "run")
        patch.chdir(folder)
        yield folder


def snapshot(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), catch_exceptions=True)


def fine(result: Any, words: tuple[str, ...]) -> None:
    """Check that a call ended well, or with one line and a status of its kind."""
    error = result.exception
    assert error is None or isinstance(error, SystemExit), (words, repr(error))
    assert result.exit_code in (0, 1, 2), words
    assert "Traceback" not in result.output, words
    if result.exit_code and result.stderr.startswith("npgen: "):
        assert result.stderr.count("\n") == 1, (words, result.stderr)


def arguments_of(command: Any) -> list[str]:
    """Wrong values for the arguments of a command."""
    return ["no-such-thing" for parameter in command.params if parameter.param_type_name == "argument"]


@pytest.mark.parametrize("name", COMMANDS)
def test_options_with_hostile_values(name, place):
    command = COMMANDS[name]
    kinds = inspect.signature(command.callback, eval_str=True).parameters
    before = snapshot(place)
    for parameter in command.params:
        if parameter.param_type_name != "option" or getattr(parameter, "is_flag", False):
            continue
        option, many = parameter.opts[-1], max(1, parameter.nargs)
        annotation = str(kinds[parameter.name].annotation if parameter.name in kinds else "")
        numeric = "int" in annotation or "float" in annotation
        for value in NUMBERS if numeric else TEXTS:
            # The corpus or run that is not there sees to it that no right value starts the work.
            words = (*name.split(), *arguments_of(command), option, *[value] * many)
            result = call(*words)
            fine(result, words)
            assert result.exit_code, words
    assert snapshot(place) == before


WRONG = [
    ("generate c", "-n 0"), ("generate c", "-n 99999999999999999999"), ("generate c", "--memory nan"),
    ("generate c", "--memory 1e300"), ("generate c", "--memory -1"), ("generate c", "--scale 300000"),
    ("generate c", "--seed -1"), ("generate c", "--model huge"), ("generate c", "--window 4"),
    ("generate c", "--shortlist 999"), ("generate c", "--shard 3/2"), ("generate c", "--shard x"),
    ("generate c", "--split rows"), ("generate c", "--encoder no-such-thing"), ("generate c", "--epsilon nan"),
    ("generate c", "--max-share 2"), ("generate c", "--threads 99999"), ("generate c", "--tokens nowhere"),
    ("generate c", "--preset nice"), ("generate c", "--size 9 9"), ("generate c", "--first -1"),
    ("generate nothing", ""), ("generate ''", ""), ("embed nothing", ""), ("corpus info nothing", ""),
    ("corpus build source.npy", "--holdout 2"), ("corpus build source.npy", "--holdout nan"),
    ("corpus build source.npy", "--white 0"), ("corpus build source.npy", "--white nan"),
    ("corpus build source.npy", "--size 0 4"), ("corpus build source.npy", "--name a/b"),
    ("corpus build source.npy", "--mode pink"), ("corpus build ''", ""), ("corpus build nothing", ""),
    ("corpus build mnist", ""), ("els c", "--machine perpetual"), ("els c", "--windows 3,4"), ("els c", "--steps 0"),
    ("els c", "-n 0"), ("els c", "--size 0 0"), ("els c", "--scale 300000"), ("els c", "--tolerance 2"),
    ("figures run", "--sample 99"), ("figures run", "--corpus nothing"), ("report run", "--pools x"),
    ("report run", "--megabytes nan"), ("report run", "--megabytes -1"), ("report run", "--corpus nothing"),
    ("evaluate run", "--network no-such"), ("evaluate run", "--seed -1"), ("evaluate run", "--heldout nothing"),
    ("verify run", "--corpus nothing"), ("partwhole run", "--corpus nothing"), ("partwhole run", "--window 4"),
    ("explain run", "--corpus nothing"), ("encoder train c", "--device meta"), ("encoder train c", "--device abacus"),
    ("encoder train c", "--epochs 0"), ("tokens train c", "--device meta"), ("ablate c --out a", "-n 0"),
    ("sweep c --out s", "--grid window"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "options"), WRONG)
def test_wrong_arguments_are_status_2_before_any_work(command, options, place):
    words = [word.replace("''", "") for word in f"{command} {options}".split()]
    if words[0] in ("generate", "els") and "--out" not in words:
        words += ["--out", "made", "-q"]
    if words[0] == "generate" and "--encoder" not in words and "--tokens" not in words:
        words += ["--encoder", "pixels"]
    before = snapshot(place)
    result = call(*words)
    fine(result, tuple(words))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("npgen: ") or "Error" in result.stderr or "Usage" in result.stderr
    assert snapshot(place) == before


def test_what_fails_is_status_1(place):
    (place / "damaged").mkdir(exist_ok=True)
    (place / "damaged" / "manifest.json").write_text("{")
    for words in (
        ("verify", "damaged"), ("report", "damaged"), ("figures", "damaged"), ("evaluate", "damaged"),
        ("generate", "c", "--out", "damaged", "--encoder", "pixels", "-q"), ("verify", "no-such-run"),
    ):  # fmt: skip
        result = call(*words)
        fine(result, words)
        assert result.exit_code == 1, (words, result.output)


def test_every_command_reports_errors():
    """Errors are turned into lines by `report_errors`, which a new command must not forget."""
    for name, command in COMMANDS.items():
        wrapped, found = command.callback, False
        while wrapped is not None:
            found = found or wrapped.__code__.co_filename.endswith("cli/common.py")
            wrapped = getattr(wrapped, "__wrapped__", None)
        assert found, name


def test_a_corpus_that_a_run_does_not_find_is_asked_for(place):
    run = place / "lost"
    if not run.exists():
        corpus = npgen.Corpus.from_arrays(
            np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8), name="elsewhere"
        )
        corpus.save(place / "kept")
        npgen.generate(corpus, 2, "local", npgen.Config(window=5, seed_size=4), progress=False).save(run)
    for words in (("verify",), ("figures",), ("report",), ("evaluate",), ("partwhole",), ("explain",)):
        extra = ("--sample", "0", "--pixel", "0", "0") if words == ("explain",) else ()
        result = call(*words, "lost", *extra)
        assert result.exit_code == 2, (words, result.output)
        if words != ("explain",):
            assert "--corpus FOLDER" in result.stderr and "'elsewhere'" in result.stderr
    assert call("verify", "lost", "--corpus", "kept", "-q").exit_code == 0


def test_a_run_named_like_its_corpus_does_not_hide_it(place):
    assert call("generate", "c", "--out", "c", "--encoder", "pixels", "-n", "2", "-q").exit_code == 0
    result = call("verify", "c", "-q")
    assert result.exit_code == 0, result.output
    assert call("generate", "c", "--out", "again", "--encoder", "pixels", "-n", "2", "-q").exit_code == 0
