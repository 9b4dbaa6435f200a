"""Models: which of the paper's statistics restrict the candidates for a pixel."""

from __future__ import annotations

from dataclasses import dataclass

from npgen.errors import check_choice


@dataclass(frozen=True)
class Model:
    """Which of the paper's three image statistics restrict the candidates for a pixel.

    Attributes
    ----------
    embedding, label
        Semantics (H in the paper): candidates come from the images with the nearest embeddings, or from those with the
        same label as the seed's image; with both, from the nearest of the same label (the paper's class-conditional
        model with a representation). With neither, from all images.
    locality
        Candidates lie within `Config.locality` of the pixel's position (NS in the paper); else anywhere in the frame.
    low_level
        Candidates are compared by the pixels around them (L in the paper); else all are equally good.
    """

    embedding: bool
    label: bool
    locality: bool
    low_level: bool

    @property
    def semantics(self) -> bool:
        """Whether candidates come from a shortlist of images."""
        return self.embedding or self.label


MODELS: dict[str, Model] = {
    "full": Model(embedding=True, label=False, locality=True, low_level=True),
    "local": Model(embedding=False, label=False, locality=True, low_level=True),
    "texture": Model(embedding=False, label=False, locality=False, low_level=True),
    "semantic": Model(embedding=True, label=False, locality=True, low_level=False),
    "class": Model(embedding=False, label=True, locality=True, low_level=True),
    "conditional": Model(embedding=True, label=True, locality=True, low_level=True),
}


def find_model(name: str) -> Model:
    """Return the model of a name.

    Parameters
    ----------
    name
        A key of `MODELS`.

    Returns
    -------
    Model
        The statistics it uses.

    Raises
    ------
    ValueError
        If there is no such model; the message lists all names.
    """
    check_choice("model", name, tuple(MODELS))
    return MODELS[name]
