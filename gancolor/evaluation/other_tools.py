"""Pictures that another tool made of the photographs, scored like any other system."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import splitext

from torch import Tensor

from gancolor.data.catalogue import Item, PhotoFile, Source, names_of
from gancolor.data.decode import Fit, UndecodableError, upright_size
from gancolor.data.sources.folders import list_photographs, printable
from gancolor.utils.errors import InputError

NAMELESS = "no picture with its name"
AMBIGUOUS = "no picture with its path, and other photographs have its file name"
SAME_SHAPE = 0.02  # tolerance of the aspect ratio; networks round sizes to multiples of 8 or 32


@dataclass(frozen=True)
class ToolPicture:
    """Another tool's picture of one photograph, under the photograph's name."""

    file: PhotoFile
    of: Item

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def label(self) -> int:
        return self.of.label

    @property
    def version(self) -> str:
        """The file's path and version. The path is needed because two tools' files for one photograph can have the same
        length and, if they were unpacked from archives, the same time."""
        return f"{printable(str(self.file.path.absolute()))} {self.file.version}"

    def digest(self) -> str:
        return self.file.digest()

    def upright_size(self) -> tuple[int, int]:
        return self.file.upright_size()

    def load(self, size: int, fit: Fit = "crop") -> Tensor:
        """Load as uint8 sRGB (3, size, size): fitted like the photograph, or whole if the picture is square."""
        return self.file.load(size, fit)


@dataclass
class ToolPictures:
    """A folder of another tool's pictures, matched with photographs by file name.

    Args:
        name: of the system.
        items: the photographs to score.
        names: of all photographs of their source (`names_in`): a picture may be of one that is not scored.

    Attributes:
        found: one prediction for each photograph with a picture of a suitable shape.
        missing: photograph -> why it has no prediction.
        notes: lines about differing sizes.

    Raises:
        InputError: the folder does not exist, or none of its pictures matches a photograph.
    """

    name: str
    folder: Path
    items: Sequence[Item]
    names: Iterable[str]
    found: list[ToolPicture] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError(f"--predictions {self.name}={self.folder}: no such folder")
        files, sizes = self._match(), Counter[str]()
        for item in self.items:
            if item.name not in files:
                continue
            try:
                kind = _compare(files[item.name], item)
            except UndecodableError as error:
                self.missing[item.name] = str(error)
                continue
            sizes[kind] += 1
            self.found.append(ToolPicture(files[item.name], item))
        if not self.found:
            name, reason = min(self.missing.items(), key=lambda item: item[1] == NAMELESS)  # prefer other reasons
            raise InputError(
                f"--predictions {self.name}={self.folder}: none of its pictures matches a photograph "
                f"({name}: {reason}); they are matched by file name without suffix"
            )
        self.notes = [
            f"{self.name}: {count} of {len(self.found)} pictures {kind}" for kind, count in sizes.items() if kind
        ]

    def _match(self) -> dict[str, PhotoFile]:
        """Match each photograph to the file of the same path without suffix, or else of the same file name if no other
        photograph of the source has that name. Say which photographs are missing."""
        by_path: defaultdict[str, list[PhotoFile]] = defaultdict(list)
        by_stem: defaultdict[str, list[PhotoFile]] = defaultdict(list)
        for file in list_photographs(self.folder):
            by_path[_without_suffix(file.name)].append(file)
            by_stem[_stem(file.name)].append(file)
        paths, stems, files = Counter[str](), Counter[str](), {}
        for name in self.names:
            if (stem := _stem(name)) in by_stem:  # of a million names, only those that pictures have are kept
                paths[_without_suffix(name)] += 1
                stems[stem] += 1
        for item in self.items:
            path, stem = _without_suffix(item.name), _stem(item.name)
            candidates = by_path[path] or (by_stem[stem] if stems[stem] == 1 else [])
            if paths[path] > 1:  # photographs x.jpg and x.png: only the suffix tells them apart
                candidates = [file for file in by_path[path] if file.name == item.name]
            if len(candidates) > 1:
                raise InputError(
                    f"--predictions {self.name}={self.folder}: {candidates[0].name} and {candidates[1].name} both "
                    f"match {item.name}; remove one"
                )
            if candidates:
                files[item.name] = candidates[0]
            else:
                self.missing[item.name] = AMBIGUOUS if stems[stem] > 1 else NAMELESS
        return files


def names_in(source: Source) -> Iterator[str]:
    """Yield the names of all photographs of a source. Those for training may be in another folder than those for
    validation; then their paths are told apart by "train/"."""
    yield from names_of(source.val)
    folder = "" if source.held_out else "train/"
    yield from (folder + name for name in names_of(source.train))


def _compare(file: PhotoFile, item: Item) -> str:
    """Describe how a prediction's size differs from its photograph's; empty if it does not. Raises UndecodableError."""
    height, width = upright_size(file.path)
    true_height, true_width = item.upright_size()
    if (height, width) == (true_height, true_width):
        return ""
    if abs(width / height * true_height / true_width - 1) <= max(SAME_SHAPE, 1 / min(height, width)):
        return "" if true_height == true_width == 1 else "of another size than the photographs, resized like them"
    if height == width:
        return "square although the photographs are not, compared with their scored squares"
    raise UndecodableError(f"{width} x {height} is not the shape of the photograph, {true_width} x {true_height}")


def _without_suffix(name: str) -> str:
    return splitext(name)[0]


def _stem(name: str) -> str:
    return _without_suffix(name).rpartition("/")[2]
