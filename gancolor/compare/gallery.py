"""The report's gallery: each photograph in grey, as every system colours it, and as the ground truth."""

import math
from dataclasses import asdict

from markupsafe import Markup

from gancolor.compare.comparison import Comparison, Entry
from gancolor.compare.rendering import render
from gancolor.metrics.table import METRICS


def gallery(comparison: Comparison) -> Markup | None:
    """Build a list of photographs, each with the pictures of all systems that have them; None without pictures.

    Each picture is embedded once: page.js reuses its address to enlarge it. The value below a picture is that of the
    run that made it, which is the first of a system's seeds.
    """
    if not comparison.sampled:
        return None
    systems = [comparison.grey, *comparison.entries, comparison.truth]  # by their numbers on the page
    pictured = [(number, entry) for number, entry in enumerate(systems) if entry.samples]
    metrics = [metric for metric in METRICS if any(metric in entry.members[0].scores for _, entry in pictured)]
    places = {name: place for place, name in enumerate(comparison.names)}
    return render(
        "gallery.html",
        comparison=comparison,
        systems=pictured,
        metrics=[{"name": metric, **asdict(METRICS[metric])} for metric in metrics],
        shown=metrics.index(comparison.metric) if comparison.metric in metrics else 0,
        scores={
            name: [[_score(entry, metric, places[name]) for metric in metrics] for entry in systems]
            for name in comparison.sampled
        },
    )


def _score(entry: Entry, metric: str, place: int) -> float | None:
    values = entry.members[0].scores.get(metric)
    value = math.nan if values is None else values[place].item()
    return float(f"{value:.9g}") if math.isfinite(value) else None
