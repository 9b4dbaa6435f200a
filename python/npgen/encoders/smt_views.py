"""The last two steps of the fit of a sparse manifold transform: from the cells of an image to its embedding.

This module imports torch: import it only where an encoder is fitted.
"""

from __future__ import annotations

import torch

# Added to the features' second moment, relative to its mean; and the power of the correlations that scale the map.
FLOOR, POWER = 0.3, 3


def principal_patterns(
    cells: torch.Tensor, positions: int, features: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choose the products of a pattern over positions and a direction of the cells that hold most of their moment.

    Parameters
    ----------
    cells
        Cells of images (n, cells, E).
    positions
        Number of patterns over positions to choose from.
    features
        Number of products to choose.

    Returns
    -------
    patterns, directions, chosen
        (positions, cells); all directions (E, E), by falling variance; and 1 for each chosen product, else 0,
        (positions, E).
    """
    of_positions = torch.zeros((cells.shape[1],) * 2, dtype=torch.float64)
    of_directions = torch.zeros((cells.shape[2],) * 2, dtype=torch.float64)
    for x in cells.double():
        of_positions += x @ x.T
        of_directions += x.T @ x
    patterns = torch.linalg.eigh(of_positions)[1].flip(1)[:, :positions].T.float().contiguous()
    directions = torch.linalg.eigh(of_directions)[1].flip(1).T.float().contiguous()
    energy = (patterns @ cells @ directions.T).double().square().mean(0)  # (positions, E)
    chosen = torch.zeros(energy.numel())
    chosen[energy.flatten().argsort(descending=True, stable=True)[:features]] = 1
    return patterns, directions, chosen.view(energy.shape)


def stable_map(first: torch.Tensor, second: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the linear map of features to directions that stay as they are from one view of an image to another.

    With features x and x' of two views, less their mean, and ``T = E[x xᵀ] + floor``, ``B = E[x x'ᵀ]`` made symmetric,
    the rows of the map are the generalised eigenvectors of B and T of the greatest eigenvalues ρ, the correlations of
    the views, each times ρ³: what changes from view to view hardly counts. It is the transform's own principle once
    more, for images and their views instead of patches and their neighbours.

    Parameters
    ----------
    first, second
        Features (n, F) of two views; row i of both is of image i.
    dim
        Rows of the map, at most F.

    Returns
    -------
    centre, map
        (F,) and (dim, F); the greatest number of the map is 1.
    """
    centre = ((first.mean(0) + second.mean(0)) / 2).double()
    x, y = first.double() - centre, second.double() - centre
    total = (x.T @ x + y.T @ y) / (2 * len(x))
    between = (x.T @ y + y.T @ x) / (2 * len(x))
    width = len(total)
    floor = FLOOR * total.trace() / width
    lower = torch.linalg.cholesky(total + floor * torch.eye(width, dtype=torch.float64))
    half = torch.linalg.solve_triangular(lower, between, upper=False)
    values, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(lower, half.T, upper=False))  # ascending
    rows = torch.linalg.solve_triangular(lower.T, vectors.flip(1)[:, :dim], upper=True).T  # (dim, F)
    rows *= values.flip(0)[:dim, None].clamp(min=0) ** POWER
    return centre.float(), (rows / rows.abs().max().clamp(min=1e-30)).float()
