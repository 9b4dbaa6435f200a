"""Import of public ResNet checkpoints, of SimCLR or other trainings, as encoders of npgen.

The result is an `Encoder` like any other. Three conversions lead to it, all exact but for the rounding to float16:

* Batch normalisations are folded into the convolutions before them.
* The normalisation of the images, (x − mean) / std, is folded into the first convolution. The encoder subtracts the
  mean rounded to float16; the difference goes to the weights of the known mask, which is 1 inside the image and 0
  in the padding, where a normalised image is 0.
* A ResNet takes no mask. An unknown pixel is given the mean colour, which is 0 after normalisation: a partly known
  canvas is an image with a grey surround. With small known squares, expect lower accuracy than of an encoder that
  `npgen encoder train` made; `npgen encoder check` measures it.

The embedding is the average over the last feature map, which was the input of the classifier or projection head,
scaled to length 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from npgen.encoders.encoder import Encoder
from npgen.errors import invalid
from npgen.nn import Architecture, Layer, fold, read_foreign_tensors
from npgen.storage import sha256_file

if TYPE_CHECKING:
    from torch import Tensor

# Blocks in each stage, and layers in each block.
FAMILIES = {
    "resnet18": ((2, 2, 2, 2), 2),
    "resnet34": ((3, 4, 6, 3), 2),
    "resnet50": ((3, 4, 6, 3), 3),
    "resnet101": ((3, 4, 23, 3), 3),
    "resnet152": ((3, 8, 36, 3), 3),
}
EPS = 1e-5  # of batch normalisation: PyTorch's default, as checkpoints do not hold it
NORM = ("weight", "bias", "running_mean", "running_var")
SHOWN = 6  # names in an error message

# A block's part under any prefix; `nn.Sequential` numbers the stages that torchvision names.
_BLOCK = re.compile(r"(?P<prefix>(?:.*?\.)?)(?P<stage>layer\d+|\d+)\.\d+\.(?:conv|bn)\d\.")
# Names of running averages of a network; the network itself lies beside them.
_AVERAGES = {"encoder_k", "momentum_encoder", "momentum_backbone", "target_encoder", "teacher", "ema"}


@dataclass(frozen=True)
class Normalisation:
    """How images were normalised for a network: (x − mean) / std, x in [0, 1].

    Parameters
    ----------
    mean, std
        One number for each channel of the network's images, or one for all channels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check lengths and ranges."""
        if len(self.mean) != len(self.std):
            raise invalid("std", f"of {len(self.mean)} numbers, as mean is", self.std)
        if not all(0 <= value <= 1 for value in self.mean):
            raise invalid("mean", "in 0..1", self.mean)
        if not all(0 < value < float("inf") for value in self.std):
            raise invalid("std", "above 0", self.std)


NORMALISATIONS = {
    "cifar10": Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": Normalisation((0.0,), (1.0,)),
}


class _Convolution(NamedTuple):
    """A convolution of a ResNet and the normalisation after it, by torchvision's names."""

    name: str
    norm: str
    stride: int
    block: int = 0  # number of layers of the residual block that ends here
    projection: str | None = None  # name of the block's projection, if it has one

    @property
    def projected(self) -> list[tuple[str, str, str]]:
        """List (suffix of the encoder's layer name, convolution, normalisation), the projection's included."""
        own = [("", self.name, self.norm)]
        return (
            own if self.projection is None else [*own, (".projection", f"{self.projection}.0", f"{self.projection}.1")]
        )


def import_encoder(
    path: str | os.PathLike[str],
    *,
    channels: int | None = None,
    normalisation: str | Normalisation | None = None,
    prefix: str | None = None,
    device: str = "auto",
) -> Encoder:
    """Make an encoder of a trained ResNet.

    The network must be a ResNet-18, 34, 50, 101 or 152 with the parts of torchvision's, and with the stem for ImageNet
    (7×7, stride 2, max-pooling) or the one for CIFAR (3×3, stride 1, no pooling), which the size of the first kernel
    decides. It may be nested in containers (`state_dict`, `model`) and wrappers (`module.`, `backbone.`, `encoder_q.`,
    `f.`); classifiers and projection heads beside it are left out. Nothing in the file is executed.

    Parameters
    ----------
    path
        A file of `torch.save`, or safetensors.
    channels
        Channels of the images to embed; None takes the network's own. With 1, a network for colour takes grey images as
        images of equal channels.
    normalisation
        How images were normalised for the network: "cifar10", "imagenet", "none", or numbers. None takes "imagenet" for
        a network with the stem for ImageNet, else "cifar10".
    prefix
        Name of the network inside the file, such as "state_dict.backbone"; needed if there are several.
    device
        Torch device of the encoder.

    Returns
    -------
    Encoder
        The encoder; `metadata["imported"]` holds file, family and normalisation.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds no such network, parts of it are missing or of a wrong shape, or an argument is out of range.
    """
    path = Path(path)
    place, network = _choose(_networks(read_foreign_tensors(path, "checkpoint")), prefix)
    family = _family(network)
    convolutions = list(_convolutions(*FAMILIES[family]))
    _check_names(network, convolutions, family)
    imagenet = network["conv1.weight"].shape[2:] == (7, 7)
    if imagenet:
        convolutions[0] = convolutions[0]._replace(stride=2)
    normal = _normalisation(normalisation or ("imagenet" if imagenet else "cifar10"))
    architecture, tensors = _fold(network, convolutions, normal, channels)
    imported = {
        "file": path.name,
        "sha256": sha256_file(path),
        "prefix": place,
        "family": family,
        "stem": "imagenet" if imagenet else "cifar",
        "mean": list(normal.mean),
        "std": list(normal.std),
    }
    arrays = {name: tensor.half().numpy() for name, tensor in tensors.items()}
    return Encoder(architecture, arrays, metadata={"imported": imported}, device=device)


def _networks(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Find ResNets by the names of their blocks: by prefix, the tensors of each by torchvision's names."""
    stages: dict[str, set[str]] = {}
    for name in tensors:
        if match := _BLOCK.match(name):
            stages.setdefault(match["prefix"], set()).add(match["stage"])
    networks = {}
    for prefix, found in stages.items():
        numbers = sorted((stage for stage in found if stage.isdigit()), key=int)
        names = {number: f"layer{stage}" for stage, number in enumerate(numbers, 1)}
        if numbers:
            names |= {"0": "conv1", "1": "bn1"}
        network = {}
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                first, _, rest = name.removeprefix(prefix).partition(".")
                network[f"{names.get(first, first)}.{rest}".replace(".shortcut.", ".downsample.")] = tensor
        networks[prefix.rstrip(".")] = network
    return networks


def _choose(networks: dict[str, dict[str, Tensor]], prefix: str | None) -> tuple[str, dict[str, Tensor]]:
    if not networks:
        raise ValueError("checkpoint must hold a ResNet with parts named as layer1.0.conv1.weight, got none")
    if prefix is None:
        current = [place for place in networks if not _AVERAGES & set(place.split("."))] or list(networks)
        prefix = current[0] if len(current) == 1 else None
    if prefix is None or prefix.rstrip(".") not in networks:
        raise invalid("prefix", f"one of {', '.join(map(repr, networks))}, which the checkpoint has", prefix)
    return prefix.rstrip("."), networks[prefix.rstrip(".")]


def _family(network: dict[str, Tensor]) -> str:
    found = {match[0] for name in network if (match := re.match(r"layer(\d+)\.\d+\.", name))}
    stages = [part.split(".")[0] for part in found]
    blocks = tuple(stages.count(stage) for stage in sorted(set(stages), key=lambda stage: int(stage[5:])))
    layers = 3 if any(re.match(r"layer\d+\.\d+\.conv3\.", name) for name in network) else 2
    for family, shape in FAMILIES.items():
        if shape == (blocks, layers):
            return family
    raise invalid("checkpoint", f"one of {', '.join(FAMILIES)}", f"stages of {blocks} blocks of {layers} layers")


def _convolutions(blocks: tuple[int, ...], layers: int) -> Iterator[_Convolution]:
    """List a ResNet's convolutions in order, with the stem for CIFAR."""
    yield _Convolution("conv1", "bn1", 1)
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            place = f"layer{stage}.{block}"
            for layer in range(1, layers + 1):
                # The first 3×3 convolution of a stage strides, as in torchvision's.
                stride = 2 if stage > 1 and block == 0 and layer == layers - 1 else 1
                if layer < layers:
                    yield _Convolution(f"{place}.conv{layer}", f"{place}.bn{layer}", stride)
                    continue
                projected = block == 0 and (stage > 1 or layers == 3)
                projection = f"{place}.downsample" if projected else None
                yield _Convolution(f"{place}.conv{layer}", f"{place}.bn{layer}", stride, layers, projection)


def _check_names(network: dict[str, Tensor], convolutions: list[_Convolution], family: str) -> None:
    """Check that a network has all parts of its family and no others, without which it would compute something else."""
    pairs = [pair for convolution in convolutions for pair in convolution.projected]
    wanted = [f"{name}.weight" for _, name, _ in pairs] + [f"{norm}.{part}" for *_, norm in pairs for part in NORM]
    missing = [name for name in wanted if name not in network]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ValueError(
            f"checkpoint must hold all of a {family} up to its head, got none of {', '.join(missing[:SHOWN])}{more}"
        )
    body = (name for name in network if re.match(r"(conv1|bn1|layer\d+)\.", name))
    extra = sorted(name for name in body if name not in wanted and not name.endswith(".num_batches_tracked"))
    if extra:
        raise invalid("checkpoint", f"a plain {family}, as torchvision has it", ", ".join(extra[:SHOWN]))


def _normalisation(given: str | Normalisation) -> Normalisation:
    if isinstance(given, Normalisation):
        return given
    if given not in NORMALISATIONS:
        raise invalid("normalisation", f"one of {', '.join(NORMALISATIONS)}, or numbers", given)
    return NORMALISATIONS[given]


def _fold(
    network: dict[str, Tensor], convolutions: list[_Convolution], normal: Normalisation, channels: int | None
) -> tuple[Architecture, dict[str, Tensor]]:
    """Return the encoder's architecture, and its tensors in float64."""
    layers: list[Layer] = []
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for convolution in convolutions:
        ours = f"layer{len(layers)}"
        for part, name, norm in convolution.projected:
            weight = _floats(network, f"{name}.weight", 4)
            vectors = {vector: _floats(network, f"{norm}.{vector}", 1) for vector in NORM}
            for vector, values in vectors.items():
                if len(values) != len(weight):
                    raise invalid(f"checkpoint's {norm}.{vector}", f"of length {len(weight)}", len(values))
            tensors[f"{ours}{part}.weight"], tensors[f"{ours}{part}.bias"] = fold(weight, vectors, EPS)
            names |= {f"{ours}{part}.weight": f"{name}.weight", f"{ours}{part}.bias": f"{norm}.bias"}
        wider, _, kernel, _ = tensors[f"{ours}.weight"].shape
        stride, block = convolution.stride, convolution.block
        layers.append((wider, kernel, stride, block) if block else (wider, kernel, stride))
        if ours == "layer0" and stride == 2:
            layers.append((0, 3, 2))
    tensors["layer0.weight"], tensors["mean"] = _first(tensors["layer0.weight"], normal, channels)
    architecture = Architecture(len(tensors["mean"]), tuple(layers), 1, None)
    for ours, shape in architecture.shapes().items():
        got = tuple(tensors[ours].shape) if ours in tensors else None
        if got != shape:
            raise invalid(f"checkpoint's {names.get(ours, ours)}", f"of shape {shape}", got)
        if strange := int((~tensors[ours].half().isfinite()).sum()):
            allowed = "finite in float16 when normalisations are folded in"
            raise invalid(f"checkpoint's {names.get(ours, ours)}", allowed, f"{strange} numbers that are not")
    return architecture, tensors


def _floats(network: dict[str, Tensor], name: str, dimensions: int) -> Tensor:
    tensor = network[name]
    if tensor.ndim != dimensions or not tensor.is_floating_point():
        got = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
        raise invalid(f"checkpoint's {name}", f"floating-point numbers in {dimensions} dimensions", got)
    return tensor.double()


def _first(weight: Tensor, normal: Normalisation, channels: int | None) -> tuple[Tensor, Tensor]:
    """Fold the normalisation into the first convolution: weights (wider, C + 1, side, side) and mean (C,)."""
    import torch

    own = weight.shape[1]
    if channels not in (None, own, 1):
        raise invalid("channels", f"{'1' if own == 1 else f'{own} or 1'}, as the checkpoint is for {own}", channels)
    if len(normal.mean) not in (1, own):
        numbers = "1 number" if own == 1 else f"1 or {own} numbers"
        channel = "1 channel" if own == 1 else f"{own} channels"
        raise invalid("normalisation", f"of {numbers}, as the checkpoint is for {channel}", normal)
    mean, std = (torch.tensor(numbers, dtype=torch.float64).expand(own) for numbers in (normal.mean, normal.std))
    weight = weight / std[:, None, None]
    grey = channels == 1 and own > 1
    # The encoder subtracts a rounded mean. The difference to the network's own mean is a constant inside the image and
    # 0 outside, as the known mask is.
    taken = (mean.mean(0, keepdim=True) if grey else mean).half().double()  # (C,)
    mask = (weight * (taken - mean)[:, None, None]).sum(1, keepdim=True)
    images = weight.sum(1, keepdim=True) if grey else weight
    return torch.cat([images, mask], 1), taken
