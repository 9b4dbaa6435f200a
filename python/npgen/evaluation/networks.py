"""The networks that images are scored in: a corpus's own classifier, Inception-v3, and whatever a user registers.

A network is a function of images, with a name. `evaluate` asks one for the features of the samples and of real images,
and every score follows from these; nothing else in npgen knows which network it was.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.errors import check_name, check_whole, invalid
from npgen.runtime import import_uninterrupted

if TYPE_CHECKING:
    import torch

    from npgen.corpus import Corpus

# What a network says about n images: features (n, F) and, from a classifier, class probabilities (n, K).
Predict = Callable[[NDArray[np.uint8]], tuple[NDArray[np.floating], NDArray[np.floating] | None]]


@dataclass(frozen=True)
class Network:
    """Eyes for `npgen.evaluate`.

    Parameters
    ----------
    predict
        Maps a batch of images (n, H, W, C) uint8, grey (C = 1) or RGB (C = 3) as the corpus is, to features (n, F)
        and class probabilities (n, K), or None in their place; converted to float32. F and K are the same for all
        batches. An image's features must not depend on the rest of the batch.
    id
        Stands for the network and its weights. What it says of a corpus is kept in the corpus folder under this id, so
        that it must change when the function does. None keeps nothing.
    labels
        (K,) the corpus label that each class stands for, where accuracy on held-out images is to be measured.
    batch_size
        Most images that `predict` is given at a time.
    """

    predict: Predict
    id: str | None = None
    labels: NDArray[np.int64] | None = None
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Check what becomes the name of a folder, and a loop's step."""
        if self.id is not None:
            check_name(self.id, "id")
        check_whole("batch_size", self.batch_size, 1)


@dataclass(frozen=True)
class NetworkRequest:
    """What a factory makes a network for.

    Attributes
    ----------
    corpus
        The corpus of the samples.
    weights
        File given by the user as the network's weights, or None.
    device
        Torch device as given by the user; "auto" takes an accelerator if there is one.
    quiet
        Show no progress.
    """

    corpus: Corpus
    weights: Path | None
    device: str
    quiet: bool


NetworkFactory = Callable[[NetworkRequest], Network]


def register_network(name: str, factory: NetworkFactory) -> None:
    """Make a network known to `evaluate(…, network=name)` in this process.

    Parameters
    ----------
    name
        Short name; one registered before is replaced.
    factory
        Makes the network; it is called once an evaluation.

    Raises
    ------
    ValueError
        If the name can't be that of a file, or is one of npgen's own.

    Examples
    --------
    >>> def thumbnails(request):
    ...     return npgen.Network(lambda images: (images[:, ::8, ::8].reshape(len(images), -1), None))
    >>> npgen.register_network("thumbnails", thumbnails)
    """
    check_name(name)
    if name in _BUILT_IN:
        raise invalid("name", f"another than npgen's own networks {', '.join(_BUILT_IN)}", name)
    if not callable(factory):
        raise TypeError(f"factory must be callable, got {factory!r}")
    _registered[name] = factory


def load_network(name: str, request: NetworkRequest) -> Network:
    """Make a network by its name.

    Parameters
    ----------
    name
        "corpus", "inception" or a registered one.
    request
        What for.

    Returns
    -------
    Network
        Ready to be asked.

    Raises
    ------
    ValueError
        If there is none of that name, or it lacks something.
    TypeError
        If a registered factory makes something else.
    """
    known = _BUILT_IN | _registered
    if name not in known:
        raise invalid("network", f"one of {', '.join(known)} (npgen.register_network adds others)", name)
    network = known[name](request)
    if not isinstance(network, Network):
        raise TypeError(f"network {name!r} must be made as an npgen.Network, got {type(network).__name__}")
    return network


def _corpus_classifier(request: NetworkRequest) -> Network:
    import_uninterrupted("torch")
    from npgen.evaluation.classifier import BATCH, load_classifier

    if request.weights is not None:
        raise invalid("weights", "given with a network that has use for them, not with 'corpus'", str(request.weights))
    classifier = load_classifier(request.corpus, device=request.device, quiet=request.quiet)

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        probabilities, features = classifier.predict(images, device=request.device)
        return features, probabilities

    return Network(predict, f"classifier-{classifier.id}", classifier.labels, BATCH)


def _inception(request: NetworkRequest) -> Network:
    """Inception-v3 as FID is defined in it: torch-fidelity's, with weights from a file.

    The features are the 2,048 of the last pooling; the probabilities those of the 1,008 classes without bias, which is
    what the Inception Score is customarily taken from.
    """
    import_uninterrupted("torch")
    import torch

    from npgen.runtime import resolve_device

    if request.weights is None:
        raise ValueError(
            "weights must be given with network 'inception', got None. Download "
            "weights-inception-2015-12-05-6726825d.pth from the releases of github.com/toshas/torch-fidelity once, "
            "and pass its path: --weights PATH"
        )
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("network 'inception' needs torch-fidelity: pip install 'npgen[eval]'") from error
    data = request.weights.read_bytes()
    state = _state_of(request.weights, data)
    # torch-fidelity unpickles what it is given: it is given what has been read safely, never the file itself.
    clean = io.BytesIO()
    torch.save(state, clean)
    clean.seek(0)
    try:
        extractor = FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=clean
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"weights must be those of Inception-v3, got {str(request.weights)!r} ({reason})") from error
    device = resolve_device(request.device)
    extractor.to(device)

    def predict(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rgb = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))).to(device)  # (n, 3, H, W)
            features, logits = extractor(pixels)
        return features.cpu().numpy(), logits.double().softmax(1).float().cpu().numpy()

    return Network(predict, f"inception-{hashlib.sha256(data).hexdigest()[:16]}", batch_size=32)


def _state_of(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    """Read tensors by name from the bytes of a file, running nothing that it may hold."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        if path.suffix == ".safetensors":
            return load(data)
        with warnings.catch_warnings():  # of pickles that are refused anyway
            warnings.simplefilter("ignore")
            state: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"weights must be a file of tensors, got {str(path)!r} ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise invalid("weights", "a file of tensors by name", str(path))
    return state


_BUILT_IN: dict[str, NetworkFactory] = {"corpus": _corpus_classifier, "inception": _inception}
_registered: dict[str, NetworkFactory] = {}
