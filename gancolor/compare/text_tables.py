"""Comparisons as text: for the terminal, as Markdown with costs, and as CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gancolor.compare.comparison import Comparison, Entry
from gancolor.evaluation.tables import figure, markdown_table, text_table
from gancolor.metrics.table import METRICS
from gancolor.utils.files import write_atomically
from gancolor.utils.words import abbreviated

COSTS = {
    "parameters": "parameters",
    "macs": "MACs at 256",
    "photographs_per_second": "photographs/s",
    "seconds": "training [min]",
}


def terminal_table(comparison: Comparison) -> str:
    """Format the ranking, between grey and the ground truth, with each system's difference to the first."""
    metrics = [metric for metric in comparison.metrics() if METRICS[metric].brief]
    heading = ["", *(METRICS[metric].heading for metric in metrics), f"behind [{comparison.metric}]"]
    rows = [heading, _row(comparison.grey, metrics, "")]
    for place, entry in enumerate(comparison.entries, 1):
        rows.append(_row(entry, metrics, behind(comparison, entry), f"{place} "))
    rows.append(_row(comparison.truth, metrics, ""))
    return text_table(rows)


def behind(comparison: Comparison, entry: Entry) -> str:
    """Format an entry's paired difference to the first (positive is worse); ~ if its interval includes zero."""
    gap = comparison.behind.get(entry.name)
    if gap is None:
        return ""
    digits = METRICS[comparison.metric].digits
    if gap.low != gap.low:  # NaN, for a single photograph
        return f"{gap.mean:.{digits}f}"
    mark = "" if gap.is_significant else "~ "
    return f"{mark}{gap.mean:.{digits}f} [{gap.low:.{digits}f}, {gap.high:.{digits}f}]"


def _row(entry: Entry, metrics: Sequence[str], last: str, place: str = "") -> list[str]:
    return [place + label(entry), *(figure(entry.means.get(metric), metric) for metric in metrics), last]


def label(entry: Entry) -> str:
    count = len(entry.members)
    return f"{entry.name} ({count} seeds)" if count > 1 else entry.name


def seeds_table(comparison: Comparison) -> str:
    """Format mean ± standard deviation over seeds of the entries with several seeds; empty if there are none."""
    entries = [entry for entry in comparison.entries if entry.seeds]
    if not entries:
        return ""
    metrics = [metric for metric in comparison.metrics() if METRICS[metric].brief]
    rows = [["over seeds: mean ± sd", *(METRICS[metric].heading for metric in metrics)]]
    for entry in entries:
        cells = []
        for metric in metrics:
            mean, deviation = entry.seeds.get(metric, (None, None))
            digits = METRICS[metric].digits
            cells.append("-" if mean is None else f"{mean:.{digits}f} ± {deviation:.{digits}f}")
        rows.append([label(entry), *cells])
    return text_table(rows)


def cost(entry: Entry, name: str) -> str:
    """Format a cost; - if it is unknown."""
    value = entry.about.get(name)
    if value is None:
        return "-"
    if name == "parameters":
        return abbreviated(value)
    if name == "macs":
        return f"{value / 1e9:.2f} G"
    return f"{value / 60:.1f}" if name == "seconds" else f"{value:.0f}"


def cost_table(comparison: Comparison) -> str:
    """Format the ranking, between grey and the ground truth, with costs, in Markdown."""
    metrics = [metric for metric in comparison.metrics() if METRICS[metric].brief]
    costs = [name for name in COSTS if any(entry.about.get(name) is not None for entry in comparison.entries)]
    rows = [["", *(COSTS[name] for name in costs), *(METRICS[metric].heading for metric in metrics)]]
    for entry in (comparison.grey, *comparison.entries, comparison.truth):
        figures = [figure(entry.means.get(metric), metric) for metric in metrics]
        rows.append([label(entry), *(cost(entry, name) for name in costs), *figures])
    return markdown_table(rows)


def write_ranking_csv(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write one line per entry.

    It has every metric's mean and interval, the difference to the first entry, costs, and the options that vary.
    """
    metrics = [metric for metric in METRICS if any(metric in comparison.metrics() for comparison in comparisons)]
    options = list(dict.fromkeys(name for comparison in comparisons for name in comparison.varying))
    heading = ["protocol", "size", "photographs", "files", "system", "runs", "rank"]
    for metric in metrics:
        heading += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_sd_over_seeds"]
    heading += ["behind_metric", "behind", "behind_low", "behind_high", *COSTS, *options]
    rows: list[list[Any]] = [heading]
    for comparison in comparisons:
        protocol = comparison.protocol
        where = [protocol["name"], protocol["size"], len(comparison.names), comparison.files]
        for rank, entry in enumerate((comparison.grey, *comparison.entries, comparison.truth)):
            row = [*where, entry.name, len(entry.members), rank if 0 < rank <= len(comparison.entries) else ""]
            for metric in metrics:
                mean = entry.means.get(metric)
                row += ["", "", ""] if mean is None else [_number(v) for v in (mean.mean, mean.low, mean.high)]
                row.append(_number(entry.seeds[metric][1]) if metric in entry.seeds else "")
            gap = comparison.behind.get(entry.name)
            row += [comparison.metric, *(map(_number, (gap.mean, gap.low, gap.high)) if gap else ["", "", ""])]
            row += [entry.about.get(name, "") for name in COSTS]
            rows.append(row + [entry.members[0].options.get(name, "") for name in options])

    def write(beside: Path) -> None:
        with beside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            csv.writer(file).writerows(rows)

    write_atomically(path, write)


def _number(value: float) -> str:
    return "" if value != value else f"{value:.6g}"
