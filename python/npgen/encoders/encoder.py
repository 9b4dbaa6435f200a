"""The convolutional encoder: a network trained by `npgen.encoders.simclr`, or imported from a public checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from npgen.encoders.pixels import PIXELS, check_input
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

    symmetric = True
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
