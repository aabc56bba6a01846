"""HTML and SVG from Python. Whatever is not markup already is escaped, so that a file may be called anything."""

from collections.abc import Iterable
from html import escape

VOID = {"img", "input", "meta"}  # elements without content, which HTML does not close


class Markup(str):
    """Text that is markup: `tag` takes it as it is."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element. Content that is None is left out; attributes are, too, and those that are False; those that are True
    stand without a value. `class_` is class, `data_system` data-system."""
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
