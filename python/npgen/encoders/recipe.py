"""The recipe of an encoder: all settings of its training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from npgen.errors import check_choice, check_number, check_type, check_whole, invalid
from npgen.nn import Architecture, JsonRecipe, Layer, check_precision

if TYPE_CHECKING:
    from npgen.corpus import Corpus


@dataclass(frozen=True)
class Recipe(JsonRecipe):
    """How to train an encoder. The shipped MNIST encoder was trained with the defaults.

    Parameters
    ----------
    epochs
        Passes over the corpus, with the share `full` of unmasked views.
    masked_epochs
        Passes after those, with the share `masked_full` of unmasked views; the learning rate rises and falls once more.
    masked_rate
        As `learning_rate`, in masked epochs. None: the learning rate rises and falls only once, over all epochs.
    masked_full
        As `full`, in masked epochs.
    batch_size
        Images per step; each view is compared with 2 batch_size - 1 others.
    temperature
        Temperature of NT-Xent.
    learning_rate
        Peak of AdamW's learning rate; it rises linearly for `warmup_epochs`, then falls as a cosine to zero.
    weight_decay
        Weight decay of AdamW.
    warmup_epochs
        Length of the rise, in epochs.
    layers, pool, dim
        As in `npgen.nn.Architecture`.
    whitened
        True: the linear map to `dim` numbers is dropped after training, and the features before it are whitened
        (`npgen.encoders.whitening`). On photographs the embedding is then far more accurate, and wider.
    projection
        Width of the projections that NT-Xent compares.
    rotation, shear
        Largest angles of the random affine map, degrees.
    zoom
        Largest relative change of scale along each axis: 0.25 means from 1/1.25 to 1.25.
    shift
        Largest displacement along each axis, as a share of the image.
    crop
        Smallest share of the image's area that a view shows, in a box at any place whose sides differ by up to
        15 % (√4/3); 1 shows all of it.
    least_motion
        Views are moved, bent and blurred in proportion to their known share, but at least by this share of the full
        amount. 0 suits glyphs, as a small patch of one is recognised by its place. 1 suits photographs, whose patches
        would otherwise be recognised by their texture.
    elastic
        Largest displacement of a random smooth field, as a share of the image.
    blur
        Share of views that are blurred, each to a random extent.
    flip
        Share of views that are mirrored left to right.
    colour
        Strength of random brightness, contrast and saturation, 0 to 1.
    hue
        Largest rotation of the colours around the grey axis, as a share of a full turn.
    grey
        Share of RGB views turned grey.
    full
        Share of views without unknown pixels; keys are made of such images.
    seed_size
        Side of the square that a ring mask grows from, pixels.
    jitter
        Largest displacement of that square from the centre along each axis, as a share of the image.
    precision
        "bfloat16" or "float32": number type of convolutions while training. A CPU without bfloat16 instructions
        uses float32.
    draws
        Where the random numbers of views and masks are drawn. "cpu": the same numbers, whatever device trains.
        "device": on that device, which saves most of a step's time on an accelerator; its numbers are its own.
    seed
        Seed of initial weights, views, masks and order.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    epochs: int = 16
    masked_epochs: int = 0
    masked_rate: float | None = 2e-3
    masked_full: float = 0.4
    batch_size: int = 512
    temperature: float = 0.2
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    warmup_epochs: float = 1.0
    layers: tuple[Layer, ...] = (
        (32, 5, 2),
        (32, 3, 1),
        (64, 3, 2),
        (64, 3, 1),
        (128, 3, 2),
        (128, 3, 1),
    )
    pool: int = 2
    dim: int = 128
    whitened: bool = False
    projection: int = 128
    rotation: float = 20.0
    shear: float = 15.0
    zoom: float = 0.2
    shift: float = 0.1
    crop: float = 1.0
    least_motion: float = 0.0
    elastic: float = 0.1
    blur: float = 0.3
    flip: float = 0.0
    colour: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    full: float = 0.5
    seed_size: int = 8
    jitter: float = 0.05
    precision: str = "bfloat16"
    draws: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every number."""
        for name, least in (
            ("epochs", 1),
            ("masked_epochs", 0),
            ("batch_size", 2),
            ("dim", 1),
            ("projection", 1),
            ("seed_size", 1),
            ("seed", 0),
        ):
            check_whole(name, getattr(self, name), least)
        self.architecture(1)
        for name in ("blur", "flip", "colour", "grey", "full", "masked_full", "least_motion"):
            check_number(name, getattr(self, name), 0, 1)
        for name in ("weight_decay", "warmup_epochs", "zoom", "shift", "elastic", "hue", "jitter"):
            check_number(name, getattr(self, name), 0)
        check_number("crop", self.crop, most=1, above=0)
        for name in ("temperature", "learning_rate", "masked_rate"):
            if name != "masked_rate" or self.masked_rate is not None:
                check_number(name, getattr(self, name), above=0)
        for name, limit in (("rotation", 180), ("shear", 80)):
            check_number(name, getattr(self, name), 0, limit, allowed=f"in 0…{limit} degrees")
        check_type("whitened", self.whitened, bool)
        check_precision(self.precision)
        check_choice("draws", self.draws, ("cpu", "device"))

    @classmethod
    def for_corpus(cls, corpus: Corpus, **changes: Any) -> Recipe:
        """Return defaults that suit a corpus: for glyphs if it is grey, for photographs if it is RGB.

        Parameters
        ----------
        corpus
            The corpus to train on.
        **changes
            Settings to change.

        Returns
        -------
        Recipe
            The recipe.
        """
        if corpus.images.shape[3] == 1:
            return cls(**changes)
        # The content of a photograph survives mirroring, crops and changes of colour; unlike glyphs, it is seldom
        # tilted.
        photographs = cls(
            epochs=40,
            masked_epochs=50,
            masked_rate=3e-3,
            masked_full=0.5,
            # Detail matters: the first layers do not stride, and are narrow to make up for the cost.
            layers=(
                (32, 3, 1),
                (32, 3, 1),
                (32, 3, 1, 2),
                (64, 3, 2),
                (64, 3, 1, 2),
                (128, 3, 2),
                (128, 3, 1, 2),
                (128, 3, 1),
                (128, 3, 1, 2),
                (256, 3, 2),
                (256, 3, 1, 2),
            ),
            dim=512,
            pool=1,
            whitened=True,
            rotation=5.0,
            shear=0.0,
            zoom=0.1,
            shift=0.05,
            crop=0.25,
            least_motion=1.0,
            elastic=0.0,
            blur=0.0,
            flip=0.5,
            colour=0.4,
            hue=0.1,
            grey=0.2,
        )
        return replace(photographs, **changes)

    @classmethod
    def from_json(cls, values: Any) -> Recipe:
        """Make a recipe as `JsonRecipe.from_json` does; all errors are ValueErrors."""
        values = cls.checked_names(values)
        try:
            layers = values.get("layers", cls.layers)
            return cls(**{**values, "layers": tuple(tuple(layer) for layer in layers)})
        except TypeError as error:
            raise invalid("recipe", "an object of numbers", values) from error

    @property
    def total_epochs(self) -> int:
        """Passes over the corpus, masked ones included."""
        return self.epochs + self.masked_epochs

    def lasting(self, epochs: int | None = None, masked_epochs: int | None = None) -> Recipe:
        """Return the same recipe for another number of epochs.

        Parameters
        ----------
        epochs
            Passes over the corpus; None keeps them.
        masked_epochs
            Masked passes after those; None keeps their ratio to the others, rounded.

        Returns
        -------
        Recipe
            The recipe.

        Raises
        ------
        ValueError
            If a number is outside its range.
        """
        changed = self if epochs is None else replace(self, epochs=epochs)
        if masked_epochs is None:
            masked_epochs = round(self.masked_epochs * changed.epochs / self.epochs)
        return replace(changed, masked_epochs=masked_epochs)

    def architecture(self, channels: int) -> Architecture:
        """Return the architecture of the encoder for images of C channels.

        Parameters
        ----------
        channels
            C: 1 or 3.

        Returns
        -------
        Architecture
            The architecture that the `Encoder` will have.
        """
        features = Architecture(channels, self.layers, self.pool, None)
        return replace(features, dim=features.width if self.whitened else self.dim)
