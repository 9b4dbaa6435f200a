"""φ: from an image to its embedding. Embeddings of the source images are the keys that canvases are compared with.

Read `loading` first (the interface, and which encoder a name stands for), then the encoders: `encoder` (a convolutional
network), `smt` (the sparse manifold transform), `pixels` (coarse pixels) and `joined` (several as one); then `keys`
(embedding a corpus, stored beside it), `neighbours` (an encoder's accuracy) and `imported` (public checkpoints).
Training: `recipe` (its settings), `augment`, `simclr` (the training itself), `whitening`; and `smt_fit` (closed form).

`augment`, `simclr`, `whitening` and `smt_fit` import torch: import them only where an encoder is made.
"""

from npgen.encoders.encoder import Encoder
from npgen.encoders.imported import Normalisation, import_encoder
from npgen.encoders.joined import JoinedEncoder
from npgen.encoders.keys import cache_keys, cached_keys, embed, keys_path
from npgen.encoders.loading import AnyEncoder, load_encoder
from npgen.encoders.neighbours import knn_accuracy
from npgen.encoders.pixels import PixelEncoder
from npgen.encoders.recipe import Recipe
from npgen.encoders.smt import SmtEncoder

__all__ = [
    "AnyEncoder",
    "Encoder",
    "JoinedEncoder",
    "Normalisation",
    "PixelEncoder",
    "Recipe",
    "SmtEncoder",
    "cache_keys",
    "cached_keys",
    "embed",
    "import_encoder",
    "keys_path",
    "knn_accuracy",
    "load_encoder",
]
