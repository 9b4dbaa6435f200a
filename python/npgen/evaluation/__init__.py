"""Scores of samples beside real images.

`evaluate` computes all of them. Read first `metrics` and `likelihood` (scores of feature vectors), `novelty` (distances
to the corpus, verbatim copies), `entropy` and `partwhole` (where pixels come from); then `networks` and `classifier`,
whose outputs `features` caches; then `reference` (what all are
compared with), `evaluate`, which compares samples with real images, and `scores`, its result.
"""

from npgen.evaluation.entropy import WINDOW, Entropies, entropy, entropy_map
from npgen.evaluation.evaluate import FEWEST, checked_heldout, evaluate
from npgen.evaluation.features import Outputs, corpus_outputs, outputs_of
from npgen.evaluation.likelihood import feature_likelihood
from npgen.evaluation.metrics import FEWEST_FOR_INTERVALS, FrechetReference, Moments, estimate, groups_of, inception
from npgen.evaluation.networks import Network, NetworkRequest, load_network, register_network
from npgen.evaluation.novelty import (
    COPY,
    are_copies,
    effective_sources,
    largest_shares,
    longest_runs,
    nearest_sources,
    psnr,
)
from npgen.evaluation.partwhole import PartWhole, part_whole
from npgen.evaluation.scores import VERSION, Evaluation, novelty_table

__all__ = [
    "COPY",
    "FEWEST",
    "FEWEST_FOR_INTERVALS",
    "VERSION",
    "WINDOW",
    "Entropies",
    "Evaluation",
    "FrechetReference",
    "Moments",
    "Network",
    "NetworkRequest",
    "Outputs",
    "PartWhole",
    "are_copies",
    "checked_heldout",
    "corpus_outputs",
    "effective_sources",
    "entropy",
    "entropy_map",
    "estimate",
    "evaluate",
    "feature_likelihood",
    "groups_of",
    "inception",
    "largest_shares",
    "load_network",
    "longest_runs",
    "nearest_sources",
    "novelty_table",
    "outputs_of",
    "part_whole",
    "psnr",
    "register_network",
]
