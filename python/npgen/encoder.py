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
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.architecture import Architecture
from npgen.corpus import Corpus, check_one_size
from npgen.errors import check_type, invalid
from npgen.imports import import_whole
from npgen.pixels import PIXELS, PixelEncoder, check_input
from npgen.tensors import check_tensors, in_micro_batches, on_device, read_tensors, tensors_id, write_tensors

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parent / "weights"
# Corpora by name that a shipped encoder fits, with the shape of image it was trained on.
SHIPPED: dict[str, tuple[str, tuple[int, int, int]]] = {
    "mnist": ("mnist", (28, 28, 1)),
    "mnist-5k": ("mnist", (28, 28, 1)),
    "cifar10": ("cifar10", (32, 32, 3)),
}


class Encoder:
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

    def __init__(
        self,
        architecture: Architecture,
        tensors: dict[str, NDArray[np.float16]],
        *,
        metadata: dict[str, Any] | None = None,
        device: str = "auto",
    ) -> None:
        check_type("architecture", architecture, Architecture)
        check_type("tensors", tensors, dict)
        check_type("metadata", metadata, dict, type(None))
        check_tensors(architecture.shapes(), tensors)
        self.architecture = architecture
        self.tensors = {name: np.ascontiguousarray(tensors[name]) for name in architecture.shapes()}
        self.metadata = dict(metadata or {})
        self.device = device
        self._weights: dict[str, torch.Tensor] | None = None
        self._id = tensors_id(asdict(architecture), self.tensors)

    @property
    def id(self) -> str:
        """Sha256 over architecture and tensors, 64 hexadecimal digits."""
        return self._id

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
        import_whole("torch")

        device = resolve_device(self.device)
        weights = self._load_weights(device)
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

    def _load_weights(self, device: torch.device) -> dict[str, torch.Tensor]:
        if self._weights is None or self._weights["mean"].device.type != device.type:
            self._weights = on_device(self.tensors, device)
        return self._weights

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoder as safetensors, all of it or nothing.

        Parameters
        ----------
        path
            File to write or replace.

        Raises
        ------
        OSError
            If the file cannot be written; what was there before stays.
        """
        write_tensors(path, {**self.metadata, "architecture": asdict(self.architecture)}, self.tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Encoder:
        """Read an encoder that `save` wrote.

        Parameters
        ----------
        path
            A safetensors file.
        device
            Torch device to run on; "auto" takes an accelerator if there is one.

        Returns
        -------
        Encoder
            The encoder, with the same `id` as the one saved.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, no encoder of npgen, or of a newer npgen.
        """
        header, tensors = read_tensors(path, "encoder")
        try:
            architecture = Architecture.from_json(header.pop("architecture", None))
            return cls(architecture, tensors, metadata=header, device=device)
        except ValueError as error:
            raise ValueError(f"encoder file {os.fspath(path)!r} is damaged: {error}") from error


AnyEncoder = Encoder | PixelEncoder


def load_encoder(spec: str | os.PathLike[str] | AnyEncoder, corpus: Corpus, device: str = "auto") -> AnyEncoder:
    """Find the encoder that a corpus is to be seen through.

    Parameters
    ----------
    spec
        "auto": the encoder trained into the corpus folder (`encoder.safetensors`), else a shipped one that
        fits. "pixels": coarse pixels, for any corpus. A name in `SHIPPED`, as "mnist": the shipped encoder of
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
    check_type("corpus", corpus, Corpus)
    check_one_size(corpus, "an encoder")
    encoder = _find_encoder(spec, corpus, device)
    shape = corpus.images.shape[1:]
    if isinstance(encoder, PixelEncoder) and encoder.shape != shape:
        raise invalid("encoder", f"one for the corpus's images of shape {shape}", encoder)
    if encoder.channels != shape[2]:
        allowed = f"one for images of {shape[2]} channels, as corpus {corpus.name!r} has"
        raise invalid("encoder", allowed, f"{spec} of {encoder.channels} channels")
    return encoder


def resolve_device(device: str) -> torch.device:
    """Turn a device's name into a torch device.

    Parameters
    ----------
    device
        "auto" (an accelerator if there is one, else the CPU) or a name that torch knows, such as "cuda:1".

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If torch does not know the name, or this machine has no such device.
    """
    import_whole("torch")
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            # Processes that torchrun started on one machine take one accelerator each.
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise invalid("device", "auto, cpu, or an accelerator that this machine and this torch have", device) from error
    return torch.device(device)


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
    shape = corpus.images.shape[1:]
    if spec == PIXELS:
        return PixelEncoder(*shape)
    if spec == "auto":
        own = corpus.path / "encoder.safetensors" if corpus.path is not None else None
        if own is not None and own.exists():
            return Encoder.load(own, device=device)
        name, trained_shape = SHIPPED.get(corpus.name, ("", None))
        if trained_shape != shape:
            where = corpus.path if corpus.path is not None else "PATH"
            raise ValueError(
                f"encoder must be given, as corpus {corpus.name!r} has none: train one with "
                f'`npgen encoder train {where}`, or use encoder="{PIXELS}", that needs none, got {spec!r}'
            )
        return Encoder.load(WEIGHTS / f"{name}.safetensors", device=device)
    shipped = {name for name, _ in SHIPPED.values()}
    if spec in shipped:
        return Encoder.load(WEIGHTS / f"{spec}.safetensors", device=device)
    if not os.fspath(spec).endswith(".safetensors"):
        names = ", ".join(f'"{name}"' for name in ("auto", PIXELS, *sorted(shipped)))
        raise invalid("encoder", f"one of {names} or the path of a .safetensors file", os.fspath(spec))
    return Encoder.load(spec, device=device)
