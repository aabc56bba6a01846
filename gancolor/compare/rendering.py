"""Rendering of the report's templates. They escape all values, so that any file name is safe.

Systems are marked by number (their rank in the table), colour and shape, because names would not fit.
"""

import math
from base64 import b64encode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gancolor.metrics.bootstrap import Mean

COLOURS = 7  # as in page.css
SHAPES = ("circle", "square", "diamond")  # marks repeat after 21 systems


def render(template: str, **values: object) -> Markup:
    """Fill in a template of the folder `templates`. The result is not escaped again where another template uses it."""
    return Markup(_environment.get_template(template).render(values))


def look(number: int) -> str:
    """Return the CSS classes for a system's colour and dashes, by its rank; 0: a baseline's."""
    return f"c{(number - 1) % COLOURS} d{(number - 1) // COLOURS % len(SHAPES)}" if number else "baseline"


def shape(number: int) -> str:
    return SHAPES[max(number - 1, 0) // COLOURS % len(SHAPES)]


def decimals(value: float | None, digits: int) -> str:
    """Format a value with `digits` decimals; a missing value (None or NaN) as a dash."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def number_text(value: float) -> str:
    """Format a value with up to four digits, and k, M or G for thousands and more."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}".replace("-", "−")
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}".replace("-", "−")


def mean_text(value: Mean) -> str:
    """Format a mean with its interval, if it has one."""
    between = f" [{value.low:.4g}, {value.high:.4g}]" if math.isfinite(value.half_width) else ""
    return (f"{value.mean:.5g}" if abs(value.mean) < 1e4 else number_text(value.mean)) + between


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _pixels(value: object) -> object:
    """Shorten coordinates to a tenth of a pixel. Other numbers arrive as text, or through a filter."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


_environment = Environment(
    loader=PackageLoader("gancolor.compare"),
    autoescape=True,
    finalize=_pixels,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_environment.filters.update(
    look=look, shape=shape, decimals=decimals, number_text=number_text, mean_text=mean_text, base64=_base64
)
_environment.tests["finite"] = math.isfinite
