"""Studies: many runs in one table.

All studies have the same steps: check all settings, run and measure, write tables and pictures. Read `workbench` (the
common arguments; a run made or read, and scored), `measures` (entropies and pools), `results` (tables as files) and
`rows` (rows stored one by one); then `ablation`, `sweep`, `frontier` (beside `controls`) and `gamma` with their plots,
`els` (score machines and a trained network), and `twin_comparison` (token sampler and its parametric twins), which
imports torch.
"""

from npgen.studies.ablation import Ablation, ablate
from npgen.studies.els import els_compare
from npgen.studies.frontier import Frontier, FrontierSetting, frontier, read_settings
from npgen.studies.gamma import GammaStudy, gamma_study, parse_gammas
from npgen.studies.sweep import Sweep, parse_grid, sweep

__all__ = [
    "Ablation",
    "Frontier",
    "FrontierSetting",
    "GammaStudy",
    "Sweep",
    "ablate",
    "els_compare",
    "frontier",
    "gamma_study",
    "parse_gammas",
    "parse_grid",
    "read_settings",
    "sweep",
]
