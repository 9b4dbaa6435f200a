"""One image of any kind to pixels. Files of all modes are built in test_build_folders.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from npgen.corpus.decode import plain_mode, read_image, to_pil, to_pixels

GREY = np.arange(12, dtype=np.uint8).reshape(4, 3)
RGB = np.arange(36, dtype=np.uint8).reshape(4, 3, 3)


@pytest.mark.parametrize("pixels", [GREY, RGB])
def test_arrays_and_tensors_are_the_same_image(pixels: np.ndarray) -> None:
    channels_first = torch.from_numpy(pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())
    given = [pixels, pixels.astype(float), channels_first, channels_first.double() / 255, Image.fromarray(pixels)]
    for image in given:
        converted = to_pil(image, "it")
        assert plain_mode(converted) == ("grey" if pixels.ndim == 2 else "rgb")
        np.testing.assert_array_equal(np.asarray(converted), pixels)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("it.png", TypeError, "it must be a PIL image, an array or a tensor, got str"),
        (np.zeros((2, 2, 2)), ValueError, r"it: images must be \(N, H, W\)"),
        (np.full((2, 2), 0.5), ValueError, "it: images must be whole numbers"),
        (
            torch.full((1, 2, 2), 1.5),
            ValueError,
            "it must be uint8, or float from 0 to 1 .*, got values from 1.5 to 1.5",
        ),
        (torch.zeros(1, 0, 2), ValueError, "it must be uint8, or float from 0 to 1 .*, got values from inf to -inf"),
        (torch.zeros(0), ValueError, r"it must be a tensor \(H, W\), \(1, H, W\) or \(3, H, W\), got shape \(0,\)"),
        (torch.zeros(4, 5, 3), ValueError, r"it must be a tensor .*, got shape \(4, 5, 3\); move the channels first"),
        (
            torch.zeros(4, 5, dtype=torch.complex64),
            TypeError,
            "it must be a tensor of real numbers",
        ),
    ],
)
def test_other_images_are_named(image: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_pil(image, "it")


def test_pixels_have_the_mode_and_size_asked_for() -> None:
    grey = to_pixels(Image.fromarray(RGB), "grey", None, "it")
    assert grey.shape == (4, 3, 1)
    assert to_pixels(Image.fromarray(GREY), "rgb", (8, 5), "it").shape == (8, 5, 3)
    np.testing.assert_array_equal(to_pixels(Image.fromarray(RGB), "rgb", (4, 3), "it"), RGB)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "I;16", "1", "CMYK", "F"])
def test_all_other_modes_need_a_conversion(mode: str) -> None:
    assert plain_mode(Image.new(mode, (3, 4))) is None


def test_transparency_is_laid_over_white_and_depth_is_scaled() -> None:
    assert to_pixels(Image.new("RGBA", (1, 1), (10, 20, 30, 0)), "rgb", None, "it").tolist() == [[[255] * 3]]
    assert to_pixels(Image.fromarray(np.full((1, 1), 65535, np.uint16)), "grey", None, "it").tolist() == [[[255]]]
    with pytest.raises(ValueError, match="it must have 8 or 16 bits per channel, got Pillow mode 'F'"):
        to_pixels(Image.new("F", (1, 1)), "grey", None, "it")


def test_a_file_that_is_not_an_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.png must be an image that can be read: "):
        read_image(path)
