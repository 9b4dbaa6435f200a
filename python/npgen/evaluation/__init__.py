"""Scores of samples beside real images."""

from npgen.evaluation.entropy import WINDOW, Entropies, entropy, entropy_map
from npgen.evaluation.evaluate import FEWEST, Evaluation, check_scorable, evaluate
from npgen.evaluation.features import Outputs, corpus_outputs, outputs_of
from npgen.evaluation.metrics import FrechetReference, Moments, estimate, groups_of, inception_score, without_each
from npgen.evaluation.networks import Network, NetworkRequest, load_network, register_network
from npgen.evaluation.novelty import largest_shares, longest_runs, nearest_sources
from npgen.evaluation.partwhole import PartWhole, part_whole
from npgen.evaluation.scores import VERSION, novelty_table

__all__ = [
    "FEWEST",
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
    "check_scorable",
    "corpus_outputs",
    "entropy",
    "entropy_map",
    "estimate",
    "evaluate",
    "groups_of",
    "inception_score",
    "largest_shares",
    "load_network",
    "longest_runs",
    "nearest_sources",
    "novelty_table",
    "outputs_of",
    "part_whole",
    "register_network",
    "without_each",
]
