"""Many runs, one table."""

from npgen.studies.ablation import Ablation, ablate
from npgen.studies.els import els_compare
from npgen.studies.gamma import GammaStudy, gamma_study, parse_gammas
from npgen.studies.sweep import Sweep, parse_grid, sweep

__all__ = [
    "Ablation",
    "GammaStudy",
    "Sweep",
    "ablate",
    "els_compare",
    "gamma_study",
    "parse_gammas",
    "parse_grid",
    "sweep",
]
