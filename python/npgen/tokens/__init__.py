"""Images as bits: the autoencoder, the token store, and the twins."""

from npgen.tokens.autoencoder import Autoencoder, load_autoencoder
from npgen.tokens.store import Tokens, encode_tokens, load_tokens

__all__ = [
    "Autoencoder",
    "Tokens",
    "encode_tokens",
    "load_autoencoder",
    "load_tokens",
]
