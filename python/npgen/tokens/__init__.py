"""Images as bits: a binary-latent autoencoder, the tokens that it makes of a corpus, and trained twins of the sampler.

Read `autoencoder` first (images to tokens and back), then `store` and `store_files` (the tokens of a corpus, in memory
and on disk), `encode` (making and loading them) and `autoencoder_training`. The twins, networks that the token sampler
is compared with: `twin_recipe`, `twin_networks` and `twins`.

`autoencoder_training`, `twin_networks` and `twins` import torch: import them only where something is trained.
"""

from npgen.tokens.autoencoder import Autoencoder, load_autoencoder
from npgen.tokens.encode import encode_tokens, load_tokens
from npgen.tokens.store import Tokens
from npgen.tokens.twin_recipe import TwinKind, TwinRecipe

__all__ = [
    "Autoencoder",
    "Tokens",
    "TwinKind",
    "TwinRecipe",
    "encode_tokens",
    "load_autoencoder",
    "load_tokens",
]
