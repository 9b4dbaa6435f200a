"""Networks that npgen finds for a corpus: the one in the corpus's folder, or one that is shipped with npgen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from npgen.corpus import DATA_SETS, Corpus, known_data_set
from npgen.errors import invalid
from npgen.nn.inference import on_device
from npgen.nn.stored import A, StoredNetwork
from npgen.runtime import resolve_device

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parents[1] / "weights"
# The shipped networks, by the name of the data set that they were trained on, and the shape (H, W, C) of its images.
SHIPPED = DATA_SETS


class ShippedNetwork(StoredNetwork[A]):
    """A kind of network of which some come with npgen, and of which a corpus's folder may hold one."""

    prefix: ClassVar[str] = ""  # of the names of shipped files
    other_specs: ClassVar[tuple[str, ...]] = ("auto",)  # names that `find` takes besides those of shipped networks
    remedy: ClassVar[str]  # what to do where a corpus has none; {where} stands for the corpus's path
    _weights: dict[str, torch.Tensor] | None = None

    @classmethod
    def find(cls, spec: str | os.PathLike[str], corpus: Corpus, device: str = "auto") -> Self:
        """Load the network that a name or a path stands for.

        Parameters
        ----------
        spec
            "auto": the one in the corpus's folder, else the shipped one that was trained on the corpus's images, as
            `npgen.corpus.known_data_set` recognises them; the corpus's name has no influence. A name: the shipped one
            of that name, for any corpus that it fits. Else a path.
        corpus
            The corpus.
        device
            Torch device to run on; "auto" takes an accelerator if there is one.

        Returns
        -------
        ShippedNetwork
            Of this class. Whether it fits the corpus is for the caller to check.

        Raises
        ------
        FileNotFoundError
            If `spec` is a path and there is no such file.
        ValueError
            If `spec` is unknown, the file cannot be used, or there is none for the corpus.
        """
        path: str | os.PathLike[str] = spec
        if spec == "auto":
            path = cls._of_corpus(corpus)
        elif spec in SHIPPED:
            path = WEIGHTS / f"{cls.prefix}{spec}.safetensors"
        elif not os.fspath(spec).endswith(".safetensors"):
            names = ", ".join(f'"{name}"' for name in (*cls.other_specs, *SHIPPED))
            raise invalid(cls.kind, f"one of {names} or the path of a .safetensors file", os.fspath(spec))
        return cls.load(path, device=device)

    @classmethod
    def _of_corpus(cls, corpus: Corpus) -> Path:
        if corpus.path is not None and (own := corpus.path / f"{cls.kind}.safetensors").exists():
            return own
        name = known_data_set(corpus)
        if name is None:
            remedy = cls.remedy.format(where="PATH" if corpus.path is None else corpus.path)
            named = next((name for name in SHIPPED if corpus.name.lower().startswith(name)), None)
            if named is not None:
                remedy += (
                    f"; or take the shipped one by its name, {named}, which was trained on other images than these, "
                    "whatever the corpus is called"
                )
            raise ValueError(f"{cls.kind} must be given, as corpus {corpus.name!r} has none: {remedy}, got 'auto'")
        return WEIGHTS / f"{cls.prefix}{name}.safetensors"

    def _device_and_weights(self) -> tuple[torch.device, dict[str, torch.Tensor]]:
        """Return the device to run on, and the tensors there."""
        device = resolve_device(self.device)
        if self._weights is None or self._weights["mean"].device.type != device.type:
            self._weights = on_device(self.tensors, device)
        return device, self._weights
