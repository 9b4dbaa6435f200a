"""The white box opened and checked."""

from npgen.inspection.explain import Explainer, Explanation, explain
from npgen.inspection.verify_run import Difference, RunReport, verify_run

__all__ = [
    "Difference",
    "Explainer",
    "Explanation",
    "RunReport",
    "explain",
    "verify_run",
]
