"""The public inference API: `Colorizer` colours photographs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from gancolor.choices import MOST_STRENGTH, ChromaUpsampling
from gancolor.color import lab
from gancolor.color.arrays import Array, array_namespace
from gancolor.color.lab import AB_RANGE, L_HALF_RANGE
from gancolor.inference.backends import Backend, generator_name, memory_is_full, open_backend, trained_size
from gancolor.inference.bundled import BUNDLED, default_generator
from gancolor.inference.conversions import as_given, as_picture, check_tensor, clipped, is_tensor
from gancolor.inference.hints import Hint, draw_hints
from gancolor.inference.image_files import Picture, resize
from gancolor.inference.recombine import can_compile, recombine, recombine_batch
from gancolor.inference.upsampling import Enlarged, check_upsampling
from gancolor.inference.working_size import LEAST_SIZE, MOST_SIZE, halved, working_size
from gancolor.utils.blas import one_thread
from gancolor.utils.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

BATCH = 16  # photographs of one shape predicted together


class ChromaPrediction(NamedTuple):
    """A generator's input and output for one photograph.

    Attributes:
        lightness: (1, h, w) in [-1, 1].
        chroma: (2, h, w) in [-1, 1].
    """

    lightness: np.ndarray
    chroma: np.ndarray


@dataclass(frozen=True, eq=False)
class Colorizer:
    """Colorizer of photographs at full resolution.

    It predicts chroma at the working size, resizes it along the photograph's edges, and joins it with the photograph's
    own lightness. To change options for the same generator: `dataclasses.replace(colorizer, strength=0.5)`.

    Attributes:
        backend: backend that computes the generator.
        size: shorter side of the generator's input [pixels]; that of training is usually best. Photographs are enlarged
            at most to that of training.
        upsampling: `guided` (preserves edges) or `bilinear`.
        strength: factor on the predicted chroma: 0 (grey), 1 (as predicted) to 2 (MOST_STRENGTH).
        flips: average the predictions for the picture and its mirror image.
        compiled: join colour and lightness by a kernel that Numba compiles: faster, after half a second for loading it.
        disclosure: say in the results' files that a machine made the colours, by the generator of this `name`.

    Raises:
        InputError: an option is out of range, or Numba is needed and not installed.
    """

    backend: Backend
    size: int
    upsampling: ChromaUpsampling = "guided"
    strength: float = 1.0
    flips: bool = False
    compiled: bool = False
    disclosure: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        check_upsampling(self.upsampling)
        if not (isinstance(self.size, Integral) and LEAST_SIZE <= self.size <= MOST_SIZE):
            raise InputError(f"a working size of {self.size!r} is not a whole number from {LEAST_SIZE} to {MOST_SIZE}")
        if not (isinstance(self.strength, Real) and 0 <= self.strength <= MOST_STRENGTH):
            raise InputError(f"a strength of {self.strength!r} is outside 0 to {MOST_STRENGTH:g}")
        if self.compiled and not can_compile():
            raise InputError("compiled=True needs Numba: pip install 'gancolor[fast]'")

    @classmethod
    def load(
        cls, path: str | Path | None = None, *, device: str = "auto", size: int | None = None, **options: Any
    ) -> "Colorizer":
        """Load an exported generator (.safetensors, .onnx) or a run's folder.

        Args:
            path: the file or folder; None or "bundled": the generator that comes with gancolor.
            device: cpu, cuda, cuda:N or mps; auto: cuda, else mps, else cpu.
            size: see Attributes; None: the size that the generator was trained on.
            options: `upsampling`, `strength`, `flips`, `compiled`, `disclosure` and `name`.

        Raises:
            InputError: the file is missing, not a generator, pickled (no code in it is run), or from a newer version,
                or no backend can open it.
        """
        path = None if path is None or str(path) == BUNDLED else Path(path).expanduser()
        backend = open_backend(path or default_generator(device), device)
        options.setdefault("name", BUNDLED if path is None else generator_name(path))
        return cls(backend, trained_size(backend.about) if size is None else size, **options)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, **options: Any) -> "Colorizer":
        """Load a generator as `load` does from a path that exists or "bundled", or from a repository OWNER/NAME on the
        Hugging Face Hub.

        Raises:
            InputError: as `load`; no such repository, or no network.
        """
        if str(name) == BUNDLED or Path(name).expanduser().exists():
            return cls.load(name, **options)
        from gancolor.inference.hub import download_from_hub

        return cls.load(download_from_hub(str(name), revision), **{"name": str(name)} | options)

    @overload
    def __call__(self, picture: str | Path | Picture, hints: Sequence[Hint] = ()) -> Picture: ...
    @overload
    def __call__(self, picture: "Image", hints: Sequence[Hint] = ()) -> "Image": ...
    @overload
    def __call__(self, picture: np.ndarray, hints: Sequence[Hint] = ()) -> np.ndarray: ...
    @overload
    def __call__(self, picture: "Tensor", hints: Sequence[Hint] = ()) -> "Tensor": ...
    @overload
    def __call__(self, picture: list[Any] | tuple[Any, ...], hints: Sequence[Hint] = ()) -> list[Any]: ...
    def __call__(self, picture: Any, hints: Sequence[Hint] = ()) -> Any:
        """Return the photograph in colour, in the type and size of the input.

        Args:
            picture: a path or a `Picture` (returns a `Picture`, which has `save`); a Pillow image (returns one, in 8
                bits); an array (H, W), (H, W, C) or (B, H, W, C) or a tensor (C, H, W) or (B, C, H, W) on any device,
                with 8 or 16 bits or floats in [0, 1] and C = 1 or 3, plus 1 for alpha; or a list of any of them. The
                photograph's own colours are ignored.
            hints: colours for places of the photograph, which must be a single one. Generators need not take hints:
                what their prediction lacks is spread along the photograph's edges.

        Raises:
            InputError: the input can't be read, or is not a picture; or a hint is none, or lies outside the photograph.
            MemoryError: memory is full even at the smallest working size.
        """
        if isinstance(hints, Iterable):
            hints = list(hints)  # an iterator can be read only once
        if not isinstance(hints, list) or not all(isinstance(hint, Hint) for hint in hints):
            raise InputError("hints: give a list of gancolor.Hint, such as [Hint(120, 80, '#a03030')]")
        several = isinstance(picture, list | tuple) or getattr(picture, "ndim", 3) == 4
        if several and hints:
            raise InputError("hints belong to one photograph: give a single one with them")
        if isinstance(picture, list | tuple):
            return self._each(picture)
        if is_tensor(picture):
            return self._tensor(picture, hints)
        if several:
            return np.stack(self._each(list(picture))) if len(picture) else picture
        return self._each([picture], hints)[0]

    def _each(self, given: Sequence[Any], hints: Sequence[Hint] = ()) -> list[Any]:
        if any(is_tensor(one) for one in given):
            return [self(one) for one in given]
        pictures = [as_picture(one) for one in given]
        predictions = self.predict([self.see(picture, hints) for picture in pictures])
        coloured = [self.colour(*pair) for pair in zip(pictures, predictions, strict=True)]
        return [as_given(*pair) for pair in zip(given, coloured, strict=True)]

    # The stages of a call, for callers that overlap them: `see` and `colour` can run in any thread.

    def see(self, picture: Picture, hints: Sequence[Hint] = ()) -> np.ndarray:
        """Return the generator's input for a photograph: lightness (1, h, w) in [-1, 1]. With hints, three more planes:
        their chroma in [-1, 1] and their mask.

        Raises:
            InputError: a hint lies outside the photograph.
        """
        size = self._working_size(*picture.size)
        most = np.iinfo(picture.pixels.dtype).max if picture.pixels.dtype.kind == "u" else 1
        small = resize(picture.pixels, *size).transpose(2, 0, 1) / most
        lightness = _normalized(_lightness(small))
        return np.concatenate([lightness, draw_hints(hints, picture.size, size)]) if hints else lightness

    def predict(self, seen: Sequence[np.ndarray]) -> list[ChromaPrediction]:
        """Predict chroma from outputs of `see`, (1, h, w) or (4, h, w) each.

        Inputs of the same shape share batches. If memory is full, the batch is split; if that is not enough, the
        working size is halved with a warning.
        """
        answers: list[ChromaPrediction | None] = [None] * len(seen)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(seen):
            shapes.setdefault(one.shape, []).append(number)
        for numbers in shapes.values():
            for start in range(0, len(numbers), BATCH):
                some = numbers[start : start + BATCH]
                for number, answer in zip(some, self._predict(np.stack([seen[n] for n in some])), strict=True):
                    answers[number] = answer
        return answers  # type: ignore[return-value]

    def colour(self, picture: Picture, prediction: ChromaPrediction) -> Picture:
        """Return the photograph with the predicted colours."""
        with one_thread:
            enlarged = self._enlarged(prediction.lightness, prediction.chroma, *picture.size)
            return replace(
                picture, pixels=recombine(picture.pixels, enlarged, compiled=self.compiled), generator=self.disclosed
            )

    def _working_size(self, height: int, width: int) -> tuple[int, int]:
        return working_size((height, width), self.size, trained_size(self.backend.about))

    @property
    def disclosed(self) -> str | None:
        """Name of the generator for the results' files; None: they say nothing, or have no colour."""
        return self.name if self.disclosure and self.strength else None

    def _predict(self, seen: Array) -> list[ChromaPrediction]:
        try:
            return [ChromaPrediction(*pair) for pair in zip(seen[:, :1], self._forward(seen), strict=True)]
        except MemoryError:
            if len(seen) > 1:
                half = len(seen) // 2
                return self._predict(seen[:half]) + self._predict(seen[half:])
            return self._predict(halved(seen))

    def _forward(self, seen: Array) -> Array:
        """Return chroma (B, 2, h, w) for inputs (B, 1 or 4, h, w)."""
        xp = array_namespace(seen)
        chroma = self._ask(seen)
        if self.flips:
            chroma = (chroma + xp.flip(self._ask(xp.flip(seen, axis=-1)), axis=-1)) / 2
        if not xp.isfinite(chroma).all():
            raise InputError("the generator's output is not finite: its weights are damaged")
        if seen.shape[1] == 1:
            return chroma
        from gancolor.inference.spreading import FAR, NEAR, spread_hints  # imports scipy

        return spread_hints(seen[:, :1], chroma, seen[:, 1:], NEAR if self.backend.takes_hints else FAR)

    def _ask(self, seen: Array) -> Array:
        hints = (seen[:, 1:],) if seen.shape[1] > 1 and self.backend.takes_hints else ()
        return self.backend(seen[:, :1], *hints)

    def _enlarged(self, lightness: Array, chroma: Array, height: int, width: int) -> Enlarged:
        chroma = chroma * (AB_RANGE * self.strength)
        return Enlarged(chroma, (lightness + 1) * L_HALF_RANGE, height, width, self.upsampling)

    def _tensor(self, given: "Tensor", hints: Sequence[Hint] = ()) -> "Tensor":
        """Colour a tensor on its own device; on the CPU, as an array."""
        import torch

        check_tensor(given.detach())
        batch = given.detach() if given.ndim == 4 else given.detach()[None]
        if not len(batch):
            return given
        batch = clipped(batch) if given.is_floating_point() else batch
        if given.device.type == "cpu":
            pixels = (batch.float() if given.is_floating_point() else batch).movedim(1, -1).numpy()
            coloured = torch.from_numpy(np.stack(self._each(list(pixels), hints))).movedim(-1, 1).contiguous()
        else:
            coloured = torch.cat([self._on_device(some, hints) for some in batch.split(BATCH)])
        coloured = coloured.to(given.dtype)
        return coloured if given.ndim == 4 else coloured[0]

    def _on_device(self, batch: "Tensor", hints: Sequence[Hint] = ()) -> "Tensor":
        """Colour a batch (B, C, H, W) without leaving its device. Returns (B, 3 or 4, H, W) of the same type."""
        import torch

        from gancolor.color.torch_lab import exact

        try:
            with torch.no_grad(), exact(batch.device):
                return self._coloured_batch(batch, hints)
        except (MemoryError, RuntimeError) as error:
            if len(batch) == 1 or not (isinstance(error, MemoryError) or memory_is_full(error)):
                raise
        return torch.cat([self._on_device(some, hints) for some in batch.split(len(batch) // 2)])

    def _coloured_batch(self, batch: "Tensor", hints: Sequence[Hint]) -> "Tensor":
        import torch
        from torch.nn.functional import interpolate

        most = 1 if batch.is_floating_point() else torch.iinfo(batch.dtype).max
        pictures = batch.float() / most
        colours = 3 if batch.shape[1] >= 3 else 1
        height, width = pictures.shape[-2:]
        size = self._working_size(height, width)
        small = interpolate(pictures[:, :colours], size, mode="bilinear", antialias=True)
        seen = _normalized(_lightness(small))
        if hints:
            planes = torch.from_numpy(draw_hints(hints, (height, width), size)).to(seen.device)
            seen = torch.cat([seen, planes.expand(len(seen), -1, -1, -1)], dim=1)
        try:
            chroma = self._forward(seen)
        except MemoryError:
            if len(batch) > 1:
                raise
            lightness, chroma = (torch.stack(one) for one in zip(*self._predict(seen), strict=True))
        else:
            lightness = seen[:, :1]
        pixels = batch if batch.dtype == torch.uint8 else pictures
        coloured = recombine_batch(pixels[:, :colours], self._enlarged(lightness, chroma, height, width))
        coloured = torch.cat([coloured, pixels[:, colours:]], dim=1)
        if batch.dtype == torch.uint16:
            coloured = (coloured * most).round()
        return coloured.to(batch.dtype)


def _lightness(rgb: Array) -> Array:
    """Return L in 0..100, (..., 1, H, W), for sRGB or grey (..., 1 or 3, H, W) in [0, 1]."""
    linear = lab.decode(rgb)
    y = lab.luminance(linear)[..., None, :, :] if rgb.shape[-3] == 3 else linear
    return lab.lightness(lab.f(y))


def _normalized(lightness: Array) -> Array:
    return lightness / L_HALF_RANGE - 1
