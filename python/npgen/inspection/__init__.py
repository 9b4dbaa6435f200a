"""Inspection of runs: the candidate pool of a pixel, recomputed, and the verification of a run folder.

`explain` shows the pool that a pixel was drawn from. `verify_run` checks a run: read `violations`, `rules` (what every
pixel must keep), `cuts` (borders cut again), `regenerate` (samples generated again), `run_report` (the result), then
`verify_run`.
"""

from npgen.inspection.explain import Explainer, Explanation, explain
from npgen.inspection.run_report import Difference, RunReport
from npgen.inspection.verify_run import verify_run

__all__ = [
    "Difference",
    "Explainer",
    "Explanation",
    "RunReport",
    "explain",
    "verify_run",
]
