"""HEIC: libvips reads its header and metadata, but its wheels have no decoder of HEVC, which pillow-heif has."""

import io
import os
from pathlib import Path

import numpy as np
import pyvips

from gancolor.inference.image_files.formats import DAMAGED
from gancolor.inference.image_files.metadata import KEPT
from gancolor.inference.image_files.samples import from_array
from gancolor.utils.errors import InputError

ADVICE = "HEIC needs a decoder: pip install 'gancolor[heif]', or convert it to JPEG or PNG"


def is_hevc(image: pyvips.Image) -> bool:
    """Return whether this is a HEIC file, which has the container of AVIF."""
    return bool(image.get_typeof("heif-compression")) and image.get("heif-compression") == "hevc"


def decode_hevc(header: pyvips.Image, source: str | Path | bytes) -> pyvips.Image:
    """Decode the file whose header was read, upright, in 8 or 16 bits.

    Raises:
        InputError: there is no decoder, or the file is damaged. The message doesn't name the file.
    """
    try:
        import pillow_heif
    except ImportError:
        try:
            return header.copy_memory()  # other builds of libvips have a decoder
        except pyvips.Error:
            raise InputError(ADVICE) from None
    try:
        file = pillow_heif.open_heif(
            io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source), convert_hdr_to_8bit=False
        )
        pixels = np.asarray(file[file.primary_index])
    except (EOFError, OSError, RuntimeError, SyntaxError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"not a readable picture ({DAMAGED if 'file bounds' in reason else reason})") from None
    image = from_array(pixels if pixels.ndim == 3 else pixels[..., None]).copy()
    for name in header.get_fields():
        if name.startswith((*KEPT, "icc-profile-data", "n-pages")):
            image.set_type(header.get_typeof(name), name, header.get(name))
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)  # the decoder has turned it, whatever its EXIF says
    return image
