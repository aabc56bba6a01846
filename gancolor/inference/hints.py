"""Colour hints: colours that a user gives for places of a photograph."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor

from gancolor.color import lab
from gancolor.color.lab import AB_RANGE
from gancolor.utils.errors import InputError

RADIUS = 3.0  # of a hint without a radius, in pixels of the generator's input: generators are trained with sides 1 to 9
DARKEST, LIGHTEST = 35.0, 80.0  # limits of a suggested colour's L: beyond, sRGB is too narrow for distinct hues
SUFFIX = ".hints.json"  # of the file beside a photograph: photo.jpg.hints.json


@dataclass(frozen=True)
class Hint:
    """A colour for a place of a photograph. Only its hue and chroma count: the photograph keeps its own lightness.

    Attributes:
        x, y: the place, in pixels of the upright photograph, from its left and its top.
        color: as in CSS: "#a03030", "rgb(160, 48, 48)" or a name.
        radius: half the side of the square that gets this colour [pixels]; None: RADIUS.

    Raises:
        InputError: not a colour, or a number out of range.
    """

    x: float
    y: float
    color: str
    radius: float | None = None

    def __post_init__(self) -> None:
        numbers = [self.x, self.y] if self.radius is None else [self.x, self.y, self.radius]
        if not all(isinstance(n, Real) and not isinstance(n, bool) and 0 <= n < 2**24 for n in numbers):
            radius = "" if self.radius is None else f" with radius {self.radius!r}"
            raise InputError(f"a hint at {self.x!r}, {self.y!r}{radius}: give numbers of pixels from 0")
        self.rgb()

    def rgb(self) -> tuple[int, int, int]:
        """Return the colour's sRGB, 0 to 255. Raises InputError if it is none."""
        try:
            found = ImageColor.getrgb(self.color)[:3]
        except (ValueError, AttributeError, TypeError):
            found = (-1, -1, -1)
        if not all(0 <= channel <= 255 for channel in found):  # Pillow accepts rgb(999, 0, 0)
            raise InputError(f"{str(self.color)[:40]!r} is not a colour; write #a03030, rgb(160, 48, 48) or a name")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes that are not None."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}

    def check_inside(self, size: tuple[int, int]) -> None:
        """Raise InputError if the hint lies outside a photograph of this height and width."""
        if not (self.x < size[1] and self.y < size[0]):
            raise InputError(f"a hint at {self.x:g}, {self.y:g} lies outside the photograph of {_size_text(size)}")

    def chroma(self) -> np.ndarray:
        """Return the colour's ab / 110, (2,)."""
        linear = lab.decode(np.array(self.rgb()) / 255)
        x, y, z = lab.f(lab.RGB_TO_XYZ @ linear)
        return np.array([lab.A * (x - y), lab.B * (y - z)]) / AB_RANGE


def color_of(lightness: float, a: float, b: float) -> str:
    """Return "#rrggbb" of a Lab colour for a hint: its L is limited to DARKEST..LIGHTEST, and its chroma to sRGB."""
    y = (min(max(lightness, DARKEST), LIGHTEST) + lab.OFFSET) / lab.LIGHTNESS
    roots = np.array([[y + a / lab.A], [y], [y - b / lab.B]], np.float32)
    red, green, blue = (lab.encode(lab.to_linear(roots)).ravel() * 255 + 0.5).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def parse_hint(text: str) -> Hint:
    """Parse "X,Y,COLOR" or "X,Y,COLOR,RADIUS", as on the command line.

    Raises:
        InputError: another form.
    """
    words = text.split(",")
    try:
        x, y = float(words[0]), float(words[1])
        *colour, last = words[2:]
        radius = float(last) if colour and not last.strip().endswith(")") else None
    except (ValueError, IndexError):
        raise InputError(f"--hint {text}: write X,Y,COLOR or X,Y,COLOR,RADIUS, such as 120,80,#a03030") from None
    return Hint(x, y, ",".join(colour if radius is not None else words[2:]).strip(), radius)


def read_hints(path: Path, size: tuple[int, int]) -> list[Hint]:
    """Read a file of hints; see `parse_hints`. Raises InputError if it can't be read or is not a file of hints."""
    try:
        return parse_hints(path.read_text(encoding="utf-8-sig"), str(path), size)  # Windows' editors write a mark
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8") from None


def parse_hints(text: str, name: str, size: tuple[int, int]) -> list[Hint]:
    """Parse the content of a file of hints: {"width": W, "height": H, "hints": [{"x": X, "y": Y, "color": COLOR,
    "radius": R}, ...]}, where the radius may be missing.

    Args:
        name: of the file, for errors.
        size: the photograph's height and width.

    Raises:
        InputError: the text has another form, or its hints are of a photograph of another size.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        height, width = content["height"], content["width"]
        hints = [Hint(**hint) for hint in content["hints"]]
        if (height, width) != size:
            raise InputError(f"its hints are for {width} x {height} pixels, and the photograph has {_size_text(size)}")
        for hint in hints:
            hint.check_inside(size)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f'{name} is not a file of hints: {{"width": W, "height": H, "hints": [{{"x": X, "y": Y, "color": C}}]}}'
        ) from None
    return hints


def hints_text(hints: Sequence[Hint], size: tuple[int, int]) -> str:
    """Return the content of a file of hints for a photograph of this height and width."""
    rows = [hint.to_dict() for hint in hints]
    return json.dumps({"width": size[1], "height": size[0], "hints": rows}, indent=1)


def draw_hints(hints: Sequence[Hint], photograph: tuple[int, int], working: tuple[int, int]) -> np.ndarray:
    """Return hints as a generator's input, float32 (3, h, w): chroma in [-1, 1] where it is given, and the mask. Where
    hints overlap, the last one counts.

    Args:
        photograph: its height and width.
        working: the input's height and width.

    Raises:
        InputError: a hint lies outside the photograph.
    """
    planes = np.zeros((3, *working), np.float32)
    down, across = (small / large for small, large in zip(working, photograph, strict=True))
    for hint in hints:
        hint.check_inside(photograph)
        area = []
        for place, scale, size in ((hint.y, down, working[0]), (hint.x, across, working[1])):
            radius = RADIUS if hint.radius is None else hint.radius * scale
            centre = place * scale
            if scale > 1:  # all that becomes of the photograph's pixel
                centre, radius = (int(place) + 0.5) * scale, max(radius, scale / 2)
            first = min(max(round(centre - radius), 0), int(centre))
            area.append(slice(first, min(max(round(centre + radius), int(centre) + 1), size)))
        planes[:2, area[0], area[1]] = hint.chroma()[:, None, None]
        planes[2, area[0], area[1]] = 1
    return planes


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"
