"""White-box image generation: every pixel is a copy of a known pixel of a known image.

A corpus of images is embedded once. `generate` grows each canvas from a seed patch, pixel by pixel: it looks up source
patches that look alike, lie at the same place and come from images of like meaning, and copies the centre of one of
them. Nothing is hidden: `Samples.trace` names the source of every pixel, `candidate_pool` shows who else could have
been chosen, and corpus and trace give the image back byte for byte.
"""

from importlib.metadata import version

from npgen.ablate import Ablation, ablate
from npgen.autoencoder import Autoencoder, load_autoencoder
from npgen.config import Config
from npgen.corpus import Corpus, load_corpus
from npgen.data import BuildOptions, build_corpus
from npgen.denoising import Denoised, denoise
from npgen.embed import embed
from npgen.encoder import Encoder, load_encoder
from npgen.entropy import Entropies, entropy, entropy_map
from npgen.evaluate import Evaluation, evaluate
from npgen.explain import Explainer, Explanation, explain
from npgen.filling import FillOrder, Pool, candidate_pool, fill_order
from npgen.gamma_study import GammaStudy, gamma_study
from npgen.generate import generate
from npgen.networks import Network, NetworkRequest, register_network
from npgen.partwhole import PartWhole, part_whole
from npgen.pixels import PixelEncoder
from npgen.provenance import read_provenance
from npgen.report import ReportFile, report
from npgen.score_runs import ScoreSamples, load_score_samples
from npgen.scores import score_generate
from npgen.sweep import Sweep, sweep
from npgen.tokens import Tokens, encode_tokens, load_tokens
from npgen.trace import Samples, Trace, load_samples
from npgen.verification import Difference, RunReport, verify_run

__version__ = version("npgen")

__all__ = [
    "Ablation",
    "Autoencoder",
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
    "GammaStudy",
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
    "fill_order",
    "gamma_study",
    "generate",
    "load_autoencoder",
    "load_corpus",
    "load_encoder",
    "load_samples",
    "load_score_samples",
    "load_tokens",
    "part_whole",
    "read_provenance",
    "register_network",
    "report",
    "score_generate",
    "sweep",
    "verify_run",
]
