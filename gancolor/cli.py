"""The `gancolor` command, and what all commands share: the user's errors end in one line and status 2, an interruption
in one line and 130."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gancolor.errors import InputError, TrainingError


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
    sweep = commands.add_parser(
        "sweep",
        help="run a sweep file's grid here, and put the runs into one table",
        usage="gancolor sweep FILE [--out DIR] [--NAME=VALUE ...]",
        description="Runs every combination of a Weights & Biases sweep file's grid with train.py, one after another, "
        "and writes DIR/table.md. The same command again goes on where it was stopped.",
        epilog="--NAME=VALUE: options of train.py for all runs, above the file's",
        allow_abbrev=False,
    )
    sweep.add_argument("file", metavar="FILE", type=Path, help="such as configs/sweeps/architectures.yaml")
    sweep.add_argument("--out", metavar="DIR", type=Path, help="the runs' folder (default: runs/FILE's name)")
    chosen, others = parser.parse_known_args(argv)
    from gancolor.sweep import Sweep, parse_options

    folder = chosen.out or Path("runs") / chosen.file.stem
    return Sweep(chosen.file, folder, dict(parse_options(others))).run()
