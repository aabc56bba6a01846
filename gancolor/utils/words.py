"""Wording of messages and names."""

import re
from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts: "1 photograph", "1,234 photographs"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def first_of(names: Sequence[str], most: int = 4) -> str:
    """Return the first `most` names: "a, b, ..."."""
    return ", ".join([*names[:most], *["..."] * (len(names) > most)])


def abbreviated(number: int) -> str:
    """Return a large number in millions or thousands: "54.4 M", "214 k"."""
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def safe_name(text: str, longest: int) -> str:
    """Return a text as a part of a file name that is safe on any system; it may become empty."""
    return re.sub(r"[^\w-]+", "_", text).strip("_")[:longest]
