"""The paper's algorithm: order, shortlist, fill.

Read in this order: `generate` (check, open, fill, write), `plan` (what a run does, from its settings alone),
`pixel_run` (the stage loop), `shortlists` (images of similar meaning), `meaning` (semantic distances of places),
`pyramid` (coarse to fine), `seams` (borders cut anew), `library` (the corpus as a run reads it), `filler` (what the
Rust core is given), `order` and `seeds`; then `shared_filler` for ranks that divide the corpus, and `token_run` for
tokens.
"""

from npgen.sampling.filler import Pool, candidate_pool, canvas_shape
from npgen.sampling.generate import generate
from npgen.sampling.library import Library
from npgen.sampling.meaning import UNITS
from npgen.sampling.order import FillOrder, drawn_order, fill_order, filled_order, known_rect
from npgen.sampling.pixel_run import PixelRun
from npgen.sampling.plan import PixelPlan
from npgen.sampling.pyramid import shrink
from npgen.sampling.seams import cut_seams
from npgen.sampling.seeds import Seeds
from npgen.sampling.token_run import TokenRun, token_distributions

__all__ = [
    "UNITS",
    "FillOrder",
    "Library",
    "PixelPlan",
    "PixelRun",
    "Pool",
    "Seeds",
    "TokenRun",
    "candidate_pool",
    "canvas_shape",
    "cut_seams",
    "drawn_order",
    "fill_order",
    "filled_order",
    "generate",
    "known_rect",
    "shrink",
    "token_distributions",
]
