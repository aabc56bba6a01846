"""The types in which Python code may pass a photograph: paths, Pillow images, arrays, tensors."""

import math
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from PIL import Image

from gancolor.color.arrays import Array, array_namespace
from gancolor.inference.image_files import Picture, from_pil, read_picture
from gancolor.inference.image_files.metadata import upright_exif
from gancolor.utils.errors import InputError
from gancolor.utils.words import counted

FEW, SLACK = 0.01, 0.1  # floats are taken for 0 to 1 if few of them are farther outside than this


def is_tensor(given: Any) -> TypeGuard[Array]:
    """Return whether this is a PyTorch tensor, without importing PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)


def as_picture(given: Any) -> Picture:
    """Convert a photograph of any type except tensors to a `Picture`.

    Raises:
        InputError: it can't be read, or is not a picture.
    """
    if isinstance(given, Picture):
        return given
    if isinstance(given, str | os.PathLike):
        return read_picture(os.fsdecode(given))
    if isinstance(given, Image.Image):
        return from_pil(given)
    if not isinstance(given, np.ndarray):
        raise InputError(f"a {type(given).__name__} is not a picture; give a path, Pillow image, array or tensor")
    pixels = np.asarray(given)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    check_shape(pixels.shape, pixels.shape[-1] if pixels.ndim == 3 else 0)
    if pixels.dtype.kind == "f":
        pixels = clipped(pixels).astype(np.float32, copy=False)
    elif pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    else:
        raise InputError(f"an array of {pixels.dtype} is not supported; give uint8, uint16, or floats in 0 to 1")
    colours = 3 if pixels.shape[-1] >= 3 else 1
    alpha = pixels[..., colours:] if pixels.shape[-1] > colours else None
    return Picture(pixels[..., :colours], alpha)


def as_given(given: Any, coloured: Picture) -> Any:
    """Return the coloured photograph in the type of the input."""
    if isinstance(given, Image.Image):
        image = coloured.pil()
        image.info = {name: value for name, value in given.info.items() if name == "dpi"}
        if given.getexif():
            image.info["exif"] = upright_exif(given.getexif(), *coloured.size)
        return image
    if isinstance(given, np.ndarray):
        pixels = coloured.pixels
        if coloured.alpha is not None:
            pixels = np.concatenate([pixels, coloured.alpha], axis=-1)
        return pixels.astype(given.dtype, copy=False)
    return coloured


def check_tensor(given: Array) -> None:
    """Raise InputError unless the tensor is a picture or a batch of pictures."""
    check_shape(given.shape, given.shape[-3] if given.ndim in (3, 4) else 0)
    kind = str(given.dtype).removeprefix("torch.")
    if kind not in ("uint8", "uint16") and not given.is_floating_point():
        raise InputError(f"a tensor of {kind} is not supported; give uint8, uint16, or floats in 0 to 1")


def check_shape(shape: Sequence[int], channels: int) -> None:
    """Raise InputError unless the shape is that of a picture."""
    if channels not in (1, 2, 3, 4) or 0 in shape[-3:]:
        raise InputError(
            f"the shape {tuple(shape)} is not that of a picture; arrays are (H, W, C), tensors (C, H, W), with 1 to 4 "
            "channels"
        )


def clipped(floats: Array) -> Array:
    """Return floats clipped to [0, 1], NaN as 0. A warning says how many were outside.

    Raises:
        InputError: the floats have another range: more than 1 % of them are far outside, or none is finite.
    """
    xp = array_namespace(floats)
    if float(xp.min(floats)) >= 0 and float(xp.max(floats)) <= 1:
        return floats
    finite = xp.isfinite(floats)
    there = floats[finite]
    far = (there < -SLACK) | (there > 1 + SLACK)
    if not len(there) or int(xp.count_nonzero(far)) > FEW * len(there):
        least, most = (float(xp.min(there)), float(xp.max(there))) if len(there) else (math.nan, math.nan)
        raise InputError(f"floats from {least:g} to {most:g} are out of range; give values in 0 to 1, or uint8")
    outside = int(xp.count_nonzero(~((floats >= 0) & (floats <= 1))))
    warnings.warn(f"the picture: {counted(outside, 'sample')} outside 0 to 1, or not finite, clipped", stacklevel=2)
    return xp.where(xp.isnan(floats), xp.zeros_like(floats), xp.clip(floats, 0, 1))
