"""The report's gallery: each photograph in grey, as every system colours it, and as the ground truth."""

import base64
import json
import math

from gancolor.compare.charts import swatch
from gancolor.compare.comparison import Comparison, Entry
from gancolor.compare.markup import Markup, tag
from gancolor.metrics.table import METRICS

ORDERS = {"listed": "as listed", "worst": "worst first", "best": "best first"}


def gallery(comparison: Comparison) -> Markup | None:
    """Build a list of photographs, each with the pictures of all systems that have them; None without pictures.

    Each picture is embedded once: page.js reuses its address to enlarge it. The value below a picture is that of the
    run that made it, which is the first of a system's seeds.
    """
    systems = [(n, entry) for n, entry in enumerate(_systems(comparison)) if entry.samples]
    if not comparison.sampled:
        return None
    metrics = [metric for metric in METRICS if any(metric in entry.members[0].scores for _, entry in systems)]
    metric = comparison.metric if comparison.metric in metrics else metrics[0]
    places = {name: place for place, name in enumerate(comparison.names)}
    photographs = [
        _photograph(name, places[name], systems, metric, comparison.protocol["size"]) for name in comparison.sampled
    ]
    return tag(
        "div",
        _controls(metrics, metric, [(n, entry) for n, entry in systems if 0 < n <= len(comparison.entries)]),
        tag("ol", *photographs, class_="photographs"),
        tag("script", _scores(comparison, metrics), type="application/json", class_="scores"),
        class_="gallery",
    )


def _systems(comparison: Comparison) -> list[Entry]:
    """Return all systems in the order of their numbers on the page: grey is 0, the first system 1."""
    return [comparison.grey, *comparison.entries, comparison.truth]


def _photograph(name: str, place: int, systems: list[tuple[int, Entry]], metric: str, size: int) -> Markup:
    tiles = []
    for number, entry in systems:
        if name not in entry.samples:
            continue
        address = f"data:image/webp;base64,{base64.b64encode(entry.samples[name]).decode()}"
        picture = tag("img", src=address, alt="", width=size, height=size, loading="lazy", decoding="async")
        button = tag("button", picture, type="button", aria_label=f"{entry.name}: enlarge and compare")
        values = entry.members[0].scores.get(metric)
        figure = "–" if values is None else _figure(values[place].item(), metric)
        ranked = number and entry.name != "truth"
        caption = [swatch(number), f"{number} "] if ranked else []
        label = tag("span", *caption, entry.name, class_="name", title=entry.name)
        text = tag("figcaption", label, tag("span", figure, class_="figure"))
        tiles.append(tag("figure", button, text, data_system=number))
    return tag("li", tag("h4", name), tag("div", *tiles, class_="tiles"), data_photograph=name)


def _controls(metrics: list[str], metric: str, systems: list[tuple[int, Entry]]) -> Markup:
    kinds = [tag("option", METRICS[name].heading, value=name, selected=name == metric) for name in metrics]
    entries = [tag("option", f"{number} {entry.name}", value=number) for number, entry in systems]
    orders = [tag("option", text, value=value) for value, text in ORDERS.items()]
    return tag(
        "p",
        tag("label", "Figure under each picture ", tag("select", *kinds, class_="metric")),
        tag("label", "Order ", tag("select", *orders, class_="order")),
        tag("label", "of ", tag("select", *entries, class_="system")),
        class_="controls",
        hidden=True,
    )


def _scores(comparison: Comparison, metrics: list[str]) -> Markup:
    """Return the data that page.js sorts by, as JSON: metrics, and photograph -> system -> values.

    It contains no `<`, so it can't close the script element.
    """
    places = {name: place for place, name in enumerate(comparison.names)}
    kinds = [
        {"name": name, "heading": METRICS[name].heading, "digits": METRICS[name].digits, "better": METRICS[name].better}
        for name in metrics
    ]
    scores = {
        name: [[_value(entry, metric, places[name]) for metric in metrics] for entry in _systems(comparison)]
        for name in comparison.sampled
    }
    return Markup(json.dumps({"metrics": kinds, "scores": scores}).replace("<", "\\u003c"))


def _value(entry: Entry, metric: str, place: int) -> float | None:
    values = entry.members[0].scores.get(metric)
    value = math.nan if values is None else values[place].item()
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _figure(value: float, metric: str) -> str:
    return f"{value:.{METRICS[metric].digits}f}".replace("-", "−") if math.isfinite(value) else "–"
