"""The binary-latent autoencoder: it encodes images as grids of tokens of a few bits each, and decodes tokens to images.

After Zhao and Basu, arXiv 2506.21731. An image is divided into cells of s×s pixels. The encoder maps the k×k pixels
around a cell to b numbers, whose signs are the b bits of the cell's token. The decoder's input are the bits alone, as
−1 and +1.

The tokens of an image, and the image of a grid of tokens, depend on nothing else: not on the rest of the batch, the
position in it, or the number of threads. Networks run in torch, which is imported on first use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus, check_corpus
from npgen.errors import check_type, check_whole, invalid
from npgen.nn import ShippedNetwork, in_micro_batches

if TYPE_CHECKING:
    import torch

MOST_BITS = 64


@dataclass(frozen=True)
class TokenArchitecture:
    """The architecture of an autoencoder.

    Parameters
    ----------
    channels
        Channels of an image, C: 1 or 3.
    stride
        Side of a cell, pixels: s.
    bits
        Bits of a token: b, 1 to 64.
    kernel
        Side of the window around a cell that the encoder maps to its token, pixels, odd and at least s: k.
    width
        Channels between the layers.
    blocks
        Number of residual blocks of two 1×1 convolutions in the encoder, and in the decoder.
    reach
        Distance in cells up to which tokens go into a cell's pixels: the decoder maps (2·reach + 1)² tokens to a cell.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    channels: int
    stride: int = 2
    bits: int = 8
    kernel: int = 5
    width: int = 64
    blocks: int = 2
    reach: int = 2

    def __post_init__(self) -> None:
        """Check every number, as they may come from a file."""
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise invalid("channels", "1 or 3", self.channels)
        for name, least, most in (
            ("stride", 1, 64),
            ("bits", 1, MOST_BITS),
            ("kernel", self.stride, 255),
            ("width", 1, 1 << 12),
            ("blocks", 0, 64),
            ("reach", 0, 16),
        ):
            check_whole(name, getattr(self, name), least, most)
        if self.kernel % 2 == 0:
            raise invalid("kernel", "odd", self.kernel)

    @classmethod
    def from_json(cls, values: Any) -> TokenArchitecture:
        """Make an architecture of what `dataclasses.asdict` returned for it, as read from a file's header."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            raise invalid("architecture", f"an object of {', '.join(names)}", values)
        try:
            return cls(**values)
        except TypeError as error:
            raise invalid("architecture", "an object of whole numbers", values) from error

    @property
    def bytes(self) -> int:
        """Bytes of a token, Y."""
        return -(-self.bits // 8)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor and give its shape, in the order of their use."""
        pixels, width, side = self.channels * self.stride**2, self.width, 2 * self.reach + 1
        weights: dict[str, tuple[int, ...]] = {"encoder.first": (width, self.channels, self.kernel, self.kernel)}
        weights |= self._blocks("encoder") | {"encoder.last": (self.bits, width, 1, 1)}
        weights |= {"decoder.first": (width, self.bits, side, side)}
        weights |= self._blocks("decoder") | {"decoder.last": (pixels, width, 1, 1)}
        shapes: dict[str, tuple[int, ...]] = {"mean": (self.channels,)}
        for name, shape in weights.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        return shapes

    def _blocks(self, part: str) -> dict[str, tuple[int, ...]]:
        square = (self.width, self.width, 1, 1)
        return {f"{part}.block{number}.{layer}": square for number in range(self.blocks) for layer in (0, 1)}


def bit_logits(x: torch.Tensor, weights: Mapping[str, torch.Tensor], architecture: TokenArchitecture) -> torch.Tensor:
    """Run the encoder.

    Parameters
    ----------
    x
        Images (B, C, H, W), float: 0 to 1, less the mean.
    weights
        Tensors as `TokenArchitecture.shapes` names them.
    architecture
        Shapes of the network.

    Returns
    -------
    torch.Tensor
        (B, b, h, w) logits: a bit is set where its logit is above 0.
    """
    import torch.nn.functional as F  # noqa: N812 (its name everywhere)

    stride, kernel = architecture.stride, architecture.kernel
    # The window is centred on the cell's middle pixel; of the four in a cell of even side, on the lower right one.
    before = kernel // 2 - stride // 2
    after = kernel - stride - before
    x = F.pad(x, (before, after, before, after))
    x = F.conv2d(x, weights["encoder.first.weight"], weights["encoder.first.bias"], stride)
    x = _blocks(x, weights, "encoder", architecture.blocks)
    return F.conv2d(x, weights["encoder.last.weight"], weights["encoder.last.bias"])


def pixels_of_bits(
    z: torch.Tensor, weights: Mapping[str, torch.Tensor], architecture: TokenArchitecture
) -> torch.Tensor:
    """Run the decoder.

    Parameters
    ----------
    z
        Bits (B, b, h, w), float: −1 and +1, or the relaxed values of training.
    weights
        Tensors as `TokenArchitecture.shapes` names them.
    architecture
        Shapes of the network.

    Returns
    -------
    torch.Tensor
        Images (B, C, H, W): 0 to 1 and slightly beyond, less the mean.
    """
    import torch.nn.functional as F  # noqa: N812 (its name everywhere)

    x = F.conv2d(z, weights["decoder.first.weight"], weights["decoder.first.bias"], padding=architecture.reach)
    x = _blocks(x, weights, "decoder", architecture.blocks)
    x = F.conv2d(x, weights["decoder.last.weight"], weights["decoder.last.bias"])
    return F.pixel_shuffle(x, architecture.stride)


def _blocks(x: torch.Tensor, weights: Mapping[str, torch.Tensor], part: str, count: int) -> torch.Tensor:
    """Run residual blocks and a final ReLU; each block's ReLU is inside it, so that its shortcut is the identity."""
    import torch.nn.functional as F  # noqa: N812 (its name everywhere)

    for number in range(count):
        first, second = (f"{part}.block{number}.{layer}" for layer in (0, 1))
        inner = F.conv2d(F.relu(x), weights[f"{first}.weight"], weights[f"{first}.bias"])
        x = x + F.conv2d(F.relu(inner), weights[f"{second}.weight"], weights[f"{second}.bias"])
    return F.relu(x)


class Autoencoder(ShippedNetwork[TokenArchitecture]):
    """A trained binary-latent autoencoder.

    Parameters
    ----------
    architecture
        Shapes of the network.
    tensors
        One float16 array for each name in `architecture.shapes()`. Float16 is what files hold, so that an autoencoder
        and its saved and loaded copy are the same function.
    metadata
        JSON-able facts about the training: recipe, PSNR, image size and so on; not part of `id`.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Raises
    ------
    ValueError
        If tensors are missing, unexpected, of a wrong shape or type, or not finite.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> autoencoder = npgen.load_autoencoder("mnist", corpus)  # the shipped one
    >>> codes = autoencoder.encode(corpus.images[:3])
    >>> codes.shape, autoencoder.decode(codes).shape
    ((3, 14, 14, 1), (3, 28, 28, 1))
    """

    kind = "autoencoder"
    architecture_type = TokenArchitecture
    prefix = "tokens-"
    remedy = "train one with `npgen tokens train {where}`"

    @property
    def stride(self) -> int:
        """Side of a cell, pixels: s."""
        return self.architecture.stride

    @property
    def bits(self) -> int:
        """Bits of a token: b."""
        return self.architecture.bits

    def __repr__(self) -> str:
        """Show id and the extents of cells and tokens."""
        shape = self.architecture
        return f"Autoencoder(id={self.id[:16]}, channels={shape.channels}, stride={shape.stride}, bits={shape.bits})"

    def encode(self, images: NDArray[np.uint8], *, threads: int | None = None) -> NDArray[np.uint8]:
        """Encode images as tokens.

        Parameters
        ----------
        images
            Images (B, H, W, C), uint8; H and W are multiples of the stride.
        threads
            Threads that share the work on a CPU; None takes torch's own number. No influence on the result.

        Returns
        -------
        ndarray
            Codes (B, h, w, Y), uint8, with h = H / s and w = W / s. Bit j of a token is bit j % 8 of its byte j // 8,
            set where logit j is above 0; the unused bits of the last byte are 0.

        Raises
        ------
        TypeError
            If `images` is not uint8.
        ValueError
            If its shape does not fit the autoencoder.
        """
        check_type("images", images, np.ndarray)
        shape, stride = self.architecture, self.stride
        if images.dtype != np.uint8:
            raise TypeError(f"images must be of dtype uint8, got {images.dtype}")
        if (
            images.ndim != 4
            or images.shape[3] != shape.channels
            or images.shape[1] % stride
            or images.shape[2] % stride
            or 0 in images.shape[1:3]
        ):
            allowed = f"of shape (B, H, W, {shape.channels}) with H and W positive multiples of {stride}"
            raise invalid("images", allowed, images.shape)
        device, weights = self._device_and_weights()
        grid = (images.shape[1] // stride, images.shape[2] // stride)
        latents = np.empty((len(images), shape.bits, *grid), np.bool_)  # (B, b, h, w)

        def run(pixels: torch.Tensor) -> torch.Tensor:
            return bit_logits(network_input(pixels, weights["mean"]), weights, shape) > 0

        in_micro_batches(run, (images,), latents, device, threads)
        return np.packbits(latents.transpose(0, 2, 3, 1), axis=-1, bitorder="little")

    def decode(self, codes: NDArray[np.uint8], *, threads: int | None = None) -> NDArray[np.uint8]:
        """Decode tokens to images.

        Parameters
        ----------
        codes
            Codes (B, h, w, Y), uint8, as `encode` returns them.
        threads
            Threads that share the work on a CPU; None takes torch's own number. No influence on the result.

        Returns
        -------
        ndarray
            Images (B, H, W, C), uint8, with H = h·s and W = w·s.

        Raises
        ------
        TypeError
            If `codes` is not uint8.
        ValueError
            If its shape does not fit the autoencoder.
        """
        check_codes("codes", codes, self.bits)
        shape = self.architecture
        device, weights = self._device_and_weights()
        latents = np.unpackbits(codes, axis=-1, count=shape.bits, bitorder="little").transpose(0, 3, 1, 2)
        extents = (codes.shape[1] * shape.stride, codes.shape[2] * shape.stride)
        images = np.empty((len(codes), *extents, shape.channels), np.uint8)

        def run(bits: torch.Tensor) -> torch.Tensor:
            z = (bits.to(device).float() * 2 - 1).contiguous(memory_format=torch.channels_last)
            x = pixels_of_bits(z, weights, shape).permute(0, 2, 3, 1) + weights["mean"]
            return (x * 255).round().clamp(0, 255).to(torch.uint8)

        import torch

        in_micro_batches(run, (latents,), images, device, threads)
        return images


def load_autoencoder(spec: str | os.PathLike[str] | Autoencoder, corpus: Corpus, device: str = "auto") -> Autoencoder:
    """Load an autoencoder for a corpus.

    Parameters
    ----------
    spec
        "auto": the autoencoder in the corpus folder (`autoencoder.safetensors`), else a shipped one that fits. A name,
        "mnist" or "cifar10": the shipped autoencoder of that name. A path: a file that `npgen tokens train` wrote. An
        autoencoder is returned as it is.
    corpus
        The corpus; the autoencoder must take its images.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Returns
    -------
    Autoencoder
        An autoencoder that takes the images of `corpus`.

    Raises
    ------
    FileNotFoundError
        If `spec` is a path and there is no such file.
    TypeError
        If `spec` is not a string, path or autoencoder.
    ValueError
        If `spec` is unknown, the file is damaged, the corpus has no autoencoder or images of several sizes, or the
        autoencoder does not take its images.

    Examples
    --------
    >>> npgen.load_autoencoder("auto", npgen.load_corpus("mnist-5k"))  # the shipped one
    Autoencoder(id=..., channels=1, stride=2, bits=8)
    """
    check_corpus(corpus, one_size="an autoencoder")
    check_type("autoencoder", spec, str, os.PathLike, Autoencoder)
    autoencoder = spec if isinstance(spec, Autoencoder) else Autoencoder.find(spec, corpus, device)
    _, height, width, channels = corpus.images.shape
    shape = autoencoder.architecture
    if shape.channels != channels or height % shape.stride or width % shape.stride:
        allowed = f"one for images of {height}×{width}×{channels}, as corpus {corpus.name!r} has"
        raise invalid("autoencoder", allowed, autoencoder)
    return autoencoder


def network_input(pixels: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Convert images (B, H, W, C), 0 to 255, to the network's input: (B, C, H, W), 0 to 1, less `mean` (C,)."""
    return (pixels.to(mean.device).float() / 255 - mean).permute(0, 3, 1, 2)  # channels last in memory


def check_codes(parameter: str, codes: NDArray[np.uint8], bits: int) -> None:
    """Check that an array holds tokens of `bits` bits: (B, h, w, Y) uint8."""
    check_type(parameter, codes, np.ndarray)
    if codes.dtype != np.uint8:
        raise TypeError(f"{parameter} must be of dtype uint8, got {codes.dtype}")
    allowed = f"of shape (B, h, w, {-(-bits // 8)}) for {bits} bits"
    if codes.ndim != 4 or codes.shape[3] != -(-bits // 8):
        raise invalid(parameter, allowed, codes.shape)
    if 0 in codes.shape[1:3]:
        raise invalid(parameter, f"{allowed}, h and w at least 1", codes.shape)
