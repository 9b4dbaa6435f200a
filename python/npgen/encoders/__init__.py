"""φ: from an image to its embedding. Embeddings of the source images are the keys that canvases are compared with.

Read `encoder` first (the interface, and the convolutional encoder), then `pixels` (the encoder that needs no training),
`keys` (embedding a corpus, stored beside it), `neighbours` (an encoder's accuracy) and `imported` (public checkpoints).
Training: `recipe` (its settings), `augment`, `simclr` (the training itself) and `whitening`.

`augment`, `simclr` and `whitening` import torch: import them only where an encoder is trained.
"""

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
