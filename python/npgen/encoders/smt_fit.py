"""The closed-form fit of a sparse manifold transform: a dictionary of patches, moments of codes, eigenvectors.

This module imports torch: import it only where an encoder is fitted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.corpus import Corpus, check_corpus
from npgen.encoders import smt_views
from npgen.encoders.augment import Augment
from npgen.encoders.neighbours import knn_accuracy
from npgen.encoders.recipe import Recipe
from npgen.encoders.smt import SmtArchitecture, SmtEncoder, cells_of, features_of, whitened_patches
from npgen.errors import check_number, check_whole, invalid
from npgen.nn import JsonRecipe, checkpoints

# Images of a chunk of the corpus, and of a chunk of moments; after so many images moments are saved.
CHUNK, MOMENT_CHUNK, SAVED = 32, 128, 10_240
# Images that whitening, dictionary and principal patterns are made from.
SAMPLE = 3000
# So many patches, spread evenly over the images, count for the moments over patches: 50 to 100 for each atom. For those
# over images all of a grid of every second patch count.
PATCHES = 400_000
# Atoms of the dictionary, where a recipe does not say how many.
ATOMS = 4096
# Candidates for the dictionary: so many per atom, of which so many are compared with it at a time.
PER_ATOM = 24
CANDIDATES = 1024
# Added to the eigenvalues of the patches' covariance, and to the codes' variances relative to their mean.
PATCH_FLOOR, CODE_FLOOR = 1e-2, 1e-4
# Images that the principal patterns are made from; and whose views the last map is made from.
PATTERNS, VIEWS = 1000, 10_000
# Share of the motion and blur of SimCLR's views: with all of it, what views have in common says less about labels.
STRENGTH = 0.4


@dataclass(frozen=True)
class SmtRecipe(JsonRecipe):
    """Settings of a fit.

    Attributes
    ----------
    atoms
        Number of atoms M; None means 4,096, or fewer where the corpus holds fewer different patches.
    side
        Side of a patch, pixels.
    threshold
        Least cosine of a patch and an active atom.
    likeness
        Largest cosine of two atoms.
    skipped, eigenvectors
        Leading eigenvectors that are left out (they say where and how bright an image is), and that are kept: fewer
        where there are fewer atoms.
    positions, features, dim
        As in `SmtArchitecture`; fewer where small images or few eigenvectors do not give as many.
    images
        Number of images that count for the moments, spread evenly over the corpus; None means all.
    mirrored
        Whether the images' mirrors count, too.
    seed
        Decides the patches of the dictionary.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of range.
    """

    atoms: int | None = None
    side: int = 6
    threshold: float = 0.3
    likeness: float = 0.7
    skipped: int = 1
    eigenvectors: int = 128
    positions: int = 24
    features: int = 512
    dim: int = 256
    images: int | None = None
    mirrored: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check all values."""
        for name in ("side", "eigenvectors", "positions", "features", "dim"):
            check_whole(name, getattr(self, name), 1)
        for name in ("skipped", "seed"):
            check_whole(name, getattr(self, name), 0)
        for name in ("atoms", "images"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1, allowed="at least 1 or None")
        least = self.skipped + self.eigenvectors
        if self.atoms is not None and self.atoms < least:
            raise invalid("atoms", f"at least {least} (the eigenvectors)", self.atoms)
        check_number("threshold", self.threshold, above=0, most=1)
        check_number("likeness", self.likeness, above=0, most=1)

    @classmethod
    def for_corpus(cls, corpus: Corpus) -> SmtRecipe:
        """Return the default settings for a corpus: a mirrored photograph shows the same, a mirrored digit does not."""
        return cls(mirrored=corpus.images.shape[3] == 3)


class _Fit:
    """A fit in the making: corpus, settings, and what has been found so far, which a checkpoint holds."""

    VERSION = 1  # of the form of the checkpoint

    def __init__(self, corpus: Corpus, recipe: SmtRecipe, checkpoint: Path | None, progress: bool) -> None:
        self.corpus, self.recipe, self.checkpoint, self.progress = corpus, recipe, checkpoint, progress
        self.tensors: dict[str, torch.Tensor] = {}
        # Sums over patches and over images (M, M), of how many, and how many images have been read.
        self.sums: dict[str, torch.Tensor] = {}
        self.patches_counted = self.images_counted = self.images_read = 0

    def save(self) -> None:
        """Write the checkpoint."""
        if self.checkpoint is not None:
            counts = [self.patches_counted, self.images_counted, self.images_read]
            state = {"tensors": self.tensors, "sums": self.sums, "counts": counts}
            checkpoints.write_checkpoint(self.checkpoint, self.VERSION, self.recipe.to_json(), self.corpus, state)

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one; that of another recipe or corpus is a ValueError."""
        if self.checkpoint is not None and self.checkpoint.exists():
            device = torch.device("cpu")
            state = checkpoints.read_checkpoint(self.checkpoint, self.VERSION, self.recipe, self.corpus, device)
            self.tensors, self.sums = state["tensors"], state["sums"]
            self.patches_counted, self.images_counted, self.images_read = state["counts"]

    def ids(self, count: int | None) -> NDArray[np.int64]:
        """Return the ids of so many images, spread evenly over the corpus; all for None."""
        total = len(self.corpus)
        return np.linspace(0, total - 1, min(total, count or total)).round().astype(np.int64)

    def chunks(
        self, count: int | None, what: str, mirrored: bool = False, first: int = 0, size: int = CHUNK
    ) -> Iterator[torch.Tensor]:
        """Yield images (B, H, W, C) from the first on, with the mirrors of all after them."""
        ids = self.ids(count)
        bar = tqdm(total=len(ids), initial=first, desc=what, unit="image", disable=not self.progress, leave=False)
        with bar:
            for start in range(first, len(ids), size):
                part = torch.from_numpy(np.array(self.corpus.images[ids[start : start + size]]))
                yield torch.cat([part, part.flip(2)]) if mirrored else part
                bar.update(len(part))

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """Return the whitened patches (B, P, F) of images."""
        known = torch.ones(images.shape[:3], dtype=torch.bool)
        mean, whitening = self.tensors["mean"], self.tensors["whitening"]
        return whitened_patches(images, known, self.recipe.side, mean, whitening)[0]


def fit_smt(
    corpus: Corpus,
    path: str | os.PathLike[str] | None = None,
    recipe: SmtRecipe | None = None,
    *,
    resume: bool = True,
    progress: bool = True,
) -> SmtEncoder:
    """Fit a sparse manifold transform to a corpus, in closed form.

    While moments are summed a checkpoint lies beside `path`; it is removed at the end. After an interruption, the same
    call goes on from there, and the encoder is the same as without.

    With codes α of patches p and their means ᾱ over the patches of an image i, the projection P solves

    ``min Σ_i Σ_p∈i |P(α_p − ᾱ_i)|²  subject to  P V Pᵀ = I,  V = E_p[α αᵀ]``

    that is, its rows are the generalised eigenvectors of ``B = E_i[ᾱ ᾱᵀ]`` and V of the greatest eigenvalues.

    Parameters
    ----------
    corpus
        N images of one size. They are read in order, chunk by chunk.
    path
        File to write; None writes none.
    recipe
        Settings; None means `SmtRecipe.for_corpus`.
    resume
        Go on from a checkpoint if there is one. False starts anew and replaces it.
    progress
        Show progress bars.

    Returns
    -------
    SmtEncoder
        The encoder. It depends on corpus and recipe, and in its last bits on the machine.

    Raises
    ------
    ValueError
        If the images are too small or hold too few different patches, or a checkpoint is of another recipe or corpus.
    OSError
        If the files cannot be written.
    """
    check_corpus(corpus, one_size="an encoder")
    recipe = recipe or SmtRecipe.for_corpus(corpus)
    _shape(corpus, recipe, 1, 1)  # before any work
    path = None if path is None else Path(path)
    checkpoint = None if path is None else path.with_name(path.name + ".checkpoint")
    fit = _Fit(corpus, recipe, checkpoint, progress)
    if resume:
        fit.restore()
    with torch.inference_mode():
        if not fit.tensors:
            # 1. Whiten patches.
            _whiten(fit)
            # 2. Choose the dictionary.
            _choose_atoms(fit)
        # 3. Sum the moments of codes over patches, V, and over images, B.
        of_patches, of_images = _moments(fit)
        # 4. Find the directions in which codes vary least within an image.
        fit.tensors["projection"] = _eigenvectors(of_patches, of_images, recipe)
        shape = _shape(corpus, recipe, len(fit.tensors["dictionary"]), len(fit.tensors["projection"]))
        # 5. Choose the features: principal patterns over positions, times directions.
        _choose_features(fit, shape)
        # 6. Find the directions in which features of two views of an image are alike.
        _compare_views(fit, shape)
    tensors = {name: fit.tensors[name].numpy().astype(np.float16) for name in shape.shapes()}
    encoder = SmtEncoder(shape, tensors, metadata={"recipe": recipe.to_json(), "corpus": corpus.hash}, device="cpu")
    heldout = corpus.heldout
    if corpus.labels is not None and heldout is not None and heldout.labels is not None:
        accuracy = knn_accuracy(encoder, corpus, heldout.images, heldout.labels, progress=progress)
        encoder.metadata["accuracy"] = {str(side): share for side, share in accuracy.items()}
    if path is not None:
        encoder.save(path)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return encoder


def _shape(corpus: Corpus, recipe: SmtRecipe, atoms: int, eigenvectors: int) -> SmtArchitecture:
    """Return the shapes of an encoder of so many atoms and eigenvectors; a ValueError if the images are too small."""
    height, width, channels = corpus.images.shape[1:]
    shape = SmtArchitecture(
        height, width, channels, recipe.side, atoms, recipe.threshold, eigenvectors, positions=1, features=1, dim=1
    )
    positions = min(recipe.positions, shape.cells[0] * shape.cells[1])
    features = min(recipe.features, positions * eigenvectors)
    return replace(shape, positions=positions, features=features, dim=min(recipe.dim, features))


def _whiten(fit: _Fit) -> None:
    """Find mean and whitening map of patches, less their image's mean."""
    width = fit.recipe.side**2 * fit.corpus.images.shape[3]
    fit.tensors |= {"mean": torch.zeros(width), "whitening": torch.eye(width)}
    count, first, second = 0, torch.zeros(width, dtype=torch.float64), torch.zeros((width, width), dtype=torch.float64)
    for images in fit.chunks(SAMPLE, "patches"):
        known = torch.ones(images.shape[:3], dtype=torch.bool)
        x = _raw_patches(images, known, fit.recipe.side).double()
        count += len(x)
        first += x.sum(0)
        second += x.T @ x
    mean = first / count
    values, vectors = torch.linalg.eigh(second / count - mean[:, None] * mean)
    fit.tensors["mean"] = mean.float()
    fit.tensors["whitening"] = ((vectors * (values.clamp(min=0) + PATCH_FLOOR).rsqrt()) @ vectors.T).float()


def _raw_patches(images: torch.Tensor, known: torch.Tensor, side: int) -> torch.Tensor:
    """Return all patches (·, F) of images, less their image's mean, neither whitened nor scaled."""
    from torch.nn.functional import unfold

    x = images.float() / 255
    x = x - x.mean((1, 2, 3), keepdim=True)
    return unfold(x.permute(0, 3, 1, 2), side).transpose(1, 2).flatten(0, 1)


def _choose_atoms(fit: _Fit) -> None:
    """Choose random patches, none of them too like another one."""
    recipe, generator = fit.recipe, torch.Generator().manual_seed(fit.recipe.seed)
    count = recipe.atoms or ATOMS
    pieces = []
    each = -(-PER_ATOM * count // len(fit.ids(SAMPLE)))  # candidates of an image
    for images in fit.chunks(SAMPLE, "dictionary"):
        z = fit.patches(images).flatten(0, 1)
        chosen = torch.randint(len(z), (each * len(images),), generator=generator)
        pieces.append(z[chosen])
    candidates = torch.cat(pieces)
    candidates = candidates[candidates.norm(dim=1) > 0.5]  # flat patches have no direction
    candidates = candidates[torch.randperm(len(candidates), generator=generator)]
    atoms = candidates[:0]
    for start in range(0, len(candidates), CANDIDATES):
        part = candidates[start : start + CANDIDATES]
        if len(atoms):
            part = part[(part @ atoms.T).amax(1) < recipe.likeness]
        alike = part @ part.T >= recipe.likeness
        kept: list[int] = []
        for at in range(len(part)):
            if not alike[at, kept].any():
                kept.append(at)
        atoms = torch.cat([atoms, part[kept]])
        if len(atoms) >= count:
            break
    if recipe.atoms is not None and len(atoms) < recipe.atoms:
        raise invalid("atoms", f"at most {len(atoms)} (the different patches found)", recipe.atoms)
    if len(atoms) <= recipe.skipped:
        raise invalid("corpus", f"one of more than {recipe.skipped} different patches", f"{len(atoms)} of them")
    fit.tensors["dictionary"] = atoms[:count].contiguous()


def _moments(fit: _Fit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the second moments (M, M) of codes over patches, and of their means over images."""
    atoms, recipe = len(fit.tensors["dictionary"]), fit.recipe
    height, width = fit.corpus.images.shape[1:3]
    rows, columns = (torch.arange(0, extent - recipe.side + 1, 2) for extent in (height, width))
    grid = (rows[:, None] * (width - recipe.side + 1) + columns).flatten()  # every second patch
    total = len(fit.ids(recipe.images))
    each = min(len(grid), -(-PATCHES // (total * (2 if recipe.mirrored else 1))))
    if not fit.sums:
        fit.sums = {name: torch.zeros((atoms, atoms)) for name in ("patches", "images")}
    for images in fit.chunks(recipe.images, "moments", recipe.mirrored, fit.images_read, MOMENT_CHUNK):
        # Drawn anew from each chunk's place, so that a fit that was interrupted draws the same.
        seed = np.random.SeedSequence([recipe.seed, 1, fit.images_read]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed))
        means, some = torch.empty((len(images), atoms)), torch.empty((len(images), each, atoms))
        for number, z in enumerate(fit.patches(images)[:, grid]):  # one image at a time, as codes are large
            codes = (z @ fit.tensors["dictionary"].T >= recipe.threshold).float()  # (P, M)
            means[number] = codes.mean(0)
            some[number] = codes[torch.randperm(len(grid), generator=generator)[:each]]
        fit.sums["patches"].addmm_(some.flatten(0, 1).T, some.flatten(0, 1))
        fit.sums["images"].addmm_(means.T, means)
        fit.patches_counted += len(images) * each
        fit.images_counted += len(images)
        fit.images_read = min(total, fit.images_read + MOMENT_CHUNK)
        if fit.images_read % SAVED == 0 or fit.images_read == total:
            fit.save()
    of_patches, of_images = (fit.sums[name].double().numpy() for name in ("patches", "images"))
    return of_patches / fit.patches_counted, of_images / fit.images_counted


def _eigenvectors(
    over_patches: NDArray[np.float64], over_images: NDArray[np.float64], recipe: SmtRecipe
) -> torch.Tensor:
    """Return the generalised eigenvectors (E, M) of the greatest eigenvalues, without the first ones."""
    floor = CODE_FLOOR * over_patches.trace() / len(over_patches)
    lower = np.linalg.cholesky(over_patches + floor * np.eye(len(over_patches)))
    half = np.linalg.solve(lower, over_images)
    _, vectors = np.linalg.eigh(np.linalg.solve(lower, half.T))  # ascending
    chosen = vectors[:, ::-1][:, recipe.skipped : recipe.skipped + recipe.eigenvectors]
    projection = np.linalg.solve(lower.T, chosen).T  # (E, M)
    # Float16 holds numbers of a common scale best; cells are scaled to length 1 afterwards.
    return torch.from_numpy(projection / np.abs(projection).max()).float()


def _choose_features(fit: _Fit, shape: SmtArchitecture) -> None:
    """Choose the features, and turn the eigenvectors to the principal directions of cells."""
    images = fit.chunks(PATTERNS, "features", fit.recipe.mirrored)
    cells = torch.stack([cells_of(z, fit.tensors, shape) for part in images for z in fit.patches(part)])
    patterns, directions, chosen = smt_views.principal_patterns(cells, shape.positions, shape.features)
    fit.tensors |= {"positions": patterns, "chosen": chosen, "projection": directions @ fit.tensors["projection"]}


def _compare_views(fit: _Fit, shape: SmtArchitecture) -> None:
    """Find the last map, of two random views of each image, drawn like those of SimCLR's training but weaker."""
    seed = np.random.SeedSequence([fit.recipe.seed, 2]).generate_state(1, np.uint64)[0]
    augment = Augment(Recipe.for_corpus(fit.corpus), torch.Generator().manual_seed(int(seed)))
    views: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for images in fit.chunks(VIEWS, "views"):
        pixels = images.permute(0, 3, 1, 2).float() / 255  # (B, C, H, W)
        for side in views:
            strength = torch.full((len(images),), STRENGTH)
            view = (augment.at(strength)(pixels) * 255).round().permute(0, 2, 3, 1)  # (B, H, W, C)
            side.extend(features_of(cells_of(z, fit.tensors, shape), fit.tensors) for z in fit.patches(view))
    first, second = (torch.stack(side) for side in views)
    fit.tensors["centre"], fit.tensors["map"] = smt_views.stable_map(first, second, shape.dim)
