"""Conversion of one image, given as a file, a PIL image, an array or a tensor, to (H, W, C) uint8.

In two steps: `read_image` or `to_pil` returns a PIL image without changing its pixels, `to_pixels` converts that.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from npgen.corpus.checks import checked_images
from npgen.corpus.values import scaled

Mode = Literal["grey", "rgb"]

# Formats that are not read: Pillow needs other programs for them, or only knows that they exist.
_FOREIGN = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})
# Formats that are recognised by their first bytes, whatever the file's name; others have too few that are fixed.
_MARKED = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "PPM", "PSD", "QOI", "ICNS", "DDS")
# Pillow's method that turns an image upright, by the value of the Exif tag Orientation.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Items of a PIL image's `info` that may hold an orientation.
_METADATA = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
# Key of `info` of an image that was turned upright.
TURNED = "npgen-turned"
# Formats whose images of Pillow's 32-bit mode I hold 16-bit numbers.
_SIXTEEN = ("PPM", "PNG")


@cache
def readable_formats() -> tuple[str, ...]:
    """Return the names of the formats that files are read in: all that this Pillow can decode by itself."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - _FOREIGN))


@cache
def image_suffixes() -> frozenset[str]:
    """Return the endings of file names, in lower case, that stand for a readable format."""
    formats = {*readable_formats(), "MPO"}
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def is_image(path: Path) -> bool:
    """Return whether a file is an image: by the ending of its name, else by its first bytes."""
    if path.suffix.lower() in image_suffixes():
        return True
    try:
        marked = [name for name in _MARKED if name in readable_formats()]
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=marked):
            return True
    except Exception:  # decoders raise exceptions of all kinds at what is no image
        return False


def read_image(path: Path, left_out: Callable[[int], None] = lambda frames: None) -> Image.Image:
    """Decode an image file.

    Parameters
    ----------
    path
        File to read; of several frames or pages, the first.
    left_out
        Called with the number of further frames or pages of the file, if there are any.

    Returns
    -------
    Image.Image
        Decoded completely, and turned upright if its Exif data describe a rotation; `format` is that of the file.

    Raises
    ------
    ValueError
        If it cannot be decoded.
    """
    try:
        # Pillow warns of much that viewers pass over; a warning must not end a build.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=readable_formats()) as image:
            name, frames = image.format, _frames(image)
            image.load()
            found = upright(image)
        found.format = name
    except MemoryError:
        raise
    except Exception as error:  # decoders raise exceptions of all kinds at a broken file
        raise ValueError(f"{path} must be an image that can be read: {error}") from error
    if frames > 1:
        left_out(frames - 1)
    return found


def _frames(image: Image.Image) -> int:
    """Return the number of frames or pages of an image file; a JPEG's further images are previews, and don't count."""
    if image.format == "MPO":
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # later frames may be broken while the first can be read
        return 1


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its Exif data say. As in viewers, data that can't be read say nothing.

    Parameters
    ----------
    image
        Any PIL image.

    Returns
    -------
    Image.Image
        The image itself if it is upright; else a turned copy, without the data that describe its rotation.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # malformed data raise errors of all kinds
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if method is None:
        return image
    turned = image.transpose(method)
    for name in _METADATA:
        turned.info.pop(name, None)
    turned.info[TURNED] = True
    turned.format = image.format
    return turned


def to_pil(image: Any, where: str, white: float | None = None) -> Image.Image:
    """Convert any kind of image to a PIL image, without changing its pixels unless `white` is given.

    Parameters
    ----------
    image
        A PIL image, an (H, W) or (H, W, C) array of booleans or whole numbers from 0 to 255, or an (H, W) or (C, H, W)
        tensor, bool, uint8 or float from 0 to 1.
    where
        Name of the image for messages.
    white
        The value that stands for white; None takes 1 for tensors of floats, and grey levels as they are in all else.

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
        return _rescaled(upright(image), where, white)
    torch = sys.modules.get("torch")  # where torch was not imported, there are no tensors
    if torch is not None and isinstance(image, torch.Tensor):
        array, white = _tensor_array(image, where, white)
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise TypeError(f"{where} must be a PIL image, an array or a tensor, got {type(image).__name__}")
    try:
        array = checked_images(array[np.newaxis], white)[0]  # (H, W, C)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{where}: {error}") from error
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def _tensor_array(tensor: Any, where: str, white: float | None) -> tuple[npt.NDArray[Any], float | None]:
    """Return a tensor as an array (H, W) or (H, W, C), and the value that stands for white in it."""
    shape = tuple(tensor.shape)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        hint = "; move the channels first" if len(shape) == 3 and shape[2] in (1, 3) else ""
        raise ValueError(f"{where} must be a tensor (H, W), (1, H, W) or (3, H, W), got shape {shape}{hint}")
    if tensor.is_complex():
        raise TypeError(f"{where} must be a tensor of real numbers, got {tensor.dtype}")
    tensor = tensor.detach().cpu()
    array = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    if array.dtype.kind == "f" and white is None:  # torchvision's convention: floats run from 0 to 1
        if not (array.size and array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                f"{where} must be uint8, or float from 0 to 1 as torchvision makes it, got values from "
                f"{array.min(initial=np.inf)} to {array.max(initial=-np.inf)}; leave out Normalize"
            )
        white = 1.0
    return array.transpose(1, 2, 0) if array.ndim == 3 else array, white


def _rescaled(image: Image.Image, where: str, white: float | None) -> Image.Image:
    """Scale the values of a PIL image so that `white` becomes 255; palettes and transparency have a range of their own.

    Colour is kept; without `white`, nothing is changed.
    """
    if white is None or not (image.mode in ("L", "RGB", "I", "F") or image.mode.startswith("I;16")):
        return image
    try:
        pixels = scaled(np.asarray(image), white)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    found = Image.fromarray(pixels)
    found.format, found.info = image.format, dict(image.info)
    return found


def largest_value(image: Any) -> float | None:
    """Return the largest value of an image whose values are doubtful where all are 0 or 1; None of all other images.

    Booleans and 1-bit images, palettes, transparency, 16-bit files and tensors of floats have a range of their own.
    """
    if isinstance(image, Image.Image):
        if image.mode not in ("L", "RGB"):
            return None
        extrema = np.asarray(image.getextrema())
        return float(extrema.max())
    if isinstance(image, np.ndarray):
        return float(image.max()) if image.dtype.kind in "uif" and image.size else None
    floating = getattr(image, "is_floating_point", None)  # a tensor
    if floating is None or floating() or image.is_complex() or not image.numel() or "bool" in str(image.dtype):
        return None
    return float(image.max())


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


def to_pixels(
    image: Image.Image,
    mode: Mode,
    size: tuple[int, int] | None,
    where: str,
    converted: Callable[[str], None] = lambda how: None,
) -> npt.NDArray[np.uint8]:
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
    converted
        Called with the name of each conversion that changes the pixels.

    Returns
    -------
    np.ndarray
        (H, W, C) uint8.

    Raises
    ------
    ValueError
        If its pixels are 32-bit integers or floats, whose range is not defined, or Pillow can't convert them.
    """
    deep = image.mode.startswith("I;16")
    if image.mode == "I" and image.format in _SIXTEEN:
        low, high = np.asarray(image.getextrema(), np.float64).reshape(-1)
        deep = bool(low >= 0 and high <= 65535)
    if deep:
        converted("16 bits scaled to 8")
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(
            f"{where} must have 8 or 16 bits per channel, got Pillow mode {image.mode!r}; --white VALUE scales it "
            "(white=VALUE)"
        )
    target = "L" if mode == "grey" else "RGB"
    try:
        if image.has_transparency_data:
            converted("transparent parts laid over white")
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        if image.mode != target:
            converted(f"{image.mode} to {target}")
            image = (image.convert("RGB") if image.mode == "LAB" else image).convert(target)
    except ValueError as error:
        raise ValueError(f"{where} must be of a mode that Pillow converts to {mode}, got {image.mode!r}") from error
    if size is not None and image.size != (size[1], size[0]):
        converted(f"resized to {size[0]}x{size[1]}")
        image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., np.newaxis]  # (H, W, C)
