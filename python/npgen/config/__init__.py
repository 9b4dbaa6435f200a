"""What a run does: its model and its settings.

Read `models` (which statistics are switched on), then `settings` (their parameters), `choices` (what these may be) and
`fitting` (defaults for small corpora). Settings are checked when they are made, and stored as JSON with everything that
a run writes.
"""

from npgen.config.choices import (
    MOST_DRAWS,
    PIXEL_SETTINGS,
    PRESETS,
    TOKEN_SETTINGS,
    Candidates,
    Metric,
    Order,
)
from npgen.config.fitting import fitted
from npgen.config.models import MODELS, Model, find_model
from npgen.config.settings import Config

__all__ = [
    "MODELS",
    "MOST_DRAWS",
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
