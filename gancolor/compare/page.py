"""The report of `gancolor compare --html`: one file that needs neither a network nor other files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from gancolor import __version__
from gancolor.compare.charts import Bar, Line, Point, bar_chart, line_chart, scatter_chart
from gancolor.compare.comparison import Comparison
from gancolor.compare.gallery import gallery
from gancolor.compare.importance import Importance, importance
from gancolor.compare.rendering import render
from gancolor.compare.standings import class_table, standings
from gancolor.compare.text_tables import COSTS
from gancolor.metrics.bootstrap import Mean
from gancolor.metrics.table import METRICS
from gancolor.utils.files import write_atomically
from gancolor.utils.words import counted

PER_MINUTE = {"seconds": 60.0}  # divisors of costs
SPEEDS = ("photographs_per_second",)  # costs for which higher is better
# PSNR [dB] by the number of hints (Zhang 2017, figure 5).
PUBLISHED = {0: 24.43, 1: 25.37, 2: 26.20, 5: 27.39, 10: 28.42, 20: 29.34, 50: 30.42, 100: 31.13}


class Figure(NamedTuple):
    """A chart with its title and, below it, what there is to say."""

    title: str
    chart: Markup
    remark: str
    warning: str = ""
    aside: str = ""


def write_page(path: Path, comparisons: Sequence[Comparison], notes: Sequence[str], command: str) -> None:
    """Write the report: one section per comparison, with its table, charts, classes and pictures.

    Args:
        notes: lines to show at the top: what is not in the report, and why.
        command: that made the report.
    """
    text = page(comparisons, notes, command)
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8", errors="backslashreplace"))


def page(comparisons: Sequence[Comparison], notes: Sequence[str], command: str) -> str:
    """Return the report as HTML."""
    sections = [_section(number, comparison) for number, comparison in enumerate(comparisons, 1)]
    title = _headline(comparisons[0])
    return str(render("page.html", title=title, notes=notes, sections=sections, command=command, version=__version__))


def _section(number: int, comparison: Comparison) -> Markup:
    first = comparison.entries[0]
    parts = {
        "Table": standings(comparison),
        "Charts": charts(comparison),
        "By class": class_table(comparison) if comparison.classes else None,
        "Photographs": gallery(comparison),
    }
    return render(
        "section.html",
        number=number,
        comparison=comparison,
        headline=_headline(comparison),
        heading=METRICS[comparison.metric].heading,
        gain=first.means["gain"].mean if "gain" in first.means else None,
        level=[name for name, gap in comparison.behind.items() if not gap.is_significant and not math.isnan(gap.low)],
        conditions=_conditions(comparison),
        parts={name: content for name, content in parts.items() if content},
    )


def _headline(comparison: Comparison) -> str:
    systems, photographs = len(comparison.entries), len(comparison.names)
    return f"{counted(systems, 'system')} on {counted(photographs, 'photograph')}"


def _conditions(comparison: Comparison) -> dict[str, str | None]:
    """Return the conditions that must be the same for scores to be comparable."""
    protocol, size = comparison.protocol, comparison.protocol["size"]
    chosen = protocol.get("photographs", "all")
    return {
        "Protocol": f"{protocol['name']}, {size} × {size} pixels",
        "Photographs": f"{len(comparison.names)} ({chosen}) of {comparison.source}; digest {comparison.files[:12]}",
        "Resizing": protocol.get("resizing"),
        "Rounding": protocol.get("rounding"),
        "Systems see": protocol.get("seen"),
        "Ranked by": METRICS[comparison.metric].heading,
    }


def charts(comparison: Comparison) -> Markup | None:
    """Draw all available charts, with a key to the systems' numbers; None if there are none."""
    figures = [
        _colourfulness(comparison), *_curves(comparison), _hints(comparison), *_costs(comparison),
        _importance(comparison),
    ]  # fmt: skip
    shown = [figure for figure in figures if figure is not None]
    return render("charts.html", entries=comparison.entries, figures=shown) if shown else None


def _colourfulness(comparison: Comparison) -> Figure | None:
    """Plot fidelity against colourfulness: pale systems at the left near grey, colourful ones near the ground truth."""
    metric = "psnr" if comparison.metric.startswith("colorfulness") else comparison.metric
    drawn = [
        Point(number, entry.name, entry.means["colorfulness"], entry.means[metric])
        for number, entry in enumerate((comparison.grey, *comparison.entries))
        if "colorfulness" in entry.means and metric in entry.means
    ]
    if not any(point.number for point in drawn):
        return None
    truth = comparison.truth.means.get("colorfulness")
    line = (truth.mean, f"truth {truth.mean:.1f}") if truth else None
    title = f"{_short(metric)} against colourfulness"
    chart = scatter_chart(METRICS["colorfulness"].heading, _axis(metric), drawn, line)
    sure = any(math.isfinite(point.y.half_width) for point in drawn)
    return Figure(title, chart, "Pale systems are at the left." + (" Lines are 95 % intervals." if sure else ""))


def _curves(comparison: Comparison) -> list[Figure]:
    """Plot the runs' own evaluations during training; all seeds of a system share its colour."""
    figures = []
    for metric in dict.fromkeys((comparison.metric, "gain", "colorfulness")):
        lines = [
            Line(number, entry.name, values)
            for number, entry in enumerate(comparison.entries, 1)
            for member in entry.members
            if len(values := _finite(member.about.get("curves", {}).get(metric, []))) > 1
        ]
        if lines:
            chart = line_chart("step", _axis(metric), lines, zero=metric == "gain")
            title, remark = f"{_short(metric)} during training", "On the photographs that each run validated on."
            figures.append(Figure(title, chart, remark))
    return figures


def _hints(comparison: Comparison) -> Figure | None:
    """Plot what colour hints gain over no hints, beside the curve of Zhang 2017."""
    lines = [
        Line(number, entry.name, [(count, row["over_automatic"].mean) for count, row in member.hints.items()])
        for number, entry in enumerate(comparison.entries, 1)
        for member in entry.members
        if len(member.hints) > 1
    ]
    if not lines:
        return None
    published = [(count, psnr - PUBLISHED[0]) for count, psnr in PUBLISHED.items()]
    chart = line_chart(
        "hints", "PSNR above that without hints [dB]", [*lines, Line(0, "Zhang 2017", published)], counts=True
    )
    remark = (
        "Random patches of 6 × 6 pixels. Grey: Zhang 2017 as published, on 1000 photographs of ImageNet at 256 × 256."
    )
    return Figure("Gain by the number of hints", chart, remark)


def _finite(curve: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    return [(step, value) for step, value in curve if value is not None and math.isfinite(value)]


def _costs(comparison: Comparison) -> list[Figure]:
    """Plot the ranked metric against each cost that is known and differs between systems."""
    figures, metric = [], METRICS[comparison.metric]
    for cost, heading in COSTS.items():
        drawn = [
            Point(
                number,
                entry.name,
                _exactly(entry.about[cost] / PER_MINUTE.get(cost, 1)),
                entry.means[comparison.metric],
            )
            for number, entry in enumerate(comparison.entries, 1)
            if entry.about.get(cost)
        ]
        if len({point.x.mean for point in drawn}) > 1:
            corner = f"{'lower' if metric.better == 'less' else 'upper'} {'right' if cost in SPEEDS else 'left'}"
            chart = scatter_chart(heading, _axis(comparison.metric), drawn, log=True)
            figures.append(Figure(f"{_short(comparison.metric)} against {heading}", chart, f"Best is at the {corner}."))
    return figures


def _exactly(value: float) -> Mean:
    return Mean(value, math.nan, math.nan)


def _importance(comparison: Comparison) -> Figure | str | None:
    """Plot the importance of the options that vary; or the sentence that says why it is unknown."""
    if not comparison.varying:
        return None
    title, found = "How much the options matter", importance(comparison)
    if not isinstance(found, Importance):
        return f"The importance of the options is unknown: {found}."
    bars = []
    for parameter in found.parameters[:8]:
        sign = "" if parameter.correlation is None else f", correlation {parameter.correlation:+.2f}".replace("-", "−")
        bars.append(Bar(", ".join(parameter.names), parameter.importance, f"{parameter.importance:.0%}{sign}"))
    score = f"{found.score:.2f}".replace("-", "−")
    how = f"Of {METRICS[comparison.metric].heading}: a random forest on {found.systems} systems; out-of-bag R² {score}."
    warning = "That is low: the bars are a hint at most." if found.doubtful else ""
    grouped = any(len(parameter.names) > 1 for parameter in found.parameters)
    aside = "Options that share a bar always change together." if grouped else ""
    return Figure(title, bar_chart(title, bars), how, warning, aside)


def _axis(metric: str) -> str:
    less = METRICS[metric].better == "less"
    return METRICS[metric].heading + (", less is better" if less else "")


def _short(metric: str) -> str:
    """Return a metric's heading without its unit."""
    return METRICS[metric].heading.split(" [")[0]
