"""Colouring of photograph files: decoding, batched prediction and encoding run at the same time."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gancolor.choices import PICTURE_SUFFIXES
from gancolor.colorize.inputs import ColorizeJob, Problem
from gancolor.colorize.pipeline import Pipeline
from gancolor.inference.colorizer import ChromaPrediction, Colorizer
from gancolor.inference.hints import SUFFIX, Hint, read_hints
from gancolor.inference.image_files import QUALITY, SAVERS, Picture, decoded_bytes, read_picture
from gancolor.utils.errors import InputError, shown
from gancolor.utils.files import umask

# Write errors that end all work, because they would affect the other results too.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class Seen(NamedTuple):
    """A photograph that was read, with the network's input, `seen` (see `Colorizer.see`)."""

    job: ColorizeJob
    picture: Picture
    seen: np.ndarray


def colour_photographs(
    colorizer: Colorizer,
    jobs: Sequence[ColorizeJob],
    hints: Sequence[Hint] = (),
    *,
    quality: int = QUALITY,
    side_by_side: bool = False,
    tick: Callable[[], object] = lambda: None,
) -> list[Problem]:
    """Colour files into files, each of which is complete or absent.

    Memory holds some 250 MB of decoded pixels, or one photograph if that is larger, and their results.

    Args:
        hints: for each of the files, in place of those in the file of hints beside it.
        quality: of lossy formats, 1 to 100.
        side_by_side: write grey, coloured and, if it had colour, the original into one picture.
        tick: called after each photograph.

    Returns:
        the photographs that could not be coloured, and why.

    Raises:
        OSError: the disk is full or can't be written to.
        InputError: memory is too small for the network.
    """

    def infer(batch: Sequence[Seen | Problem]) -> Iterator[ChromaPrediction | None]:
        try:
            predictions = iter(colorizer.predict([one.seen for one in batch if isinstance(one, Seen)]))
        except MemoryError as error:
            raise InputError(f"{error}; give a lower --size") from None
        return (next(predictions) if isinstance(one, Seen) else None for one in batch)

    def write(seen: Seen | Problem, prediction: ChromaPrediction | None) -> Problem | None:
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
    umask()  # reading the umask changes it for a moment, so read it before there are threads

    def record(problem: Problem | None) -> None:
        if problem:
            problems.append(problem)
        tick()

    pipeline: Pipeline[ColorizeJob, Seen | Problem, ChromaPrediction | None, Problem | None] = Pipeline(
        partial(read, colorizer, hints), infer, write, record
    )
    pipeline.run((job, decoded_bytes(job.source)) for job in jobs)
    return problems


def read(colorizer: Colorizer, hints: Sequence[Hint], job: ColorizeJob) -> Seen | Problem:
    """Read a photograph, with the hints beside it unless others are given, and compute the network's input."""
    try:
        picture = read_picture(job.source)
        in_place = job.target.exists() and job.target.samefile(job.source)
        if in_place and (loss := loss_in_place(picture, job.target.suffix)):
            return Problem(str(job.source), loss)
        warn_of_pages(job.source, picture)
        beside = f"{job.source}{SUFFIX}"
        if not hints and os.path.isfile(beside):  # noqa: PTH113 - Path.is_file raises an error for names that are too long
            hints = read_hints(Path(beside), picture.size)
        return Seen(job, picture, colorizer.see(picture, hints))
    except Exception as error:  # decoders raise almost anything for damaged files
        why = reason(error, job.source)
        if job.source.suffix.lower() not in PICTURE_SUFFIXES and "a video" not in why:
            why += "; if it is a video, give it a video's suffix, such as .mp4"
        return Problem(str(job.source), why)


def loss_in_place(picture: Picture, suffix: str) -> str | None:
    """Return what a photograph would lose if its result took its place, and what to do; None: nothing."""
    if picture.pages > 1:
        return f"has {picture.pages} pages, and only the first would be left; colour it without --in_place"
    if picture.left_out:
        return "has channels besides colour and transparency, which would be lost; colour it without --in_place"
    if picture.suffix is None:
        return f"its contents can't be written as what they are, but only as {suffix}; colour it without --in_place"
    if SAVERS[picture.suffix] != SAVERS[suffix.lower()]:
        return f"its contents are {picture.suffix}, and would become {suffix}; rename it to {picture.suffix}"
    return None


def warn_of_pages(path: Path, picture: Picture) -> None:
    """Warn if only the first of several pages is coloured."""
    if picture.pages > 1:
        warnings.warn(f"{shown(path)}: {picture.pages_note}", stacklevel=2)


def beside(colorizer: Colorizer, picture: Picture, prediction: ChromaPrediction, coloured: Picture) -> Picture:
    """Join grey, coloured and, if it had colour, the original, from left to right."""
    grey = replace(colorizer, strength=0.0).colour(picture, prediction)
    panels = [grey.pixels, coloured.pixels] + ([picture.pixels] if has_colour(picture) else [])
    alpha = picture.alpha if picture.alpha is None else np.concatenate([picture.alpha] * len(panels), axis=1)
    return replace(coloured, pixels=np.concatenate(panels, axis=1), alpha=alpha)


def has_colour(picture: Picture) -> bool:
    """Return whether the channels differ anywhere."""
    pixels = picture.pixels
    return bool((pixels != pixels[..., :1]).any())


def reason(error: Exception, path: Path) -> str:
    """Return why a file could not be coloured, in one line without the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    return str(error).removeprefix(f"{shown(path)}: ").replace("\n", " ")
