"""The report's tables: ranked systems with all metrics and costs, and gain by class of photograph."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from markupsafe import Markup

from gancolor.compare.comparison import Comparison, Entry
from gancolor.compare.rendering import decimals, render
from gancolor.compare.text_tables import COSTS, cost
from gancolor.metrics.bootstrap import Mean
from gancolor.metrics.table import METRICS

ARROWS = {
    "more": (" ↑", "more is better"),
    "less": (" ↓", "less is better"),
    "neither": ("", "to be read beside the truth's"),
}
COST_HINTS = {
    "parameters": "of the generator",
    "macs": "multiply-accumulates for a photograph of 256 × 256 pixels",
    "photographs_per_second": "in training, as it was recorded",
    "seconds": "evaluation left out",
}


class Note(NamedTuple):
    """Small text below a cell's."""

    text: str
    hint: str | None = None
    look: str | None = None


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Attributes:
        value: to sort by; NaN comes last.
        look: its CSS classes.
        share: of its colour, in 0..1.
    """

    text: str = "–"
    value: float = math.nan
    notes: Sequence[Note] = ()
    look: str | None = None
    share: float | None = None


class Row(NamedTuple):
    """A system's row; `number` is its rank, or 0 for a baseline."""

    number: int
    entry: Entry
    cells: Sequence[Cell]


Head = tuple[str, str]  # a column's heading, and what it says when it is pointed at
Column = tuple[Head, Callable[[Entry, bool], Cell]]  # a function of (entry, whether it is ranked)


def standings(comparison: Comparison) -> Markup:
    """Build the table of grey, the ranked systems and the ground truth, with all known values. page.js sorts it."""
    columns = _columns(comparison)

    def row(number: int, entry: Entry) -> Row:
        return Row(number, entry, [cell(entry, number > 0) for _, cell in columns])

    return render(
        "standings.html",
        heads=[head for head, _ in columns],
        grey=row(0, comparison.grey),
        systems=[row(number, entry) for number, entry in enumerate(comparison.entries, 1)],
        truth=row(0, comparison.truth),
        several_seeds=any(entry.seeds for entry in comparison.entries),
    )


def _columns(comparison: Comparison) -> list[Column]:
    """Return the columns, most important first, because a phone shows few at a time."""
    brief: list[Column] = []
    others: list[Column] = []
    for metric in comparison.metrics():
        columns = brief if METRICS[metric].brief else others
        columns.append(_metric_column(comparison, metric))
        if metric == comparison.metric and comparison.behind:
            head = ("behind the first", f"{METRICS[metric].heading}, photograph by photograph")
            columns.append((head, partial(_behind_cell, comparison)))
    costs = [name for name in COSTS if any(entry.about.get(name) is not None for entry in comparison.entries)]
    return [*brief, *(((COSTS[name], COST_HINTS[name]), partial(_cost_cell, name)) for name in costs), *others]


def _metric_column(comparison: Comparison, metric: str) -> Column:
    arrow, hint = ARROWS[METRICS[metric].better]
    return (METRICS[metric].heading + arrow, hint), partial(_mean_cell, metric, _best(comparison, metric))


def class_table(comparison: Comparison) -> Markup | None:
    """Build a table of gain over grey, or of the ranked metric if no system has gain, with one column per class."""
    metric = "gain" if "gain" in comparison.metrics() else comparison.metric
    by_class = comparison.by_class(metric)
    entries = [(n, e) for n, e in enumerate(comparison.entries, 1) if any(e.name in row for row in by_class.values())]
    if not entries:
        return None
    extent = max((abs(v.mean) for row in by_class.values() for v in row.values() if not math.isnan(v.mean)), default=1)
    return render(
        "class_table.html",
        heading=METRICS[metric].heading,
        gain=metric == "gain",
        heads=[(f"{name} ({comparison.classes.count(name)})", "photographs of the class") for name in by_class],
        systems=[
            Row(number, entry, [_heat_cell(row.get(entry.name), metric, extent) for row in by_class.values()])
            for number, entry in entries
        ],
    )


def _mean_cell(metric: str, best: float | None, entry: Entry, ranked: bool) -> Cell:
    value = entry.means.get(metric)
    if value is None or math.isnan(value.mean):
        return Cell()
    number = partial(decimals, digits=METRICS[metric].digits)
    notes = []
    if math.isfinite(value.half_width):
        notes.append(Note(f"± {number(value.half_width)}", f"[{number(value.low)}, {number(value.high)}]"))
    if metric in entry.seeds:
        mean, deviation = (number(figure) for figure in entry.seeds[metric])
        notes.append(Note(f"s {deviation}", f"{mean} ± {deviation} over {len(entry.members)} seeds"))
    return Cell(number(value.mean), value.mean, notes, "best" if ranked and value.mean == best else None)


def _behind_cell(comparison: Comparison, entry: Entry, ranked: bool) -> Cell:
    gap = comparison.behind.get(entry.name)
    if not ranked or gap is None:
        return Cell(value=0.0 if ranked and entry is comparison.entries[0] else math.nan)
    number = partial(decimals, digits=METRICS[comparison.metric].digits)
    notes = []
    if math.isfinite(gap.half_width):
        notes.append(Note(f"[{number(gap.low)}, {number(gap.high)}]"))
        if not gap.is_significant:
            notes.append(Note("level with 1", look="level"))
    return Cell(number(gap.mean), gap.mean, notes)


def _cost_cell(name: str, entry: Entry, ranked: bool) -> Cell:
    value = entry.about.get(name)
    return Cell(cost(entry, name).replace("-", "–"), math.nan if value is None else float(value))


def _heat_cell(value: Mean | None, metric: str, extent: float) -> Cell:
    """Build the cell of a class; its colour is paler where the gain is not significant."""
    if value is None or math.isnan(value.mean):
        return Cell()
    number = partial(decimals, digits=METRICS[metric].digits)
    notes = [Note(f"± {number(value.half_width)}")] if math.isfinite(value.half_width) else []
    if metric != "gain":
        return Cell(number(value.mean), value.mean, notes)
    sure = value.is_significant or math.isnan(value.low)
    share = abs(value.mean) / (extent or 1) * (1 if sure else 0.25)
    return Cell(number(value.mean), value.mean, notes, f"heat {'above' if value.mean >= 0 else 'below'}", share)


def _best(comparison: Comparison, metric: str) -> float | None:
    """Return the best value; None if the metric has no better direction, or there is only one value."""
    values = [entry.means[metric].mean for entry in comparison.entries if metric in entry.means]
    values = [value for value in values if not math.isnan(value)]
    if METRICS[metric].better == "neither" or len(values) < 2:
        return None
    return max(values) if METRICS[metric].better == "more" else min(values)
