"""Colouring for the demo page, independent of Gradio: several systems, with cached predictions."""

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

import gancolor.inference.spreading  # noqa: F401 - so that the first hint does not wait for scipy's import
from gancolor.choices import ChromaUpsampling
from gancolor.demo.suggestions import suggest_colors
from gancolor.inference.backends import generator_name
from gancolor.inference.colorizer import ChromaPrediction, Colorizer
from gancolor.inference.hints import Hint
from gancolor.inference.image_files import MOST_MEGAPIXELS, SAVERS, Picture, read_picture, resize
from gancolor.inference.variants import alternatives
from gancolor.utils.errors import InputError
from gancolor.utils.words import safe_name

PAGE_SIDE = 1600  # longer side of shown pictures [pixels]: a wide page at two pixels per point
SIZES = (64, 128, 192, 256, 384, 512, 768, 1024)  # working sizes to choose from
VARIANTS, THUMBNAIL = 6, 240  # most variants of a photograph, and the longer side of their pictures [pixels]
KEPT = 16  # cached page-size photographs and predictions; one full photograph is cached, as it can take gigabytes
COLOURED = 1.0  # mean of max(R, G, B) - min(R, G, B), of 255, above which a photograph has colour
NO_COLOUR = ChromaPrediction(np.zeros((1, 16, 16), np.float32), np.zeros((2, 16, 16), np.float32))


@dataclass(frozen=True)
class DemoOptions:
    """How a photograph is coloured; see `Colorizer`.

    Attributes:
        size: working size, one of SIZES; 0: each system's own, as in training.
        hints: in the pixels of the full photograph.

    Raises:
        InputError: another working size.
    """

    size: int = 0
    strength: float = 1.0
    upsampling: ChromaUpsampling = "guided"
    flips: bool = False
    hints: tuple[Hint, ...] = ()

    def __post_init__(self) -> None:
        if self.size not in (0, *SIZES):
            raise InputError(f"{self.size!r} is not one of this page's working sizes")


class Systems:
    """Colorizers by name (at least one), with a cache of recent photographs and predictions.

    `megapixels` is the largest size of a photograph. Photographs are files; error messages leave out their path. All
    methods raise InputError if a file is not a picture, is damaged or too large.

    Attributes:
        turn: a lock to hold while calling methods; without it, concurrent threads each decode a photograph.
    """

    def __init__(self, colorizers: dict[str, Colorizer], megapixels: int = MOST_MEGAPIXELS) -> None:
        self.colorizers = colorizers
        self.turn = threading.Lock()
        self._photograph = lru_cache(1)(lambda file: _read(file, megapixels))
        self._small = lru_cache(KEPT)(lambda file: _shrunk(self._photograph(file)))
        self._prediction = lru_cache(KEPT)(self._predict)

    def before(self, file: Path) -> tuple[Picture, Picture | None]:
        """Return the photograph in grey and, if it had colour, the original, at the page's size."""
        small = self._small(file)
        grey = replace(next(iter(self.colorizers.values())), strength=0).colour(small, NO_COLOUR)
        return grey, small if np.ptp(small.pixels, axis=-1).mean() > COLOURED else None

    def after(self, file: Path, name: str, options: DemoOptions) -> Picture:
        """Return the photograph as coloured by one system, at the page's size."""
        return self._with(name, options).colour(self._small(file), self._predicted(file, name, options))

    def finished(self, file: Path, name: str, options: DemoOptions) -> Picture:
        """Return the photograph as coloured by one system, at full size, with its bit depth and metadata."""
        return self._with(name, options).colour(self._photograph(file), self._predicted(file, name, options))

    def size(self, file: Path) -> tuple[int, int]:
        """Return the full photograph's height and width."""
        return self._photograph(file).size

    def suggestions(self, file: Path, name: str, options: DemoOptions, x: float, y: float) -> list[str]:
        """Suggest colours for a place of the full photograph: "#rrggbb", the likeliest first; see `suggest_colors`."""
        height, width = self.size(file)
        lightness, chroma = self._predicted(file, name, replace(options, hints=()))
        rows, columns = lightness.shape[-2:]
        row, column = (int(y) + 0.5) / height * rows, (int(x) + 0.5) / width * columns
        return suggest_colors(lightness[0], chroma, int(row), int(column))

    def has_variants(self, name: str) -> bool:
        """Return whether `variants` works with this system."""
        return self.colorizers[name].backend.has_distribution

    def variants(self, file: Path, name: str, options: DemoOptions) -> list[tuple[Picture, list[Hint]]]:
        """Return small pictures of several plausible colourings of the photograph, and the hints that they have."""
        small, found = self._small(file), alternatives(self._with(name, options), self._photograph(file))[:VARIANTS]
        share = min(1, THUMBNAIL / max(small.size))
        height, width = (max(1, round(side * share)) for side in small.size)
        thumbnail = Picture(_in_8_bits(small.pixels, height, width))
        wanted = [replace(options, hints=tuple(hints)) for hints in found]
        pictures = [self._with(name, each).colour(thumbnail, self._predicted(file, name, each)) for each in wanted]
        return list(zip(pictures, found, strict=True))

    def _predicted(self, file: Path, name: str, options: DemoOptions) -> ChromaPrediction:
        return self._prediction(file, name, options.size, options.flips, options.hints)

    def _predict(self, file: Path, name: str, size: int, flips: bool, hints: tuple[Hint, ...]) -> ChromaPrediction:
        colorizer = self._with(name, DemoOptions(size, flips=flips))
        return colorizer.predict([colorizer.see(self._photograph(file), hints)])[0]

    def _with(self, name: str, options: DemoOptions) -> Colorizer:
        colorizer = self.colorizers[name]
        return replace(
            colorizer,
            size=options.size or colorizer.size,
            strength=options.strength,
            upsampling=options.upsampling,
            flips=options.flips,
        )


def system_names(paths: Sequence[Path]) -> list[str]:
    """Give each checkpoint a different name; see `generator_name`."""
    names: list[str] = []
    for name in map(generator_name, paths):
        same = sum(name == other.rpartition(" (")[0] or name == other for other in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return names


def message_of(error: Exception) -> str:
    """Return an error's message for the page."""
    if isinstance(error, MemoryError):
        return "The memory is full; choose a smaller working size, or a smaller photograph."
    return str(error)


def download_name(file: Path, name: str, kind: str) -> str:
    """Return a file name for a coloured photograph that is safe on any system, whatever the names it is made of.

    Args:
        kind: a suffix. Empty: the upload's own if it can be written, else .png.
    """
    suffix = kind or (file.suffix.lower() if file.suffix.lower() in SAVERS else ".png")
    return f"{safe_name(file.stem, 80) or 'photograph'}_{safe_name(name, 40) or 'colour'}{suffix}"


def _read(file: Path, megapixels: int) -> Picture:
    if not file.is_file():
        raise InputError(f"{file.name} is no longer kept here; upload it again")
    try:
        picture = read_picture(file, megapixels)
        if picture.pages > 1:
            warnings.warn(f"{file}: {picture.pages_note}", stacklevel=2)
        return picture
    except InputError as error:
        raise InputError(str(error).replace(str(file), file.name)) from None


def _shrunk(picture: Picture) -> Picture:
    """Reduce a picture to the page's size, 8 bits and no metadata."""
    share = min(1, PAGE_SIDE / max(picture.size))
    height, width = (max(1, round(side * share)) for side in picture.size)
    alpha = None if picture.alpha is None else _in_8_bits(picture.alpha, height, width)
    return Picture(_in_8_bits(picture.pixels, height, width), alpha)


def _in_8_bits(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    small = resize(pixels, height, width) * (255 / np.iinfo(pixels.dtype).max)
    return np.clip(small + 0.5, 0, 255).astype(np.uint8)
