"""Files that are neither used nor reported as problems, counted by their suffix."""

import sys
from collections import Counter
from pathlib import PurePath

from gancolor.choices import COMPANION_SUFFIXES, PICTURE_SUFFIXES

MOST_NAMED = 8  # suffixes
LONGEST = 12  # characters of a suffix; what follows a dot in a name may also be text
NAMELESS = "without a suffix"


class IgnoredFiles(Counter[str]):
    """Number of files by suffix. Hidden files, and those that commonly lie beside photographs, are not counted."""

    def add(self, name: str) -> None:
        """Count a file, unless it is not worth a word."""
        suffix = PurePath(name).suffix.lower()
        if PurePath(name).name.startswith("."):
            return
        if suffix in PICTURE_SUFFIXES:
            self[f"{suffix} that is no file"] += 1  # but a link to nothing, or a pipe
        elif suffix not in COMPANION_SUFFIXES:
            self[suffix if suffix.isprintable() and 0 < len(suffix) <= LONGEST else NAMELESS] += 1

    def __str__(self) -> str:
        """List the most frequent suffixes, such as `12 .cr2, 3 .psd, 1 without a suffix`."""
        common = self.most_common(MOST_NAMED)
        others = self.total() - sum(count for _, count in common)
        return ", ".join([f"{count} {suffix}" for suffix, count in common] + [f"{others} others"] * bool(others))

    def warn(self, where: object) -> None:
        """Print the counts in one line, if there are any."""
        if self:
            print(f"gancolor: warning: {where}: ignored: {self}", file=sys.stderr, flush=True)
