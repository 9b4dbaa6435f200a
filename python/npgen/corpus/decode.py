"""Conversion of one image, given as a file, a PIL image, an array or a tensor, to (H, W, C) uint8.

In two steps: `read_image` or `to_pil` returns a PIL image without changing its pixels, `to_pixels` converts that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from npgen.corpus.checks import checked_images

Mode = Literal["grey", "rgb"]

IMAGE_SUFFIXES = frozenset(
    {
        ".bmp",
        ".gif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    }
)


def read_image(path: Path) -> Image.Image:
    """Decode an image file.

    Parameters
    ----------
    path
        File to read; of an animation, the first frame.

    Returns
    -------
    Image.Image
        Decoded completely, and turned upright if its Exif data describe a rotation.

    Raises
    ------
    ValueError
        If it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except Exception as error:  # decoders raise exceptions of all kinds at a broken file
        raise ValueError(f"{path} must be an image that can be read: {error}") from error


def to_pil(image: Any, where: str) -> Image.Image:
    """Convert any kind of image to a PIL image, without changing its pixels.

    Parameters
    ----------
    image
        A PIL image, an (H, W) or (H, W, C) array of whole numbers from 0 to 255, or an (H, W) or (C, H, W)
        tensor, uint8 or float from 0 to 1.
    where
        Name of the image for messages.

    Returns
    -------
    Image.Image
        Upright; of mode L or RGB if `image` is not a PIL image.

    Raises
    ------
    ValueError
        If its shape or its values are not as above.
    TypeError
        If it is none of these.
    """
    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image)
    torch = sys.modules.get("torch")  # where torch was not imported, there are no tensors
    if torch is not None and isinstance(image, torch.Tensor):
        array = image.detach().cpu().numpy()
        if array.dtype.kind == "f":  # torchvision's convention: floats run from 0 to 1
            if not (array.size and array.min() >= 0 and array.max() <= 1):
                raise ValueError(
                    f"{where} must be uint8, or float from 0 to 1 as torchvision makes it, got values from "
                    f"{array.min(initial=np.inf)} to {array.max(initial=-np.inf)}; leave out Normalize"
                )
            array = np.rint(array * 255).astype(np.uint8)
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array  # (H, W, C)
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise TypeError(f"{where} must be a PIL image, an array or a tensor, got {type(image).__name__}")
    try:
        array = checked_images(array[np.newaxis])[0]  # (H, W, C)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{where}: {error}") from error
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def plain_mode(image: Image.Image) -> Mode | None:
    """Return the mode of a PIL image that needs no conversion.

    Parameters
    ----------
    image
        Any PIL image.

    Returns
    -------
    Mode or None
        "grey" or "rgb" for plain 8-bit grey or RGB; None for images with transparency, a palette or other depths.
    """
    modes: dict[str, Mode] = {"L": "grey", "RGB": "rgb"}
    return modes.get(image.mode)


def to_pixels(image: Image.Image, mode: Mode, size: tuple[int, int] | None, where: str) -> npt.NDArray[np.uint8]:
    """Convert a PIL image to pixels: transparent parts are laid over white, 16 bits are scaled to 8.

    Parameters
    ----------
    image
        Any PIL image.
    mode
        "grey" for one channel, "rgb" for three.
    size
        (H, W) to resize to, or None.
    where
        Name of the image for messages.

    Returns
    -------
    np.ndarray
        (H, W, C) uint8.

    Raises
    ------
    ValueError
        If its pixels are 32-bit integers or floats, whose range is not defined.
    """
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"{where} must have 8 or 16 bits per channel, got Pillow mode {image.mode!r}")
    elif image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    image = image.convert("L" if mode == "grey" else "RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., np.newaxis]  # (H, W, C)
