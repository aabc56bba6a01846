"""Reading and writing of photographs: files of many formats and bit depths, Pillow images and arrays, as sRGB pixels
with their metadata. libvips reads and writes (16 bits, profiles, metadata). Nothing here depends on networks."""

import pyvips

from gancolor.inference.image_files.picture import QUALITY, SAVERS, Picture, check_format
from gancolor.inference.image_files.reading import (
    MOST_MEGAPIXELS,
    TooManyPixelsError,
    decoded_bytes,
    from_pil,
    read_picture,
)
from gancolor.inference.image_files.samples import resize

__all__ = [
    "MOST_MEGAPIXELS",
    "QUALITY",
    "SAVERS",
    "Picture",
    "TooManyPixelsError",
    "check_format",
    "decoded_bytes",
    "from_pil",
    "read_picture",
    "resize",
]

pyvips.cache_set_max(0)  # no cache of operations: every photograph is read once
# libvips's errors quote file names and bytes of damaged files, in one buffer for all threads. pyvips decodes it
# strictly, so that one damaged file could make any later operation raise UnicodeDecodeError.
pyvips.error._to_string = lambda text: pyvips.ffi.string(text).decode(errors="replace")
