"""Networks for scoring images: a corpus's own classifier, Inception-v3, and those that a user registers.

A network is a function of images, with a name. `evaluate` computes the features of samples and of real images with one,
and all scores from these features.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from npgen.errors import check_name, check_whole, invalid
from npgen.nn import read_foreign_tensors
from npgen.runtime import import_uninterrupted
from npgen.storage import sha256_file

if TYPE_CHECKING:
    from npgen.corpus import Corpus

# Maps n images to their features (n, F) and, if it is a classifier, class probabilities (n, K).
Predict = Callable[[NDArray[np.uint8]], tuple[NDArray[np.floating], NDArray[np.floating] | None]]


@dataclass(frozen=True)
class Network:
    """A network for `npgen.evaluate`.

    Parameters
    ----------
    predict
        Maps a batch of images (n, H, W, C) uint8, grey (C = 1) or RGB (C = 3) as the corpus is, to features (n, F)
        and class probabilities (n, K), or None in their place; they are converted to float32. F and K are the same for
        all batches. An image's features must not depend on the rest of the batch.
    id
        Identifies the network and its weights. Its features of a corpus are stored in the corpus folder under this id,
        which must change when the function does. None stores nothing.
    labels
        (K,) corpus label of each class, if accuracy on held-out images is to be measured.
    batch_size
        Most images that `predict` is given at a time.

    Raises
    ------
    ValueError
        If `id` cannot be the name of a folder, or `batch_size` is out of range.

    Examples
    --------
    >>> network = npgen.Network(lambda images: (images.reshape(len(images), -1) / 255, None), id="pixels")
    >>> features, probabilities = network.predict(np.zeros((2, 8, 8, 1), np.uint8))
    >>> features.shape, probabilities
    ((2, 64), None)
    """

    predict: Predict
    id: str | None = None
    labels: NDArray[np.int64] | None = None
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Check id and batch size."""
        if self.id is not None:
            check_name(self.id, "id")
        check_whole("batch_size", self.batch_size, 1)


@dataclass(frozen=True)
class NetworkRequest:
    """What a network's factory is called with.

    Attributes
    ----------
    corpus
        The corpus of the samples.
    weights
        File of the network's weights that the user gave, or None.
    device
        Torch device that the user gave; "auto" takes an accelerator if there is one.
    quiet
        Show no progress.

    Examples
    --------
    >>> corpus = npgen.Corpus.from_arrays(np.zeros((5, 8, 8, 1), np.uint8))
    >>> npgen.NetworkRequest(corpus, weights=None, device="cpu", quiet=True).device
    'cpu'
    """

    corpus: Corpus
    weights: Path | None
    device: str
    quiet: bool


NetworkFactory = Callable[[NetworkRequest], Network]


def register_network(name: str, factory: NetworkFactory) -> None:
    """Register a network for `evaluate(…, network=name)` in this process.

    Parameters
    ----------
    name
        Short name; a network of this name that was registered before is replaced.
    factory
        Makes the network; it is called once per evaluation.

    Raises
    ------
    ValueError
        If the name cannot be that of a file, or is one of npgen's own.
    TypeError
        If `factory` cannot be called.

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
        What the network's factory is called with.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    ValueError
        If there is none of that name, or it lacks something.
    TypeError
        If a registered factory returns something else.
    """
    known = _BUILT_IN | _registered
    if name not in known:
        raise invalid("network", f"one of {', '.join(known)} (npgen.register_network adds others)", name)
    network = known[name](request)
    if not isinstance(network, Network):
        raise TypeError(f"network {name!r} must be made as an npgen.Network, got {type(network).__name__}")
    return network


def _corpus_classifier(request: NetworkRequest) -> Network:
    """Make a network of the corpus's own classifier."""
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
    """Make torch-fidelity's Inception-v3, which the FID is defined with, with weights from a file.

    The features are the 2,048 of the last pooling. The probabilities are those of the 1,008 classes, computed without
    bias, as is customary for the Inception Score.
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
    # torch-fidelity would execute code in a pickle: it gets tensors that were read safely, never the file itself.
    clean = io.BytesIO()
    torch.save(read_foreign_tensors(request.weights, "weights"), clean)
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

    return Network(predict, f"inception-{sha256_file(request.weights)[:16]}", batch_size=32)


_BUILT_IN: dict[str, NetworkFactory] = {"corpus": _corpus_classifier, "inception": _inception}
_registered: dict[str, NetworkFactory] = {}
