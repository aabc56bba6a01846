"""The report of `gancolor compare --html`: one file that needs neither a network nor other files."""

import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from gancolor import __version__
from gancolor.compare.charts import Bar, Line, Point, bar_chart, line_chart, scatter_chart, swatch
from gancolor.compare.comparison import Comparison
from gancolor.compare.gallery import gallery
from gancolor.compare.importance import Importance, importance
from gancolor.compare.markup import Markup, join, tag
from gancolor.compare.standings import class_table, standings
from gancolor.compare.table import COSTS
from gancolor.metrics.bootstrap import Mean
from gancolor.metrics.table import METRICS
from gancolor.utils.files import write_atomically

# Content security policy: nothing may be fetched; scripts and styles are inline.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
PER_MINUTE = {"seconds": 60.0}  # divisors of costs
SPEEDS = ("photographs_per_second",)  # costs for which higher is better


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
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"gancolor compare: {_headline(comparisons[0])}"),
        tag("style", _own("page.css")),
    )
    made = tag("p", "By ", tag("code", command), f", gancolor {__version__}.")
    body = tag(
        "body",
        tag("ul", *(tag("li", note) for note in notes), class_="notes") if notes else None,
        tag("main", *(_section(number, comparison) for number, comparison in enumerate(comparisons, 1))),
        tag("footer", made),
        _own("page.html"),
        tag("script", _own("page.js")),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en-GB')}\n"


def _own(name: str) -> Markup:
    return Markup(files("gancolor.compare").joinpath(name).read_text(encoding="utf-8"))


def _section(number: int, comparison: Comparison) -> Markup:
    parts = {
        "Table": standings(comparison),
        "Charts": charts(comparison),
        "By class": class_table(comparison) if comparison.classes else None,
        "Photographs": gallery(comparison),
    }
    there = {name: content for name, content in parts.items() if content}
    anchors = {name: f"{name.lower().replace(' ', '-')}-{number}" for name in there}
    links = [tag("a", name, href=f"#{anchor}") for name, anchor in anchors.items()]
    return tag(
        "section",
        tag("h1", _headline(comparison)),
        tag("p", _verdict(comparison), class_="verdict"),
        _conditions(comparison),
        _origins(comparison),
        tag("nav", *links, aria_label="Parts"),
        *(tag("section", tag("h2", name), there[name], id=anchors[name]) for name in there),
        class_="comparison",
    )


def _headline(comparison: Comparison) -> str:
    systems, photographs = len(comparison.entries), len(comparison.names)
    return f"{_count(systems, 'system')} on {_count(photographs, 'photograph')}"


def _verdict(comparison: Comparison) -> Markup:
    """State which system is first, and which are level with it."""
    first, metric = comparison.entries[0], METRICS[comparison.metric]
    parts = [tag("strong", first.name), f" is first by {metric.heading}"]
    if "gain" in first.means:
        gain = first.means["gain"].mean
        parts.append(f", {abs(gain):.2f} dB {'above' if gain >= 0 else 'below'} grey")
    level = [name for name, gap in comparison.behind.items() if not gap.certain and not math.isnan(gap.low)]
    if level:
        others = "; ".join(level[:5]) + (f"; {len(level) - 5} more" if len(level) > 5 else "")
        parts += [". Level with it, the difference not being certain: ", tag("strong", others)]
    return join([*parts, "."])


def _conditions(comparison: Comparison) -> Markup:
    """List the conditions that must be the same for scores to be comparable."""
    protocol, size = comparison.protocol, comparison.protocol["size"]
    chosen = protocol.get("photographs", "all")
    said = {
        "Protocol": f"{protocol['name']}, {size} × {size} pixels",
        "Photographs": f"{len(comparison.names)} ({chosen}) of {comparison.source}; digest {comparison.files[:12]}",
        "Resizing": protocol.get("resizing"),
        "Rounding": protocol.get("rounding"),
        "Systems see": protocol.get("seen"),
        "Ranked by": METRICS[comparison.metric].heading,
    }
    rows = [tag("div", tag("dt", name), tag("dd", text)) for name, text in said.items() if text]
    return tag("dl", *rows, class_="conditions")


def _origins(comparison: Comparison) -> Markup:
    """List how each result was made, in a collapsed element."""
    parts = []
    for origin, made in comparison.made.items():
        versions = " ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
        left_out = [f"{what} left out: {why}" for what, why in made.get("left_out", {}).items()]
        lines = [tag("div", text) for text in (versions, *left_out) if text]
        parts += [tag("dt", origin), tag("dd", tag("code", made.get("command", "")), *lines)]
    return tag("details", tag("summary", "Commands and versions"), tag("dl", *parts))


def charts(comparison: Comparison) -> Markup | None:
    """Build all available charts, with a key to the systems' numbers; None if there are none."""
    figures = [_colourfulness(comparison), *_curves(comparison), *_costs(comparison), _importance(comparison)]
    shown = [figure for figure in figures if figure is not None]
    if not shown:
        return None
    key = [
        tag("li", tag("button", swatch(n), f" {n} ", entry.name, type="button", aria_pressed="false", data_system=n))
        for n, entry in enumerate(comparison.entries, 1)
    ]
    return join([tag("ol", *key, class_="key"), tag("div", *shown, class_="charts")])


def _figure(title: str, chart: Markup, *remarks: object) -> Markup:
    caption = tag("figcaption", tag("h3", title), *(tag("p", remark) for remark in remarks if remark))
    return tag("figure", caption, chart, tag("p", class_="readout", aria_hidden="true"))


def _colourfulness(comparison: Comparison) -> Markup | None:
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
    return _figure(title, chart, "Pale systems are at the left." + (" Lines are 95 % intervals." if sure else ""))


def _curves(comparison: Comparison) -> list[Markup]:
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
            figures.append(_figure(title, chart, remark))
    return figures


def _finite(curve: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    return [(step, value) for step, value in curve if value is not None and math.isfinite(value)]


def _costs(comparison: Comparison) -> list[Markup]:
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
            figures.append(
                _figure(f"{_short(comparison.metric)} against {heading}", chart, f"Best is at the {corner}.")
            )
    return figures


def _exactly(value: float) -> Mean:
    return Mean(value, math.nan, math.nan)


def _importance(comparison: Comparison) -> Markup | None:
    if not comparison.varying:
        return None
    title, found = "What the options matter", importance(comparison)
    if not isinstance(found, Importance):
        return tag("p", f"No importance of options: {found}.", class_="aside")
    bars = []
    for parameter in found.parameters[:8]:
        sign = "" if parameter.correlation is None else f", correlation {parameter.correlation:+.2f}".replace("-", "−")
        bars.append(Bar(", ".join(parameter.names), parameter.importance, f"{parameter.importance:.0%}{sign}"))
    score = f"{found.score:.2f}".replace("-", "−")
    how = f"Of {METRICS[comparison.metric].heading}: a random forest on {found.systems} systems; out-of-bag R² {score}."
    together = (
        "Options of one line always change together." if any(len(p.names) > 1 for p in found.parameters) else None
    )
    doubt = tag("strong", "That is low: the bars are a hint at most.") if found.doubtful else None
    return _figure(title, bar_chart(title, bars), join([how, " ", doubt]), together)


def _axis(metric: str) -> str:
    less = METRICS[metric].better == "less"
    return METRICS[metric].heading + (", less is better" if less else "")


def _short(metric: str) -> str:
    """Return a metric's heading without its unit."""
    return METRICS[metric].heading.split(" [")[0]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
