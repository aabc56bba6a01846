"""Small SVG charts that need no script.

Charts are placed side by side where there is room, and below each other on a phone, always at about the size they are
drawn at. So their text stays legible, unlike that of a wide chart shrunk to a phone's width. Colours are classes of
page.css, which defines them for light and dark mode. A plotting library would do more, but plotly's script alone adds
4.7 MB to each report and ignores the reader's light or dark mode; matplotlib's SVG has neither tooltips nor colours
that change.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from gancolor.compare.rendering import render
from gancolor.metrics.bootstrap import Mean

WIDTH, HEIGHT = 400, 286
LEFT, RIGHT, TOP, BOTTOM = 46, 386, 30, 246  # of the plot area, in pixels
LETTER, LINE = 7.2, 13.0  # width of a digit and height of a line in 12 pixel text
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
    """A system's values over time: (x, y) in ascending order of x. Number 0 is a line for reference."""

    number: int
    name: str
    values: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bar:
    """A bar of length `value` in 0..1, followed by `note`."""

    name: str
    value: float
    note: str


@dataclass(frozen=True)
class Label:
    """A label at (x, y), such as a system's number, and its leader line (x1, y1, x2, y2) from the labelled point."""

    number: int
    text: str
    x: float
    y: float
    leader: tuple[float, float, float, float] | None = None


class Axis:
    """A map from values to pixels; logarithmic if allowed and values are positive and span a factor of 20 or more.

    Args:
        values: must fit on the axis; non-finite values are ignored.
        start, end: pixels of its lower and upper end.
        log: allow a logarithmic axis.
        label: what the values are.
        counts: values are counts from 0: draw log(1 + value).
    """

    def __init__(
        self, values: Iterable[float], start: float, end: float, log: bool = False, label: str = "",
        counts: bool = False,
    ) -> None:  # fmt: skip
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        self.counts = counts
        self.log = log and low > 0 and high / low >= LOG_FROM
        self.start, self.end, self.label = start, end, label
        low, high = self._straight(low), self._straight(high)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        self.low, self.high = low - margin, high + margin

    def __call__(self, value: float) -> float:
        return self.start + (self._straight(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return three to seven round values; of counts, up to eight."""
        if self.counts:
            rounded = [0, *(step * 10**decade for decade in range(4) for step in (1, 2, 5))]
            return [float(value) for value in rounded if self.low <= self._straight(value) <= self.high][:8]
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
        return math.log10(value) if self.log else math.log1p(value) if self.counts else value


def scatter_chart(
    x_label: str, y_label: str, points: Sequence[Point], line: tuple[float, str] | None = None, log: bool = False
) -> Markup:
    """Draw points with their intervals and numbers.

    Args:
        line: position of a vertical line, and its label.
        log: allow a logarithmic x axis.
    """
    across = [v for p in points for v in (p.x.mean, p.x.low, p.x.high)] + ([line[0]] if line else [])
    x = Axis(across, LEFT, RIGHT, log, label=x_label)
    y = Axis([v for p in points for v in (p.y.mean, p.y.low, p.y.high)], BOTTOM, TOP, label=y_label)
    spots = [(x(point.x.mean), y(point.y.mean)) for point in points]
    taken: list[Box] = [(left - 5, top - 5, left + 5, top + 5) for left, top in spots]
    if line:
        at, text = x(line[0]), line[1]
        taken += [(at - 2, TOP, at + 2, BOTTOM), (at - 6 - LETTER * len(text), TOP - 1, at, TOP + LINE)]
    placed = [_label(point, *spot, taken) for point, spot in zip(points, spots, strict=True)]
    labels = [label for label in placed if label]
    return render("scatter.svg", width=WIDTH, height=HEIGHT, x=x, y=y, line=line, points=points, labels=labels)


def line_chart(x_label: str, y_label: str, lines: Sequence[Line], zero: bool = False, counts: bool = False) -> Markup:
    """Draw lines with their numbers at the right; lines from rank 17 on are faint and have no number.

    Args:
        zero: draw a line at y = 0, and include it in the chart.
        counts: x values are counts from 0, drawn on a logarithmic axis.
    """
    x = Axis([v for line in lines for v, _ in line.values], LEFT, RIGHT - 20, label=x_label, counts=counts)
    y = Axis([v for line in lines for _, v in line.values] + ([0.0] if zero else []), BOTTOM, TOP, label=y_label)
    lines = sorted(lines, key=lambda line: -line.number)  # the best are drawn last, so that they are on top
    last = {line.number: line.values[-1] for line in lines if 0 < line.number <= NAMED}
    labels = _end_labels({number: (x(a), y(b)) for number, (a, b) in last.items()})
    return render(
        "lines.svg", width=WIDTH, height=HEIGHT, x=x, y=y, zero=zero, lines=lines, labels=labels, most_named=NAMED,
        most_dotted=DOTTED,
    )  # fmt: skip


def bar_chart(label: str, bars: Sequence[Bar]) -> Markup:
    """Draw horizontal bars, each below its name."""
    return render("bars.svg", width=WIDTH, label=label, bars=bars)


def _label(point: Point, x: float, y: float, taken: list[Box]) -> Label | None:
    """Place a number beside its spot where it covers nothing, with a line to the spot if it is farther away.

    The place is added to `taken`. Without a free place there is no number; the tooltip remains.
    """
    text = str(point.number or point.name)
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
            leader = None
            if distance > 4:
                end = (left + width / 2 - width / 2 * across, middle + LINE / 2 * up)
                leader = (x + 5 * across, y - 5 * up, *end)
            return Label(point.number, text, left, middle + 4, leader)
    return None


def _end_labels(ends: Mapping[int, tuple[float, float]]) -> list[Label]:
    """Place numbers beside the ends of lines, spaced apart where ends are close."""
    labels = []
    columns: dict[int, list[int]] = {}
    for number in sorted(ends, key=lambda number: ends[number][1]):
        columns.setdefault(round(ends[number][0] / NEAR), []).append(number)
    for numbers in columns.values():
        side = max(ends[number][0] for number in numbers) + 10
        heights = _apart([ends[number][1] for number in numbers], LINE, TOP, BOTTOM)
        for number, height in zip(numbers, heights, strict=True):
            across, down = ends[number]
            labels.append(Label(number, str(number), side + 2, height + 4, (across + 4, down, side, height)))
    return labels


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
