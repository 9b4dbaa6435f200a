"""The command line: one module per verb, by its name.

Read `common` and `option_groups` first, which hold what the verbs share, then any verb. A verb reads its arguments,
calls the function of the same name in `npgen`, and prints what came of it. Modules that need PyTorch or matplotlib are
imported when a verb is called, so that `npgen --help` is quick. All verbs are registered here, in the order that
`npgen --help` shows.
"""

from typing import Annotated

import typer

import npgen
from npgen.cli import (
    ablate,
    bench,
    corpus,
    els,
    embed,
    encoder,
    evaluate,
    explain,
    figures,
    fill,
    frontier,
    gamma_study,
    generate,
    merge,
    partwhole,
    report,
    sweep,
    tokens,
    verify,
)
from npgen.cli.common import report_errors

__all__ = [
    "ablate",
    "app",
    "bench",
    "corpus",
    "els",
    "embed",
    "encoder",
    "evaluate",
    "explain",
    "figures",
    "fill",
    "frontier",
    "gamma_study",
    "generate",
    "merge",
    "partwhole",
    "report",
    "report_errors",
    "sweep",
    "tokens",
    "verify",
]

app = typer.Typer(
    help="White-box image generation: every pixel is a copy of a known pixel of a known image.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"npgen {npgen.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version, and exit.")
    ] = False,
) -> None:
    """White-box image generation: every pixel is a copy of a known pixel of a known image."""


for verb in (
    generate.generate,
    fill.fill,
    embed.embed,
    explain.explain,
    figures.figures,
    gamma_study.gamma_study,
    evaluate.evaluate,
    ablate.ablate,
    sweep.sweep,
    frontier.frontier,
    bench.bench,
    merge.merge,
    partwhole.partwhole,
    report.report,
    verify.verify,
):
    app.command()(report_errors(verb))
app.add_typer(corpus.corpus_app, name="corpus")
app.add_typer(encoder.encoder_app, name="encoder")
app.add_typer(tokens.tokens_app, name="tokens")
app.add_typer(els.els_app, name="els")
