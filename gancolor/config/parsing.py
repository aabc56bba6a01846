"""Parsing of command lines into configurations, with one-line errors."""

import dataclasses
import re
import shutil
import sys
from argparse import Action
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from gancolor.config.evaluate import EvaluateConfig
from gancolor.config.identity import flatten
from gancolor.config.yaml_files import DuplicateKeyError, read_yaml
from gancolor.utils.errors import InputError, near

PACKAGE = Path(__file__).resolve().parents[1]
# The recipes: package data in a wheel (setup.cfg, package_dir), a folder beside the package in a checkout.
RECIPES = next(folder for folder in (PACKAGE / "configs", PACKAGE.parent / "configs") if folder.is_dir())


class _Parser(ArgumentParser):
    """jsonargparse's parser with one-line errors that suggest similar options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002 - the base's
        text = " ".join(str(message).split())
        text = re.sub(r'^Parser key "([\w.]+)": ', r"--\1: ", text)
        text = text.replace("Not of type Weights: ", "")
        if found := re.search(r"(Expected a|Does not validate).*<class 'str'>.*value: (True|False)\b", text):
            text = (
                text[: found.start()]
                + f"{found[2]} is not text; YAML reads on, off, yes and no as true or false, unless they are in quotes"
            )
        elif found := re.search(r"Expected a typing.Literal\[(.*?)\]\. Got value: (\S+)", text):
            choices = [choice.strip(" '\"") for choice in found[1].split(",")]
            text = (
                text[: found.start()]
                + f"unknown value {found[2]!r}; choose from {', '.join(choices)}"
                + near(found[2], choices)
            )
        elif found := re.search(r"Does not validate against any of the Union.*?: \[(.*?), .*Given value: (.*)", text):
            # "v>=16 and v<=4096" or "v>0"
            restriction = re.search(r"conform to restriction (v[<>=]+\S+(?: and v\S+)*)", text)
            bounds = " " + restriction[1].replace("v", "") if restriction else ""
            kind = "a whole number" + bounds
            if found[1].startswith("list"):
                kind = f"a list of whole numbers{bounds}, such as [96, 64]"
            text = text[: found.start()] + f"{found[2]} is not {kind}, nor null"
        elif found := re.search(r"Not of type (\w+): (\S+) does not conform to restriction (.*)", text):
            text = text[: found.start()] + f"{found[2]} is out of range: it must be {found[3].replace('v', '')}"
        elif found := re.search(r"Not of type \w+: (could not convert|invalid literal).*?: (['\"].*)", text):
            kind = "a number" if found[1].startswith("could") else "a whole number"
            text = text[: found.start()] + f"{found[2]} is not {kind}"
        elif found := re.search(r"Expected a <class 'bool'>\. Got value: (.*)", text):
            text = text[: found.start()] + f"{found[1]!r} is neither true nor false"
        elif found := re.search(r"Expected a (?:<class ')?(tuple|list).* Got value: (.*)", text):
            example = "two numbers, such as [0.5, 0.999]" if found[1] == "tuple" else "text, such as [one, two]"
            text = text[: found.start()] + f"{found[2]} is not a list of {example}"
        elif found := re.match(r"unrecognized arguments: (.*)", text, re.IGNORECASE):
            unknown = found[1].split()[0]
            text = f"unknown option {found[1]}" + near(unknown.split("=")[0], list(self._option_string_actions))
        elif found := re.match(r"(?:Group '(\S+)' does not accept option|Option) '(\S+)'", text):
            options = [option.lstrip("-") for option in self._option_string_actions]
            text += near(f"{found[1]}.{found[2]}" if found[1] else found[2], options)
        print(f"{self.prog}: error: {text} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


class _HelpFormatter(DefaultHelpFormatter):
    """Help that shows values and defaults without Python type names."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(shutil.get_terminal_size().columns, 120))

    def _expand_help(self, action: Action) -> str:
        return re.sub(r"\(type: .*?(?=default:|\)$)", "(", super()._expand_help(action)).replace(" ()", "")

    def add_argument(self, action: Action) -> None:
        if action.metavar != "CONFIG" or action.dest == "config":  # hide the groups' own flags, such as --data FILE
            super().add_argument(action)


def find_config(path: Path, folder: Path) -> Path:
    """Return `path` if it exists, else the file of that name that comes with gancolor, if there is one.

    Args:
        path: a file, or a name with or without the suffix .yaml.
        folder: the folder of the files that come with gancolor.
    """
    ours = folder / f"{path.name.removesuffix('.yaml')}.yaml"
    return ours if not path.exists() and path == Path(path.name) and ours.is_file() else path


def normalized_words(argv: Sequence[str], config_class: type) -> list[str]:
    """Translate options as sweeps write them (`--compile` alone becomes `--compile=true`, and None becomes null), and
    names of recipes to their paths. Raises InputError if a file of options has one twice."""
    switches = {f"--{name}" for name, value in flatten(config_class()).items() if isinstance(value, bool)}
    words = []
    for i, word in enumerate(argv):
        if word in switches and (i + 1 == len(argv) or argv[i + 1].startswith("--")):
            word = f"{word}=true"
        elif word.startswith("--") and word.endswith("=None"):
            word = f"{word.removesuffix('None')}null"
        elif word == "None":
            word = "null"
        flag, equals, name = word.partition("=")
        if flag == "--config" and name:
            word = f"{flag}{equals}{_checked_config(name)}"
        elif i and argv[i - 1] == "--config" and word:
            word = _checked_config(word)
        words.append(word)
    return words


def _checked_config(name: str) -> str:
    """Return the path of a file of options, or of a recipe. Raises InputError if it has an option twice."""
    path = find_config(Path(name), RECIPES)
    try:
        names = Counter(_option_names(read_yaml(path)))
    except DuplicateKeyError as error:
        raise InputError(f"--config {path}: {error}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # the parser will say what is wrong
        return str(path)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise InputError(f"--config {path}: {twice!r} is given twice")
    return str(path)


def _option_names(content: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of the options in a file's content."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict):
            yield from _option_names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def make_parser(prog: str, config_class: type, description: str) -> ArgumentParser:
    """Create a parser of `config_class`'s fields as dotted flags, with `--config` and `--print_config`."""
    parser = _Parser(
        prog=prog,
        description=description,
        usage="%(prog)s [--NAME VALUE ...]" + (" [CHECKPOINT ...]" if config_class is EvaluateConfig else ""),
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )
    parser.add_argument(
        "--config", action="config", help="YAML file of options, or the name of a recipe; flags after it override them"
    )
    parser.add_class_arguments(config_class, skip={"checkpoints", "predictions"})
    return parser


def parse(parser: ArgumentParser, words: Sequence[str]) -> Namespace:
    """Parse the words; errors print one line and exit with status 2."""
    try:
        return parser.parse_args(words)
    except UnicodeDecodeError:
        parser.error("--config: the file is not UTF-8 text")


def instantiate(parser: ArgumentParser, words: Sequence[str], config_class: type) -> Any:
    """Parse the words into a `config_class`; errors print one line and exit with status 2."""
    parsed = parse(parser, words)
    fields = dataclasses.fields(config_class)
    for field in fields:
        if dataclasses.is_dataclass(field.default_factory) and not isinstance(parsed[field.name], Namespace):
            parser.error(f"--{field.name} is a group of options and can't be {parsed[field.name]}")
    for name in _never_null(config_class):
        if parsed[name] is None:  # jsonargparse does not check null in files
            parser.error(f"--{name}: it can't be null")
    values = parser.instantiate(parsed).as_dict()
    return config_class(**{field.name: values[field.name] for field in fields})


def _never_null(config_class: type, prefix: str = "") -> Iterator[str]:
    """Yield the options, as flags are named, whose type does not include None."""
    for name, hint in get_type_hints(config_class).items():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _never_null(hint, f"{prefix}{name}.")
        elif NoneType not in get_args(hint) and name not in ("checkpoints", "predictions"):
            yield prefix + name
