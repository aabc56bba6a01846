"""Parsing of command lines into configurations, with one-line errors."""

import dataclasses
import os
import re
import shutil
import sys
from argparse import Action
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from gancolor.config import EvaluateConfig, TrainConfig
from gancolor.data.public import PUBLIC
from gancolor.errors import InputError, near
from gancolor.options import default_out, flatten

RECIPES = Path(__file__).resolve().parent.parent / "configs"


class _Parser(ArgumentParser):
    """jsonargparse's parser with one-line errors that suggest similar options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002 - the base's
        text = " ".join(str(message).split())
        text = re.sub(r'^Parser key "([\w.]+)": ', r"--\1: ", text)
        if found := re.search(r"Expected a typing.Literal\[(.*?)\]\. Got value: (\S+)", text):
            choices = [choice.strip(" '\"") for choice in found[1].split(",")]
            text = (
                text[: found.start()] + f"no {found[2]!r}; choose from {', '.join(choices)}" + near(found[2], choices)
            )
        elif found := re.search(r"Does not validate against any of the Union.*?: \[(.*?), .*Given value: (.*)", text):
            # "v>=16 and v<=4096" or "v>0"
            restriction = re.search(r"conform to restriction (v[<>=]+\S+(?: and v\S+)*)", text)
            bounds = " " + restriction[1].replace("v", "") if restriction else ""
            kind = "a whole number" + bounds
            if found[1].startswith("list"):
                kind = f"a list of whole numbers{bounds}, such as [96, 64]"
            text = text[: found.start()] + f"{found[2]} is neither {kind}, nor null"
        elif found := re.search(r"Not of type (\w+): (\S+) does not conform to restriction (.*)", text):
            text = text[: found.start()] + f"{found[2]} is out of range: it must be {found[3].replace('v', '')}"
        elif found := re.match(r"unrecognized arguments: (.*)", text, re.IGNORECASE):
            unknown = found[1].split()[0]
            text = f"no option {found[1]}" + near(unknown.split("=")[0], list(self._option_string_actions))
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


def _as_sweeps_write(argv: Sequence[str], config_class: type) -> list[str]:
    """Translate options as sweeps write them: `--compile` alone becomes `--compile=true`, and None becomes null."""
    switches = {f"--{name}" for name, value in flatten(config_class()).items() if isinstance(value, bool)}
    words = []
    for i, word in enumerate(argv):
        if word in switches and (i + 1 == len(argv) or argv[i + 1].startswith("--")):
            word = f"{word}=true"
        elif word.startswith("--") and word.endswith("=None"):
            word = f"{word.removesuffix('None')}null"
        elif word == "None":
            word = "null"
        words.append(word)
    return words


def _make_parser(prog: str, config_class: type, description: str, recipe: Path | None = None) -> ArgumentParser:
    """Create a parser of `config_class`'s fields as dotted flags, with `--config` and `--print_config`."""
    parser = _Parser(
        prog=prog,
        description=description,
        usage="%(prog)s [--NAME VALUE ...]" + (" [CHECKPOINT ...]" if config_class is EvaluateConfig else ""),
        allow_abbrev=False,
        default_config_files=[str(recipe)] if recipe else [],
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--config", action="config", help="a YAML file of options; later flags win")
    parser.add_class_arguments(config_class, skip={"checkpoints", "predictions"})
    return parser


def parse_train(argv: Sequence[str] | None = None) -> TrainConfig:
    """Parse a command line of train.py; errors print one line and exit with status 2."""
    description = "Trains a colorization GAN. `--arch NAME --help` shows that architecture's own defaults."
    words = _as_sweeps_write(sys.argv[1:] if argv is None else list(argv), TrainConfig)
    # The architecture chooses the recipe, so it is read first, wherever it is given (a flag or a --config file).
    asking = ("-h", "--help", "--print_config")
    first = _make_parser("train.py", TrainConfig, description)
    chosen = first.parse_args([word for word in words if not word.startswith(asking)])
    if chosen.init is not None:
        return _parse_fine_tuning(description, chosen.init, words)
    parser = _make_parser("train.py", TrainConfig, description, RECIPES / f"{chosen.arch}.yaml")
    return _finished(_instantiate(parser, words, TrainConfig))


def _parse_fine_tuning(description: str, init: str, words: list[str]) -> TrainConfig:
    """Parse the configuration of a run that starts from a finished generator.

    The architecture and the generator's options come from its file; other values are refused.
    """
    from gancolor import initialization  # imports torch

    start = initialization.find_start(init)
    parser = _make_parser("train.py", TrainConfig, description, RECIPES / "fine_tuning.yaml")
    config: TrainConfig = _instantiate(parser, [*initialization.as_flags(start), *words], TrainConfig)
    initialization.check_options(config, start)
    initialization.resolve(config, start)
    return _finished(config)


def _finished(config: TrainConfig) -> TrainConfig:
    if config.init_sha256 and not config.init:
        raise InputError("--init_sha256 checks the file that --init names: give --init too")
    config.data.source = _absolute(config.data.source)
    config.out = config.out or default_out(config)
    return config


def parse_evaluate(argv: Sequence[str] | None = None) -> EvaluateConfig:
    """Parse a command line of evaluate.py; errors print one line and exit with status 2."""
    description = (
        "Scores generators, and other tools' pictures, on photographs, beside the grey baseline and the truth."
    )
    parser = _make_parser("evaluate.py", EvaluateConfig, description)
    parser.add_argument(
        "checkpoints", nargs="*", default=[], metavar="CHECKPOINT", help="run folders, exported generators, run states"
    )
    parser.add_argument(
        "--predictions", action="append", default=[], metavar="NAME=DIR",
        help="a folder of another tool's pictures of the photographs, matched by file name; may be repeated",
    )  # fmt: skip
    words = _as_sweeps_write(sys.argv[1:] if argv is None else list(argv), EvaluateConfig)
    config: EvaluateConfig = _instantiate(parser, words, EvaluateConfig)
    if not config.checkpoints and not config.predictions:
        parser.error("nothing to score: name run folders or checkpoints, or --predictions NAME=DIR")
    if config.data.source:
        config.data.source = _absolute(config.data.source)
    return config


def _instantiate(parser: ArgumentParser, words: Sequence[str], config_class: type) -> Any:
    try:
        parsed = parser.parse_args(words)
    except UnicodeDecodeError:
        parser.error("--config: the file is not UTF-8 text")
    fields = dataclasses.fields(config_class)
    for field in fields:
        if dataclasses.is_dataclass(field.default_factory) and not isinstance(parsed[field.name], Namespace):
            parser.error(f"--{field.name}: a group of options, not {parsed[field.name]}")
    values = parser.instantiate(parsed).as_dict()
    return config_class(**{field.name: values[field.name] for field in fields})


def _absolute(source: str) -> str:
    """Make the path of a folder or of local shards absolute.

    Addresses and the names of data sets, which take precedence over folders, are returned unchanged.
    """
    if source.endswith(".tar") and "://" not in source:
        return os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111 - a pattern, not a path
    folder = Path(source).expanduser()
    return str(folder.resolve()) if source not in ("", "demo", *PUBLIC) and folder.is_dir() else source
