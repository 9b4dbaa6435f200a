"""What the commands share: the applications, options, settings and the way they complain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from npgen.config import Config
from npgen.errors import invalid
from npgen.storage import parse_json, read_json

app = typer.Typer(
    help="White-box image generation: every pixel is a copy of a known pixel of a known image.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpus_app = typer.Typer(help="Make and check corpora.", no_args_is_help=True)
encoder_app = typer.Typer(help="Train, import and check encoders.", no_args_is_help=True)
tokens_app = typer.Typer(help="Turn corpora into tokens of a few bits.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.add_typer(encoder_app, name="encoder")
app.add_typer(tokens_app, name="tokens")

CorpusName = Annotated[str, typer.Argument(metavar="CORPUS", help="Name of a corpus, or its folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Device = Annotated[str, typer.Option(help="Torch device; auto takes an accelerator if there is one.")]
EncoderName = Annotated[
    str,
    typer.Option("--encoder", help="auto, pixels, the name of a shipped encoder, or a .safetensors file."),
]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="JSON file of the recipe; options override it.")]
Resume = Annotated[bool, typer.Option(help="Go on from a checkpoint if there is one.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Canvases grown side by side.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that `npgen generate` made.")]
RunCorpus = Annotated[
    str | None, typer.Option("--corpus", help="Corpus of the run; by default the one of the name the run gives.")
]
Heldout = Annotated[str | None, typer.Option(help="Corpus of real images kept apart, where the corpus has none.")]
NetworkName = Annotated[
    str, typer.Option(help="Network that scores live in: corpus, the corpus's own classifier, or inception.")
]
Weights = Annotated[Path | None, typer.Option(help="File of the network's weights; inception needs torch-fidelity's.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one a core.")]

F = TypeVar("F", bound=Callable[..., None])


def complain(function: F) -> F:
    """Turn what a user can mend into one line on stderr, and Ctrl-C into silence."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
            typer.echo(f"npgen: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("npgen: interrupted", err=True)
            raise typer.Exit(130) from error

    return wrapped  # type: ignore[return-value]


def recipe_from(path: Path | None, usual: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Merge a file of a recipe, or else the usual one, with the options that were given."""
    values = usual if path is None else read_json(path)
    return values | {key: value for key, value in given.items() if value is not None}


def settings_from(path: Path | None, given: dict[str, Any]) -> Config:
    """Merge a file of settings with the options that were given."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = parse_json(path.read_bytes())  # which may well come from a pipe
        except ValueError as error:
            raise ValueError(f"config must be a JSON file, got {str(path)!r} ({error})") from error
        if not isinstance(values, dict):
            raise invalid("config", "a JSON object of settings", values)
    for field in dataclasses.fields(Config):
        if given.get(field.name) is not None:
            values[field.name] = given[field.name]
    return Config.from_json(values)
