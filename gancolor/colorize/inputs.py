"""Paths of the files to colour and of their results, from files, folders and patterns."""

import os
import sys
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from gancolor.choices import PICTURE_SUFFIXES
from gancolor.inference.image_files import SAVERS, check_format
from gancolor.utils.errors import InputError, shown
from gancolor.utils.ignored_files import IgnoredFiles
from gancolor.utils.words import counted

VIDEOS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}  # as written by FFmpeg
OTHER_VIDEOS = frozenset(
    f".{name}"
    for name in (
        *("avi", "divx", "mpg", "mpeg", "ts", "mts", "m2ts", "vob", "wmv", "asf", "flv", "f4v"),
        *("3gp", "3g2", "ogv", "mxf", "dv", "y4m"),
    )
)
ANY_VIDEO = ".mkv"  # for results of OTHER_VIDEOS: Matroska holds most sound and any timing
SYNONYMS = {".jpe": ".jpg", ".jfif": ".jpg"}
PLAIN = ".png"  # for the results of formats that are read but not written
FOLDER = "colorized"  # default output folder


class Problem(NamedTuple):
    """An input that can't be coloured, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.name)}: {self.reason}"


@dataclass(frozen=True)
class ColorizeJob:
    """A file to colour, and the path of its result."""

    source: Path
    target: Path

    @property
    def is_video(self) -> bool:
        return is_video(self.source)


@dataclass
class Found:
    """The result of `find_jobs`.

    Attributes:
        jobs: in the order of the command line; those of a folder, by name.
        problems: inputs that are missing, unreadable, without anything to colour, or with the same result as another.
        ignored: skipped files: in folders, those without a picture's or video's suffix.
    """

    jobs: list[ColorizeJob] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ignored: IgnoredFiles = field(default_factory=IgnoredFiles)


def find_jobs(
    inputs: Sequence[str], out: str | None = None, picture_format: str | None = None, *, in_place: bool = False
) -> Found:
    """Turn files, folders (recursively) and glob patterns (including `**`) into jobs.

    A folder keeps its tree, a pattern the tree below its first wildcard, and a single file goes directly into `out`.
    Hidden files, links to folders and `out` itself are skipped. Nothing is written here, and no target lies outside
    `out`.

    Args:
        out: output folder, or output file if there is one input file. None: the folder `colorized`.
        picture_format: suffix of resulting pictures, without its dot. None: each keeps its own if that can be written,
            else png.
        in_place: replace each file by its result; `out` and `picture_format` must be None.

    Raises:
        InputError: options conflict, or an input would be replaced.
    """
    suffix = f".{picture_format.lower()}" if picture_format else None
    if suffix:
        check_format(suffix)
    if in_place and (out is not None or suffix):
        raise InputError(f"--in_place keeps names and formats: leave out {'-o' if out is not None else '--format'}")
    folder = Path(FOLDER if out is None else out)
    search = _Search(folder, in_place)
    others = [word for word in inputs if not (_is_folder(word) and Path(word).resolve() == search.out)]
    if others and len(others) < len(inputs):  # `gancolor colorize *`, for the second time
        warnings.warn(f"{shown(folder)}: ignored among the inputs, because results go there", stacklevel=2)
    for word in others or inputs:
        search.add(word)
    found, entries = search.found, search.entries
    if in_place:
        _keep_places(found, entries, {Path(word) for word in inputs})
    elif out is not None and _names_a_file(out):
        if found.problems and len(inputs) > 1:  # such as a name with spaces and without quotes
            raise InputError(str(found.problems[0]))
        if len(entries) > 1 or len(inputs) > 1 or _is_folder(inputs[0]):
            raise InputError(f"-o {shown(out)}: a file's name, but the input is more than one file; name a folder")
        found.jobs = [ColorizeJob(source, _check_kind(source, folder, suffix)) for source, _ in entries]
    else:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"-o {shown(folder)}: a file is there; name a folder, or a file with a picture's suffix")
        jobs = [ColorizeJob(source, folder / renamed(name, suffix)) for source, name in entries]
        found.jobs = _distinct(jobs, found.problems)
        _check_inside({job.target.parent for job in found.jobs}, folder)
    if not in_place and (replaced := replaced_input(found.jobs, [job.target for job in found.jobs])):
        raise InputError(
            f"{shown(replaced)} would take the place of an input; give another -o, or --in_place if that is meant"
        )
    return found


def replaced_input(jobs: Sequence[ColorizeJob], results: Sequence[Path]) -> Path | None:
    """Return the first result that would replace one of the jobs' inputs, under any name or link."""
    there = [(result, identity) for result in results if (identity := _identity(result))]
    inputs = {_identity(job.source) for job in jobs} if there else set()
    return next((result for result, identity in there if identity in inputs), None)


def _is_folder(word: str) -> bool:
    """Return whether there is a folder of this name; Path.is_dir raises OSError for a name that is too long."""
    return os.path.lexists(word) and Path(word).is_dir()


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS or path.suffix.lower() in OTHER_VIDEOS


def renamed(name: Path, suffix: str | None) -> Path:
    """Return the name of a file's result: unchanged if its format can be written and no other is requested."""
    own = name.suffix.lower()
    if is_video(name):
        return name if own in VIDEOS else name.with_suffix(ANY_VIDEO)
    if own in SAVERS and (suffix is None or SAVERS[suffix] == SAVERS[own]):
        return name
    wanted = suffix or SYNONYMS.get(own, PLAIN)
    return name.with_suffix(wanted) if own in PICTURE_SUFFIXES else name.with_name(name.name + wanted)


class _Search:
    """Collector of (file, its path below the output folder)."""

    def __init__(self, out: Path, in_place: bool) -> None:
        self.found = Found()
        self.entries: list[tuple[Path, Path]] = []
        self.out = None if in_place else out.resolve()

    def add(self, word: str) -> None:
        path = Path(word)
        if not word:
            raise InputError("an empty name among the inputs")
        if _is_folder(word):
            self._add_some(word, self._walk(path, Path()), "no photographs or videos in this folder")
        elif os.path.lexists(path):
            self._add_named(path)
        elif has_magic(word):
            self._add_some(word, self._expand(path), "nothing matches")
        elif word == "-":
            self.found.problems.append(Problem(word, "standard input is not read; give a file"))
        else:
            self.found.problems.append(Problem(word, "no such file or folder"))

    def _add_named(self, path: Path) -> None:
        if path.is_file():
            self.entries.append((path, Path(path.name)))
        else:  # opening a named pipe would block
            self.found.problems.append(Problem(str(path), "no file" if path.exists() else "a link to nothing"))

    def _add_some(self, word: str, entries: Iterator[tuple[Path, Path]], otherwise: str) -> None:
        before = len(self.entries), len(self.found.problems)
        self.entries.extend(entries)
        if before == (len(self.entries), len(self.found.problems)):
            ignored = f" (ignored: {self.found.ignored})" if self.found.ignored else ""
            self.found.problems.append(Problem(word, otherwise + ignored))

    def _walk(self, folder: Path, name: Path) -> Iterator[tuple[Path, Path]]:
        def note(error: OSError) -> None:
            self.found.problems.append(Problem(str(error.filename), str(error.strerror)))

        for place, folders, files in os.walk(folder, onerror=note):
            folders[:] = [one for one in sorted(folders) if not one.startswith(".")]
            if self.out and self.out.name in folders and Path(place, self.out.name).resolve() == self.out:
                folders.remove(self.out.name)
            below = name / Path(place).relative_to(folder)
            for file in sorted(files):
                path = Path(place, file)
                if file.startswith(".") or not (path.suffix.lower() in PICTURE_SUFFIXES or is_video(path)):
                    self.found.ignored.add(file)
                elif path.is_file():
                    yield path, below / file
                else:
                    self.found.ignored.add(file)

    def _expand(self, pattern: Path) -> Iterator[tuple[Path, Path]]:
        fixed = Path()
        for part in pattern.parts:
            if has_magic(part) and not os.path.lexists(fixed / part):  # a folder may be called "scans [2]"
                break
            fixed /= part
        rest = str(pattern.relative_to(fixed))
        try:
            matches = sorted(fixed.glob(rest))
        except ValueError as error:
            raise InputError(f"{shown(pattern)}: {error}") from None
        results = None if self.out and fixed.resolve().is_relative_to(self.out) else self.out
        for match in matches:
            if results and results in (real := match.resolve(), *real.parents):
                continue
            below = Path(os.path.normpath(match.relative_to(fixed)))
            if ".." in below.parts:
                below = Path(match.name)
            if any(part.startswith(".") for part in below.parts) and not rest.startswith("."):
                continue
            if match.is_dir():
                yield from self._walk(match, below)
            elif match.is_file():
                yield match, below


def _names_a_file(out: str) -> bool:
    path, suffix = Path(out), Path(out).suffix.lower()
    return not (out.endswith(("/", os.sep)) or path.is_dir()) and (suffix in PICTURE_SUFFIXES or is_video(path))


def _check_kind(source: Path, target: Path, suffix: str | None) -> Path:
    """Return `target`, or raise InputError if its suffix does not suit the result of `source`."""
    if is_video(source):
        if target.suffix.lower() not in VIDEOS:
            raise InputError(f"-o {shown(target)}: {shown(source)} is a video; name a file of {', '.join(VIDEOS)}")
        return target
    check_format(target.suffix)
    if suffix and SAVERS[target.suffix.lower()] != SAVERS[suffix]:
        raise InputError(f"-o {shown(target)} is not of --format {suffix[1:]}: leave one of them out")
    return target


def _keep_places(found: Found, entries: Sequence[tuple[Path, Path]], named: Container[Path]) -> None:
    """Add a job for each entry that can be replaced. Links are followed only if they are among the named inputs: those
    in a folder may lead out of it, to files that nobody meant to change."""
    for source, name in entries:
        if source.is_symlink() and source not in named:
            found.problems.append(Problem(str(source), "a link; to replace the file that it leads to, name that"))
        elif renamed(name, None) == name:
            found.jobs.append(ColorizeJob(source, source.resolve()))
        else:
            found.problems.append(
                Problem(str(source), f"{name.suffix or 'no suffix'} can't be written; colour it without --in_place")
            )
    found.jobs = list({job.target: job for job in found.jobs}.values())


def _distinct(jobs: Sequence[ColorizeJob], problems: list[Problem]) -> list[ColorizeJob]:
    """Return the jobs without repetitions, one per target; different files with the same target become problems.

    Neither of these is coloured: which of them a result is from should not depend on what else is in the folder.
    """
    fold: Callable[[str], str] = str.casefold if sys.platform in ("darwin", "win32") else str
    places: dict[str, list[ColorizeJob]] = {}
    for job in jobs:
        rivals = places.setdefault(fold(str(job.target)), [])
        if not any(rival.source == job.source or rival.source.samefile(job.source) for rival in rivals):
            rivals.append(job)
    for rivals in places.values():
        for job in rivals if len(rivals) > 1 else ():
            first, *more = [shown(rival.source) for rival in rivals if rival is not job]
            others = f"{first} and {counted(len(more), 'other file')}" if more else first
            words = f"would become {shown(job.target)}, and so would {others}; colour each with an -o of its own"
            problems.append(Problem(str(job.source), words))
    return [rivals[0] for rivals in places.values() if len(rivals) == 1]


def _check_inside(folders: set[Path], out: Path) -> None:
    """Raise InputError if an existing folder is a link that leads out of the output folder."""
    real = out.resolve()
    for folder in folders:
        if not folder.resolve().is_relative_to(real):
            raise InputError(f"{shown(folder)} leads out of {shown(out)}: remove that link, or give another -o")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
