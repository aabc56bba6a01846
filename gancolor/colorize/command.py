"""Entry point of `gancolor colorize`."""

import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gancolor.colorize.inputs import FOLDER, ColorizeJob, Found, Problem, find_jobs, replaced_input
from gancolor.colorize.photographs import FATAL, colour_photographs, reason
from gancolor.colorize.ranks import share, this_ranks_device, wait_for_ranks
from gancolor.colorize.smoothing import SMOOTHING
from gancolor.colorize.variants import colour_variants, variant_path, write_uncertainty
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.hints import SUFFIX, Hint, parse_hint, read_hints
from gancolor.inference.image_files import QUALITY, check_format, read_picture
from gancolor.inference.recombine import can_compile
from gancolor.utils.errors import InputError, shown

MUCH = 20e6  # bytes of photographs: from here on, the compiled kernel saves more time than it takes to load


@dataclass(frozen=True)
class ColorizeOptions:
    """Options of `gancolor colorize`; see its `--help`."""

    out: str | None = None
    picture_format: str = "keep"
    quality: int = QUALITY
    overwrite: bool = False
    in_place: bool = False
    side_by_side: bool = False
    disclosure: bool = True
    checkpoint: Sequence[Path] = ()
    device: str = "auto"
    size: int | None = None
    strength: float = 1.0
    upsampling: str = "guided"
    flips: bool = False
    smoothing: float = SMOOTHING
    hint: Sequence[str] = ()
    hints: Path | None = None
    variants: int | None = None
    uncertainty: Path | None = None


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print each warning once, above the progress bar and without its place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata
        warnings.showwarning = lambda message, *_, **__: print_above_bar(f"gancolor: warning: {message}")
        yield


def print_above_bar(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


@one_line_warnings()
def run_colorize(inputs: Sequence[str], options: ColorizeOptions) -> int:
    """Colour the inputs that have no result yet, and report those that failed.

    Returns:
        0, or 1 if an input could not be coloured.

    Raises:
        InputError: there is nothing to colour, or the user made a mistake that is found before the first file is read.
        OSError: the disk is full.
    """
    check(options)
    given = [parse_hint(text) for text in options.hint]
    wanted = None if options.picture_format == "keep" else options.picture_format
    if not inputs:
        raise InputError("nothing to colour; give files or folders, as in gancolor colorize photographs -o colorized")
    found = find_jobs(inputs, options.out, wanted, in_place=options.in_place)
    if not found.jobs:
        first, *more = found.problems
        raise InputError(f"{first}" + (f" (and {len(more)} more)" if more else ""))
    hints = read_given_hints(found.jobs, options, given)
    check_variants(found.jobs, options)
    make_folder(found.jobs, options)
    jobs = share(found.jobs)
    left = [job for job in jobs if options.overwrite or options.in_place or not first_result(job, options).is_file()]
    start = time.monotonic()
    problems = list(found.problems)
    uncertainty = options.uncertainty if found.jobs[0] in jobs else None  # of several ranks, one writes it
    if uncertainty and uncertainty.is_file() and not options.overwrite:
        print(f"{shown(uncertainty)}: already exists; kept")
        uncertainty = None
    if left or uncertainty:
        colorizers = load(options, compiled=is_worth_compiling(left))
        if uncertainty:
            write_uncertainty(colorizers[0], found.jobs[0].source, uncertainty)
        problems += colour(left, colorizers, options, hints)
    report(found, problems, Counts(len(left), len(jobs) - len(left), time.monotonic() - start), options)
    wait_for_ranks()
    return int(bool(problems))


def check(options: ColorizeOptions) -> None:
    """Raise InputError if a number is out of its range."""
    if not 1 <= options.quality <= 100:
        raise InputError(f"--quality {options.quality} is outside 1 to 100")
    if not 0 <= options.smoothing <= 1:
        raise InputError(f"--smoothing {options.smoothing:g} is outside 0 to 1")


def read_given_hints(jobs: Sequence[ColorizeJob], options: ColorizeOptions, given: Sequence[Hint]) -> list[Hint]:
    """Return the hints of `--hint`, which are `given`, and of `--hints`.

    Raises:
        InputError: they are wrong, or there is not exactly one photograph for them.
    """
    if not options.hint and options.hints is None:
        return []
    if len(jobs) != 1 or jobs[0].is_video:
        raise InputError(
            "--hint and --hints are for a single photograph; for several, put a file of hints beside each: "
            f"photo.jpg{SUFFIX}"
        )
    size = read_picture(jobs[0].source).size
    for hint in given:
        hint.check_inside(size)
    return [*([] if options.hints is None else read_hints(options.hints, size)), *given]


def check_variants(jobs: Sequence[ColorizeJob], options: ColorizeOptions) -> None:
    """Raise InputError if `--variants`, `--uncertainty` or several checkpoints do not go together with the rest."""
    several = len(options.checkpoint) > 1
    if several and not options.variants:
        raise InputError("several --checkpoint are for --variants; give one, or --variants N")
    if several and options.variants and options.variants > len(options.checkpoint):
        raise InputError(
            f"--variants {options.variants}: there are {len(options.checkpoint)} --checkpoint; give as many"
        )
    if options.variants and (options.in_place or options.side_by_side or options.hint or options.hints):
        raise InputError("--variants writes several files for each photograph, so it goes with neither --in_place, "
                         "--side_by_side nor hints")  # fmt: skip
    if (options.variants or options.uncertainty) and any(job.is_video for job in jobs):
        raise InputError("--variants and --uncertainty are for photographs, not for videos")
    numbers = range(1, (options.variants or 0) + 1)
    variants = [variant_path(job.target, number) for job in jobs for number in numbers]
    if options.uncertainty:
        check_uncertainty(options.uncertainty, jobs, variants or [job.target for job in jobs])
    if replaced := replaced_input(jobs, variants):
        raise InputError(f"{shown(replaced)} would take the place of an input; give another -o")


def check_uncertainty(path: Path, jobs: Sequence[ColorizeJob], results: Sequence[Path]) -> None:
    """Raise InputError if a map can't be written as `path`, or would replace the photograph or one of its results."""
    check_format(path.suffix)
    if len(jobs) != 1:
        raise InputError("--uncertainty is for a single photograph")
    for other, role in ((jobs[0].source, "the photograph"), *((result, "its result") for result in results)):
        if path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other)):
            raise InputError(f"--uncertainty {shown(path)} is {role} itself; give another name")


def first_result(job: ColorizeJob, options: ColorizeOptions) -> Path:
    """Return the file whose presence means that a photograph is done."""
    return variant_path(job.target, 1) if options.variants else job.target


def make_folder(jobs: Sequence[ColorizeJob], options: ColorizeOptions) -> None:
    """Create the output folder before any work starts.

    Raises:
        InputError: the folder can't be created or written to.
    """
    folder = jobs[0].target.parent if len(jobs) == 1 or options.in_place else Path(options.out or FOLDER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"-o {shown(folder)} can't be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{'--in_place' if options.in_place else '-o'} {shown(folder)}: the folder is read-only")


def is_worth_compiling(jobs: Sequence[ColorizeJob]) -> bool:
    """Return whether Numba is installed, and saves more time than it takes to load."""
    return can_compile() and (any(job.is_video for job in jobs) or sum(map(size_of, jobs)) >= MUCH)


def size_of(job: ColorizeJob) -> int:
    """Return the bytes of a job's file; 0 if it is gone."""
    try:
        return job.source.stat().st_size
    except OSError:  # reading it will report why
        return 0


def load(options: ColorizeOptions, *, compiled: bool) -> list[Colorizer]:
    """Load the checkpoints, or the bundled generator if there are none."""
    named: dict[str, Any] = {
        name: getattr(options, name) for name in ("size", "upsampling", "strength", "flips", "disclosure")
    }
    device = this_ranks_device(options.device)
    paths: Sequence[Path | None] = options.checkpoint or [None]
    return [Colorizer.load(path, device=device, compiled=compiled, **named) for path in paths]


def colour(
    jobs: Sequence[ColorizeJob], colorizers: Sequence[Colorizer], options: ColorizeOptions, hints: Sequence[Hint]
) -> list[Problem]:
    """Colour the photographs, then the videos."""
    colorizer = colorizers[0]
    photographs = [job for job in jobs if not job.is_video]
    videos = [job for job in jobs if job.is_video]
    how: dict[str, Any] = {"quality": options.quality, "side_by_side": options.side_by_side}
    problems = []
    if videos:
        try:
            from gancolor.colorize.video import colour_video
        except ModuleNotFoundError as error:
            if error.name != "av":
                raise
            raise InputError("videos need PyAV: pip install 'gancolor[video]'") from None
    if photographs:
        with progress("photographs", len(photographs), "photo") as bar:
            if options.variants:
                problems += colour_variants(
                    colorizers, photographs, options.variants, options.quality, bar.update, overwrite=options.overwrite
                )
            else:
                problems += colour_photographs(colorizer, photographs, hints, tick=bar.update, **how)
    for job in videos:
        try:
            with progress(shown(job.source.name), None, "frame") as bar:
                tick = partial(advance, bar)
                flicker = colour_video(colorizer, job, smoothing=options.smoothing, tick=tick, **how)
            print(f"{shown(job.target)}: {flicker}", flush=True)
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FATAL:
                raise
            problems.append(Problem(str(job.source), reason(error, job.source)))
    return problems


def advance(bar: Any, total: int | None) -> None:
    """Advance the bar by one frame."""
    bar.total = total
    bar.update()


def progress(name: str, total: int | None, unit: str) -> AbstractContextManager[Any]:
    """Create a progress bar, shown only on a terminal, for more than one file, and by rank 0."""
    if total == 1 or not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        return nullcontext(SimpleNamespace(update=lambda: None))
    from tqdm import tqdm  # takes a twentieth of the time for one photograph

    return tqdm(total=total, desc=name, unit=unit, dynamic_ncols=True)


@dataclass(frozen=True)
class Counts:
    """Numbers of files that were attempted, and skipped because their result exists; duration [s]."""

    attempted: int
    skipped: int
    seconds: float


def report(found: Found, problems: Sequence[Problem], counts: Counts, options: ColorizeOptions) -> None:
    rank = f"rank {os.environ['RANK']}: " if "RANK" in os.environ else ""
    for problem in problems:
        print(f"{rank}not coloured: {problem}", file=sys.stderr, flush=True)
    failed = len(problems) - len(found.problems)
    folder = Path(options.out or FOLDER)
    where = "in place" if options.in_place else f"in {shown(folder)}/" if folder.is_dir() else f"as {shown(folder)}"
    words = [f"{counts.attempted - failed} coloured {where} in {counts.seconds:.1f} s"]
    words += [f"{counts.skipped} there already (to apply these options: --overwrite)"] if counts.skipped else []
    words += [f"{len(problems)} not coloured"] if problems else []
    words += [f"ignored: {found.ignored}"] if found.ignored else []
    print(rank + "; ".join(words), flush=True)
