"""Summaries of a result: lines and tables for the terminal, and CSV."""

import csv
from collections.abc import Iterator
from pathlib import Path

from gancolor.evaluation.results import BASELINES, EvaluationResult
from gancolor.evaluation.tables import figure, text_table
from gancolor.metrics.bootstrap import difference
from gancolor.metrics.table import METRICS
from gancolor.utils.files import write_atomically

BY_CLASS = ("gain", "colorfulness")


def differences(result: EvaluationResult) -> Iterator[str]:
    """Compare the best system by PSNR with each other system, photograph by photograph; one line each."""
    systems = {name: found.scores for name, found in result.systems.items() if name not in BASELINES}
    best, *others = sorted(systems, key=lambda name: -systems[name]["psnr"].mean().item()) or [""]
    for other in others:
        gap = difference(systems[best]["psnr"], systems[other]["psnr"])
        interval = "" if gap.low != gap.low else f" [{gap.low:+.2f}, {gap.high:+.2f}]"  # a single photograph
        sure = "" if gap.is_significant else ": not significant"
        yield f"{best} - {other}: {gap.mean:+.2f} dB{interval}{sure}"


def class_tables(result: EvaluationResult) -> Iterator[str]:
    """Format a table of classes (rows) and systems (columns) for each metric of BY_CLASS."""
    for metric in BY_CLASS:
        systems = {name: found for name, found in result.systems.items() if metric in found.scores}
        rows = [[METRICS[metric].heading, "photographs", *systems]]
        for name, chosen in result.by_class().items():
            figures = [figure(system.mean(metric, chosen), metric) for system in systems.values()]
            rows.append([name, str(len(chosen)), *figures])
        yield text_table(rows)


def write_scores_csv(result: EvaluationResult, path: Path) -> None:
    """Write a CSV file with one row per photograph and system, and one column per metric."""
    systems = result.systems
    metrics = [metric for metric in METRICS if any(metric in system.scores for system in systems.values())]
    classes = result.classes or [""] * len(result.names)

    def write(beside: Path) -> None:
        with beside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file)
            writer.writerow(["photograph", "class", "system", *metrics])
            for name, system in systems.items():
                for row, photograph in enumerate(result.names):
                    values = [f"{system.scores[m][row]:.6g}" if m in system.scores else "" for m in metrics]
                    writer.writerow([photograph, classes[row], name, *values])

    write_atomically(path, write)
