"""The paper's algorithm: order, shortlist, fill.

Read in this order: `generate` (check, open, fill, write), `plan` (what a run does, from its settings alone),
`pixel_run` (the stage loop), `shortlists` (images of similar meaning), `meaning` (semantic distances of places),
`pyramid` (coarse to fine), `seams` (borders cut anew), `library` (the corpus as a run reads it), `filler` (what the
Rust core is given), `order`, `seeds` and `shifts` (how much is copied in one piece); then `shared_filler` for ranks
that divide the corpus, `token_run` for tokens, and `holes` for pictures that are filled.
"""

from npgen.sampling.filler import Pool, candidate_pool, canvas_shape
from npgen.sampling.generate import generate
from npgen.sampling.holes import FILL_MODELS, Filled, fill, fill_defaults
from npgen.sampling.library import Library
from npgen.sampling.meaning import UNITS
from npgen.sampling.order import FillOrder, drawn_order, fill_order, filled_order, known_rect
from npgen.sampling.pixel_run import PixelRun
from npgen.sampling.plan import PixelPlan
from npgen.sampling.pyramid import shrink
from npgen.sampling.seams import cut_seams
from npgen.sampling.seeds import Seeds
from npgen.sampling.shifts import barred_sources, bars_seed_shift, copy_quota, seed_shifts, shifts_of
from npgen.sampling.token_run import TokenRun, token_distributions

__all__ = [
    "FILL_MODELS",
    "UNITS",
    "FillOrder",
    "Filled",
    "Library",
    "PixelPlan",
    "PixelRun",
    "Pool",
    "Seeds",
    "TokenRun",
    "barred_sources",
    "bars_seed_shift",
    "candidate_pool",
    "canvas_shape",
    "copy_quota",
    "cut_seams",
    "drawn_order",
    "fill",
    "fill_defaults",
    "fill_order",
    "filled_order",
    "generate",
    "known_rect",
    "seed_shifts",
    "shifts_of",
    "shrink",
    "token_distributions",
]
