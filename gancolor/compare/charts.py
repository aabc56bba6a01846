"""Small SVG charts that need no script.

Charts are placed side by side where there is room, and below each other on a phone, always at about the size they are
drawn at. So their text stays legible, unlike that of a wide chart shrunk to a phone's width. Colours are classes of
page.css, which defines them for light and dark mode. A plotting library would do more, but plotly's script alone adds
4.7 MB to each report and ignores the reader's light or dark mode; matplotlib's SVG has neither tooltips nor colours
that change.

Systems are identified by number (their rank in the table), colour and shape, because names would not fit.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from gancolor.compare.markup import Markup, tag
from gancolor.metrics.bootstrap import Mean

WIDTH, HEIGHT = 400, 286
LEFT, RIGHT, TOP, BOTTOM = 46, 386, 30, 246  # of the plot area, in pixels
LETTER, LINE = 7.2, 13.0  # width of a digit and height of a line in 12 pixel text
COLOURS, SHAPES = 7, 3  # as in page.css; they repeat after 21 systems
NAMED = 16  # most lines that have room for their numbers
NEAR = 30  # width of the bins of line ends whose numbers share a column [pixels]
DOTTED = 40  # most values of a line that are marked with dots
LOG_FROM = 20  # ratio of maximum to minimum from which an axis is logarithmic

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Point:
    """A system in a scatter chart.

    Attributes:
        number: its rank, from 1; 0 for a baseline, which is labelled with `name`.
        x, y: values with their intervals; NaN for missing intervals.
    """

    number: int
    name: str
    x: Mean
    y: Mean


@dataclass(frozen=True)
class Line:
    """A system's values over time: (x, y) in ascending order of x."""

    number: int
    name: str
    values: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bar:
    """A bar of length `value` in 0..1, followed by `note`."""

    name: str
    value: float
    note: str


class Axis:
    """A map from values to pixels; logarithmic if allowed and values are positive and span a factor of 20 or more.

    Args:
        values: must fit on the axis; non-finite values are ignored.
        start, end: pixels of its lower and upper end.
        log: allow a logarithmic axis.
    """

    def __init__(self, values: Iterable[float], start: float, end: float, log: bool = False) -> None:
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        self.log = log and low > 0 and high / low >= LOG_FROM
        self.start, self.end = start, end
        low, high = self._straight(low), self._straight(high)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        self.low, self.high = low - margin, high + margin

    def __call__(self, value: float) -> float:
        return self.start + (self._straight(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return three to seven round values."""
        if not self.log:
            rough = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough)
            return [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            values = [step * 10.0**decade for decade in decades for step in steps]
            inside = [value for value in values if self.low <= math.log10(value) <= self.high]
            if len(inside) >= 3:
                break
        return inside[:: math.ceil(len(inside) / 7)]

    def _straight(self, value: float) -> float:
        return math.log10(value) if self.log else value


def number_text(value: float) -> str:
    """Format a value with up to four digits, and k, M or G for thousands and more."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}".replace("-", "−")
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}".replace("-", "−")


def scatter_chart(
    x_label: str, y_label: str, points: Sequence[Point], line: tuple[float, str] | None = None, log: bool = False
) -> Markup:
    """Draw points with their intervals and numbers.

    Args:
        line: position of a vertical line, and its label.
        log: allow a logarithmic x axis.
    """
    x = Axis([v for p in points for v in (p.x.mean, p.x.low, p.x.high)] + ([line[0]] if line else []), LEFT, RIGHT, log)
    y = Axis([v for point in points for v in (point.y.mean, point.y.low, point.y.high)], BOTTOM, TOP)
    taken: list[Box] = []
    parts = [*_frame(x, y, x_label, y_label)]
    if line:
        at, text = x(line[0]), line[1]
        parts.append(tag("line", tag("title", text), class_="rule", x1=at, x2=at, y1=TOP, y2=BOTTOM))
        parts.append(tag("text", text, class_="note", x=at - 4, y=TOP + 10, text_anchor="end"))
        taken += [(at - 2, TOP, at + 2, BOTTOM), (at - 6 - LETTER * len(text), TOP - 1, at, TOP + LINE)]
    spots = [(x(point.x.mean), y(point.y.mean)) for point in points]
    taken += [(left - 5, top - 5, left + 5, top + 5) for left, top in spots]
    marks, labels = [], []
    for point, (across, down) in zip(points, spots, strict=True):
        title = f"{point.name}\n{x_label}: {_said(point.x)}\n{y_label}: {_said(point.y)}"
        mark = [*_whiskers(point, x, y), _shape(point.number, across, down, 4.5), tag("title", title)]
        marks.append(tag("g", *mark, class_=f"mark {look(point.number)}", data_system=point.number))
        labels += _label(str(point.number or point.name), across, down, taken, point.number)
    return _svg(f"{y_label} against {x_label}", [*parts, *marks, *labels])


def line_chart(x_label: str, y_label: str, lines: Sequence[Line], zero: bool = False) -> Markup:
    """Draw lines with their numbers at the right; lines from rank 17 on are faint and have no number.

    Args:
        zero: draw a line at y = 0, and include it in the chart.
    """
    right = RIGHT - 20
    x = Axis([v for line in lines for v, _ in line.values], LEFT, right)
    y = Axis([v for line in lines for _, v in line.values] + ([0.0] if zero else []), BOTTOM, TOP)
    parts = [*_frame(x, y, x_label, y_label, right)]
    if zero:
        parts.append(tag("line", class_="rule", x1=LEFT, x2=right, y1=y(0), y2=y(0)))
    named: dict[int, tuple[float, float]] = {}
    for line in sorted(lines, key=lambda line: -line.number):  # draw the best last, so that they are on top
        spots = [(x(a), y(b)) for a, b in line.values]
        faint = line.number > NAMED
        if not faint:
            named[line.number] = spots[-1]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in spots)
        mark = [tag("path", tag("title", line.name), class_="line", d=path)]
        for (a, b), (across, down) in zip(line.values, spots, strict=True):
            title = tag("title", f"{line.name}\n{x_label} {number_text(a)}\n{y_label}: {b:.5g}")
            if len(spots) <= DOTTED and not faint:
                mark.append(tag("g", _shape(line.number, across, down, 2.4), title))
        kind = "mark faint" if faint else f"mark {look(line.number)}"
        parts.append(tag("g", *mark, class_=kind, data_system=line.number))
    parts += _end_labels(named)
    return _svg(f"{y_label} over {x_label}", parts)


def bar_chart(label: str, bars: Sequence[Bar]) -> Markup:
    """Draw horizontal bars, each below its name."""
    parts = []
    for row, bar in enumerate(bars):
        top, length = 6 + 36 * row, 250 * max(bar.value, 0.0)
        parts.append(tag("text", _cut(bar.name, 56), x=0, y=top + 11))
        shape = tag("rect", x=0, y=top + 16, width=max(length, 1.0), height=11, rx=2)
        title = tag("title", f"{bar.name}: {bar.note}")
        parts.append(tag("g", shape, title, class_="mark c0"))
        parts.append(tag("text", bar.note, class_="note", x=max(length, 1.0) + 6, y=top + 26))
    return _svg(label, parts, 36 * len(bars) + 8)


def swatch(number: int) -> Markup:
    """Draw a system's mark as in the charts."""
    mark = tag("g", _shape(number, 6, 6, 4.5), class_=look(number))
    return tag("svg", mark, class_="swatch", viewBox="0 0 12 12", aria_hidden="true")


def look(number: int) -> str:
    """Return the CSS classes for a system's colour and dashes, by its rank; 0: a baseline's."""
    if not number:
        return "baseline"
    return f"c{(number - 1) % COLOURS} d{(number - 1) // COLOURS % SHAPES}"


def _svg(label: str, parts: Sequence[Markup], height: int = HEIGHT) -> Markup:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)


def _frame(x: Axis, y: Axis, x_label: str, y_label: str, right: float = RIGHT) -> Iterable[Markup]:
    """Draw grid lines, ticks and labels; the y label is above its axis, so that it reads horizontally."""
    for value in y.ticks():
        yield tag("line", class_="grid", x1=LEFT, x2=right, y1=y(value), y2=y(value))
        yield tag("text", number_text(value), class_="tick", x=LEFT - 6, y=y(value) + 4, text_anchor="end")
    for value in x.ticks():
        yield tag("line", class_="grid", x1=x(value), x2=x(value), y1=TOP, y2=BOTTOM)
        yield tag("text", number_text(value), class_="tick", x=x(value), y=BOTTOM + 16, text_anchor="middle")
    yield tag("text", y_label, class_="axis", x=0, y=14)
    yield tag("text", x_label, class_="axis", x=right, y=BOTTOM + 36, text_anchor="end")


def _whiskers(point: Point, x: Axis, y: Axis) -> Iterable[Markup]:
    across, down = x(point.x.mean), y(point.y.mean)
    if math.isfinite(point.x.half_width):
        yield tag("line", class_="whisker", x1=x(point.x.low), x2=x(point.x.high), y1=down, y2=down)
    if math.isfinite(point.y.half_width):
        yield tag("line", class_="whisker", x1=across, x2=across, y1=y(point.y.low), y2=y(point.y.high))


def _shape(number: int, x: float, y: float, size: float) -> Markup:
    """Draw a circle, a square or a diamond."""
    kind = max(number - 1, 0) // COLOURS % SHAPES
    if kind == 0:
        return tag("circle", class_="dot", cx=x, cy=y, r=size)
    if kind == 1:
        half = 0.88 * size
        return tag("rect", class_="dot", x=x - half, y=y - half, width=2 * half, height=2 * half)
    half = 1.3 * size
    return tag(
        "path",
        class_="dot",
        d=f"M{x:.1f} {y - half:.1f}l{half:.1f} {half:.1f} {-half:.1f} {half:.1f} {-half:.1f} {-half:.1f}z",
    )


def _label(text: str, x: float, y: float, taken: list[Box], number: int) -> list[Markup]:
    """Place text beside a spot where it covers nothing, with a line to the spot if it is farther away.

    The place is added to `taken`. Without a free place there is no text; the tooltip remains.
    """
    width = LETTER * len(text)
    for distance in (4, 13, 23, 34):
        for turn in range(12):
            across, up = math.cos(turn * math.pi / 6), math.sin(turn * math.pi / 6)
            left = x + (5 + distance) * across + (width / 2) * (across - 1)
            middle = y - (5 + distance) * up - LINE / 2 * up
            box = (left - 1, middle - LINE / 2, left + width + 1, middle + LINE / 2)
            outside = box[0] < LEFT or box[2] > WIDTH or box[1] < TOP - LINE or box[3] > BOTTOM
            if outside or any(_overlap(box, other) for other in taken):
                continue
            taken.append(box)
            label = [tag("text", text, class_="number", x=left, y=middle + 4)]
            if distance > 4:
                end_x, end_y = left + width / 2 - width / 2 * across, middle + LINE / 2 * up
                label.insert(0, tag("line", class_="leader", x1=x + 5 * across, y1=y - 5 * up, x2=end_x, y2=end_y))
            return [tag("g", *label, class_="mark", data_system=number)]
    return []


def _end_labels(ends: Mapping[int, tuple[float, float]]) -> Iterable[Markup]:
    """Draw numbers beside the ends of lines, spaced apart where ends are close."""
    columns: dict[int, list[int]] = {}
    for number in sorted(ends, key=lambda number: ends[number][1]):
        columns.setdefault(round(ends[number][0] / NEAR), []).append(number)
    for numbers in columns.values():
        side = max(ends[number][0] for number in numbers) + 10
        heights = _apart([ends[number][1] for number in numbers], LINE, TOP, BOTTOM)
        for number, height in zip(numbers, heights, strict=True):
            across, down = ends[number]
            leader = tag("line", class_="leader", x1=across + 4, y1=down, x2=side, y2=height)
            text = tag("text", number, class_="number", x=side + 2, y=height + 4)
            yield tag("g", leader, text, class_="mark", data_system=number)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places that are `gap` apart and, in total, as close as possible to those `wanted` (ascending).

    They lie between `low` and `high` as far as there is room. The method is pool adjacent violators, on the places with
    the gaps subtracted.
    """
    pools: list[list[float]] = []
    for index, place in enumerate(wanted):
        pools.append([place - index * gap])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    ceiling = high - (len(wanted) - 1) * gap
    starts = [max(low, min(fmean(pool), ceiling)) for pool in pools for _ in pool]
    return [start + index * gap for index, start in enumerate(starts)]


def _said(value: Mean) -> str:
    between = f" [{value.low:.4g}, {value.high:.4g}]" if math.isfinite(value.half_width) else ""
    return (f"{value.mean:.5g}" if abs(value.mean) < 1e4 else number_text(value.mean)) + between


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
