"""What a run does: its model and its settings.

Read `models` (which statistics are switched on), then `settings` (their parameters). Settings are checked when they are
made, and stored as JSON with everything that a run writes.
"""

from npgen.config.fitting import fitted
from npgen.config.models import MODELS, Model, find_model
from npgen.config.settings import PIXEL_SETTINGS, PRESETS, TOKEN_SETTINGS, Candidates, Config, Metric, Order

__all__ = [
    "MODELS",
    "PIXEL_SETTINGS",
    "PRESETS",
    "TOKEN_SETTINGS",
    "Candidates",
    "Config",
    "Metric",
    "Model",
    "Order",
    "find_model",
    "fitted",
]
