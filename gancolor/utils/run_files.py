"""Names of the files in a run's folder, and the reader of its metrics."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIG, METRICS, RESULTS = "config.yaml", "metrics.jsonl", "results.json"
LAST, BEST, GENERATOR = "last.safetensors", "best.safetensors", "generator.safetensors"


def read_metrics(run: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run's metrics, of which there may be none; a line that is still being written, or that a
    kill has cut, is skipped."""
    path = run / METRICS
    if not path.is_file():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line
