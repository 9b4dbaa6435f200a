"""The representation φ: images, known in part or in full, become vectors in which near means alike.

Two encoders share one interface: `id`, `dim`, `encode(images, known)`.

* `Encoder` is a convolutional network, trained by `npgen.simclr` or made of a public checkpoint by
  `npgen.imported`. It needs torch, which is imported on first use.
* `PixelEncoder` compares coarse pixels. It needs neither torch nor training, and works for every corpus.

Both return L2-normalised rows, and a row depends on its own image and mask alone: not on the batch it came
in, nor on its place there, nor on the number of threads. The draw of sample 17 may therefore rest on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus, check_corpus
from npgen.encoders.pixels import PIXELS, PixelEncoder, check_input
from npgen.errors import invalid
from npgen.nn import Architecture, StoredNetwork, in_micro_batches

if TYPE_CHECKING:
    import torch


class Encoder(StoredNetwork[Architecture]):
    """A trained convolutional encoder φ.

    Parameters
    ----------
    architecture
        Shapes of the network.
    tensors
        One float16 array for each name in `architecture.shapes()`. Float16 is what is stored, so that an
        encoder and its saved and loaded copy are the same function.
    metadata
        JSON-able facts about the training: recipe, accuracy, image size and so on. No part of `id`.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Raises
    ------
    ValueError
        If tensors are missing, unexpected, of a wrong shape or type, or not finite.
    """

    normalised = True
    kind = "encoder"
    shape_type = Architecture
    specs = ("auto", PIXELS)
    remedy = f'train one with `npgen encoder train {{where}}`, or use encoder="{PIXELS}", that needs none'

    @property
    def dim(self) -> int:
        """Width of the embedding, D."""
        return self.architecture.width

    @property
    def channels(self) -> int:
        """Channels of an image, C."""
        return self.architecture.channels

    def __repr__(self) -> str:
        """Tell encoders apart in messages."""
        return f"Encoder(id={self.id[:16]}, channels={self.channels}, dim={self.dim})"

    def encode(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed images, each as far as it is known.

        Parameters
        ----------
        images
            Images (B, H, W, C), uint8. Unknown pixels may hold anything.
        known
            Known mask (B, H, W), or (H, W) for all, bool. None: everything is known.
        threads
            Threads that share the work on a CPU; None takes torch's own number. No influence on the result.

        Returns
        -------
        ndarray
            Embeddings (B, D), float32, rows of length 1.

        Raises
        ------
        TypeError
            If `images` is not uint8 or `known` not bool.
        ValueError
            If shapes do not fit each other or the encoder.
        """
        return self._run(self._forward, images, known, threads)

    def features(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed images, and leave the embeddings as long as they are; else as `encode`.

        Parameters
        ----------
        images, known, threads
            As in `encode`.

        Returns
        -------
        ndarray
            (B, D), float32.
        """
        return self._run(self._features, images, known, threads)

    def _run(
        self,
        network: Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor],
        images: NDArray[np.uint8],
        known: NDArray[np.bool_] | None,
        threads: int | None,
    ) -> NDArray[np.float32]:
        known = check_input(images, known, threads, self.channels)
        device, weights = self._prepare()
        rows = np.empty((len(images), self.dim), np.float32)  # (B, D)

        def run(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return network(network_input(pixels, mask, weights["mean"]), weights)

        in_micro_batches(run, (images, np.broadcast_to(known, images.shape[:3])), rows, device, threads)
        return rows

    def _forward(self, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        from torch.nn.functional import normalize

        return normalize(self._features(x, weights), dim=1)

    def _features(self, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        import torch.nn.functional as F  # noqa: N812 (its name everywhere)

        def convolve(name: str, x: torch.Tensor, stride: int, kernel: int = 1) -> torch.Tensor:
            return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, kernel // 2)

        stack = self.architecture.stack
        entry = x  # of the residual block
        for number, (width, kernel, stride, *_) in enumerate(stack.layers):
            if number in stack.blocks.values():
                entry = x
            if not width:
                x = F.max_pool2d(x, kernel, stride, kernel // 2)
                continue
            x = convolve(f"layer{number}", x, stride, kernel)
            if number in stack.blocks:
                projection = stack.projection(number)
                x += convolve(f"layer{number}.projection", entry, projection[1]) if projection else entry
            x = x.relu_()
        x = F.adaptive_avg_pool2d(x, self.architecture.pool)
        if self.architecture.dim is not None:
            # A linear map, as a convolution: the library that sums the layers in a fixed order sums it, too.
            x = convolve("output", x, 1)
        return x.flatten(1)


AnyEncoder = Encoder | PixelEncoder


def load_encoder(spec: str | os.PathLike[str] | AnyEncoder, corpus: Corpus, device: str = "auto") -> AnyEncoder:
    """Find the encoder that a corpus is to be seen through.

    Parameters
    ----------
    spec
        "auto": the encoder trained into the corpus folder (`encoder.safetensors`), else a shipped one that
        fits. "pixels": coarse pixels, for any corpus. A name, as "mnist": the shipped encoder of
        that name. A path: a file that `npgen encoder train` or `npgen encoder import` wrote. An encoder: itself.
    corpus
        The corpus; the encoder must take its images.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Returns
    -------
    Encoder or PixelEncoder
        An encoder that takes the images of `corpus`.

    Raises
    ------
    FileNotFoundError
        If `spec` is a path and there is no such file.
    TypeError
        If `spec` is no string, path or encoder.
    ValueError
        If `spec` is unknown, the file is no good, the corpus has no encoder, or the encoder does not fit the
        corpus.
    """
    check_corpus(corpus, one_size="an encoder")
    encoder = _find_encoder(spec, corpus, device)
    shape = corpus.images.shape[1:]
    if isinstance(encoder, PixelEncoder) and encoder.shape != shape:
        raise invalid("encoder", f"one for the corpus's images of shape {shape}", encoder)
    if encoder.channels != shape[2]:
        allowed = f"one for images of {shape[2]} channels, as corpus {corpus.name!r} has"
        raise invalid("encoder", allowed, f"{spec} of {encoder.channels} channels")
    return encoder


def network_input(pixels: torch.Tensor, known: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Bring images into the form that the network reads.

    Parameters
    ----------
    pixels
        Images (B, H, W, C), of any type, 0 to 255.
    known
        Known masks (B, H, W), bool.
    mean
        Mean of each channel (C,) over the training corpus, in [0, 1].

    Returns
    -------
    torch.Tensor
        (B, C + 1, H, W), float32, on the device of `mean`: pixels less the mean, 0 if unknown; the mask.
    """
    import torch

    mask = known.to(mean.device)[..., None].float()  # (B, H, W, 1)
    centred = (pixels.to(mean.device).float() / 255 - mean) * mask  # (B, H, W, C)
    return torch.cat([centred, mask], 3).permute(0, 3, 1, 2)  # (B, C + 1, H, W), channels last in memory


def _find_encoder(spec: str | os.PathLike[str] | AnyEncoder, corpus: Corpus, device: str) -> AnyEncoder:
    if isinstance(spec, Encoder | PixelEncoder):
        return spec
    if not isinstance(spec, str | os.PathLike):
        raise TypeError(f"encoder must be a name, a path or an Encoder, got {type(spec).__name__}")
    if spec == PIXELS:
        return PixelEncoder(*corpus.images.shape[1:])
    return Encoder.find(spec, corpus, device)
