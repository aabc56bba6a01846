"""Photographs from files into files, in colour: decoded, predicted in batches and encoded at the same time."""

import errno
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyvips

from gancolor.colorize.inputs import Job, Problem, shown
from gancolor.colorize.overlap import Stages
from gancolor.colorizer import Colorizer, Prediction
from gancolor.errors import InputError
from gancolor.files import umask
from gancolor.pictures import QUALITY, Picture, read_picture

# Of a result that can't be written: these end the work, for the others would fare no better.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class Seen(NamedTuple):
    """A photograph that was read; `lightness`: what the network sees of it."""

    job: Job
    picture: Picture
    lightness: np.ndarray


def colour_photographs(
    colorizer: Colorizer,
    jobs: Sequence[Job],
    *,
    quality: int = QUALITY,
    side_by_side: bool = False,
    tick: Callable[[], object] = lambda: None,
) -> list[Problem]:
    """Colours files into files, each of which is whole or not there. Memory holds some 250 MB of pixels, or one
    photograph if that is larger, and what they become.

    Args:
        quality: of formats with losses, 1 to 100.
        side_by_side: writes grey, coloured, and the photograph itself where it had colour, beside each other.
        tick: called as each is done with.

    Returns:
        those that could not be coloured, and why.

    Raises:
        OSError: the disk is full, or can't be written at all.
        InputError: the memory does not even hold the network's work.
    """

    def infer(some: Sequence[Seen | Problem]) -> Iterator[Prediction | None]:
        try:
            answers = iter(colorizer.predict([one.lightness for one in some if isinstance(one, Seen)]))
        except MemoryError as error:
            raise InputError(f"{error}; give a lower --size") from None
        return (next(answers) if isinstance(one, Seen) else None for one in some)

    def finish(seen: Seen | Problem, prediction: Prediction | None) -> Problem | None:
        if isinstance(seen, Problem) or prediction is None:
            return seen if isinstance(seen, Problem) else None
        try:
            coloured = colorizer.colour(seen.picture, prediction)
            if side_by_side:
                coloured = beside(colorizer, seen.picture, prediction, coloured)
            seen.job.target.parent.mkdir(parents=True, exist_ok=True)
            coloured.save(seen.job.target, quality)
        except (InputError, OSError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in FATAL:
                raise OSError(error.errno, error.strerror, str(seen.job.target)) from None
            return Problem(str(seen.job.source), reason(error, seen.job.source))
        return None

    problems = []
    umask()  # before there are threads

    def take(problem: Problem | None) -> None:
        if problem:
            problems.append(problem)
        tick()

    stages: Stages[Job, Seen | Problem, Prediction | None, Problem | None] = Stages(
        partial(look, colorizer), infer, finish, take
    )
    stages.run((job, decoded_bytes(job.source)) for job in jobs)
    return problems


def look(colorizer: Colorizer, job: Job) -> Seen | Problem:
    """Reads a photograph, and makes of it what the network is to see."""
    try:
        picture = read_picture(job.source)
        if picture.pages > 1:
            if job.target.exists() and job.target.samefile(job.source):
                return Problem(str(job.source), f"has {picture.pages} pages, and only the first would be left")
            warnings.warn(f"{shown(job.source)}: the first of its {picture.pages} pages is coloured", stacklevel=2)
        return Seen(job, picture, colorizer.see(picture))
    except Exception as error:  # on damaged files decoders raise almost anything
        return Problem(str(job.source), reason(error, job.source))


def beside(colorizer: Colorizer, picture: Picture, prediction: Prediction, coloured: Picture) -> Picture:
    """Grey, coloured, and the photograph itself where it had colour, from left to right."""
    grey = replace(colorizer, strength=0.0).colour(picture, prediction)
    panels = [grey.pixels, coloured.pixels] + ([picture.pixels] if has_colour(picture) else [])
    alpha = picture.alpha if picture.alpha is None else np.concatenate([picture.alpha] * len(panels), axis=1)
    return replace(coloured, pixels=np.concatenate(panels, axis=1), alpha=alpha)


def has_colour(picture: Picture) -> bool:
    """Whether its channels differ anywhere."""
    pixels = picture.pixels
    return bool((pixels != pixels[..., :1]).any())


def decoded_bytes(path: Path) -> int:
    """What a picture takes in memory when it is read, by its header; the file's size where libvips can't tell."""
    try:
        image = pyvips.Image.new_from_file(str(path))
        return int(image.width * image.height * image.bands * (1 if image.format in ("uchar", "char") else 2))
    except (pyvips.Error, UnicodeError):
        return path.stat().st_size if path.exists() else 0


def reason(error: Exception, path: Path) -> str:
    """Why a file could not be coloured, in one line without its name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    return str(error).removeprefix(f"{path}: ").replace("\n", " ")
