"""The exceptions that reach users as one line of text, and what such lines share."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """What the user gave can't be used. The message says what is wrong and what to do; the commands print it
    alone, without a traceback, and exit with status 2."""


class TrainingError(RuntimeError):
    """Training can't go on. The message says why and what to do; the status is 1."""


def near(name: object, choices: Iterable[str]) -> str:
    """`; did you mean ...?` where choices are near, those that differ by case alone first; else nothing."""
    choices = list(choices)
    same = [choice for choice in choices if choice.lower() == str(name).lower()]
    found = same or get_close_matches(str(name), choices, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""
