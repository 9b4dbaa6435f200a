"""The command line: one verb per thing of the public interface, same names."""

from npgen.cli import (
    corpora,
    els,
    encoders,
    explain,
    figures,
    gamma_study,
    making,
    measuring,
    merging,
    partwhole,
    report,
    tokens,
    verify,
)
from npgen.cli.common import app

__all__ = [
    "app",
    "corpora",
    "els",
    "encoders",
    "explain",
    "figures",
    "gamma_study",
    "making",
    "measuring",
    "merging",
    "partwhole",
    "report",
    "tokens",
    "verify",
]
