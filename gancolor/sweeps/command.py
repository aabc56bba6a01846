"""Command lines of runs, exactly as the Weights & Biases agent writes them."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gancolor.utils.errors import InputError, near

DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")
JSON_FILE = "${args_json_file}"
INSTALLED_TRAINER = ("-m", "gancolor", "train")

# Macros that pass the parameters -> the words that replace them. Like the W&B agent, they write values with Python's
# str(), or all of them as JSON.
ARGUMENTS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "${args}": lambda values: [f"--{name}={value}" for name, value in values.items()],
    "${args_no_equals}": lambda values: [
        word for name, value in values.items() for word in (f"--{name}", str(value))
    ],
    "${args_no_hyphens}": lambda values: [f"{name}={value}" for name, value in values.items()],
    "${args_no_boolean_flags}": lambda values: [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in values.items() if value is not False
    ],
    "${args_append_hydra}": lambda values: [f"+{name}={value}" for name, value in values.items()],
    "${args_override_hydra}": lambda values: [f"++{name}={value}" for name, value in values.items()],
    "${args_json}": lambda values: [json.dumps(values)],
}  # fmt: skip


def make_command(section: Any) -> tuple[str, ...]:
    """Check a sweep file's `command`, and fill in environment variables (${envvar:NAME}).

    A variable that is not set is replaced by its name.

    Raises:
        InputError: not a list, an unknown macro, or no macro that passes the parameters.
    """
    if not isinstance(section, list) or not section:
        raise InputError('command: give a list of words, such as ["${env}", "${interpreter}", "${program}", "${args}"]')
    words = [re.sub(r"\$\{envvar:([A-Z0-9_]*)\}", _variable, str(word)) for word in section]
    known = [*dict.fromkeys((*DEFAULT, *ARGUMENTS, JSON_FILE))]
    for word in words:
        if word.startswith("${") and word.endswith("}") and word not in known:  # the W&B agent would leave it out
            raise InputError(f"command: no macro {word}{near(word, known)}")
    if not {*ARGUMENTS, JSON_FILE} & {*words}:
        raise InputError("command: give ${args} or a similar macro; without one, no parameter reaches the program")
    return tuple(words)


def command_words(
    command: Sequence[str], program: Sequence[str], values: Mapping[str, Any], interpreter: str, json_file: str
) -> list[str]:
    """Return the words of one run's command.

    Args:
        command: from `make_command`.
        program: words for ${program}; see `program_words`.
        values: of the parameters, in the order of the words.
        interpreter: for ${interpreter}; the W&B agent uses "python".
        json_file: for ${args_json_file}.
    """
    words: list[str] = []
    for word in command:
        if word in ARGUMENTS:
            words += ARGUMENTS[word](values)
        elif word == "${program}":
            words += program
        else:
            words.append(
                {"${env}": "/usr/bin/env", "${interpreter}": interpreter, JSON_FILE: json_file}.get(word, word)
            )
    return words


def program_words(program: str) -> tuple[str, ...]:
    """Return the words for ${program}: where there is no checkout, train.py is the installed command."""
    return INSTALLED_TRAINER if program == "train.py" and not Path(program).is_file() else (program,)


def _variable(found: re.Match[str]) -> str:
    return os.environ.get(found[1], found[1])
