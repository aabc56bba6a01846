"""The report's tables: ranked systems with all metrics and costs, and gain by class of photograph."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from gancolor.compare.charts import swatch
from gancolor.compare.comparison import Comparison, Entry
from gancolor.compare.markup import Markup, join, tag
from gancolor.compare.table import COSTS, cost
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


@dataclass(frozen=True)
class Cell:
    """A table cell: its content, the value it is sorted by (NaN comes last), and its CSS classes."""

    content: Markup
    value: float
    look: str = ""

    def markup(self) -> Markup:
        value = f"{self.value:.9g}" if math.isfinite(self.value) else None
        return tag("td", self.content, data_value=value, class_=self.look or None)


Column = tuple[Markup, Callable[[Entry, bool], Cell]]  # its heading, and a function of (entry, whether it is ranked)


def standings(comparison: Comparison) -> Markup:
    """Build the table of grey, the ranked systems and the ground truth, with all known values. page.js sorts it."""
    columns = _columns(comparison)
    heads = [_head("#", "rank", sort="ascending"), _head("system", "name", kind="text"), *(head for head, _ in columns)]

    def row(number: int, entry: Entry, ranked: bool) -> Markup:
        cells = [cell(entry, ranked).markup() for _, cell in columns]
        return tag("tr", _rank_cell(number), _name_cell(entry), *cells)

    systems = [row(number, entry, True) for number, entry in enumerate(comparison.entries, 1)]
    table = tag(
        "table",
        tag("thead", tag("tr", *heads)),
        tag("tbody", row(0, comparison.grey, False), class_="baseline"),
        tag("tbody", *systems, class_="ranked"),
        tag("tbody", row(0, comparison.truth, False), class_="baseline"),
        class_="sortable",
    )
    several = any(entry.seeds for entry in comparison.entries)
    return join([_scrolling(table, "Systems, ranked"), tag("p", _legend(several), class_="aside")])


def _columns(comparison: Comparison) -> list[Column]:
    """Return the columns, most important first, because a phone shows few at a time."""
    brief: list[Column] = []
    others: list[Column] = []
    for metric in comparison.metrics():
        columns = brief if METRICS[metric].brief else others
        columns.append(_metric_column(comparison, metric))
        if metric == comparison.metric and comparison.behind:
            head = _head("behind the first", f"{METRICS[metric].heading}, photograph by photograph")
            columns.append((head, partial(_behind_cell, comparison)))
    costs = [name for name in COSTS if any(entry.about.get(name) is not None for entry in comparison.entries)]
    return [*brief, *((_head(COSTS[name], COST_HINTS[name]), partial(_cost_cell, name)) for name in costs), *others]


def _metric_column(comparison: Comparison, metric: str) -> Column:
    arrow, hint = ARROWS[METRICS[metric].better]
    return _head(METRICS[metric].heading + arrow, hint), partial(_mean_cell, metric, _best(comparison, metric))


def class_table(comparison: Comparison) -> Markup | None:
    """Build a table of gain over grey, or of the ranked metric if no system has gain, with one column per class."""
    metric = "gain" if "gain" in comparison.metrics() else comparison.metric
    by_class: Mapping[str, Mapping[str, Mean]] = comparison.by_class(metric)
    entries = [(n, e) for n, e in enumerate(comparison.entries, 1) if any(e.name in row for row in by_class.values())]
    if not entries:
        return None
    extent = max((abs(v.mean) for row in by_class.values() for v in row.values() if not math.isnan(v.mean)), default=1)
    heads = [_head("#", "rank", sort="ascending"), _head("system", "name", kind="text")]
    heads += [_head(f"{name} ({comparison.classes.count(name)})", "photographs of the class") for name in by_class]
    rows = []
    for number, entry in entries:
        cells = [_heat_cell(row.get(entry.name), metric, extent) for row in by_class.values()]
        rows.append(tag("tr", _rank_cell(number), _name_cell(entry), *cells))
    table = tag(
        "table", tag("thead", tag("tr", *heads)), tag("tbody", *rows, class_="ranked"), class_="sortable classes"
    )
    kind = METRICS[metric]
    said = f"{kind.heading}{' over grey' if metric == 'gain' else ''}, by class of photograph (how many)."
    shades = " Blue is above grey, orange below; pale where the interval includes zero." if metric == "gain" else ""
    return join([tag("p", said + shades, class_="aside"), _scrolling(table, f"{kind.heading} by class")])


def _scrolling(table: Markup, label: str) -> Markup:
    return tag("div", table, class_="scrolling", tabindex=0, role="region", aria_label=label)


def _head(text: str, hint: str, kind: str = "number", sort: str | None = None) -> Markup:
    button = tag("button", text, type="button", title=hint)
    return tag("th", button, scope="col", data_kind=kind, aria_sort=sort, class_=kind)


def _rank_cell(number: int) -> Markup:
    """Build the cell of a rank; empty for a baseline (0)."""
    if not number:
        return tag("td", class_="rank")
    return tag("td", number, swatch(number), data_value=number, class_="rank")


def _name_cell(entry: Entry) -> Markup:
    """Build the cell of a name; one without spaces may be broken after underscores."""
    words = [entry.name] if " " in entry.name else re.split("(?<=_)", entry.name)
    parts = [part for word in words for part in (word, Markup("<wbr>"))]
    count = len(entry.members)
    seeds = tag("small", f"{count} seeds") if count > 1 else None
    return tag("th", *parts[:-1], seeds, scope="row")


def _mean_cell(metric: str, best: float | None, entry: Entry, ranked: bool) -> Cell:
    value = entry.means.get(metric)
    if value is None or math.isnan(value.mean):
        return Cell(Markup("–"), math.nan)
    digits = METRICS[metric].digits
    parts: list[object] = [_number(value.mean, digits)]
    is_best = ranked and value.mean == best
    if is_best:
        parts.append(tag("span", " (best)", class_="unseen"))
    if math.isfinite(value.half_width):
        title = f"[{_number(value.low, digits)}, {_number(value.high, digits)}]"
        parts.append(tag("small", f"± {_number(value.half_width, digits)}", title=title))
    if metric in entry.seeds:
        mean, deviation = entry.seeds[metric]
        title = f"{_number(mean, digits)} ± {_number(deviation, digits)} over {len(entry.members)} seeds"
        parts.append(tag("small", f"s {_number(deviation, digits)}", title=title))
    return Cell(join(parts), value.mean, "best" if is_best else "")


def _behind_cell(comparison: Comparison, entry: Entry, ranked: bool) -> Cell:
    gap = comparison.behind.get(entry.name)
    if not ranked or gap is None:
        return Cell(Markup("–"), 0.0 if ranked and entry is comparison.entries[0] else math.nan)
    digits = METRICS[comparison.metric].digits
    parts: list[object] = [_number(gap.mean, digits)]
    if math.isfinite(gap.half_width):
        parts.append(tag("small", f"[{_number(gap.low, digits)}, {_number(gap.high, digits)}]"))
        if not gap.certain:
            parts.append(tag("small", "level with 1", class_="level"))
    return Cell(join(parts), gap.mean)


def _cost_cell(name: str, entry: Entry, ranked: bool) -> Cell:
    value = entry.about.get(name)
    return Cell(join([cost(entry, name).replace("-", "–")]), math.nan if value is None else float(value))


def _heat_cell(value: Mean | None, metric: str, extent: float) -> Markup:
    if value is None or math.isnan(value.mean):
        return tag("td", "–")
    digits = METRICS[metric].digits
    sure = value.certain or math.isnan(value.low)
    look = f"heat {'above' if value.mean >= 0 else 'below'}" if metric == "gain" else ""
    share = f"--share: {abs(value.mean) / (extent or 1) * (1 if sure else 0.25):.2f}"
    small = tag("small", f"± {_number(value.half_width, digits)}") if math.isfinite(value.half_width) else None
    content = (_number(value.mean, digits), small)
    return tag("td", *content, data_value=f"{value.mean:.9g}", class_=look or None, style=share if look else None)


def _best(comparison: Comparison, metric: str) -> float | None:
    """Return the best value; None if the metric has no better direction, or there is only one value."""
    values = [entry.means[metric].mean for entry in comparison.entries if metric in entry.means]
    values = [value for value in values if not math.isnan(value)]
    if METRICS[metric].better == "neither" or len(values) < 2:
        return None
    return max(values) if METRICS[metric].better == "more" else min(values)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _legend(several: bool) -> str:
    text = (
        "± and brackets: 95 % intervals over photographs (bootstrap); the best of a column is bold. Differences to the "
        "first are photograph by photograph, which is surer than the intervals of two systems beside each other."
    )
    return text + (" s: standard deviation over seeds." if several else "")
