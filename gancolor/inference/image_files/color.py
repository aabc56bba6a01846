"""Conversion of colour spaces to sRGB, by libvips."""

from functools import lru_cache

import numpy as np
import pyvips

from gancolor.inference.image_files.samples import from_array

LONGEST_REMEMBERED = 2**16  # bytes of a profile; others, such as a printer's tables, may have many megabytes


def to_srgb(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    """Convert to grey or sRGB in 8 or 16 bits; alpha is kept."""
    deep = image.format != "uchar"
    cmyk = image.interpretation == "cmyk"
    if cmyk or (profile and not _is_srgb(profile)):
        try:
            options = {"embedded": True} if profile else {"input_profile": "cmyk"}
            colours = image.extract_band(0, n=4) if cmyk else image
            colours = colours.icc_transform("srgb", depth=16 if deep else 8, intent="relative", **options)
            # libvips would make the alpha of CMYK in 16 bits opaque.
            return colours.bandjoin(image[4]) if cmyk and image.bands > 4 else colours
        except pyvips.Error:  # the profile does not fit the picture: ignore it
            pass
    grey = image.interpretation in ("b-w", "grey16") or image.bands <= 2
    return image.colourspace(
        {(False, False): "srgb", (False, True): "rgb16", (True, False): "b-w", (True, True): "grey16"}[grey, deep]
    )


def _is_srgb(profile: bytes) -> bool:
    return (_remembered if len(profile) <= LONGEST_REMEMBERED else _leaves_srgb)(profile)


def _leaves_srgb(profile: bytes) -> bool:
    """Return whether a profile leaves sRGB unchanged, judged by its effect on greys and primaries, not by its name."""
    colours = [[level] * 3 for level in range(0, 256, 15)] + [[255, 0, 0], [0, 255, 0], [0, 0, 255], [120, 60, 200]]
    patches = np.array([colours], np.uint8)
    image = from_array(patches).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        moved = image.icc_transform("srgb", embedded=True, intent="relative").numpy().astype(int) - patches
    except pyvips.Error:  # a profile of grey or CMYK
        return False
    return bool(np.abs(moved).max() <= 1)


_remembered = lru_cache(maxsize=64)(_leaves_srgb)
