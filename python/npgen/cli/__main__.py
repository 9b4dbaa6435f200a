"""`python -m npgen.cli`."""

from npgen.cli import app

app()
