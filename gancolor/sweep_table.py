"""What a sweep's runs have cost and reached, in one table."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from gancolor.checkpoint import describe
from gancolor.cost import count_macs, count_parameters
from gancolor.evaluation import Mean
from gancolor.models import build_generator
from gancolor.report import COLUMNS, figure, markdown_table
from gancolor.run import Run

MACS_SIZE = 256  # of the photograph that multiply-accumulates are counted for [pixels]


def sweep_table(folders: Mapping[str, Path]) -> str:
    """Finished runs in rows, between the photographs left grey and the truth, in Markdown: parameters and
    multiply-accumulates of the generator on 256 x 256, photographs a second in training, and the results. Runs that
    were validated on different photographs (other seeds of a folder without `val`, other sizes) make a table each.

    Args:
        folders: name -> run folder.
    """
    abouts = {name: describe(Run(folder).generator) for name, folder in folders.items()}
    judged_on: dict[str, list[str]] = {}
    for name, about in abouts.items():
        judged_on.setdefault(about["data"]["digest"].split()[-1], []).append(name)
    return "\n\n".join(
        _table({name: folders[name] for name in names}, {name: abouts[name] for name in names})
        for names in judged_on.values()
    )


def _table(folders: Mapping[str, Path], abouts: Mapping[str, Mapping[str, Any]]) -> str:
    results = {name: json.loads(Run(folder).results.read_text(encoding="utf-8")) for name, folder in folders.items()}
    systems = {name: next(v for k, v in row.items() if k not in ("grey", "truth")) for name, row in results.items()}
    first = next(iter(results.values()))
    metrics = [metric for metric in COLUMNS if any(metric in row for row in systems.values())]
    rows = [["", "parameters", f"MACs at {MACS_SIZE}", "photographs/s", *(COLUMNS[metric][0] for metric in metrics)]]
    rows.append(["grey", "", "", "", *(_figure(first["grey"], metric) for metric in metrics)])
    for name, row in systems.items():
        cost = [*_cost(abouts[name]["generator"]), _pace(folders[name])]
        rows.append([name, *cost, *(_figure(row, metric) for metric in metrics)])
    rows.append(["truth", "", "", "", *(_figure(first["truth"], metric) for metric in metrics)])
    return markdown_table(rows)


def _cost(built: Mapping[str, Any]) -> list[str]:
    generator = build_generator(built["arch"], **{**built["options"], "backbone_weights": "random"})
    parameters, macs = count_parameters(generator), count_macs(generator, MACS_SIZE)
    return [f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k", f"{macs / 1e9:.2f} G"]


def _pace(folder: Path) -> str:
    """Photographs a second in training of the generator, the median of the record's lines."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    paces = [line["photographs_per_second"] for line in map(json.loads, lines) if "grad_norm_g" in line]
    return f"{median(paces):.0f}" if paces else ""


def _figure(row: Mapping[str, Mapping[str, float | None]], metric: str) -> str:
    kept = row.get(metric)  # JSON has null for the standard error of a single photograph
    mean = kept and Mean(**{name: math.nan if value is None else value for name, value in kept.items()})
    return figure(mean or None, COLUMNS[metric][1])
