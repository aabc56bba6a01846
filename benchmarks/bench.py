"""Measure gancolor on this machine against a plain reference: `python benchmarks/bench.py`; see `--help`."""

import argparse
import json
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

sys.path.append(str(Path(__file__).resolve().parent.parent))  # this checkout's gancolor, if none is installed
warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # from gancolor's dependencies, in every process

if TYPE_CHECKING:
    from measure import Row
    from step_runners import StepSpec

PARTS = ("step", "data", "evaluation", "choices", "floor", "epochs", "equality", "quality")
USUAL = PARTS[:3]
GANS = ["ugan", "attention_ugan", "pretrained_ugan", "pretrained_attention_ugan"]
STAGES: tuple[Literal["pretrain", "adversarial"], ...] = ("pretrain", "adversarial")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def main() -> None:
    options = parse()
    measuring(options, options.arch[0], lambda base, shown: measure_parts(options, base, shown))


def measure_parts(options: argparse.Namespace, base: "StepSpec", shown: list[str]) -> "dict[str, list[Row]]":
    """Measure the selected parts and return their rows, which are printed as they are measured."""
    # These modules import torch and gancolor, which --help does not need. Each part imports only its own.
    from data_pipeline import photo_files, photo_folder

    parts: dict[str, list[Row]] = {}
    wanted, archs, limit = options.only, options.arch, options.limit
    if "floor" in wanted:
        from roofline import measure_floors

        parts["floor"] = measure_floors(archs, base)
    if "step" in wanted:
        from step_speed import measure_steps

        parts["step"] = measure_steps(archs, base, shown, options.compile)
    if "choices" in wanted:
        from step_speed import measure_choices

        parts["choices"] = measure_choices(archs, base)
    if "equality" in wanted:
        from loss_curves import measure_curves

        parts["equality"] = measure_curves(archs, base, options.steps)
    if not {"data", "evaluation", "epochs", "quality", "equality"} & set(wanted):
        return parts
    with photo_folder(options.photos) as folder:
        if "data" in wanted:
            from data_pipeline import measure_data
            from epoch_speed import measure_decoding

            parts["data"] = measure_data(photo_files(folder, limit), base)
            parts["decoding"] = measure_decoding(base, folder, limit)
        if "evaluation" in wanted:
            from data_pipeline import measure_evaluation

            parts["evaluation"] = measure_evaluation(photo_files(folder, limit), archs, base)
        if "epochs" in wanted:
            from epoch_speed import measure_epochs

            parts["epochs"] = measure_epochs(archs, base, folder, shown, options.epochs, limit)
        if "equality" in wanted:
            from loss_curves import measure_bf16

            parts["bf16"] = measure_bf16(archs, base, folder, options.seeds, options.epochs, limit)
        if "quality" in wanted:
            from time_to_psnr import measure_quality

            parts["quality"] = measure_quality(archs, base, folder, shown, options.minutes, limit)
    return parts


def measuring(
    options: argparse.Namespace, arch: str, measure: "Callable[[StepSpec, list[str]], dict[str, list[Row]]]"
) -> None:
    """Print a header, run `measure(base, precisions)` with the common options, and write --json. User errors end in one
    line."""
    from gancolor.cli import run
    from gancolor.utils.errors import InputError

    def whole() -> None:
        import torch
        from step_runners import StepSpec, precisions

        device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(options.threads or torch.get_num_threads())
        about = header(device, sys.argv[1:])
        size, batch_size = (256, 16) if device == "cuda" else (64, 8)
        base = StepSpec(
            arch, options.size or size, options.batch_size or batch_size, device, options.seconds,
            torch.get_num_threads(), words=tuple(shlex.split(options.options)),
            only=tuple(stage for stage in STAGES if stage in getattr(options, "stage", STAGES)),
            turns=getattr(options, "turns", 3),
        )  # fmt: skip
        there = precisions(device)
        if not (chosen := [name for name in there if name in options.precision]):
            raise InputError(f"--precision {','.join(options.precision)}: this device has {', '.join(there)}")
        parts = measure(base, chosen)
        if options.json:
            Path(options.json).write_text(json.dumps({"about": about, **parts}, indent=1) + "\n", encoding="utf-8")

    run(whole)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    from gancolor.choices import ARCHITECTURES

    parser = argparse.ArgumentParser(
        prog="bench.py", description="Measures gancolor on this machine against a plain reference.", allow_abbrev=False
    )
    names = list(ARCHITECTURES)
    parser.add_argument("--only", type=choice(PARTS), default=list(USUAL),
                        help=f"parts to run, of {', '.join(PARTS)} (default: {','.join(USUAL)})")  # fmt: skip
    parser.add_argument("--arch", type=choice(names, "all"),
                        help=f"of {', '.join(names)}, or all (default: four GANs; for floor, all)")  # fmt: skip
    parser.add_argument("--stage", type=choice(STAGES), default=list(STAGES),
                        help=f"stages of steps and counts, of {', '.join(STAGES)} (default: both)")  # fmt: skip
    parser.add_argument(
        "--compile",
        action="store_true",
        help="measure compiled networks too (on CUDA, also with CUDA graphs); takes minutes per network on a CPU",
    )
    parser.add_argument("--turns", type=int, default=3, help="turns of each of step's and choices' rows (3)")
    parser.add_argument("--epochs", type=int, default=3, help="measured epochs of epochs and equality (3)")
    parser.add_argument("--steps", type=int, default=100, help="steps of equality's loss curves (100)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of equality's training runs (3)")
    parser.add_argument("--minutes", type=float, default=10.0, help="time limit of each contender of quality (10)")
    add_common(parser)
    options = parser.parse_args(argv)
    options.arch = options.arch or (names if options.only == ["floor"] else GANS)
    return options


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that all training benchmarks share."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda, else cpu")
    parser.add_argument("--size", type=int, help="side of the photographs [pixels] (default: 256; on a CPU 64)")
    parser.add_argument("--batch_size", type=int, help="photographs per step (default: 16; on a CPU 8)")
    parser.add_argument("--precision", type=choice(PRECISIONS), default=list(PRECISIONS),
                        help=f"precisions, of {', '.join(PRECISIONS)} (default: the device's)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=3.0, help="measuring time of each contender (default: 3)")
    parser.add_argument(
        "--threads", type=int, help="torch's threads (default: torch's choice); use 1 if other work shares the cores"
    )
    parser.add_argument("--photos", metavar="DIR", help="folder of photographs (default: scenes drawn by code)")
    parser.add_argument(
        "--limit", type=int, help="maximum number of photographs (default: all; for loading alone, 1024)"
    )
    parser.add_argument("--options", default="", metavar="WORDS",
                        help="options of train.py over the recipes', such as '--generator.width 16'")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")


def choice(known: Sequence[str], everything: str = "") -> Any:
    """Return a parser of comma-separated names; `everything` selects all of them."""

    def names(text: str) -> list[str]:
        chosen = list(known) if text == everything else text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; choose from {', '.join(known)}")
        return chosen

    return names


def header(device: str, argv: Sequence[str]) -> dict[str, Any]:
    """Print and return the hardware, software and command that the figures come from."""
    import torch

    from gancolor import __version__

    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    about = {
        "hardware": f"{torch.cuda.get_device_name()}; {processor()}" if device == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "load at the start": f"{load} (average of the last minute, including other work)",
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
    """Return the CPU's name, generation, fast arithmetic and number of cores."""
    name = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).is_file():
        pairs = (line.partition(":") for line in cpuinfo.read_text().partition("\n\n")[0].splitlines())
        first = {key.strip(): value.strip() for key, _, value in pairs}  # the first core's description
        if "model name" in first:
            flags = first.get("flags", "").split()
            fast = [known for known in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if known in flags]
            generation = f"family {first.get('cpu family')}, model {first.get('model')}"  # some names lack the number
            name = f"{first['model name']} ({'; '.join([generation, *fast[-1:]])})"
    return f"{name}, {os.cpu_count()} cores"


def _without_paths(argv: Sequence[str]) -> list[str]:
    """Return the command line with paths replaced by DIR, FILE or PATH, because they mean nothing on other machines."""
    words: list[str] = []
    for word in argv:
        option, equals, _ = word.partition("=")
        name = {"--photos": "DIR", "--out": "DIR", "--json": "FILE", "--checkpoint": "FILE", "--checkout": "PATH"}
        if words and words[-1] in name:
            words.append(name[words[-1]])
        else:
            words.append(f"{option}={name[option]}" if equals and option in name else word)
    return words


if __name__ == "__main__":
    main()
