"""The representation φ: images, fully or partly known, are mapped to embeddings; near embeddings mean similar images.

Two encoders share one interface: `id`, `dim`, `encode(images, known)`.

* `Encoder` is a convolutional network, trained by `npgen.encoders.simclr` or imported from a public checkpoint by
  `npgen.encoders.imported`. It needs torch, which is imported on first use.
* `PixelEncoder` compares coarse pixels. It needs neither torch nor training, and takes images of every corpus.

Embeddings are L2-normalised, and each depends on its own image and mask alone: not on the rest of its batch, its
position there, or the number of threads. So the sample of an index is the same in every run.
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
from npgen.nn import Architecture, ShippedNetwork, in_micro_batches

if TYPE_CHECKING:
    import torch


class Encoder(ShippedNetwork[Architecture]):
    """A trained convolutional encoder φ.

    Parameters
    ----------
    architecture
        Shapes of the network.
    tensors
        One float16 array for each name in `architecture.shapes()`. Float16 is what files hold, so that an encoder and
        its saved and loaded copy are the same function.
    metadata
        JSON-able facts about the training: recipe, accuracy, image size and so on; not part of `id`.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Raises
    ------
    ValueError
        If tensors are missing, unexpected, of a wrong shape or type, or not finite.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> encoder = npgen.load_encoder("mnist", corpus)  # the shipped one
    >>> encoder.encode(corpus.images[:3]).shape == (3, encoder.dim)
    True
    """

    normalised = True
    kind = "encoder"
    architecture_type = Architecture
    other_specs = ("auto", PIXELS)
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
        """Show id and widths."""
        return f"Encoder(id={self.id[:16]}, channels={self.channels}, dim={self.dim})"

    def encode(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed images, of which only known pixels count.

        Parameters
        ----------
        images
            Images (B, H, W, C), uint8. Unknown pixels may hold anything.
        known
            Known mask (B, H, W), or one (H, W) for all images, bool. None: all pixels are known.
        threads
            Threads that share the work on a CPU; None takes torch's own number. No influence on the result.

        Returns
        -------
        ndarray
            Embeddings (B, D), float32, of length 1.

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
        """Embed images as `encode` does, but without normalising the length.

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
        device, weights = self._device_and_weights()
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
        entry = x  # input of the present residual block
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
            # The linear map is computed as a convolution, so that its sums have a fixed order, too.
            x = convolve("output", x, 1)
        return x.flatten(1)


AnyEncoder = Encoder | PixelEncoder


def load_encoder(spec: str | os.PathLike[str] | AnyEncoder, corpus: Corpus, device: str = "auto") -> AnyEncoder:
    """Load an encoder for a corpus.

    Parameters
    ----------
    spec
        "auto": the encoder in the corpus folder (`encoder.safetensors`), else a shipped one that fits. "pixels": coarse
        pixels, for any corpus. A name, such as "mnist": the shipped encoder of that name. A path: a file that
        `npgen encoder train` or `npgen encoder import` wrote. An encoder is returned as it is.
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
        If `spec` is not a string, path or encoder.
    ValueError
        If `spec` is unknown, the file is damaged, the corpus has no encoder, or the encoder does not take its images.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> npgen.load_encoder("pixels", corpus)
    PixelEncoder(shape=(28, 28, 1), grid=(7, 7))
    >>> npgen.load_encoder("auto", corpus).channels  # the shipped one
    1
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
    """Convert images to the network's input.

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
        (B, C + 1, H, W), float32, on the device of `mean`: pixels less the mean, 0 where unknown; then the mask.
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
