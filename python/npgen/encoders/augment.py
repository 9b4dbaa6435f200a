"""Augmentations of SimCLR training: random views of images, and known masks like those of a canvas being filled.

This module imports torch and torchvision: import it only where an encoder is trained.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its name everywhere)
from torch import Tensor
from torchvision.transforms import v2

from npgen.encoders.recipe import Recipe


def ring_masks(count: int, height: int, width: int, recipe: Recipe, generator: torch.Generator, full: float) -> Tensor:
    """Draw known masks like those of a canvas being filled: a square, full rings around it, part of the next ring.

    Parameters
    ----------
    count
        Number of masks, B.
    height, width
        Extents of the images.
    recipe
        For `seed_size` and `jitter`.
    generator
        Source of the random numbers; the masks are made on its device.
    full
        Share of masks without unknown pixels.

    Returns
    -------
    Tensor
        Masks (B, H, W), bool, true where known.
    """
    tall, wide = min(recipe.seed_size, height), min(recipe.seed_size, width)
    rings = math.ceil(max(height - tall, width - wide) / 2)
    full_rings = _uniform(generator, count).mul(rings + 1).floor()[:, None, None]
    # In half of the masks an arc of the next ring is known, too, with random start and length.
    part = (_uniform(generator, count) * (_uniform(generator, count) < 0.5))[:, None, None]
    start = _uniform(generator, count)[:, None, None]
    whole_image = (_uniform(generator, count) < full)[:, None, None]
    device = generator.device
    sides = torch.tensor([height, width], device=device)
    moved = torch.round((_uniform(generator, count, 2) * 2 - 1) * recipe.jitter * sides)
    # Positions relative to the seed square's first pixel.
    y = torch.arange(height, device=device) - (height - tall) // 2 - moved[:, :1]  # (B, H)
    x = torch.arange(width, device=device) - (width - wide) // 2 - moved[:, 1:]  # (B, W)
    down = torch.maximum(-y, y - (tall - 1)).clamp(min=0)[:, :, None]
    across = torch.maximum(-x, x - (wide - 1)).clamp(min=0)[:, None, :]
    ring = torch.maximum(down, across)  # (B, H, W), 0 inside the square
    turn = torch.atan2(y[:, :, None] - (tall - 1) / 2, x[:, None, :] - (wide - 1) / 2) / (2 * math.pi)
    arc = (ring == full_rings + 1) & ((turn - start) % 1.0 < part)
    return (ring <= full_rings) | arc | whole_image


class Augment(v2.Transform):  # type: ignore[misc]
    """A random view of each image: random numbers per image, computed for the batch at once.

    Call it with images (B, C, H, W), float32 in [0, 1]. Views are moved and bent first, then blurred, then recoloured.

    Parameters
    ----------
    recipe
        Ranges of the random changes.
    generator
        Source of the random numbers, on any device.
    """

    def __init__(self, recipe: Recipe, generator: torch.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        self.generator = generator
        self.strength: Tensor | None = None

    def at(self, strength: Tensor) -> Augment:
        """Set which share of the recipe's motion and blur each image gets.

        Parameters
        ----------
        strength
            (B,), in [0, 1].

        Returns
        -------
        Augment
            This object.
        """
        self.strength = strength
        return self

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Tensor]:
        """Draw the random numbers of one view of each image, by name."""
        recipe, count = self.recipe, len(flat_inputs[0])
        strength = torch.ones(count, device=self.generator.device) if self.strength is None else self.strength
        rotation = torch.deg2rad(self._symmetric(count) * recipe.rotation * strength)
        shear = torch.tan(torch.deg2rad(self._symmetric(count) * recipe.shear * strength))
        zoom = torch.exp(self._symmetric(count, 2) * math.log1p(recipe.zoom) * strength[:, None])
        mirror = 1 - 2 * self._chosen(count, recipe.flip)
        cos, sin = torch.cos(rotation), torch.sin(rotation)
        rows = [torch.stack([cos, shear - sin], 1), torch.stack([sin, cos], 1)]  # both (B, 2)
        linear = torch.stack(rows, 1) * torch.stack([zoom[:, 0] * mirror, zoom[:, 1]], 1)[:, None]  # (B, 2, 2)
        # Grids run from -1 to 1, so a share of the image counts double.
        shift = self._symmetric(count, 2, 1) * 2 * recipe.shift * strength[:, None, None]
        if recipe.crop < 1:
            # A crop is a box in the moved image: its sides scale the map, its place shifts it.
            area = 1 - _uniform(self.generator, count) * (1 - recipe.crop) * strength
            aspect = torch.exp(self._symmetric(count) * math.log(4 / 3) / 2 * strength)
            sides = torch.sqrt(torch.stack([area * aspect, area / aspect], 1)).clamp(max=1)  # (B, 2), width first
            shift = shift + linear @ (self._symmetric(count, 2) * (1 - sides))[:, :, None]
            linear = linear * sides[:, None]
        field = self._symmetric(count, 2, 4, 4) * 2 * recipe.elastic * strength[:, None, None, None]
        return {
            "affine": torch.cat([linear, shift], 2),  # (B, 2, 3)
            "field": field,  # (B, 2, 4, 4)
            "blur": _uniform(self.generator, count) * self._chosen(count, recipe.blur) * strength,
            "light": 1 + self._symmetric(count, 3) * recipe.colour,  # brightness, contrast, saturation
            "hue": self._symmetric(count) * recipe.hue * 2 * math.pi if recipe.hue else torch.zeros_like(strength),
            "grey": self._chosen(count, recipe.grey),
        }

    def transform(self, inpt: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Compute the views (B, C, H, W) that the random numbers describe."""
        params = {name: value.to(inpt.device) for name, value in params.items()}
        grid = F.affine_grid(params["affine"], list(inpt.shape), align_corners=False)  # (B, H, W, 2)
        if self.recipe.elastic > 0:
            field = F.interpolate(params["field"], inpt.shape[2:], mode="bicubic", align_corners=True)
            grid = grid + field.permute(0, 2, 3, 1)
        view = F.grid_sample(inpt, grid, mode="bilinear", padding_mode="border", align_corners=False)
        if self.recipe.blur > 0:
            soft = F.avg_pool2d(view, 3, stride=1, padding=1, count_include_pad=False)
            view = torch.lerp(view, soft, params["blur"][:, None, None, None])
        if self.recipe.colour > 0 or self.recipe.hue > 0 or self.recipe.grey > 0:
            view = _recolour(view, params["light"], params["hue"], params["grey"])
        return view

    def _symmetric(self, *shape: int) -> Tensor:
        """Uniform in [-1, 1)."""
        return _uniform(self.generator, *shape) * 2 - 1

    def _chosen(self, count: int, share: float) -> Tensor:
        """1 for a random share, 0 for the rest."""
        return (_uniform(self.generator, count) < share).float()


def _recolour(view: Tensor, light: Tensor, hue: Tensor, grey: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of views (B, C, H, W), and turn some grey."""
    brightness, contrast, saturation = light[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
    view = view * brightness
    view = torch.lerp(view.mean((1, 2, 3), keepdim=True), view, contrast)
    if view.shape[1] == 3:
        luma = (view * view.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        colour = (view - luma) * saturation * (1 - grey[:, None, None, None])  # (B, 3, H, W)
        # Rodrigues' rotation by `hue` around the grey axis k = (1, 1, 1) / √3: k × v is a difference of two channels.
        cos, sin = torch.cos(hue)[:, None, None, None], torch.sin(hue)[:, None, None, None]
        cross = (colour.roll(1, 1) - colour.roll(-1, 1)) / math.sqrt(3)
        view = luma + cos * colour + sin * cross + (1 - cos) * colour.mean(1, keepdim=True)
    return view.clamp(0, 1)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)
