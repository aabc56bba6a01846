"""Several colourings of each photograph (`--variants`), and a map of the generator's uncertainty (`--uncertainty`)."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from gancolor.colorize.inputs import ColorizeJob, Problem
from gancolor.colorize.photographs import FATAL, reason, warn_of_pages
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.hints import SUFFIX
from gancolor.inference.image_files import read_picture
from gancolor.inference.variants import check_distribution, uncertainty, variants
from gancolor.utils.errors import shown


def variant_path(target: Path, number: int) -> Path:
    """Return the path of a photograph's variant, from 1: photo.jpg's are photo.1.jpg, photo.2.jpg, ..."""
    return target.with_name(f"{target.stem}.{number}{target.suffix}")


def colour_variants(
    colorizers: Sequence[Colorizer],
    jobs: Sequence[ColorizeJob],
    number: int,
    quality: int,
    tick: Callable[[], object],
    *,
    overwrite: bool = False,
) -> list[Problem]:
    """Write up to `number` colourings of each photograph: one by each colorizer, or all by the only one.

    The first is written last, as a sign that all are there. Unless `overwrite`, others that are there without it, such
    as those of an interrupted command, are kept.

    Returns:
        The photographs that could not be coloured, and why.

    Raises:
        InputError: the only generator has no distribution of colours.
    """
    if len(colorizers) == 1:
        check_distribution(colorizers[0])
    problems = []
    for job in jobs:
        try:
            picture = read_picture(job.source)
            warn_of_pages(job.source, picture)
            if os.path.lexists(f"{job.source}{SUFFIX}"):
                warnings.warn(f"{shown(job.source)}: --variants does not use its hints", stacklevel=2)
            if len(colorizers) == 1:
                made = variants(colorizers[0], picture, number)
            else:
                made = [each(picture) for each in colorizers[:number]]
            job.target.parent.mkdir(parents=True, exist_ok=True)
            for place in range(len(made), 0, -1):
                path = variant_path(job.target, place)
                if path.exists() and not overwrite:
                    print(f"{shown(path)}: already exists; kept")
                else:
                    made[place - 1].save(path, quality)
        except Exception as error:  # decoders raise almost anything for damaged files
            if isinstance(error, OSError) and error.errno in FATAL:
                raise
            problems.append(Problem(str(job.source), reason(error, job.source)))
            continue
        finally:
            tick()
        if len(made) < number:
            few = f"{len(made)} of {number} variants: the generator predicts no other plausible colours"
            print(f"{shown(job.source)}: {few}")
    return problems


def write_uncertainty(colorizer: Colorizer, source: Path, path: Path) -> None:
    """Write a map of the generator's uncertainty. Raises InputError if it has no distribution of colours."""
    picture = uncertainty(colorizer, read_picture(source))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    print(f"wrote {shown(path)}")
