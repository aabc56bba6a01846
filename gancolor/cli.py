"""The `gancolor` command, and what all commands share: the user's errors end in one line and status 2, an interruption
in one line and 130."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gancolor.errors import InputError, TrainingError

RANKING = ("psnr", "ssim", "lpips", "lpips_vgg", "ciede2000", "auc", "mse", "fid", "kid")


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's main function and exits with its status; what users can mend is said without a traceback."""
    name = Path(sys.argv[0]).name
    try:
        status = main() or 0
    except InputError as error:
        status = fail(name, str(error), 2)
    except TrainingError as error:
        status = fail(name, str(error), 1)
    except KeyboardInterrupt:
        status = fail(name, "interrupted", 130)
    except OSError as error:
        if error.errno is None:
            raise
        full = "; what was saved is whole" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        status = fail(name, f"{error.filename or 'a file'}: {error.strerror}{full}", 2)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for this
            raise
        advice = "lower --data.batch_size or --data.size (evaluate.py: --batch_size), or give --data.on_device never"
        status = fail(name, f"the device's memory is full; {advice}. What was saved is whole", 2)
    sys.exit(status)


def fail(name: str, message: str, status: int) -> int:
    rank = os.environ.get("RANK", "0")
    print(f"{name}: {f'rank {rank}: ' if rank != '0' else ''}error: {message}", file=sys.stderr, flush=True)
    return status


def main() -> None:
    """The `gancolor` command."""
    run(lambda: _gancolor(sys.argv[1:]))


def _gancolor(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="gancolor", description="Tools around train.py and evaluate.py.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_sweep(commands)
    chosen, others = parser.parse_known_args(argv)
    return chosen.command(chosen, others)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="rank runs, sweeps and results, with intervals; CSV and an HTML report",
        usage="gancolor compare RUN... [--metric NAME] [--csv FILE] [--html FILE]",
        description="Ranks the systems of runs' folders, sweeps' folders and the results of evaluate.py --json, as far "
        "as they were judged on the same photographs by the same protocol. Runs that differ in their seeds alone are "
        "one system.",
        allow_abbrev=False,
    )
    compare.add_argument("paths", metavar="RUN", type=Path, nargs="+", help="a run's or sweep's folder, or a result")
    compare.add_argument(
        "--metric", metavar="NAME", choices=RANKING, default="psnr", help=f"to rank by: {', '.join(RANKING)}"
    )
    compare.add_argument("--csv", metavar="FILE", type=Path, help="write a line a system to this file")
    compare.add_argument("--html", metavar="FILE", type=Path, help="write a report to look at, in one file")
    compare.set_defaults(command=_compare)


def _compare(chosen: argparse.Namespace, others: Sequence[str]) -> int:
    if others:
        raise InputError(f"no option {others[0]}; gancolor compare --help lists them")
    from gancolor.compare.command import run_compare  # brings torch

    return run_compare(chosen.paths, chosen.metric, chosen.csv, chosen.html)


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="run a sweep file here, and put the runs into one table",
        usage="gancolor sweep FILE [--out DIR] [--jobs N] [--trials N] [--draw N] [--NAME=VALUE ...]",
        description="Runs a Weights & Biases sweep file (grid, random or bayes; hyperband) with no account, server or "
        "network, and writes DIR/table.md. The same command again goes on where it was stopped.",
        epilog="--NAME=VALUE: options of train.py for all runs, above the file's",
        allow_abbrev=False,
    )
    sweep.add_argument("file", metavar="FILE", type=Path, help="such as configs/sweeps/architectures.yaml")
    sweep.add_argument("--out", metavar="DIR", type=Path, help="the runs' folder (default: runs/FILE's name)")
    sweep.add_argument("--jobs", metavar="N", type=_count, help="runs at a time (default: one a GPU, or one)")
    sweep.add_argument("--trials", metavar="N", type=_count, help="runs at most (default: the file's run_cap)")
    sweep.add_argument(
        "--draw", metavar="N", type=_seed, default=0, help="seed of what random and bayes draw (default: 0)"
    )
    sweep.set_defaults(command=_sweep)


def _sweep(chosen: argparse.Namespace, others: Sequence[str]) -> int:
    from gancolor.sweeps.runner import run_sweep

    folder = chosen.out or Path("runs") / chosen.file.stem
    given = dict(_options(others))
    return run_sweep(chosen.file, folder, given, jobs=chosen.jobs, trials=chosen.trials, draw=chosen.draw)


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """`--key=value` words, each to (key, value).

    Raises:
        InputError: another word.
    """
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("--") or not equals:
            raise InputError(f"{word}: options of the runs are written --NAME=VALUE")
        yield key[2:], value


def _count(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from {least}")
    return int(text)
