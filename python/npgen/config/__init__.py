"""What a run does: its model and its settings.

Read `models` (which statistics are switched on), then `settings` (their parameters) and `presets` (names for some of
them). Settings are checked when they are made, and stored as JSON with everything that a run writes.
"""

from npgen.config.models import MODELS, Model, find_model
from npgen.config.presets import PIXEL_SETTINGS, PRESET_OF_MODEL, PRESETS, TOKEN_SETTINGS
from npgen.config.settings import Candidates, Config, Metric, Order

__all__ = [
    "MODELS",
    "PIXEL_SETTINGS",
    "PRESETS",
    "PRESET_OF_MODEL",
    "TOKEN_SETTINGS",
    "Candidates",
    "Config",
    "Metric",
    "Model",
    "Order",
    "find_model",
]
