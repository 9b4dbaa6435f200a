"""The sparse manifold transform: an encoder in closed form, without training (`encoder="smt"`).

Chen, Paiton and Olshausen 2018; Chen, Yun, Ma, Olshausen and LeCun 2022 (arXiv 2209.15261). Every number in it can be
traced: patches of training images, and eigenvectors of moments of their codes. `npgen.encoders.smt_fit` makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npgen.encoders.pixels import check_input
from npgen.encoders.places import PlaceGrid
from npgen.errors import check_number, check_whole, invalid
from npgen.nn import ShippedNetwork, in_micro_batches

if TYPE_CHECKING:
    import torch

# Side and stride of the average pooling over patches.
POOL, STRIDE = 4, 2
# A patch of smaller norm after whitening is flat: it has no direction to compare.
LEAST_NORM = 1e-6


@dataclass(frozen=True)
class SmtArchitecture:
    """Shapes of a sparse manifold transform.

    Attributes
    ----------
    height, width, channels
        Extents of an image.
    side
        Side of a patch, pixels.
    atoms
        Number of atoms M: whitened patches of training images.
    threshold
        An atom is active in a patch if their cosine is at least this.
    eigenvectors
        Number E of eigenvectors that codes are projected to.
    positions
        Patterns over the grid of cells.
    features
        Products of a pattern and an eigenvector that are chosen.
    dim
        Width of the embedding, D.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.
    """

    height: int
    width: int
    channels: int
    side: int
    atoms: int
    threshold: float
    eigenvectors: int
    positions: int
    features: int
    dim: int

    def __post_init__(self) -> None:
        """Check every number, as they may come from a file."""
        for name in ("height", "width", "channels", "side", "atoms", "eigenvectors", "positions", "features", "dim"):
            check_whole(name, getattr(self, name), 1, 2**31 - 1)
        check_number("threshold", self.threshold, above=0, most=1)
        if min(self.height, self.width) < self.side + POOL - 1:
            raise invalid("side", f"at most {min(self.height, self.width) - POOL + 1} (the images)", self.side)
        if self.eigenvectors > self.atoms:
            raise invalid("eigenvectors", f"in 1..={self.atoms} (the atoms)", self.eigenvectors)
        if self.positions > self.cells[0] * self.cells[1]:
            raise invalid("positions", f"in 1..={self.cells[0] * self.cells[1]} (the cells)", self.positions)
        if self.features > self.positions * self.eigenvectors:
            most = self.positions * self.eigenvectors
            raise invalid("features", f"in 1..={most} (positions times eigenvectors)", self.features)
        if self.dim > self.features:
            raise invalid("dim", f"in 1..={self.features} (the features)", self.dim)

    @classmethod
    def from_json(cls, values: Any) -> SmtArchitecture:
        """Make an architecture of what `dataclasses.asdict` returned for it, as read from a file's header."""
        try:
            return cls(**values)
        except TypeError as error:
            raise invalid("architecture", "an object of the shapes of a sparse manifold transform", values) from error

    @property
    def cells(self) -> tuple[int, int]:
        """Extents of the grid of cells: places of the pooling window over the patches."""
        down, across = ((extent - self.side + 1 - POOL) // STRIDE + 1 for extent in (self.height, self.width))
        return down, across

    @property
    def patch(self) -> int:
        """Numbers of a patch, side² · C."""
        return self.side**2 * self.channels

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every tensor and give its shape, in the order of their use."""
        cells = self.cells[0] * self.cells[1]
        return {
            "mean": (self.patch,),
            "whitening": (self.patch, self.patch),
            "dictionary": (self.atoms, self.patch),
            "projection": (self.eigenvectors, self.atoms),
            "positions": (self.positions, cells),
            "chosen": (self.positions, self.eigenvectors),
            "centre": (self.features,),
            "map": (self.dim, self.features),
        }


class SmtEncoder(ShippedNetwork[SmtArchitecture]):
    """A sparse manifold transform φ: the closed-form encoder.

    1. Patches x of `side` × `side` pixels, less the image's mean, are whitened and scaled to length 1: z.
    2. Sparse codes: ``α_m = 1 if z·d_m ≥ t else 0``, over atoms d_m.
    3. ``β = P α``: the rows of P are the directions in which codes of one image vary least, relative to their variance
       over all images (generalised eigenvectors of the codes' moments).
    4. β is averaged over windows of 4×4 patches, and each cell of the grid scaled to length 1.
    5. The grid is projected to principal patterns over positions: the chosen products with directions of the cells,
       scaled to length 1, are the image's features x.
    6. ``y = A (x − µ)``, scaled to length 1. The rows of A are the directions in which features of two views of an
       image are alike: the principle of 3. once more, for images.

    Of a partly known canvas, patches wholly inside the known region count alone, and cells without any are 0.

    Parameters
    ----------
    architecture
        Shapes.
    tensors
        One float16 array for each name in `architecture.shapes()`.
    metadata
        JSON-able facts about the fit; not part of `id`.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Raises
    ------
    ValueError
        If tensors are missing, unexpected, of a wrong shape or type, or not finite, or others than as many features as
        stated are chosen.
    """

    symmetric = True
    kind = "smt"
    prefix = "smt-"
    architecture_type = SmtArchitecture
    other_specs = ("smt",)
    remedy = "make one with `npgen encoder fit {where} --kind smt`"

    def __init__(
        self,
        architecture: SmtArchitecture,
        tensors: dict[str, NDArray[Any]],
        *,
        metadata: dict[str, Any] | None = None,
        device: str = "auto",
    ) -> None:
        super().__init__(architecture, tensors, metadata=metadata, device=device)
        count = int((self.tensors["chosen"] > 0).sum())
        if count != architecture.features:
            raise invalid("tensor 'chosen'", f"of {architecture.features} numbers above 0", count)

    @property
    def dim(self) -> int:
        """Width of the embedding, D."""
        return self.architecture.dim

    @property
    def channels(self) -> int:
        """Channels of an image, C."""
        return self.architecture.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extents (H, W, C) of the images that it takes."""
        return self.architecture.height, self.architecture.width, self.architecture.channels

    def __repr__(self) -> str:
        """Show id, image shape and width."""
        return f"SmtEncoder(id={self.id[:16]}, shape={self.shape}, dim={self.dim})"

    def encode(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed images, of which only known pixels count.

        Parameters
        ----------
        images
            Images (B, H, W, C), uint8. Unknown pixels may hold anything.
        known
            Known mask (B, H, W), or one (H, W) for all images, bool. None: all pixels are known.
        threads
            Threads that share the work on a CPU; None takes torch's own number. No influence on the result.

        Returns
        -------
        ndarray
            Embeddings (B, D), float32, of length 1; 0 where no whole patch is known.

        Raises
        ------
        TypeError
            If `images` is not uint8 or `known` not bool.
        ValueError
            If shapes do not fit each other or the encoder.
        """
        return self._run(self._embedding, (self.dim,), images, known, threads)

    def _run(
        self,
        compute: Callable[[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]], torch.Tensor],
        shape: tuple[int, ...],
        images: NDArray[np.uint8],
        known: NDArray[np.bool_] | None,
        threads: int | None,
    ) -> NDArray[np.float32]:
        """Compute something of a shape of each image and its mask, (B, ...)."""
        known = check_input(images, known, threads, self.channels)
        if images.shape[1:] != self.shape:
            raise invalid("images", f"of shape {self.shape}", images.shape[1:])
        device, weights = self._device_and_weights()
        rows = np.empty((len(images), *shape), np.float32)

        def run(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            import torch

            # One image at a time: its codes fit a core's cache.
            pairs = zip(pixels.to(device), mask.to(device), strict=True)
            return torch.stack([compute(pixel, mask, weights) for pixel, mask in pairs])

        in_micro_batches(run, (images, np.broadcast_to(known, images.shape[:3])), rows, device, threads)
        return rows

    def places(
        self, images: NDArray[np.uint8], known: NDArray[np.bool_] | None = None, *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed the places of images: the cells of step 4, before they are projected to an embedding of the image.

        Parameters
        ----------
        images, known, threads
            As in `encode`.

        Returns
        -------
        ndarray
            (B, h, w, E), float32, each place of length 1; 0 where no atom is active.

        Raises
        ------
        TypeError, ValueError
            As in `encode`.
        """
        shape = self.architecture

        def cells(pixels: torch.Tensor, known: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
            return self._cells(pixels, known, weights).view(*shape.cells, shape.eigenvectors)

        return self._run(cells, (*shape.cells, shape.eigenvectors), images, known, threads)

    def grid_of_places(self, known: NDArray[np.bool_]) -> tuple[PlaceGrid, NDArray[np.float64]]:
        """Return where the cells lie, and which share (h, w) of each one's patches lies in the known part (H, W)."""
        shape = self.architecture
        whole = np.lib.stride_tricks.sliding_window_view(known, (shape.side, shape.side)).all((2, 3))
        rows, columns = shape.cells
        pooled = np.lib.stride_tricks.sliding_window_view(whole, (POOL, POOL))[::STRIDE, ::STRIDE]
        centre = (shape.side + POOL - 2) / 2
        return PlaceGrid(rows, columns, (centre, centre), (STRIDE, STRIDE)), pooled.mean((2, 3))

    def _cells(self, pixels: torch.Tensor, known: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Compute the cells (cells, E) of one image (H, W, C)."""
        shape = self.architecture
        # 1. Whitened patches; those that are not wholly known are 0, so that no atom is active in them.
        z, whole = whitened_patches(pixels[None], known[None], shape.side, weights["mean"], weights["whitening"])
        # 2. to 4. Cells.
        return cells_of(z[0] * whole[0, :, None], weights, shape)

    def _embedding(self, pixels: torch.Tensor, known: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Embed one image (H, W, C), as (D,)."""
        from torch.nn.functional import normalize

        # 1. to 4. Cells.
        cells = self._cells(pixels, known, weights)
        # 5. Features.
        features = features_of(cells, weights)
        # 6. What views of an image have in common; nothing of nothing.
        y = weights["map"] @ (features - weights["centre"]) * features.any()
        return normalize(y, dim=0)


def cells_of(z: torch.Tensor, weights: dict[str, torch.Tensor], shape: SmtArchitecture) -> torch.Tensor:
    """Compute the cells (cells, E) of an image of its whitened patches (P, F): each of length 1, 0 without active atom.

    Pooling is linear and comes before the projection, as there are fewer cells than patches.
    """
    from torch.nn.functional import normalize

    return normalize(pooled_codes(z, weights["dictionary"], shape) @ weights["projection"].T, dim=1)


def features_of(cells: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Compute the features (features,) of an image of its cells (cells, E): of length 1, or 0."""
    from torch.nn.functional import normalize

    return normalize((weights["positions"] @ cells)[weights["chosen"] > 0], dim=0)


def pooled_codes(z: torch.Tensor, dictionary: torch.Tensor, shape: SmtArchitecture) -> torch.Tensor:
    """Code the patches of an image, and count in each cell how many of its patches an atom is active in.

    Parameters
    ----------
    z
        Whitened patches (P, F), row by row; patches of 0 have no active atom.
    dictionary
        Atoms (M, F).
    shape
        For extents and threshold.

    Returns
    -------
    torch.Tensor
        (cells, M), float32: the counts, whole numbers from 0 to 16.
    """
    import torch

    down, across = shape.height - shape.side + 1, shape.width - shape.side + 1
    active = (z @ dictionary.T >= shape.threshold).view(torch.uint8).view(down, across, -1)
    # A window is 2×2 blocks of 2×2 patches: bytes, and the sums that windows share are made once.
    rows, columns = (2 * (cells + 1) for cells in shape.cells)
    blocks = active[0:rows:2] + active[1:rows:2]
    blocks = blocks[:, 0:columns:2] + blocks[:, 1:columns:2]
    windows = blocks[1:] + blocks[:-1]
    windows = windows[:, 1:] + windows[:, :-1]
    return windows.reshape(-1, shape.atoms).float()


def whitened_patches(
    pixels: torch.Tensor, known: torch.Tensor, side: int, mean: torch.Tensor, whitening: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut images into patches, whiten them and scale them to length 1.

    Parameters
    ----------
    pixels
        Images (B, H, W, C), 0 to 255.
    known
        Known masks (B, H, W), bool.
    side
        Side of a patch.
    mean, whitening
        Mean (F,) and whitening map (F, F) of patches.

    Returns
    -------
    z, whole
        Patches (B, P, F) of length 1, 0 where they are flat; and 1 for patches that are wholly known, else 0, (B, P).
    """
    from torch.nn.functional import max_pool2d, unfold

    mask = known.float()[..., None]  # (B, H, W, 1)
    x = pixels.float() / 255 * mask
    count = (mask.sum((1, 2, 3)) * x.shape[3]).clamp(min=1)
    x = x - (x.sum((1, 2, 3)) / count)[:, None, None, None]
    patches = unfold(x.permute(0, 3, 1, 2), side).transpose(1, 2)  # (B, P, F)
    z = (patches - mean) @ whitening
    lengths = z.norm(dim=2, keepdim=True)
    z = z / lengths.clamp(min=LEAST_NORM)
    whole = 1 - max_pool2d(1 - mask.permute(0, 3, 1, 2), side, 1).flatten(1)  # (B, P)
    return z, whole
