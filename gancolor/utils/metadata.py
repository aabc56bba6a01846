"""JSON metadata in the header of gancolor's files, the same in every file format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gancolor import __version__
from gancolor.utils.errors import InputError

FORMAT = 1  # version of the JSON format
KEY = "gancolor"  # under which the file's metadata holds the JSON


def write_header(about: Mapping[str, Any]) -> str:
    """Return the metadata as JSON, with the format number and the package's version."""
    return json.dumps({"format": FORMAT, "version": __version__, **about})


def read_header(path: Path, text: str | None) -> dict[str, Any]:
    """Return the metadata of the file at `path`.

    Args:
        text: the metadata as JSON; None: the file has none.

    Raises:
        InputError: the file is not one of gancolor's, or comes from a newer version.
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


def section(about: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of a file's metadata; empty if it is missing or invalid."""
    part = about.get(name)
    return part if isinstance(part, Mapping) else {}
