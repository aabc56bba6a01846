"""HTML and SVG elements. Text that is not yet markup is escaped, so that any file name is safe."""

from collections.abc import Iterable
from html import escape

VOID = {"img", "input", "meta"}  # elements without content or closing tag


class Markup(str):
    """Text that is already markup, which `tag` does not escape."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """Build an element.

    Content that is None is left out, and so are attributes that are None or False. Attributes that are True have no
    value. `class_` becomes class, `data_system` data-system.
    """
    words = [name, *(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())]
    start = f"<{' '.join(word for word in words if word)}>"
    return Markup(start if name in VOID else f"{start}{join(content)}</{name}>")


def join(content: Iterable[object]) -> Markup:
    return Markup(
        "".join(part if isinstance(part, Markup) else escape(str(part)) for part in content if part is not None)
    )


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return name
    text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    return f'{name}="{escape(text)}"'
