"""Checks for options that contradict each other, before photographs are scored."""

from pathlib import Path

from gancolor.config.evaluate import EvaluateConfig
from gancolor.utils.errors import InputError, shown
from gancolor.utils.files import check_writable


def check_options(config: EvaluateConfig) -> None:
    """Reject options that contradict each other, and files that can't be written.

    Raises:
        InputError: which options, and what to do.
    """
    of_generators = {
        "--hints": config.hints is not None,
        "--input_size": config.input_size is not None,
        "--strength": config.strength != EvaluateConfig().strength,
    }
    for option, given in of_generators.items():
        if given and not config.checkpoints:
            raise InputError(f"{option} is for generators, and only other tools' pictures are scored: leave it out")
    if config.grid and Path(config.grid).suffix.lower() not in ("", ".png"):
        raise InputError(f"--grid {shown(config.grid)}: a grid is a PNG file; end its name in .png")
    files: dict[Path, str] = {}
    for option in ("json", "csv", "grid"):
        if name := getattr(config, option):
            other = files.setdefault(Path(name).resolve(), option)
            if other != option:
                raise InputError(f"--{other} and --{option} name the same file, {shown(name)}: give them two names")
            check_writable(f"--{option}", name)
