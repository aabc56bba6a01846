"""The command `gancolor train`, which is also `python train.py`."""

import sys
from collections.abc import Sequence
from functools import lru_cache

from jsonargparse import ArgumentParser

from gancolor.config.identity import default_out
from gancolor.config.options import TrainConfig
from gancolor.config.parsing import RECIPES, instantiate, make_parser, normalized_words, parse
from gancolor.data.sources.public import absolute_source
from gancolor.utils.errors import InputError


def run_train(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Train as the command line says, and return the exit status."""
    config = parse_train(argv, prog)
    from gancolor.training.trainer import Trainer  # imports torch, which `--help` does not need

    return Trainer(config).fit()


def parse_train(argv: Sequence[str] | None = None, prog: str = "train.py") -> TrainConfig:
    """Parse a training's command line; errors print one line and exit with status 2.

    Args:
        argv: the words; None: those of this process.
        prog: the command's name, for help and errors.
    """
    words = normalized_words(sys.argv[1:] if argv is None else list(argv), TrainConfig)
    # The architecture chooses the recipe, so it is read first, wherever it is given (a flag or a --config file).
    asking = ("-h", "--help", "--print_config")
    parser = _make_parser(prog)
    parser.default_config_files = []
    chosen = parse(parser, [word for word in words if not word.startswith(asking)])
    if chosen.init is not None:
        return _parse_fine_tuning(parser, chosen.init, words)
    parser.default_config_files = [str(RECIPES / f"{chosen.arch}.yaml")]
    return _finished(instantiate(parser, words, TrainConfig))


@lru_cache  # a sweep parses the options of each of its runs
def _make_parser(prog: str) -> ArgumentParser:
    description = (
        "Trains a colorization network, with or without a discriminator. `--arch NAME --help` shows that "
        "architecture's own defaults."
    )
    return make_parser(prog, TrainConfig, description)


def _parse_fine_tuning(parser: ArgumentParser, init: str, words: list[str]) -> TrainConfig:
    """Parse the configuration of a run that starts from a finished generator.

    The architecture and the generator's options come from its file; other values are refused.
    """
    from gancolor.training import initialization  # imports torch

    start = initialization.find_start(init)
    parser.default_config_files = [str(RECIPES / "fine_tuning.yaml")]
    config: TrainConfig = instantiate(parser, [*initialization.as_flags(start), *words], TrainConfig)
    initialization.check_against_file(config, start)
    initialization.resolve(config, start)
    return _finished(config)


def _finished(config: TrainConfig) -> TrainConfig:
    if config.init_sha256 and not config.init:
        raise InputError("--init_sha256 checks the file that --init names: give --init too")
    config.data.source = absolute_source(config.data.source)
    config.out = config.out or default_out(config)
    return config
