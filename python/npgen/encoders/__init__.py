"""φ: from an image to its key."""

from npgen.encoders.encoder import AnyEncoder, Encoder, load_encoder
from npgen.encoders.imported import Normalisation, import_encoder
from npgen.encoders.keys import cache_keys, cached_keys, embed, keys_path
from npgen.encoders.neighbours import knn_accuracy
from npgen.encoders.pixels import PixelEncoder
from npgen.encoders.recipe import Recipe

__all__ = [
    "AnyEncoder",
    "Encoder",
    "Normalisation",
    "PixelEncoder",
    "Recipe",
    "cache_keys",
    "cached_keys",
    "embed",
    "import_encoder",
    "keys_path",
    "knn_accuracy",
    "load_encoder",
]
