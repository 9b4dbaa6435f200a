"""The paper's algorithm: order, shortlist, fill."""

from npgen.sampling.filler import Pool, candidate_pool, canvas_shape
from npgen.sampling.generate import generate
from npgen.sampling.order import FillOrder, drawn_order, fill_order, filled_order, known_rect
from npgen.sampling.pixel_run import Run
from npgen.sampling.seeds import Seeds
from npgen.sampling.token_run import TokenRun, token_distributions

__all__ = [
    "FillOrder",
    "Pool",
    "Run",
    "Seeds",
    "TokenRun",
    "candidate_pool",
    "canvas_shape",
    "drawn_order",
    "fill_order",
    "filled_order",
    "generate",
    "known_rect",
    "token_distributions",
]
