import itertools
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancolor.compare.charts import (
    BOTTOM,
    LETTER,
    LINE,
    NAMED,
    TOP,
    WIDTH,
    Axis,
    Bar,
    Line,
    Point,
    _apart,
    _overlap,
    bar_chart,
    line_chart,
    scatter_chart,
)
from gancolor.compare.rendering import COLOURS, SHAPES, look, number_text
from gancolor.metrics.bootstrap import Mean

NONE = math.nan
VALUES = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30)


def points(count, spread=1.0, seed=0):
    random = np.random.default_rng(seed)
    return [
        Point(n, f"system {n}", Mean(x, x - 1, x + 1), Mean(y, y - 0.3, y + 0.3))
        for n, (x, y) in enumerate(random.normal(20, spread, (count, 2)).tolist(), 1)
    ]


def numbers(chart):
    """Text -> its box, of the numbers that stand for systems."""
    boxes = {}
    for text in ET.fromstring(chart).iter("text"):
        if text.get("class") == "number":
            left, middle, width = float(text.get("x")), float(text.get("y")) - 4, LETTER * len(text.text)
            boxes[text.text] = (left, middle - LINE / 2, left + width, middle + LINE / 2)
    return boxes


def collisions(boxes):
    names = list(boxes)
    shrunk = {name: (a + 0.2, b + 0.2, c - 0.2, d - 0.2) for name, (a, b, c, d) in boxes.items()}  # figures are rounded
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if _overlap(shrunk[a], shrunk[b])]


# Axes


@given(VALUES, st.booleans())
def test_every_value_is_in_the_chart_and_so_is_every_tick(values, log):
    axis = Axis(values, 0, 100, log)
    assert all(0 <= axis(value) <= 100 for value in values)
    assert all(-1e-6 <= axis(tick) <= 100 + 1e-6 for tick in axis.ticks())
    assert 1 <= len(axis.ticks()) <= 8


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 10], [0, 2.5, 5, 7.5, 10]),
        ([22.4, 26.1], [23, 24, 25, 26]),
        ([0.9, 0.95], [0.9, 0.92, 0.94]),
        ([-2, 1.6], [-2, -1, 0, 1]),
    ],
)
def test_ticks_are_round(values, ticks):
    assert Axis(values, 0, 100).ticks() == pytest.approx(ticks)


def test_axis_is_logarithmic_where_the_values_span_a_factor_of_20_and_may_be():
    assert Axis([1e4, 1e7], 0, 100, log=True).ticks() == pytest.approx([1e4, 1e5, 1e6, 1e7])
    assert Axis([21e3, 58e6], 0, 100, log=True)(1.1e6) == pytest.approx(50, abs=1)
    assert not Axis([1e4, 1e7], 0, 100).log
    assert not Axis([1, 19], 0, 100, log=True).log
    assert not Axis([0, 100], 0, 100, log=True).log and not Axis([-1, 100], 0, 100, log=True).log


def test_counts_from_zero_are_on_a_logarithmic_axis():
    axis = Axis([0, 1, 100], 0, 100, counts=True)
    assert axis.ticks() == [0, 1, 2, 5, 10, 20, 50, 100]
    assert axis(1) - axis(0) == pytest.approx(axis(3) - axis(1))  # 1 + value doubles
    assert 0 < axis(0) < axis(100) < 100


def test_axis_passes_over_values_that_are_not_finite():
    assert Axis([1, 2, NONE, math.inf], 0, 100).ticks() == Axis([1, 2], 0, 100).ticks()
    assert Axis([NONE], 0, 100).ticks()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-2.5, "−2.5"), (0.93, "0.93"), (800, "800"), (1000, "1k"), (58_900_000, "58.9M"), (7.2e9, "7.2G")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert number_text(value) == text


# Charts


def test_charts_are_well_formed_and_scale_with_the_page():
    some = points(3)
    curves = [Line(1, "a", [(0, 1.0), (10, 2.0)])]
    for chart in (
        scatter_chart("x", "y", some),
        line_chart("x", "y", curves),
        bar_chart("bars", [Bar("a", 0.5, "50 %")]),
    ):
        root = ET.fromstring(chart)
        assert root.get("viewBox").startswith(f"0 0 {WIDTH} ")
        assert root.get("width") is None
        assert root.get("role") == "img" and root.get("aria-label")


def test_names_are_text_whatever_they_are():
    name = "</title></svg><script>alert(1)</script>\"'&amp;"
    mean = Mean(1, NONE, NONE)
    for chart in (
        scatter_chart(name, name, [Point(0, name, mean, mean)], (1, name)),
        line_chart(name, name, [Line(1, name, [(0, 1.0), (10, 2.0)])]),
        bar_chart(name, [Bar(name, 0.5, name)]),
    ):
        root = ET.fromstring(chart)
        assert name in root.get("aria-label") and root.find(".//script") is None
        assert any(name in title.text for title in root.iter("title"))
        assert name in [text.text for text in root.iter("text")]


def test_colours_are_classes_and_not_in_the_chart():
    chart = scatter_chart("x", "y", points(20), (30, "truth")) + line_chart("x", "y", [Line(1, "a", [(0, 1), (1, 2)])])
    assert not re.search(r"#[0-9a-f]{3,6}|rgb|(fill|stroke)=", chart)
    assert 'class="mark c0 d0"' in chart


def test_every_mark_says_what_it_is():
    marks = [
        g
        for g in ET.fromstring(scatter_chart("speed", "PSNR", points(4))).iter("g")
        if g.find("*[@class='dot']") is not None
    ]
    assert [mark.find("title").text.split("\n")[0] for mark in marks] == [f"system {n}" for n in range(1, 5)]
    assert re.fullmatch(
        r"system 1\nspeed: [\d.]+ \[[\d.]+, [\d.]+\]\nPSNR: [\d.]+ \[[\d.]+, [\d.]+\]", marks[0].find("title").text
    )


def test_a_value_without_an_interval_has_no_whisker():
    bare = Point(1, "a", Mean(5, NONE, NONE), Mean(1, NONE, NONE))
    assert "whisker" not in scatter_chart("x", "y", [bare]) and "nan" not in scatter_chart("x", "y", [bare])
    assert scatter_chart("x", "y", points(1)).count("whisker") == 2


@pytest.mark.parametrize("spread", [0, 0.01, 1, 10])
@pytest.mark.parametrize("count", [2, 15, 60])
def test_numbers_in_a_scatter_chart_do_not_collide(count, spread):
    """Those for which there is no room are left out, which is only when many lie on one spot."""
    boxes = numbers(scatter_chart("x", "y", points(count, spread)))
    assert not collisions(boxes)
    assert len(boxes) >= min(count, 15)
    assert all(
        left >= 0 and top >= 0 and right <= WIDTH and bottom <= BOTTOM for left, top, right, bottom in boxes.values()
    )


@pytest.mark.parametrize("spread", [0, 0.1, 5])
def test_numbers_of_lines_do_not_collide(spread):
    random = np.random.default_rng(0)
    ends = random.normal(0, spread, NAMED)
    lines = [Line(n, f"{n}", [(0, 0.0), (100, end)]) for n, end in enumerate(ends.tolist(), 1)]
    boxes = numbers(line_chart("step", "PSNR", lines))
    assert len(boxes) == NAMED and not collisions(boxes)
    assert all(
        right <= WIDTH and top >= TOP - LINE and bottom <= BOTTOM + LINE for _, top, right, bottom in boxes.values()
    )


def test_lines_that_end_early_have_their_number_where_they_end():
    boxes = numbers(line_chart("step", "y", [Line(1, "a", [(0, 0), (50, 1)]), Line(2, "b", [(0, 0), (100, 1)])]))
    assert boxes["1"][0] < boxes["2"][0] - 100


def test_more_lines_than_can_be_told_apart_are_faint():
    chart = line_chart("step", "y", [Line(n, f"s{n}", [(0, 0), (1, n)]) for n in range(1, NAMED + 5)])
    assert chart.count("mark faint") == 4
    assert all(f"<title>s{n}</title>" in chart for n in range(1, NAMED + 5))


@given(st.lists(st.floats(0, 200), min_size=1, max_size=14).map(sorted))
def test_places_are_kept_apart(wanted):
    places = _apart(wanted, 13, 0, 200)
    assert all(b - a >= 13 - 1e-6 for a, b in itertools.pairwise(places))
    assert places[0] >= -1e-6 and places[-1] <= 200 + 1e-6


def test_places_that_are_free_are_as_they_were_wanted():
    assert _apart([10, 50, 90], 13, 0, 200) == pytest.approx([10, 50, 90])
    assert _apart([50, 50], 10, 0, 200) == pytest.approx([45, 55])


def test_zero_is_in_a_chart_that_has_a_line_there():
    chart = line_chart("step", "gain", [Line(1, "a", [(0, 5.0), (1, 6.0)])], zero=True)
    assert '<line class="rule"' in chart and ">0</text>" in chart


def test_systems_have_a_look_of_their_own_until_these_run_out():
    count = COLOURS * len(SHAPES)
    assert len({look(number) for number in range(1, count + 1)}) == count
    assert look(0) == "baseline"
    marks = ET.fromstring(scatter_chart("x", "y", points(count))).findall("g/*[@class='dot']")
    assert [mark.tag for mark in marks] == [tag for tag in ("circle", "rect", "path") for _ in range(COLOURS)]


def test_bars_are_as_long_as_their_values():
    root = ET.fromstring(
        bar_chart("importance", [Bar("optim.lr", 1.0, "100%"), Bar("b", 0.25, "25%"), Bar("c", 0, "0%")])
    )
    long, short, none = (float(bar.get("width")) for bar in root.iter("rect"))
    assert short == pytest.approx(long / 4) and none == 1
    assert "optim.lr" in [text.text for text in root.iter("text")]
