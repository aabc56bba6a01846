"""Measures gancolor on this machine against a plain reference: `python benchmarks/bench.py`; see `--help`."""

import argparse
import json
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # gancolor beside it, where none is installed
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # of gancolor's dependencies, in every process

PARTS = ("step", "data", "evaluation", "choices")
GANS = ["ugan", "attention_ugan", "pretrained_ugan", "pretrained_attention_ugan"]


def main() -> None:
    options = parse()
    # After --help, which does without torch. The modules import gancolor.
    import torch
    from measure import Row
    from pictures import measure_data, measure_evaluation, photo_files
    from training import StepSpec, measure_choices, measure_steps

    from gancolor.cli import run

    def measure() -> None:
        device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(options.threads or torch.get_num_threads())
        about = header(device, sys.argv[1:])
        threads = torch.get_num_threads()
        size, batch_size = (256, 16) if device == "cuda" else (64, 8)
        size, batch_size = options.size or size, options.batch_size or batch_size
        base = StepSpec(options.arch[0], size, batch_size, device, options.seconds, threads)
        parts: dict[str, list[Row]] = {}
        if "step" in options.only:
            parts["step"] = measure_steps(options.arch, base, options.compile)
        if {"data", "evaluation"} & set(options.only):
            with photo_files(options.photos) as files:
                if "data" in options.only:
                    parts["data"] = measure_data(files, base)
                if "evaluation" in options.only:
                    parts["evaluation"] = measure_evaluation(files, options.arch, base)
        if "choices" in options.only:
            parts["choices"] = measure_choices(options.arch, base)
        if options.json:
            Path(options.json).write_text(json.dumps({"about": about, **parts}, indent=1) + "\n", encoding="utf-8")

    run(measure)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    from gancolor.models import GENERATORS

    parser = argparse.ArgumentParser(
        prog="bench.py", description="Measures gancolor on this machine against a plain reference.", allow_abbrev=False
    )
    architectures, parts = ", ".join(GENERATORS), ", ".join(PARTS)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda, else cpu")
    parser.add_argument("--size", type=int, help="side of the photographs [pixels] (256; on a CPU 64)")
    parser.add_argument("--batch_size", type=int, help="photographs a step (16; on a CPU 8)")
    parser.add_argument("--seconds", type=float, default=3.0, help="to measure each contender of a row for (3)")
    parser.add_argument(
        "--threads", type=int, help="torch's threads (its own choice); take 1 where other work shares the cores"
    )
    parser.add_argument("--compile", action="store_true", help="measure compiled networks too; minutes each on a CPU")
    parser.add_argument("--arch", type=_choice(list(GENERATORS)), default=GANS,
                        help=f"of {architectures}, with commas (the first four)")  # fmt: skip
    parser.add_argument("--photos", metavar="DIR", help="folder of photographs (scenes drawn by code)")
    parser.add_argument("--only", type=_choice(PARTS), default=list(PARTS[:3]),
                        help=f"of {parts}, with commas (all but choices)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file too")
    return parser.parse_args(argv)


def _choice(known: Sequence[str]) -> Any:
    """A parser of names with commas between."""

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; choose from {', '.join(known)}")
        return chosen

    return names


def header(device: str, argv: Sequence[str]) -> dict[str, Any]:
    """Prints, and returns, what the figures were measured on."""
    import torch

    from gancolor import __version__

    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    about = {
        "hardware": f"{torch.cuda.get_device_name()}; {processor()}" if device == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "load at the start": f"{load} (other work on the machine, over the last minute)",
        "torch": torch.__version__,
        "gancolor": __version__,
        "date": date.today().isoformat(),
        "command": f"python benchmarks/{Path(sys.argv[0]).name} " + shlex.join(_without_paths(argv)),
    }
    print("# Benchmark\n")
    for name, value in about.items():
        print(f"- {name}: {f'`{value}`' if name == 'command' else value}", flush=True)
    return about


def processor() -> str:
    """The CPU's name and cores."""
    name = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).is_file():
        lines = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = lines[0] if lines else name
    return f"{name}, {os.cpu_count()} cores"


def _without_paths(argv: Sequence[str]) -> list[str]:
    """The command line with DIR and FILE for paths, which mean nothing elsewhere."""
    words: list[str] = []
    for word in argv:
        option, equals, _ = word.partition("=")
        name = {"--photos": "DIR", "--json": "FILE", "--checkpoint": "FILE"}
        if words and words[-1] in name:
            words.append(name[words[-1]])
        else:
            words.append(f"{option}={name[option]}" if equals and option in name else word)
    return words


if __name__ == "__main__":
    main()
