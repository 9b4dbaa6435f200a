"""The kinds of encoders.

All share one interface: `id`, `dim`, `channels`, `encode(images, known)`, and `symmetric`: whether the embedding of a
wholly known canvas is the key of that image.

* `Encoder` is a convolutional network. It needs torch, which is imported on first use.
* `SmtEncoder` is a sparse manifold transform: closed form, every number of it a patch or an eigenvector.
* `PixelEncoder` compares coarse pixels. It needs neither torch nor training, and takes images of every corpus.
* `JoinedEncoder` adds the products of several.
* `SmoothedEncoder` moves embeddings towards those of the nearest images.

Embeddings are L2-normalised, and each depends on its own image and mask alone: not on the rest of its batch, its
position there, or the number of threads. So the sample of an index is the same in every run.
"""

from __future__ import annotations

from typing import Any

from npgen.encoders.encoder import Encoder
from npgen.encoders.joined import JoinedEncoder
from npgen.encoders.pixels import PixelEncoder
from npgen.encoders.smoothing import SmoothedEncoder
from npgen.encoders.smt import SmtEncoder

AnyEncoder = Encoder | PixelEncoder | SmtEncoder | JoinedEncoder | SmoothedEncoder
ENCODERS: tuple[type[Any], ...] = (Encoder, PixelEncoder, SmtEncoder, JoinedEncoder, SmoothedEncoder)
