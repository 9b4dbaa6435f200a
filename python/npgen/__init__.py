"""White-box image generation: every pixel is a copy of a known pixel of a known image.

A corpus of images is embedded once. `generate` grows each canvas from a seed patch, pixel by pixel: it retrieves source
patches that look alike, lie at the same place and come from images of similar meaning, and copies the centre of one of
them. Nothing is hidden: `Samples.trace` names the source of every pixel, `candidate_pool` shows the other candidates,
and corpus and trace give the image back byte for byte.
"""

from importlib.metadata import version

from npgen.config import Config
from npgen.corpus import BuildAccount, BuildOptions, Corpus, LeftOut, build_corpus, load_corpus, read_account
from npgen.els import Denoised, ScoreSamples, denoise, load_score_samples, score_generate
from npgen.encoders import Encoder, PixelEncoder, embed, load_encoder
from npgen.evaluation import (
    Entropies,
    Evaluation,
    Network,
    NetworkRequest,
    PartWhole,
    entropy,
    entropy_map,
    evaluate,
    part_whole,
    register_network,
)
from npgen.inspection import Difference, Explainer, Explanation, RunReport, explain, verify_run
from npgen.output import read_provenance
from npgen.reports import ReportFile, report
from npgen.runs import Samples, Trace, load_samples
from npgen.sampling import Filled, FillOrder, Pool, candidate_pool, fill, fill_order, generate
from npgen.studies import (
    Ablation,
    Frontier,
    FrontierSetting,
    GammaStudy,
    Sweep,
    ablate,
    frontier,
    gamma_study,
    sweep,
)
from npgen.tokens import Autoencoder, Tokens, encode_tokens, load_autoencoder, load_tokens

__version__ = version("npgen")

__all__ = [
    "Ablation",
    "Autoencoder",
    "BuildAccount",
    "BuildOptions",
    "Config",
    "Corpus",
    "Denoised",
    "Difference",
    "Encoder",
    "Entropies",
    "Evaluation",
    "Explainer",
    "Explanation",
    "FillOrder",
    "Filled",
    "Frontier",
    "FrontierSetting",
    "GammaStudy",
    "LeftOut",
    "Network",
    "NetworkRequest",
    "PartWhole",
    "PixelEncoder",
    "Pool",
    "ReportFile",
    "RunReport",
    "Samples",
    "ScoreSamples",
    "Sweep",
    "Tokens",
    "Trace",
    "ablate",
    "build_corpus",
    "candidate_pool",
    "denoise",
    "embed",
    "encode_tokens",
    "entropy",
    "entropy_map",
    "evaluate",
    "explain",
    "fill",
    "fill_order",
    "frontier",
    "gamma_study",
    "generate",
    "load_autoencoder",
    "load_corpus",
    "load_encoder",
    "load_samples",
    "load_score_samples",
    "load_tokens",
    "part_whole",
    "read_account",
    "read_provenance",
    "register_network",
    "report",
    "score_generate",
    "sweep",
    "verify_run",
]
