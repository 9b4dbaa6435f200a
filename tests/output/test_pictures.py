"""Pictures put together, and PNG files."""

import numpy as np
import pytest
from PIL import Image

from npgen.output import enlarged, labelled_rows, read_provenance, save_png, side_by_side, stacked


@pytest.fixture
def black():
    return Image.new("RGB", (3, 2)), Image.new("RGB", (5, 4))


def test_pictures_below_each_other(black):
    sheet = np.asarray(stacked(black, gap=1))  # (H, W, 3)
    expected = np.full((7, 5), 255)
    expected[:2, :3] = expected[3:] = 0
    np.testing.assert_array_equal(sheet, expected[:, :, None].repeat(3, 2))


def test_pictures_beside_each_other(black):
    sheet = np.asarray(side_by_side(black, gap=1))
    expected = np.full((4, 9), 255)
    expected[:2, :3] = expected[:, 4:] = 0
    np.testing.assert_array_equal(sheet, expected[:, :, None].repeat(3, 2))


def test_an_enlarged_image_has_squares_for_pixels():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    large = enlarged(image, 4)
    assert large.shape == (8, 12, 3)
    np.testing.assert_array_equal(large[::4, ::4], image.repeat(3, 2))
    np.testing.assert_array_equal(large[3::4, 3::4], image.repeat(3, 2))


def test_labelled_rows_have_one_row_per_name():
    images = np.zeros((20, 4, 4, 1), np.uint8)
    sheet = labelled_rows({"one": images, "two": images[:3]}, scale=1)
    assert sheet.size == (12 * 6 + 2, 2 * (18 + 8))


@pytest.mark.parametrize("provenance", [{"seed": 1}, [{"seed": 1}, {"seed": 2}]])
def test_a_png_file_carries_its_provenance(tmp_path, black, provenance):
    save_png(black[0], tmp_path / "a.png", provenance, dpi=300)
    assert read_provenance(tmp_path / "a.png") == tuple(provenance if isinstance(provenance, list) else [provenance])
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3, 2) and round(picture.info["dpi"][0]) == 300
