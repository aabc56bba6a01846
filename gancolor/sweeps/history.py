"""Values that a run has logged so far, from RUN/metrics.jsonl: one JSON object per line."""

import math
from pathlib import Path
from typing import Any, TypeGuard

from gancolor.utils.run_files import METRICS, read_metrics


class History:
    """A run's values of one metric, read again only if its file has changed.

    Args:
        run: folder.
        metric: name; None: read nothing.
    """

    def __init__(self, run: Path, metric: str | None) -> None:
        self._run, self._metric = run, metric
        self._seen: tuple[int, int] | None = None
        self._values: list[float] = []

    def read(self) -> list[float]:
        """Return the finite values in the order of steps."""
        try:
            about = (self._run / METRICS).stat()
        except FileNotFoundError:
            return []
        if self._metric and self._seen != (about.st_mtime_ns, about.st_size):
            self._seen = (about.st_mtime_ns, about.st_size)
            values = (line.get(self._metric) for line in read_metrics(self._run))
            self._values = [value for value in values if _is_number(value)]
        return self._values


def logged_names(run: Path) -> list[str]:
    """Return the names of the numbers that a run has logged, sorted."""
    return sorted(
        {name for line in read_metrics(run) for name, value in line.items() if name != "step" and _is_number(value)}
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
