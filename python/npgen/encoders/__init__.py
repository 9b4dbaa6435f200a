"""φ: from an image to its embedding. Embeddings of the source images are the keys that canvases are compared with.

Read `kinds` first (the interface), then the encoders: `encoder` (a convolutional network), `smt` (the sparse manifold
transform), `pixels` (coarse pixels), `joined` (several as one) and `smoothing` (over nearest images); then `places`
(embeddings of places), `keys` (embedding a corpus, stored beside it), `loading` (which encoder a name stands for),
`neighbours` (an encoder's accuracy) and `imported` (public checkpoints).
Training: `recipe` (its settings), `augment`, `simclr` (the training itself), `whitening`; and `smt_fit`, `smt_views`
(closed form).

`augment`, `simclr`, `whitening`, `smt_fit` and `smt_views` import torch: import them only where an encoder is made.
"""

from npgen.encoders.encoder import Encoder
from npgen.encoders.imported import Normalisation, import_encoder
from npgen.encoders.joined import JoinedEncoder
from npgen.encoders.keys import cache_keys, cached_keys, embed, keys_path
from npgen.encoders.kinds import AnyEncoder
from npgen.encoders.loading import encoder_of_run, load_encoder
from npgen.encoders.neighbours import NeighbourScores, knn_accuracy, knn_scores
from npgen.encoders.pixels import PixelEncoder
from npgen.encoders.places import PlaceEncoder, PlaceGrid, place_encoder
from npgen.encoders.recipe import Recipe
from npgen.encoders.smoothing import SmoothedEncoder
from npgen.encoders.smt import SmtEncoder

__all__ = [
    "AnyEncoder",
    "Encoder",
    "JoinedEncoder",
    "NeighbourScores",
    "Normalisation",
    "PixelEncoder",
    "PlaceEncoder",
    "PlaceGrid",
    "Recipe",
    "SmoothedEncoder",
    "SmtEncoder",
    "cache_keys",
    "cached_keys",
    "embed",
    "encoder_of_run",
    "import_encoder",
    "keys_path",
    "knn_accuracy",
    "knn_scores",
    "load_encoder",
    "place_encoder",
]
