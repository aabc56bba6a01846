"""Numbers in environment variables, as torchrun sets them."""

import os

from gancolor.utils.errors import InputError


def environment_number(name: str, default: int) -> int:
    """Return the number in an environment variable, or a default if it is not set.

    Raises:
        InputError: it is not a number, or negative.
    """
    word = os.environ.get(name, str(default))
    if not word.isdecimal():
        raise InputError(f"${name} is {word!r}: set a number, as torchrun does, or unset it")
    return int(word)
