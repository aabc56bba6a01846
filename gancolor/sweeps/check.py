"""Check of a sweep's options with the trainer's parser, before the first run rather than hours later."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gancolor
from gancolor.config.options import TrainConfig
from gancolor.data.sources.public import PUBLIC_DATA_SETS, parse_hub_name
from gancolor.sweeps.command import INSTALLED_TRAINER, command_words, program_words
from gancolor.sweeps.sweep_file import SweepFile
from gancolor.training.command import parse_train
from gancolor.utils.errors import InputError

TRAINER = Path(gancolor.__file__).resolve().parent.parent / "train.py"


def check_sweep(sweep: SweepFile, samples: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Reject values that the trainer does not accept, alone or in combination, and files and sources that don't exist.

    A grid is rejected if any combination is invalid. Random and Bayesian searches may draw a few invalid combinations,
    each at the cost of a run, so they are rejected only if all samples are invalid combinations.

    Args:
        samples: names and values.

    Raises:
        InputError: a value is rejected (the message says which, and why), or the program does not exist.
    """
    program = program_words(sweep.program)
    if "${program}" in sweep.command and program != INSTALLED_TRAINER and not Path(sweep.program).is_file():
        raise InputError(f"{sweep.path}: there is no {sweep.program} here; run the sweep from the folder that has it")
    refusals: list[InputError] = []
    taken, sources, seeds = 0, dict[str, bool](), set[int]()
    by_seed = False  # whether a run's seed chooses its validation photographs
    for name, values in samples:
        words = command_words(sweep.command, program, {**values, "out": "RUN"}, "python", "RUN/args.json")
        options = _trainers_options(words)
        if options is None:
            print(f"{sweep.path} does not run gancolor's {TRAINER.name}, so its options are not checked", flush=True)
            return
        from gancolor.training.option_checks import check_files, check_options  # imports torch

        run = f"{sweep.path}: {name}"
        config = _parse(run, options)
        try:
            check_files(config)
            if config.data.source not in sources:
                sources[config.data.source] = _check_source(config)
        except InputError as error:
            raise InputError(f"{run}: {error}") from None
        seeds.add(config.seed)
        by_seed |= sources[config.data.source] or config.data.val_limit is not None
        try:
            check_options(config)
            taken += 1
        except InputError as error:
            refusals.append(InputError(f"{run}: {error}"))
    if refusals and (sweep.method == "grid" or not taken):
        raise refusals[0]
    if by_seed and len(seeds) > 1:
        warnings.warn(
            f"{sweep.path}: the seed also chooses the validation photographs, so results of several seeds will not be "
            "averaged; give a folder with train and val, and no --data.val_limit",
            stacklevel=2,
        )


def _trainers_options(words: Sequence[str]) -> list[str] | None:
    """Return the words after the trainer's name in a command; None if it runs another program."""
    for index, word in enumerate(words):
        if tuple(words[index - len(INSTALLED_TRAINER) + 1 : index + 1]) == INSTALLED_TRAINER:
            return [*words[index + 1 :]]
        with contextlib.suppress(OSError, ValueError):
            if word.endswith(TRAINER.name) and Path(word).samefile(TRAINER):
                return [*words[index + 1 :]]
    return None


def _parse(run: str, options: Sequence[str]) -> TrainConfig:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse_train(options)
    except SystemExit:  # the parser prints errors and exits
        text = re.sub(r"^train\.py: error: | \(--help lists the options\)$", "", said.getvalue().strip())
        raise InputError(f"{run}: {text}") from None
    except InputError as error:
        raise InputError(f"{run}: {error}") from None


def _check_source(config: TrainConfig) -> bool:
    """Raise InputError if there are no photographs; what would be downloaded or is elsewhere is left to the run.

    Returns:
        whether the validation photographs are surely split off the training ones.
    """
    hub = parse_hub_name(config.data.source)
    if config.data.source in PUBLIC_DATA_SETS or "://" in config.data.source or (hub and not hub.local):
        return False
    from gancolor.data.sources.find import Source, find_source  # imports torch

    with contextlib.redirect_stderr(io.StringIO()):  # each run warns again
        found = find_source(config.data.source, demo_photos=1)
    return found.held_out if isinstance(found, Source) else found.val is None
