"""What several commands share: options, reading of settings and recipes, and error messages."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from npgen.storage import read_json

CorpusName = Annotated[str, typer.Argument(metavar="CORPUS", help="Name of a corpus, or its folder.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that `npgen generate` made.")]
RunCorpus = Annotated[
    str | None, typer.Option("--corpus", help="Corpus of the run; by default the one named in the run's manifest.")
]
Heldout = Annotated[
    str | None, typer.Option(help="Corpus of held-out real images, where the corpus has none of its own.")
]
EncoderName = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="auto, smt, pixels, a shipped encoder or a .safetensors file; several joined by +; with :smooth=N.",
    ),
]
NetworkName = Annotated[
    str,
    typer.Option(help="Network whose features the scores compare: corpus, the corpus's own classifier, or inception."),
]
Weights = Annotated[Path | None, typer.Option(help="File of the network's weights; inception needs torch-fidelity's.")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="JSON file of the recipe; options override it.")]
Resume = Annotated[bool, typer.Option(help="Resume from a checkpoint if there is one.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Canvases filled together.")]
Device = Annotated[str, typer.Option(help="Torch device; auto uses an accelerator if there is one.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per core.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Scale = Annotated[int, typer.Option(min=1, help="Side of an image pixel in the pictures.")]
Columns = Annotated[int | None, typer.Option(min=1, help="Images per row of the pictures; by default about a square.")]

# Exit statuses: an argument or option is wrong, as for errors of the syntax; or what was asked for failed.
WRONG_ARGUMENT, FAILED = 2, 1
# Exit status by which shells name a process that SIGPIPE ended.
UNREAD = 128 + 13
# Most samples shown in the pictures of a run: few programs open larger files.
PICTURED = 1024

F = TypeVar("F", bound=Callable[..., None])


def report_errors(command: F) -> F:
    """Make a command print an error that its user can correct as one line on stderr.

    It exits with status 2 if the error names an argument or option of the command, as at errors of the syntax, and with
    status 1 if something else failed, such as a damaged file. Ctrl-C exits with status 130. Other errors are bugs:
    their traceback is shown.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError as error:
            raise typer.Exit(UNREAD) from error  # the reader of the output has gone: there is nobody to tell
        except (ValueError, TypeError, OSError, ModuleNotFoundError, MemoryError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            typer.echo(f"npgen: {text}", err=True)
            raise typer.Exit(WRONG_ARGUMENT if _names_argument(command, text) else FAILED) from error
        except KeyboardInterrupt as error:
            typer.echo("npgen: interrupted", err=True)
            raise typer.Exit(130) from error

    return wrapped  # type: ignore[return-value]


def _names_argument(command: Callable[..., None], message: str) -> bool:
    """Return whether an error is about a parameter of a command: all errors start with what must be what."""
    subject = re.match(r"(?:each of )?(\w+) must be ", message)
    return subject is not None and subject[1] in inspect.signature(command).parameters


def read_recipe(path: Path | None, default: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a recipe's file, or else the default ones, with the options given (not None) on top."""
    values = dict(default) if path is None else read_json(path)
    return values | {name: value for name, value in given.items() if value is not None}
