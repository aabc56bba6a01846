"""Exceptions that users see as one line of text, and a helper for such messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Error in the user's input.

    The message says what is wrong and what to do. The commands print it without a traceback, and exit with status 2.
    """


class TrainingError(RuntimeError):
    """Failure that stops training. The message says why and what to do; the exit status is 1."""


def near(name: object, choices: Iterable[str]) -> str:
    """Return `; did you mean ...?` with similar choices (if any differ only in case or in dashes, underscores and dots,
    just those), or an empty string."""
    choices = list(choices)
    same = [choice for choice in choices if _plain(choice) == _plain(str(name))]
    found = same or get_close_matches(str(name), choices, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def shown(path: object) -> str:
    """Return a path as one printable line, whatever bytes its name contains."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))
