"""Wording of messages."""


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts: "1 photograph", "1,234 photographs"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
