"""One image from anywhere (a file, a PIL image, an array, a tensor) to (H, W, C) uint8."""

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


def read_picture(path: Path) -> Image.Image:
    """Decode an image file.

    Parameters
    ----------
    path
        File to read; of an animation, the first frame counts.

    Returns
    -------
    Image.Image
        Decoded completely and turned upright.

    Raises
    ------
    ValueError
        If it cannot be decoded.
    """
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture)
    except Exception as error:  # decoders raise whatever they please at a broken file
        raise ValueError(f"{path} must be an image that can be read: {error}") from error


def as_picture(image: Any, where: str) -> Image.Image:
    """Make any kind of image a PIL image, without changing its pixels.

    Parameters
    ----------
    image
        A PIL image, an (H, W) or (H, W, C) array of whole numbers from 0 to 255, or an (H, W) or (C, H, W)
        tensor, uint8 or float from 0 to 1.
    where
        What to call it in a message.

    Returns
    -------
    Image.Image
        Upright; of mode L or RGB if it was not a PIL image.

    Raises
    ------
    ValueError
        If its shape or its values are not as above.
    TypeError
        If it is none of these.
    """
    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image)
    torch = sys.modules.get("torch")  # a tensor can only come from there
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


def plain_mode(picture: Image.Image) -> Mode | None:
    """Tell whether a picture needs no conversion.

    Parameters
    ----------
    picture
        Any picture.

    Returns
    -------
    Mode or None
        "grey" or "rgb" for 8 bits per channel and nothing else; None for all other modes.
    """
    modes: dict[str, Mode] = {"L": "grey", "RGB": "rgb"}
    return modes.get(picture.mode)


def to_pixels(picture: Image.Image, mode: Mode, size: tuple[int, int] | None, where: str) -> npt.NDArray[np.uint8]:
    """Convert a picture: transparency over white, 16 bits scaled to 8.

    Parameters
    ----------
    picture
        Any picture.
    mode
        "grey" for one channel, "rgb" for three.
    size
        (H, W) to resize to, or None.
    where
        What to call it in a message.

    Returns
    -------
    np.ndarray
        (H, W, C) uint8.

    Raises
    ------
    ValueError
        If the picture's numbers have no agreed range, as 32-bit integers and floats have none.
    """
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        raise ValueError(f"{where} must have 8 or 16 bits per channel, got Pillow mode {picture.mode!r}")
    elif picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    picture = picture.convert("L" if mode == "grey" else "RGB")
    if size is not None and picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    array = np.asarray(picture)
    return array if array.ndim == 3 else array[..., np.newaxis]  # (H, W, C)
