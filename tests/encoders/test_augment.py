"""What training does to images: masks as a canvas has them, and random views, against slow versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from npgen.encoders.augment import Augment, _recolour, ring_masks
from npgen.encoders.recipe import Recipe


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestRingMasks:
    @pytest.mark.parametrize(("height", "width"), [(28, 28), (9, 14), (5, 3)])
    def test_rings_around_the_centre(self, height, width):
        recipe = Recipe(jitter=0.0, seed_size=4)
        masks = ring_masks(300, height, width, recipe, seeded(), 0.0).numpy()
        assert masks.shape == (300, height, width) and masks.dtype == bool
        tall, wide = min(4, height), min(4, width)
        top, left = (height - tall) // 2, (width - wide) // 2
        sizes, begun = set(), 0
        for mask in masks:
            for grown in range(max(height, width)):
                inner, outer = np.zeros((2, height, width), bool)
                inner[max(0, top - grown) : top + tall + grown, max(0, left - grown) : left + wide + grown] = True
                ring = grown + 1
                outer[max(0, top - ring) : top + tall + ring, max(0, left - ring) : left + wide + ring] = True
                if (mask >= inner).all() and (mask <= outer).all():
                    break
            else:
                raise AssertionError(f"no whole rings and part of the next: {mask}")
            sizes.add(grown)
            begun += not np.array_equal(mask, inner) and not np.array_equal(mask, outer)
        rings = math.ceil(max(height - tall, width - wide) / 2)
        assert sizes >= set(range(rings))  # every size comes up, the bare square too
        assert masks.reshape(300, -1).all(1).any()
        assert begun > 0 or rings == 0

    def test_share_of_full_masks(self):
        assert ring_masks(50, 28, 28, Recipe(), seeded(), 1.0).all()
        masks = ring_masks(2000, 40, 40, Recipe(seed_size=2), seeded(), 0.5)
        assert 0.46 < masks.flatten(1).all(1).float().mean() < 0.56

    def test_jitter_moves_the_square(self):
        recipe = Recipe(jitter=0.25, seed_size=4)
        smallest = [mask.numpy() for mask in ring_masks(2000, 20, 20, recipe, seeded(), 0.0) if mask.sum() == 16]
        places = {tuple(np.argwhere(mask)[0]) for mask in smallest}
        assert len(places) > 10
        assert all(8 - 5 <= y <= 8 + 5 and 8 - 5 <= x <= 8 + 5 for y, x in places)


class TestAugment:
    def test_is_a_transform(self):
        assert isinstance(v2.Compose([Augment(Recipe(), seeded())]).transforms[0], v2.Transform)

    def test_without_strength_images_stay(self):
        images = torch.rand(5, 1, 28, 28, generator=seeded())
        still = Augment(Recipe(), seeded()).at(torch.zeros(5))(images)
        torch.testing.assert_close(still, images, atol=1e-4, rtol=0)

    def test_each_image_is_drawn_alone(self):
        images = torch.rand(1, 1, 28, 28, generator=seeded()).expand(6, -1, -1, -1)
        views = Augment(Recipe(), seeded())(images)
        assert views.shape == images.shape
        assert all(not torch.equal(views[0], view) for view in views[1:])

    def test_same_generator_same_views(self):
        images = torch.rand(4, 3, 20, 16, generator=seeded())
        recipe = Recipe(colour=0.4, grey=0.5, flip=0.5)
        first, second = (Augment(recipe, seeded(3))(images) for _ in range(2))
        assert torch.equal(first, second)

    def test_a_crop_shows_a_box_of_the_image(self):
        recipe = Recipe(rotation=0, shear=0, zoom=0, shift=0, elastic=0, blur=0, crop=0.25)
        strength = torch.linspace(0, 1, 2000)
        affine = Augment(recipe, seeded()).at(strength).make_params([torch.zeros(2000)])["affine"]
        sides, place = affine[:, [0, 1], [0, 1]], affine[:, :, 2]
        assert not affine[:, [0, 1], [1, 0]].any()
        assert (place.abs() + sides <= 1 + 1e-6).all()  # grids run from -1 to 1: the box lies in the image
        area, aspect = sides.prod(1), sides[:, 0] / sides[:, 1]
        least = torch.minimum(1 - 0.75 * strength, (4 / 3) ** (-strength / 2))  # the frame cuts long boxes
        assert (area >= least - 1e-6).all() and (area <= 1).all()
        assert area[strength > 0.9].min() < 0.32 and area[strength > 0.9].max() > 0.85
        assert (aspect.log().abs() <= math.log(4 / 3) / 2 + 1e-6).all() and aspect.max() > 1.13
        assert place[strength > 0.9].abs().max() > 0.4

    def test_a_crop_is_a_zoom_into_its_box(self):
        recipe = Recipe(rotation=0, shear=0, zoom=0, shift=0, elastic=0, blur=0, crop=0.25)
        ramp = torch.linspace(0, 1, 64).expand(50, 1, 64, 64)
        augment = Augment(recipe, seeded())
        params = augment.make_params([torch.zeros(50)])
        view = augment.transform(ramp, params)[:, 0, 32]
        left, right = (params["affine"][:, 0, 2] + sign * params["affine"][:, 0, 0] for sign in (-1, 1))
        torch.testing.assert_close(view[:, 0], (left + 1) / 2, atol=0.02, rtol=0)
        torch.testing.assert_close(view[:, -1], (right + 1) / 2, atol=0.02, rtol=0)

    def test_a_hue_turns_colours_around_grey(self):
        images = torch.rand(30, 3, 6, 6, generator=seeded()) * 0.2 + 0.4  # far from where colours are cut off
        recipe = Recipe(rotation=0, shear=0, zoom=0, shift=0, elastic=0, blur=0, hue=0.3)
        views = Augment(recipe, seeded())(images)
        luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        torch.testing.assert_close(views.mean(1), images.mean(1))

        def saturation(x):
            colour = x - (x * luma).sum(1, keepdim=True)
            return (colour - colour.mean(1, keepdim=True)).norm(dim=1)

        torch.testing.assert_close(saturation(views), saturation(images))
        assert (views - images).abs().amax((1, 2, 3)).median() > 0.05

    def test_a_third_of_a_turn_swaps_channels(self):
        images = torch.rand(4, 3, 6, 6, generator=seeded()) * 0.2 + 0.4
        luma = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        views = _recolour(images, torch.ones(4, 3), torch.full((4,), 2 * math.pi / 3), torch.zeros(4))
        torch.testing.assert_close(views, luma + (images - luma).roll(1, 1))
        torch.testing.assert_close(_recolour(images, torch.ones(4, 3), torch.zeros(4), torch.zeros(4)), images)

    def test_the_random_numbers_of_glyphs_are_pinned(self):
        """Crops and hues that are off draw no random numbers: the shipped MNIST encoder can be trained again."""
        generator = seeded()
        params = Augment(Recipe(), generator).at(torch.linspace(0, 1, 4)).make_params([torch.zeros(4)])
        sums = {name: value.double().sum().item() for name, value in params.items()}
        expected = {"affine": 7.899049, "field": -0.839171, "blur": 0.560127, "light": 12, "hue": 0, "grey": 0}
        assert sums == pytest.approx(expected, abs=1e-5)
        torch.testing.assert_close(
            torch.rand(3, generator=generator), torch.tensor([0.5537, 0.3953, 0.8571]), atol=1e-4, rtol=0
        )

    def test_flip_mirrors(self):
        recipe = Recipe(rotation=0, shear=0, zoom=0, shift=0, elastic=0, blur=0, flip=1.0)
        images = torch.rand(3, 1, 8, 8, generator=seeded())
        torch.testing.assert_close(Augment(recipe, seeded())(images), images.flip(3), atol=1e-5, rtol=0)

    def test_colour_stays_in_range_and_grey_is_grey(self):
        images = torch.rand(40, 3, 8, 8, generator=seeded())
        views = Augment(Recipe(colour=1.0, grey=1.0), seeded())(images)
        assert views.min() >= 0 and views.max() <= 1
        torch.testing.assert_close(views[:, 0], views[:, 2])
