"""A small convolutional classifier of a corpus: the eyes that `npgen.evaluate` scores images with.

It is trained once per corpus and recipe and kept in the corpus folder as `classifier/<id>.safetensors`. The
classifier of a corpus in memory is kept in memory.

This module imports torch: import it only where a classifier is asked for.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm.auto import tqdm

from npgen.corpus import Corpus, CorpusCache, check_corpus
from npgen.errors import invalid
from npgen.nn import Architecture, Layer, layers, read_safetensors, state_arrays, training, write_safetensors
from npgen.runtime import resolve_device, retain_freed_memory
from npgen.storage import parse_json

FORMAT = "npgen-classifier"
VERSION = 2
# Images per pass when nothing is learnt: large enough for speed, small enough for any memory.
BATCH = 256


@dataclass(frozen=True)
class ClassifierRecipe:
    """How a classifier is built and trained; with the corpus, this decides its id.

    Parameters
    ----------
    layers
        Width, kernel side (odd) and stride of each convolution, and where residual blocks end, as in
        `Architecture`; batch normalisation and ReLU follow each.
    side
        Images of a longer side are averaged down to this many pixels first.
    pool
        Side of the grid that the last convolution's output is averaged to.
    features
        Width F of the layer before the last, whose output the Fréchet distance compares.
    epochs
        Passes over the corpus.
    batch_size
        Images per step.
    learning_rate
        Peak of AdamW's learning rate, which rises and falls once.
    weight_decay
        Of AdamW.
    shift
        Largest random displacement along each axis, as a share of the image.
    flip
        Share of images mirrored left to right.
    precision
        "bfloat16" trains the layers in it where the processor has such instructions, "float32" never does.
        Images are always classified in float32.
    seed
        Decides initial weights, order and augmentation.
    """

    layers: tuple[Layer, ...]
    epochs: int
    flip: float
    side: int = 64
    pool: int = 2
    features: int = 64
    batch_size: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    shift: float = 0.08
    precision: Literal["bfloat16", "float32"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the layers as an encoder's are."""
        Architecture(1, self.layers, self.pool, self.features)

    @classmethod
    def for_corpus(cls, corpus: Corpus) -> ClassifierRecipe:
        """Choose what suits a corpus: glyphs if it is grey, photographs if it is RGB.

        Parameters
        ----------
        corpus
            The corpus to classify.

        Returns
        -------
        ClassifierRecipe
            With fewer epochs the larger the corpus is.
        """
        if corpus.images.shape[3] == 1:
            glyphs = ((16, 5, 2), (32, 3, 1), (32, 3, 2), (64, 3, 1), (64, 3, 2), (64, 3, 1))
            return cls(glyphs, epochs=_epochs(240_000, len(corpus)), flip=0.0)
        photographs: tuple[Layer, ...] = (
            *((32, 3, 1), (64, 3, 2), (64, 3, 1), (64, 3, 1, 2)),
            *((128, 3, 2), (128, 3, 1), (128, 3, 1, 2)),
            *((256, 3, 2), (256, 3, 1), (256, 3, 1, 2)),
        )
        return cls(
            photographs,
            epochs=_epochs(700_000, len(corpus)),
            flip=0.5,
            learning_rate=3e-3,
            weight_decay=0.05,
            shift=0.125,
            precision="bfloat16",
        )


class Classifier:
    """A trained classifier. Made by `load_classifier`.

    Attributes
    ----------
    id
        16 hexadecimal digits that stand for recipe and corpus.
    recipe
        How it was built and trained.
    labels
        (K,) label values that occur in the corpus, ascending: the columns of its probabilities.
    metadata
        JSON-able facts, among them `heldout_accuracy`: None without labelled held-out images.
    """

    def __init__(self, network: _Network, recipe: ClassifierRecipe, corpus: Corpus, metadata: dict[str, Any]) -> None:
        self.id = classifier_id(recipe, corpus)
        self.recipe = recipe
        self.labels = labels_of(corpus)
        self.metadata = metadata
        self._network = network.eval()

    def predict(
        self, images: NDArray[np.uint8], *, device: str = "auto", quiet: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Classify images.

        Parameters
        ----------
        images
            Images (n, H, W, C), uint8.
        device
            Torch device to run on; "auto" takes an accelerator if there is one.
        quiet
            Show no progress.

        Returns
        -------
        probabilities, features
            Class probabilities (n, K), float64, in the order of `labels`; outputs of the layer before the
            last (n, F), float32.
        """
        probabilities = np.empty((len(images), len(self.labels)), np.float64)
        features = np.empty((len(images), self.recipe.features), np.float32)
        target = resolve_device(device)
        network = self._network.to(target)
        with torch.inference_mode(), tqdm(total=len(images), desc="classify", unit="image", disable=quiet) as bar:
            for start in range(0, len(images), BATCH):
                rows = slice(start, start + BATCH)
                feature, logit = network(torch.from_numpy(np.array(images[rows])).to(target))
                features[rows] = feature.cpu().numpy()
                probabilities[rows] = logit.cpu().double().softmax(1).numpy()
                bar.update(len(feature))
        return probabilities, features

    def accuracy(self, corpus: Corpus, *, device: str = "auto", quiet: bool = True) -> float | None:
        """Return the share of a corpus's images that are classified right, or None if it has no labels."""
        if corpus.labels is None:
            return None
        probabilities, _ = self.predict(corpus.images, device=device, quiet=quiet)
        return float((self.labels[probabilities.argmax(1)] == corpus.labels).mean())

    def save(self, path: Path) -> None:
        """Write the classifier as one safetensors file, all of it or nothing."""
        header = {"format": FORMAT, "version": VERSION, **self.metadata}
        write_safetensors(path, header, state_arrays(self._network))

    @classmethod
    def load(cls, path: Path, recipe: ClassifierRecipe, corpus: Corpus) -> Classifier:
        """Read what `save` wrote for this recipe and corpus.

        Parameters
        ----------
        path
            The file.
        recipe, corpus
            What the classifier must have been made with.

        Returns
        -------
        Classifier
            The same function as the one saved.

        Raises
        ------
        ValueError
            If the file is damaged, or is of another recipe, corpus or version.
        """
        try:
            if not path.is_file():  # a pipe would be waited for
                raise ValueError("no regular file")
            text, tensors = read_safetensors(path)
            header = parse_json(text)
            wanted = {"format": FORMAT, "version": VERSION, **_identity(recipe, corpus)}
            for key, value in wanted.items():
                if header.get(key) != value:
                    raise invalid(key, repr(value), header.get(key))
            network = _Network(recipe, corpus.images.shape[3], len(labels_of(corpus)))
            network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
        except (SafetensorError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())  # torch's takes several lines
            raise ValueError(
                f"classifier file must be whole and of this corpus, got {str(path)!r} ({reason}). "
                "Delete it, and the next evaluation trains it anew"
            ) from error
        metadata = {key: value for key, value in header.items() if key not in ("format", "version")}
        return cls(network, recipe, corpus, metadata)


def load_classifier(
    corpus: Corpus, recipe: ClassifierRecipe | None = None, *, device: str = "auto", quiet: bool = False
) -> Classifier:
    """Return the classifier of a corpus, trained now if it never was.

    On a CPU, training again with the same versions and number of threads gives the same classifier. If it
    can't be written into the corpus folder, a warning says so and it serves this process only.

    Parameters
    ----------
    corpus
        Images with labels of at least two values.
    recipe
        How to train; None takes `ClassifierRecipe.for_corpus(corpus)`.
    device
        Torch device to train on; "auto" takes an accelerator if there is one.
    quiet
        Show no progress.

    Returns
    -------
    Classifier
        Trained; Ctrl-C before it is leaves nothing behind.

    Raises
    ------
    ValueError
        If the corpus has no labels, or one only, or images of several sizes, or the kept file is damaged.
    """
    check_corpus(corpus, one_size="a classifier")
    labels_of(corpus)
    recipe = ClassifierRecipe.for_corpus(corpus) if recipe is None else recipe

    def open_classifier(path: Path) -> Classifier:
        return Classifier.load(path, recipe, corpus)

    def make() -> Classifier:
        return _train(corpus, recipe, device, quiet)

    def store(path: Path) -> Classifier:
        classifier = make()
        try:
            path.parent.mkdir(exist_ok=True)
            classifier.save(path)
        except OSError as error:
            CACHE.warn_not_stored(error)
        return classifier

    return CACHE.fetch(corpus, classifier_id(recipe, corpus), open=open_classifier, store=store, make=make)


def classifier_id(recipe: ClassifierRecipe, corpus: Corpus) -> str:
    """Name a classifier before it exists: 16 hexadecimal digits from recipe and corpus."""
    identity = {"format": FORMAT, "version": VERSION, **_identity(recipe, corpus)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _identity(recipe: ClassifierRecipe, corpus: Corpus) -> dict[str, Any]:
    plain = json.loads(json.dumps(asdict(recipe)))  # as it comes back from a file: lists, no tuples
    return {"recipe": plain, "corpus_hash": corpus.hash}


def labels_of(corpus: Corpus) -> NDArray[np.int64]:
    """Return the label values that occur in a corpus (K,), ascending.

    Raises
    ------
    ValueError
        If it has no labels, or one value only.
    """
    if corpus.labels is None:
        raise ValueError(
            f"corpus must be one with labels, got {corpus!r}: scores rest on a classifier. "
            "Build it with labels, for instance from a folder of class folders"
        )
    labels = np.unique(corpus.labels)
    if len(labels) < 2:
        raise ValueError(f"corpus must be labelled with at least 2 classes, got {len(labels)} in {corpus!r}")
    return labels


def _epochs(shown: int, count: int) -> int:
    return min(40, max(1, round(shown / count)))


CACHE: CorpusCache[Classifier] = CorpusCache("classifier", "classifier/{key}.safetensors", hold=True)


class _Network(nn.Module):
    """Convolutions, a pooled feature layer, a linear map to the classes."""

    def __init__(self, recipe: ClassifierRecipe, channels: int, classes: int) -> None:
        super().__init__()
        self.side = recipe.side
        self.layers = layers.TrainingLayers(channels, recipe.layers)
        self.pool = nn.AdaptiveAvgPool2d(recipe.pool)
        self.features = nn.Linear(recipe.layers[-1][0] * recipe.pool**2, recipe.features)
        self.output = nn.Linear(recipe.features, classes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, H, W, C) uint8 to features (B, F) and logits (B, K)."""
        x = pixels.permute(0, 3, 1, 2).float() / 255  # (B, C, H, W)
        height, width = x.shape[2:]
        if max(height, width) > self.side:
            x = F.adaptive_avg_pool2d(x, (min(height, self.side), min(width, self.side)))
        features = F.relu(self.features(self.pool(self.layers(x)).flatten(1)))
        return features, self.output(features)


def _train(corpus: Corpus, recipe: ClassifierRecipe, device_name: str, quiet: bool) -> Classifier:
    began = time.monotonic()
    labels = labels_of(corpus)
    assert corpus.labels is not None  # or labels_of had raised
    targets = np.searchsorted(labels, corpus.labels)  # (N,) columns of the output
    device = resolve_device(device_name)
    with training.seeded(recipe.seed):
        network = _Network(recipe, corpus.images.shape[3], len(labels))
    network.to(device).to(memory_format=torch.channels_last)
    half = training.computes_half(recipe.precision, device)
    random = np.random.default_rng(recipe.seed)
    size = min(recipe.batch_size, len(corpus))
    steps = len(corpus) // size  # of an epoch; what is left over waits for another order
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=max(2, recipe.epochs * steps), pct_start=0.25
    )
    bar = tqdm(total=recipe.epochs * steps, desc="classifier", unit="step", disable=quiet)
    with bar, retain_freed_memory():
        for _ in range(recipe.epochs):
            order = random.permutation(len(corpus))
            for step in range(steps):
                chosen = np.sort(order[step * size : (step + 1) * size])  # reads a memory map forwards
                batch = torch.from_numpy(_vary(corpus.images[chosen], recipe, random)).to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    _, logits = network(batch)
                loss = F.cross_entropy(logits.float(), torch.from_numpy(targets[chosen]).to(device))
                training.descend(loss, optimiser)
                schedule.step()
                bar.update()
    seconds = time.monotonic() - began
    classifier = Classifier(network, recipe, corpus, _identity(recipe, corpus))
    heldout = corpus.heldout
    classifier.metadata |= {
        "corpus": corpus.name,
        "heldout_accuracy": None if heldout is None else classifier.accuracy(heldout, device=device_name, quiet=quiet),
        "heldout_hash": None if heldout is None else heldout.hash,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "bfloat16": half,
    }
    return classifier


def _vary(images: NDArray[np.uint8], recipe: ClassifierRecipe, random: np.random.Generator) -> NDArray[np.uint8]:
    """Shift each image by whole pixels, edges replicated, and mirror some."""
    count, height, width, _ = images.shape
    down, right = (round(recipe.shift * extent) for extent in (height, width))
    rows = np.arange(height) + random.integers(-down, down + 1, (count, 1))  # (B, H)
    columns = np.arange(width) + random.integers(-right, right + 1, (count, 1))  # (B, W)
    mirrored = random.random((count, 1)) < recipe.flip
    columns = np.where(mirrored, columns[:, ::-1], columns)
    at_rows, at_columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    varied: NDArray[np.uint8] = images[np.arange(count)[:, None, None], at_rows[:, :, None], at_columns[:, None, :]]
    return varied
