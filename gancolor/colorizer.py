"""The public inference object: any photograph in, the same photograph in colour out."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from gancolor import lab
from gancolor.box import default_generator
from gancolor.errors import InputError
from gancolor.joining import join, join_batch
from gancolor.lab import AB_RANGE, L_HALF_RANGE, Array
from gancolor.pictures import Picture, from_pil, read_picture, shrink
from gancolor.runtimes import Runtime, open_runtime
from gancolor.upsampling import Enlarged, Upsampling, check_upsampling

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SIZE, MOST_SIZE = 16, 4096  # working sizes
STEP = 16  # pixels: the longer side is a multiple, so that photographs of nearly one shape share a batch
LONGEST = 8  # times the shorter side; panoramas beyond it are seen squeezed
BATCH = 16  # photographs of one shape predicted together


class Prediction(NamedTuple):
    """What the network saw of one photograph, and what it said.

    Attributes:
        lightness: (1, h, w) in [-1, 1].
        chroma: (2, h, w) in [-1, 1].
    """

    lightness: np.ndarray
    chroma: np.ndarray


@dataclass(frozen=True, eq=False)
class Colorizer:
    """Colours photographs: chroma is predicted on a small picture, enlarged along the photograph's edges, and joined
    with its own lightness. Other options for the same generator: `dataclasses.replace(colorizer, strength=0.5)`.

    Attributes:
        runtime: what computes the generator.
        size: shorter side of what the network sees [pixels]: larger for finer detail, smaller for bolder colour. Never
            more than the photograph's own.
        upsampling: `guided` (edges kept) or `bilinear`.
        strength: of the colour, 0 (grey) to 1 (as predicted).
        flips: predict the mirrored picture too, and take the mean.

    Raises:
        InputError: an option out of its range.
    """

    runtime: Runtime
    size: int
    upsampling: Upsampling = "guided"
    strength: float = 1.0
    flips: bool = False

    def __post_init__(self) -> None:
        check_upsampling(self.upsampling)
        if not LEAST_SIZE <= self.size <= MOST_SIZE:
            raise InputError(f"a working size of {self.size} is outside {LEAST_SIZE} to {MOST_SIZE}")
        if not 0 <= self.strength <= 1:
            raise InputError(f"a strength of {self.strength} is outside 0 to 1")

    @classmethod
    def load(
        cls, path: str | Path | None = None, *, device: str = "auto", size: int | None = None, **options: Any
    ) -> "Colorizer":
        """Of an exported generator (.safetensors, .onnx), or a run's folder.

        Args:
            path: None: the generator that comes with gancolor.
            device: auto: cuda, else mps, else cpu.
            size: None: what the generator was trained on.
            options: the other attributes.

        Raises:
            InputError: no such file, a foreign or pickled one (nothing in it is run), a newer version's, or no runtime
                for it.
        """
        runtime = open_runtime(Path(path) if path is not None else default_generator(), device)
        return cls(runtime, size or runtime.about.get("data", {}).get("size", 256), **options)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, **options: Any) -> "Colorizer":
        """As `load`, of a path, or of a repository OWNER/NAME on the Hugging Face Hub.

        Raises:
            InputError: as `load`; no such repository, or no network.
        """
        if Path(name).exists():
            return cls.load(name, **options)
        from gancolor.export.hub import download_from_hub

        return cls.load(download_from_hub(str(name), revision), **options)

    def __call__(self, picture: Any) -> Any:
        """The photograph in colour, in the kind that it came in and its size.

        Args:
            picture: a path or a `Picture` (a `Picture` comes back, to `save`); Pillow's (its kind comes back, in 8
                bits); an array (H, W), (H, W, C) or (B, H, W, C), a tensor (C, H, W) or (B, C, H, W) on any device, of
                8 or 16 bits or floats in [0, 1], C = 1 or 3, and one more for alpha; or a list of any of them. A
                photograph's own colours are not looked at.

        Raises:
            InputError: what can't be read, or is no picture.
            MemoryError: the memory is full even at the least working size.
        """
        if isinstance(picture, list | tuple):
            return self._each(picture)
        if type(picture).__module__.partition(".")[0] == "torch":
            return self._tensor(picture)
        if isinstance(picture, np.ndarray) and picture.ndim == 4:
            return np.stack(self._each(list(picture))) if len(picture) else picture
        return self._each([picture])[0]

    def _each(self, given: Sequence[Any]) -> list[Any]:
        tensors = [type(one).__module__.partition(".")[0] == "torch" for one in given]
        if any(tensors):
            return [self(one) for one in given]
        pictures = [as_picture(one) for one in given]
        predictions = self.predict([self.see(picture) for picture in pictures])
        coloured = [self.colour(*pair) for pair in zip(pictures, predictions, strict=True)]
        return [_as_given(*pair) for pair in zip(given, coloured, strict=True)]

    # What a call is made of, for those who overlap the parts: see and colour can run in any thread.

    def see(self, picture: Picture) -> np.ndarray:
        """What the network is to see of a photograph: lightness (1, h, w) in [-1, 1]."""
        height, width = working_size(picture.size, self.size)
        return _normalised(_lightness(shrink(picture.pixels, height, width).transpose(2, 0, 1) / _most(picture.pixels)))

    def predict(self, seen: Sequence[np.ndarray]) -> list[Prediction]:
        """The network's answers; those of one shape are computed together. Where the memory is full, at half the size,
        with a warning."""
        answers: list[Prediction | None] = [None] * len(seen)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for number, lightness in enumerate(seen):
            shapes.setdefault(lightness.shape, []).append(number)
        for numbers in shapes.values():
            for start in range(0, len(numbers), BATCH):
                some = numbers[start : start + BATCH]
                for number, answer in zip(some, self._predict(np.stack([seen[n] for n in some])), strict=True):
                    answers[number] = answer
        return answers  # type: ignore[return-value]

    def colour(self, picture: Picture, prediction: Prediction) -> Picture:
        """The photograph with the network's colours."""
        enlarged = self._enlarged(prediction.lightness, prediction.chroma, *picture.size)
        return picture.with_pixels(join(picture.pixels, enlarged))

    def _predict(self, lightness: np.ndarray) -> list[Prediction]:
        try:
            return [Prediction(*pair) for pair in zip(lightness, self._forward(lightness), strict=True)]
        except MemoryError:
            if len(lightness) > 1:
                half = len(lightness) // 2
                return self._predict(lightness[:half]) + self._predict(lightness[half:])
            return self._predict(_halved(lightness))

    def _forward(self, lightness: Array) -> Array:
        chroma = self.runtime(lightness)
        if self.flips:
            xp = lab.array_namespace(lightness)
            chroma = (chroma + xp.flip(self.runtime(xp.flip(lightness, axis=-1)), axis=-1)) / 2
        return chroma

    def _enlarged(self, lightness: Array, chroma: Array, height: int, width: int) -> Enlarged:
        chroma = chroma * (AB_RANGE * self.strength)
        return Enlarged(chroma, (lightness + 1) * L_HALF_RANGE, height, width, self.upsampling)

    def _tensor(self, given: "Tensor") -> "Tensor":
        """A tensor stays on its device from end to end."""
        import torch
        from torch.nn.functional import interpolate

        check_shape(given.shape[-3:], given.shape[-3] if given.ndim in (3, 4) else 0)
        most = 1 if given.is_floating_point() else torch.iinfo(given.dtype).max
        pictures = (given if given.ndim == 4 else given[None]).to(torch.float32) / most
        colours = 3 if pictures.shape[1] >= 3 else 1
        check_range(float(pictures.min()), float(pictures.max()))
        pictures, alpha = pictures[:, :colours], pictures[:, colours:]
        height, width = pictures.shape[-2:]
        small = interpolate(pictures, working_size((height, width), self.size), mode="bilinear", antialias=True)
        seen = _normalised(_lightness(small))
        chroma = None
        while chroma is None:
            try:
                chroma = self._forward(seen)
            except MemoryError:
                seen = _halved(seen)
        coloured = join_batch(pictures, self._enlarged(seen, chroma, height, width))
        coloured = torch.cat([coloured, alpha], dim=1) * most
        coloured = (coloured if most == 1 else coloured.round()).to(given.dtype)
        return coloured if given.ndim == 4 else coloured[0]


def working_size(photograph: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width of what the network sees of a photograph of this height and width: its shorter side is `size`,
    or the photograph's if that is less."""
    short, long = sorted(photograph)
    small = max(LEAST_SIZE, min(size, short))
    large = max(small, round(min(small * long / short, small * LONGEST) / STEP) * STEP)
    return (small, large) if photograph[0] <= photograph[1] else (large, small)


def as_picture(given: Any) -> Picture:
    """A photograph of any kind but tensors.

    Raises:
        InputError: as `Colorizer.__call__`.
    """
    if isinstance(given, Picture):
        return given
    if isinstance(given, str | os.PathLike):
        return read_picture(os.fspath(given))
    if isinstance(given, Image.Image):
        return from_pil(given)
    if not isinstance(given, np.ndarray):
        raise InputError(f"a {type(given).__name__} is no picture; give a path, a Pillow image, an array or a tensor")
    pixels = given[..., None] if given.ndim == 2 else given
    check_shape(pixels.shape, pixels.shape[-1] if pixels.ndim == 3 else 0)
    if pixels.dtype.kind == "f":
        check_range(float(pixels.min()), float(pixels.max()))
        pixels = pixels.astype(np.float32, copy=False)
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an array of {pixels.dtype}; give uint8, uint16, or floats in 0 to 1")
    colours = 3 if pixels.shape[-1] >= 3 else 1
    alpha = pixels[..., colours:] if pixels.shape[-1] > colours else None
    return Picture(pixels[..., :colours], alpha)


def check_shape(shape: Sequence[int], channels: int) -> None:
    """Raises InputError: not the shape of a picture."""
    if channels not in (1, 2, 3, 4) or 0 in shape:
        raise InputError(
            f"the shape {tuple(shape)} is no picture's; arrays are (H, W, C), tensors (C, H, W), with 1 to 4 channels"
        )


def check_range(least: float, most: float) -> None:
    """Raises InputError: floats that are not in 0..1."""
    if not (least >= 0 and most <= 1):
        raise InputError(f"floats from {least:g} to {most:g}; give values in 0 to 1, or uint8")


def _as_given(given: Any, coloured: Picture) -> Any:
    if isinstance(given, Image.Image):
        image = coloured.pil()
        image.info = {name: value for name, value in given.info.items() if name == "dpi"}
        if exif := given.getexif():
            exif[0x0112] = 1  # upright, as the pixels are now
            image.info["exif"] = exif.tobytes()
        return image
    if isinstance(given, np.ndarray):
        pixels = (
            coloured.pixels if coloured.alpha is None else np.concatenate([coloured.pixels, coloured.alpha], axis=-1)
        )
        return pixels.astype(given.dtype, copy=False)
    return coloured


def _lightness(rgb: Array) -> Array:
    """L in 0..100 (..., 1, H, W) of (..., 1 or 3, H, W) in [0, 1]."""
    linear = lab.decode(rgb)
    y = lab.luminance(linear)[..., None, :, :] if rgb.shape[-3] == 3 else linear
    return lab.lightness(lab.f(y))


def _normalised(lightness: Array) -> Array:
    return lightness / L_HALF_RANGE - 1


def _most(pixels: np.ndarray) -> int:
    return int(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1


def _halved(lightness: Array) -> Array:
    """Lightness (B, 1, h, w) at half the working size, with a warning.

    Raises:
        MemoryError: it is the least already.
    """
    height, width = lightness.shape[-2] // 2, lightness.shape[-1] // 2
    if min(height, width) < LEAST_SIZE:
        raise MemoryError("the memory is full even at the least working size")
    warnings.warn(f"the memory is full: predicting colour at {width} x {height}, half the working size", stacklevel=4)
    even = lightness[..., : 2 * height, : 2 * width]
    return (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4
