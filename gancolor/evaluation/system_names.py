"""Names of the systems that an evaluation scores: generators, and other tools' pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gancolor.evaluation.results import BASELINES
from gancolor.utils.errors import InputError
from gancolor.utils.metadata import section


def parse_predictions(predictions: Iterable[str]) -> dict[str, Path]:
    """Parse NAME=DIR arguments, in order."""
    folders = {}
    for word in predictions:
        name, equals, folder = word.partition("=")
        if not name or not equals or not folder:
            raise InputError(f"--predictions {word}: write NAME=DIR, such as deoldify=pictures/deoldify")
        if name in folders:
            raise InputError(f"--predictions {word}: this name is given twice")
        folders[name] = Path(folder)
    return folders


def names_of_generators(given: Iterable[str], abouts: Iterable[dict[str, Any]]) -> list[str]:
    """Return each generator's architecture, or its path as given where the architecture is ambiguous."""
    given = [name.rstrip("/") or name for name in given]  # shells complete a folder's name with a slash
    arches = [str(section(about, "generator").get("arch")) for about in abouts]
    return [arch if arches.count(arch) == 1 else path for arch, path in zip(arches, given, strict=True)]


def check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"the same checkpoint is given twice, or two systems have the name {twice}")
    if taken := next((name for name in names if name in BASELINES), None):
        raise InputError(f"--predictions {taken}=...: a baseline has this name; choose another")
