"""What a file of ours says of itself: JSON in its header, whatever its format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gancolor import __version__
from gancolor.errors import InputError

FORMAT = 1  # of the JSON
KEY = "gancolor"  # under which it stands in the file's metadata


def write_header(about: Mapping[str, Any]) -> str:
    """The JSON of what is said, with format and version."""
    return json.dumps({"format": FORMAT, "version": __version__, **about})


def read_header(path: Path, text: str | None) -> dict[str, Any]:
    """What the file at `path` says of itself.

    Args:
        text: the JSON; None: the file has none.

    Raises:
        InputError: the file is not one of ours, or a newer version's.
    """
    try:
        about = json.loads(text or "null")
    except json.JSONDecodeError:
        about = None
    if not isinstance(about, dict) or type(about.get("format")) is not int:
        raise InputError(f"{path} is not one of gancolor's files")
    if about["format"] > FORMAT:
        raise InputError(
            f"{path} was written by gancolor {about.get('version')}, which is newer than this one ({__version__}): "
            "upgrade gancolor"
        )
    return about
