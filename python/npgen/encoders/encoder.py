"""The convolutional encoder: a network trained by `npgen.encoders.simclr`, or imported from a public checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from npgen.encoders.pixels import PIXELS, check_input
from npgen.encoders.places import PlaceGrid
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

    def places(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed the places of images: the last layer's output, before it is averaged.

        ``y = P² · A_q x + b``, scaled to length 1, with the output x at a place, and the part A_q of the linear map
        that belongs to its part q of the P×P parts which are averaged. The mean of all y is the image's embedding.

        Parameters
        ----------
        images, known, threads
            As in `encode`.

        Returns
        -------
        ndarray
            (B, h, w, E), float32, each place of length 1 or 0.
        """
        height, width = images.shape[1:3]
        grid, _ = self.grid_of_places(np.ones((height, width), np.bool_))
        depth = self.architecture.dim or self.architecture.stack.widths[-1]
        return self._run(self._places, images, known, threads, (grid.rows, grid.columns, depth))

    def grid_of_places(self, known: NDArray[np.bool_]) -> tuple[PlaceGrid, NDArray[np.float64]]:
        """Return where the places of an image lie, and which share (h, w) of each is known by a mask (H, W)."""
        step = prod(layer[2] for layer in self.architecture.layers)
        rows, columns = (-(-extent // step) for extent in known.shape)
        pixels = np.zeros((rows * step, columns * step))
        pixels[: known.shape[0], : known.shape[1]] = known
        share = pixels.reshape(rows, step, columns, step).mean((1, 3))
        return PlaceGrid(rows, columns, ((step - 1) / 2, (step - 1) / 2), (step, step)), share

    def _run(
        self,
        network: Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor],
        images: NDArray[np.uint8],
        known: NDArray[np.bool_] | None,
        threads: int | None,
        shape: tuple[int, ...] | None = None,
    ) -> NDArray[np.float32]:
        """Run a network over images; its outputs are (B, D), or of another shape (B, ...)."""
        known = check_input(images, known, threads, self.channels)
        device, weights = self._device_and_weights()
        rows = np.empty((len(images), *(shape or (self.dim,))), np.float32)

        def run(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return network(network_input(pixels, mask, weights["mean"]), weights)

        in_micro_batches(run, (images, np.broadcast_to(known, images.shape[:3])), rows, device, threads)
        return rows

    def _forward(self, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        from torch.nn.functional import normalize

        return normalize(self._features(x, weights), dim=1)

    def _features(self, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        import torch.nn.functional as F  # noqa: N812 (its name everywhere)

        x = F.adaptive_avg_pool2d(self._map(x, weights), self.architecture.pool)
        if self.architecture.dim is not None:
            # The linear map is computed as a convolution, so that its sums have a fixed order, too.
            x = F.conv2d(x, weights["output.weight"], weights["output.bias"])
        return x.flatten(1)

    def _places(self, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Map inputs to embeddings of places (B, h, w, E)."""
        import torch.nn.functional as F  # noqa: N812 (its name everywhere)

        x = self._map(x, weights)  # (B, width, h, w)
        if self.architecture.dim is not None:
            parts, (height, width) = self.architecture.pool, x.shape[2:]
            mapped = x.new_empty((len(x), self.architecture.dim, height, width))
            for row, column in np.ndindex(parts, parts):
                part = (
                    slice(None),
                    slice(None),
                    slice(height * row // parts, height * (row + 1) // parts),
                    slice(width * column // parts, width * (column + 1) // parts),
                )
                weight = weights["output.weight"][:, :, row : row + 1, column : column + 1] * parts**2
                mapped[part] = F.conv2d(x[part], weight, weights["output.bias"])
            x = mapped
        return F.normalize(x, dim=1).permute(0, 2, 3, 1)

    def _map(self, x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Map inputs to the last layer's output (B, width, h, w)."""
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
        return x


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
