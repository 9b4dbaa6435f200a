"""A small convolutional classifier of a corpus, whose features and probabilities `npgen.evaluate` computes scores from.

It is trained once per corpus and recipe, and stored in the corpus folder as `classifier/<id>.safetensors`. A
classifier of a corpus without a folder stays in memory.

This module imports torch: import it only where a classifier is trained or run.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, CorpusCache, check_corpus
from npgen.errors import invalid
from npgen.evaluation.classifier_network import ClassifierArchitecture, ClassifierModule, ClassifierNetwork
from npgen.evaluation.classifier_recipe import ClassifierRecipe, classifier_id, classifier_identity, label_values
from npgen.nn import module_tensors, training
from npgen.runtime import resolve_device, retain_freed_memory

# Images per pass when nothing is trained: large enough for speed, small enough for any memory.
BATCH = 256


class Classifier:
    """A trained classifier. Made by `load_classifier`.

    Attributes
    ----------
    id
        16 hexadecimal digits, decided by recipe and corpus.
    recipe
        Its architecture and training.
    labels
        (K,) label values that occur in the corpus, ascending, one for each column of the probabilities.
    metadata
        JSON-able facts, among them `heldout_accuracy`: None without labelled held-out images.
    """

    def __init__(self, network: ClassifierNetwork, recipe: ClassifierRecipe, corpus: Corpus) -> None:
        self.id = classifier_id(recipe, corpus)
        self.recipe = recipe
        self.labels = label_values(corpus)
        self.metadata = network.metadata
        self._network = network

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
            Class probabilities (n, K), float64, in the order of `labels`; outputs of the layer before the last (n, F),
            float32.
        """
        probabilities = np.empty((len(images), len(self.labels)), np.float64)
        features = np.empty((len(images), self.recipe.features), np.float32)
        network, target = self._network.module(device)
        with torch.inference_mode(), tqdm(total=len(images), desc="classify", unit="image", disable=quiet) as bar:
            for start in range(0, len(images), BATCH):
                rows = slice(start, start + BATCH)
                feature, logit = network(torch.from_numpy(np.array(images[rows])).to(target))
                features[rows] = feature.cpu().numpy()
                probabilities[rows] = logit.cpu().double().softmax(1).numpy()
                bar.update(len(feature))
        return probabilities, features

    def accuracy(self, corpus: Corpus, *, device: str = "auto", quiet: bool = True) -> float | None:
        """Return the share of a corpus's images that are classified correctly, or None if it has no labels."""
        if corpus.labels is None:
            return None
        probabilities, _ = self.predict(corpus.images, device=device, quiet=quiet)
        return float((self.labels[probabilities.argmax(1)] == corpus.labels).mean())

    def save(self, path: Path) -> None:
        """Write the classifier as a safetensors file, atomically."""
        self._network.save(path)

    @classmethod
    def load(cls, path: Path, recipe: ClassifierRecipe, corpus: Corpus) -> Classifier:
        """Read the classifier of a recipe and corpus that `save` wrote.

        Parameters
        ----------
        path
            The file.
        recipe, corpus
            What the classifier must have been trained with.

        Returns
        -------
        Classifier
            The same function as the one saved.

        Raises
        ------
        ValueError
            If the file is damaged, or of another recipe, corpus or version.
        """
        try:
            network = ClassifierNetwork.load(path)
            for name, value in classifier_identity(recipe, corpus).items():
                if network.metadata.get(name) != value:
                    raise invalid(name, repr(value), network.metadata.get(name))
            expected = ClassifierArchitecture.of_recipe(recipe, corpus.images.shape[3], len(label_values(corpus)))
            if network.architecture != expected:
                raise invalid("architecture", repr(expected), network.architecture)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(
                f"classifier file must be whole and of this corpus, got {str(path)!r} ({error}). "
                "Delete it, and the next evaluation trains it anew"
            ) from error
        return cls(network, recipe, corpus)


def load_classifier(
    corpus: Corpus, recipe: ClassifierRecipe | None = None, *, device: str = "auto", quiet: bool = False
) -> Classifier:
    """Return the classifier of a corpus, and train it first if there is none.

    On a CPU, training again with the same versions and number of threads gives the same classifier. If it cannot be
    written to the corpus folder, a warning is given, and the next process trains it again.

    Parameters
    ----------
    corpus
        A corpus with labels of at least two values.
    recipe
        How to train; None takes `ClassifierRecipe.for_corpus(corpus)`.
    device
        Torch device to train on; "auto" takes an accelerator if there is one.
    quiet
        Show no progress.

    Returns
    -------
    Classifier
        The classifier. A training that is interrupted leaves nothing behind.

    Raises
    ------
    ValueError
        If the corpus has no labels, only one label value, or images of several sizes, or the stored file is damaged.
    """
    label_values(corpus)
    check_corpus(corpus, one_size="a classifier")
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


CACHE: CorpusCache[Classifier] = CorpusCache("classifier", "classifier/{key}.safetensors", hold=True)


def _train(corpus: Corpus, recipe: ClassifierRecipe, device_name: str, quiet: bool) -> Classifier:
    """Train a classifier."""
    began = time.monotonic()
    labels = label_values(corpus)
    assert corpus.labels is not None  # label_values has checked it
    targets = np.searchsorted(labels, corpus.labels)  # (N,) columns of the output
    device = resolve_device(device_name)
    architecture = ClassifierArchitecture.of_recipe(recipe, corpus.images.shape[3], len(labels))
    with training.seeded(recipe.seed):
        module = ClassifierModule(architecture)
    module.to(device).to(memory_format=torch.channels_last)
    bfloat16 = training.uses_bfloat16(recipe.precision, device)
    random = np.random.default_rng(recipe.seed)
    size = min(recipe.batch_size, len(corpus))
    steps = len(corpus) // size  # per epoch; images that do not fill a batch are skipped
    optimiser = torch.optim.AdamW(module.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    # Unlike the other trainings' schedule, this one changes the momentum, too.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=max(2, recipe.epochs * steps), pct_start=0.25
    )
    bar = tqdm(total=recipe.epochs * steps, desc="classifier", unit="step", disable=quiet)
    with bar, retain_freed_memory():
        for _ in range(recipe.epochs):
            order = random.permutation(len(corpus))
            for step in range(steps):
                # 1. Choose a batch; sorted, so that a memory map is read in order.
                chosen = np.sort(order[step * size : (step + 1) * size])
                # 2. Shift and mirror.
                batch = torch.from_numpy(_augmented(corpus.images[chosen], recipe, random)).to(device)
                # 3. Classify.
                with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                    _, logits = module(batch)
                # 4. Update the weights by the cross entropy.
                loss = F.cross_entropy(logits.float(), torch.from_numpy(targets[chosen]).to(device))
                training.gradient_step(loss, optimiser)
                schedule.step()
                bar.update()
    seconds = time.monotonic() - began
    network = ClassifierNetwork(architecture, module_tensors(module), metadata=classifier_identity(recipe, corpus))
    classifier = Classifier(network, recipe, corpus)
    heldout = corpus.heldout
    classifier.metadata |= {
        "corpus": corpus.name,
        "heldout_accuracy": None if heldout is None else classifier.accuracy(heldout, device=device_name, quiet=quiet),
        "heldout_hash": None if heldout is None else heldout.hash,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "bfloat16": bfloat16,
    }
    return classifier


def _augmented(images: NDArray[np.uint8], recipe: ClassifierRecipe, random: np.random.Generator) -> NDArray[np.uint8]:
    """Shift each image by a random number of whole pixels, with replicated edges, and mirror some."""
    count, height, width, _ = images.shape
    down, right = (round(recipe.shift * extent) for extent in (height, width))
    rows = np.arange(height) + random.integers(-down, down + 1, (count, 1))  # (B, H)
    columns = np.arange(width) + random.integers(-right, right + 1, (count, 1))  # (B, W)
    mirrored = random.random((count, 1)) < recipe.flip
    columns = np.where(mirrored, columns[:, ::-1], columns)
    at_rows, at_columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    augmented: NDArray[np.uint8] = images[np.arange(count)[:, None, None], at_rows[:, :, None], at_columns[:, None, :]]
    return augmented
