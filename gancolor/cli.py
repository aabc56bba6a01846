"""The `gancolor` command, and the error handling of all commands: user errors end in one line and exit status 2, an
interruption in one line and status 130."""

import argparse
import errno
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gancolor import __version__
from gancolor.choices import EXPORT_FORMATS, RANKING_METRICS
from gancolor.colorize.arguments import add_colorize
from gancolor.serve.arguments import add_serve
from gancolor.utils.arguments import count, port, seed
from gancolor.utils.errors import InputError, TrainingError, near

PACKAGE, SHOW_WARNING = Path(__file__).parent, warnings.showwarning


def run(main: Callable[[], int | None]) -> None:
    """Run a command's main function and exit with its status; errors that users can fix print no traceback."""
    name = Path(sys.argv[0]).name.replace("__main__.py", "gancolor")
    warnings.showwarning = show_warning
    try:
        status = main() or 0
    except InputError as error:
        status = fail(name, str(error), 2)
    except TrainingError as error:
        status = fail(name, str(error), 1)
    except KeyboardInterrupt:
        status = fail(name, "interrupted", 130)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("gancolor"):
            raise
        importer = traceback.extract_tb(error.__traceback__)[-1].filename
        advice = "to install all that training needs: pip install 'gancolor[train]'"
        status = fail(name, f"{error.name} is not installed, and {importer} imports it; {advice}", 2)
    except BrokenPipeError:  # the reader of our output has left, as in `gancolor ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes at exit
        status = 128 + 13  # as if SIGPIPE had ended it
    except OSError as error:
        if error.errno is None:
            raise
        full = "; files already saved are intact" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        status = fail(name, f"{error.filename or 'a file'}: {error.strerror}{full}", 2)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; compared by name, to avoid importing torch
            raise
        advice = (
            "give --generator.recompute true, --optim.accumulate 2 or --data.on_device never, or lower "
            "--data.batch_size or --data.size (evaluate.py: --batch_size)"
        )
        status = fail(name, f"the device's memory is full; {advice}. Files already saved are intact", 2)
    ranks = os.environ.get("WORLD_SIZE", "1")
    if ranks.isdecimal() and int(ranks) > 1:
        # With torch 2.11, about one run in thirty hung or aborted ("terminate called without an active exception") when
        # the interpreter's end destroyed gloo's threads.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print gancolor's own warnings in one line, and those of other packages as Python does."""
    if category is UserWarning and Path(filename).is_relative_to(PACKAGE):
        print(f"gancolor: warning: {message}", file=sys.stderr, flush=True)
    else:
        SHOW_WARNING(message, category, filename, lineno, file, line)


def fail(name: str, message: str, status: int) -> int:
    rank = os.environ.get("RANK", "0")
    print(f"{name}: {f'rank {rank}: ' if rank != '0' else ''}error: {message}", file=sys.stderr, flush=True)
    return status


def main() -> None:
    """Run the `gancolor` command."""
    run(lambda: _gancolor(sys.argv[1:]))


class Parser(argparse.ArgumentParser):
    """Parser of the command and of its subcommands, with errors of one line."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError, in place of argparse's usage and error."""
        if message.endswith("expected one argument") and "--" in message:
            message += "; a value that starts with a dash is written --NAME=VALUE"
        raise InputError(f"{message} ({self.prog} --help lists all)")

    def refuse(self, words: Sequence[str]) -> None:
        """Raise InputError for the first of these words, which belong to no option."""
        if words:
            is_option = words[0].startswith("-")
            known = dict.fromkeys(re.findall(r"--\w+", self.format_help()))
            hint = near(words[0].partition("=")[0], known) if is_option else ""
            self.error(f"{'unknown option' if is_option else 'unexpected argument'} {words[0]}{hint}")


def _gancolor(argv: Sequence[str]) -> int:
    if argv and argv[0] in ("train", "evaluate"):  # their options are the configuration's, which has its own parser
        return {"train": _train, "evaluate": _evaluate}[argv[0]](argv[1:])
    parser = Parser(
        prog="gancolor", description="Trains, scores, compares and uses generators that colour photographs."
    )
    parser.add_argument("--version", action="version", version=f"gancolor {__version__}")
    commands = parser.add_subparsers(required=True, dest="subcommand", metavar="COMMAND")
    commands.add_parser("train", help="train a generator (python train.py)")
    commands.add_parser("evaluate", help="score generators on held-out photographs (python evaluate.py)")
    add_colorize(commands).set_defaults(command=_colorize)
    _add_compare(commands)
    _add_sweep(commands)
    _add_export(commands)
    _add_demo(commands)
    add_serve(commands).set_defaults(command=_serve)
    chosen, others = parser.parse_known_args(argv)
    if chosen.command is _sweep:
        return _sweep(chosen, others)  # they are the runs' options
    if "inputs" in chosen:  # argparse leaves over those that follow an option, if others precede it
        end = others.index("--") if "--" in others else len(others)
        chosen.inputs += [word for word in others[:end] if not word.startswith("-")] + others[end + 1 :]
        others = [word for word in others[:end] if word.startswith("-")]
    commands.choices[chosen.subcommand].refuse(others)
    return chosen.command(chosen)


def _train(argv: Sequence[str]) -> int:
    from gancolor.training.command import run_train

    return run_train(argv, "gancolor train")


def _evaluate(argv: Sequence[str]) -> int:
    from gancolor.evaluation.command import run_evaluate

    return run_evaluate(argv, "gancolor evaluate")


def _colorize(chosen: argparse.Namespace) -> int:
    options = {name: value for name, value in vars(chosen).items() if name not in ("command", "subcommand", "inputs")}
    # Photographs are processed in parallel here. PyTorch's threads spin while they wait for one another, and so take
    # cores from threads that work. This must be set before PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from gancolor.colorize.command import ColorizeOptions, run_colorize

    return run_colorize(chosen.inputs, ColorizeOptions(**options))


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="rank runs, sweeps and evaluation results, with confidence intervals; write CSV or an HTML report",
        usage="gancolor compare RUN... [--metric NAME] [--csv FILE] [--html FILE]",
        description="Ranks the systems of run folders, sweep folders and results of evaluate.py --json, if they "
        "were scored on the same photographs by the same protocol. Runs that differ only in their seed are one system.",
        allow_abbrev=False,
    )
    compare.add_argument("inputs", metavar="RUN", nargs="+", help="run folder, sweep folder or result file")
    compare.add_argument(
        "--metric", metavar="NAME", choices=RANKING_METRICS, default="psnr",
        help=f"metric to rank by: {', '.join(RANKING_METRICS)} (default: psnr)",
    )  # fmt: skip
    compare.add_argument("--csv", metavar="FILE", type=Path, help="write one row per system to this file")
    compare.add_argument("--html", metavar="FILE", type=Path, help="write a report to this HTML file")
    compare.set_defaults(command=_compare)


def _compare(chosen: argparse.Namespace) -> int:
    from gancolor.compare.command import run_compare  # imports torch

    return run_compare([Path(name) for name in chosen.inputs], chosen.metric, chosen.csv, chosen.html)


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="run a sweep file on this machine, and write one table of its runs",
        usage="gancolor sweep FILE [--out DIR] [--jobs N] [--trials N] [--search_seed N] [--NAME=VALUE ...]",
        description="Runs a Weights & Biases sweep file (grid, random or bayes; hyperband) with no account, server or "
        "network, and writes DIR/table.md. The same command resumes an interrupted sweep.",
        epilog="--NAME=VALUE: options of train.py for all runs, which override the file's",
        allow_abbrev=False,
    )
    sweep.add_argument("file", metavar="FILE", type=Path, help="such as configs/sweeps/architectures.yaml")
    sweep.add_argument("--out", metavar="DIR", type=Path, help="folder for the runs (default: runs/NAME for NAME.yaml)")
    sweep.add_argument("--jobs", metavar="N", type=count, help="concurrent runs (default: one per GPU, or one)")
    sweep.add_argument("--trials", metavar="N", type=count, help="maximum number of runs (default: run_cap in FILE)")
    sweep.add_argument("--search_seed", metavar="N", type=seed, default=0, help="seed of random and bayes (default: 0)")
    sweep.set_defaults(command=_sweep)


def _sweep(chosen: argparse.Namespace, others: Sequence[str]) -> int:
    from gancolor.sweeps.runner import run_sweep

    folder = chosen.out or Path("runs") / chosen.file.stem
    given = dict(_options(others))
    return run_sweep(chosen.file, folder, given, jobs=chosen.jobs, trials=chosen.trials, seed=chosen.search_seed)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="write a generator to a file of another format, or to the Hugging Face Hub, with a model card",
        usage="gancolor export RUN -o FILE [--format NAME] [--half] [--result FILE] [--push_to_hub OWNER/NAME]",
        description="Writes a run's generator to one file, with a model card beside it. The file is first run by the "
        "format's own backend on several sizes; it is not written if its output differs from the original's.",
        allow_abbrev=False,
    )
    export.add_argument("path", metavar="RUN", type=Path, help="run folder, checkpoint, or bundled")
    export.add_argument("-o", "--out", metavar="FILE", type=Path, help="output file: .safetensors, .onnx or .pt2")
    export.add_argument(
        "--format", metavar="NAME", choices=EXPORT_FORMATS,
        help=f"{', '.join(EXPORT_FORMATS)} (default: by FILE's suffix)",
    )  # fmt: skip
    export.add_argument(
        "--interpolate", metavar=("OTHER", "SHARE"), nargs=2,
        help="export SHARE x RUN's weights + (1 - SHARE) x OTHER's, such as of the generator that RUN started from",
    )  # fmt: skip
    export.add_argument("--half", action="store_true", help="store the weights as float16: half the size")
    export.add_argument("--overwrite", action="store_true", help="overwrite FILE and its card")
    export.add_argument(
        "--result", metavar="FILE", type=Path, action="append", default=[],
        help="result of evaluate.py --json, for the card's scores; may be repeated",
    )  # fmt: skip
    export.add_argument("--license", metavar="ID", help="licence of the weights, for the card, such as apache-2.0")
    export.add_argument(
        "--push_to_hub",
        metavar="OWNER/NAME",
        help="upload generator.safetensors, generator.onnx and the card to the Hub",
    )
    export.add_argument("--private", action="store_true", help="if the repository is created, make it private")
    export.set_defaults(command=_export)


def _export(chosen: argparse.Namespace) -> int:
    from gancolor.export.command import run_export

    return run_export(
        chosen.path, chosen.out, chosen.format, half=chosen.half, overwrite=chosen.overwrite, results=chosen.result,
        license_id=chosen.license, repository=chosen.push_to_hub, private=chosen.private,
        interpolate=chosen.interpolate,
    )  # fmt: skip


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="serve a web page that colours photographs, on this machine",
        usage="gancolor demo [CHECKPOINT...] [--host ADDRESS] [--port N] [--device NAME] [--open]",
        description="Serves a web page that colours photographs with one or several checkpoints, side by side, and "
        "offers the results for download at full size. Nothing leaves this machine.",
        allow_abbrev=False,
    )
    demo.add_argument(
        "inputs", metavar="CHECKPOINT", nargs="*",
        help="run folder or exported generator (default: the bundled generator)",
    )  # fmt: skip
    demo.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1",
        help="address to listen on; 0.0.0.0: open to the whole network (default: 127.0.0.1: this machine only)",
    )  # fmt: skip
    demo.add_argument("--port", metavar="N", type=port, help="port (default: 7860, or the next free one)")
    demo.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    demo.add_argument(
        "--max_upload_mb", metavar="N", type=count, default=50, help="maximum size of an uploaded file (default: 50)"
    )
    demo.add_argument(
        "--max_megapixels", metavar="N", type=count, default=100, help="maximum size of a photograph (default: 100)"
    )
    demo.add_argument(
        "--no_disclosure", dest="disclosure", action="store_false",
        help="don't say in the files' metadata that a machine made the colours",
    )  # fmt: skip
    demo.add_argument("--open", action="store_true", help="open the page in the browser")
    demo.set_defaults(command=_demo)


def _demo(chosen: argparse.Namespace) -> int:
    from gancolor.demo.command import run_demo

    return run_demo(
        [Path(name) for name in chosen.inputs], chosen.host, chosen.port,
        most_mb=chosen.max_upload_mb, megapixels=chosen.max_megapixels, device=chosen.device,
        disclosure=chosen.disclosure, show=chosen.open,
    )  # fmt: skip


def _serve(chosen: argparse.Namespace) -> int:
    from gancolor.serve.command import run_serve
    from gancolor.serve.limits import Limits

    limits = Limits(chosen.max_upload_mb, chosen.max_megapixels, chosen.max_waiting, chosen.timeout)
    return run_serve(chosen.host, chosen.port, chosen.checkpoint, chosen.device, limits)


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Split `--key=value` words into (key, value) pairs.

    Raises:
        InputError: a word has another form.
    """
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("--") or not equals:
            raise InputError(f"{word}: options of the runs are written --NAME=VALUE")
        yield key[2:], value
