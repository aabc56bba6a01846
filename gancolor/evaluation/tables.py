"""Tables of results, for the terminal and as Markdown."""

from collections.abc import Mapping, Sequence

from gancolor.metrics.bootstrap import Mean
from gancolor.metrics.table import METRICS


def results_table(systems: Mapping[str, Mapping[str, Mean]]) -> str:
    """Format a table of systems (rows) and the brief metrics (columns); - if a system lacks a metric."""
    metrics = [name for name, kind in METRICS.items() if kind.brief and any(name in row for row in systems.values())]
    rows = [["", *(METRICS[name].heading for name in metrics)]]
    rows += [[system, *(figure(row.get(name), name) for name in metrics)] for system, row in systems.items()]
    return text_table(rows)


def figure(value: Mean | None, metric: str) -> str:
    """Format mean ± half-width of the 95 % interval; the mean alone if there is no interval; - for no value."""
    if value is None:
        return "-"
    digits = METRICS[metric].digits
    if value.half_width != value.half_width:  # NaN: a single photograph, or a metric of the whole set
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} ± {value.half_width:.{digits}f}"


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Format a text table: the first row is the heading; the first column is left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; rows and alignment are those of `text_table`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    rule = " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])
