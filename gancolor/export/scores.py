"""A generator's scores from evaluation results, for its model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gancolor.evaluation.results import EvaluationResult, load_result
from gancolor.export.description import public_parts
from gancolor.metrics.bootstrap import Mean
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest
from gancolor.utils.run_files import RESULTS


@dataclass(frozen=True)
class Scored:
    """Scores on a set of photographs: means with intervals by metric, for grey, the generator and the ground truth."""

    photographs: str
    systems: Mapping[str, Mapping[str, Mean]]


def load_scores(files: Sequence[Path], checkpoint: Path) -> list[Scored]:
    """Load a checkpoint's scores from result files. The result of its own run, if there is one, comes first.

    Args:
        files: results, as `evaluate.py --json` writes them.

    Raises:
        InputError: a result that can't be read, or that does not include this checkpoint.
    """
    digest = file_digest(checkpoint)
    own = checkpoint.parent / RESULTS
    found = {path.resolve(): path for path in ([own, *files] if own.is_file() else files)}
    alike: dict[tuple[Any, ...], list[tuple[EvaluationResult, str]]] = {}  # scored on the same in the same way
    for path in found.values():
        result = load_result(path)
        name = next((name for name, system in result.systems.items() if system.about.get("sha256") == digest), None)
        if name is not None:
            alike.setdefault(_conditions(result, name), []).append((result, name))
        elif path != own:
            others = ", ".join(name for name in result.systems if name not in ("grey", "truth"))
            raise InputError(
                f"--result {path}: {checkpoint} was not scored there ({others} were); run evaluate.py {checkpoint} "
                "--json FILE"
            )
    results = [result for ((result, _), *_) in alike.values()]
    return [_scored(same, _source_name(same[0][0], results)) for same in alike.values()]


def _conditions(result: EvaluationResult, name: str) -> tuple[Any, ...]:
    """Return all that must be the same for two results of a generator to be one."""
    about, protocol = result.systems[name].about, result.protocol
    size = about.get("input_size") or protocol["size"]
    return result.files, json.dumps(protocol, sort_keys=True), size, about.get("strength", 1)


def _source_name(result: EvaluationResult, results: Sequence[EvaluationResult]) -> str:
    """Return the shortest end of the source's path that no result on other photographs has; if they are from the same
    folder, its last name with the photographs' digest."""
    parts = public_parts(result.source)
    others = [public_parts(other.source) for other in results if other.files != result.files]
    for count in range(1, len(parts) + 1):
        if all(other[-count:] != parts[-count:] for other in others):
            return "/".join(parts[-count:])
    return f"{parts[-1]} (digest {result.files[:12]})"


def _scored(same: Sequence[tuple[EvaluationResult, str]], source: str) -> Scored:
    """Merge the results of a generator on the same photographs. The last value of each metric is used.

    Args:
        same: each result, and the generator's name in it.
        source: the photographs' source, for display.
    """
    result, name = same[0]
    protocol, about = result.protocol, result.systems[name].about
    size, seen, strength = protocol["size"], about.get("input_size"), about.get("strength", 1)
    what = (
        f"{len(result.names):,} photographs of {source}, protocol `{protocol['name']}`, {size} x {size}"
        + (f" (the generator sees {seen} x {seen})" if seen not in (None, size) else "")
        + (f", chroma multiplied by {strength:g}" if strength != 1 else "")
        + "; mean ± half-width of the 95 % interval"
    )
    systems: dict[str, dict[str, Mean]] = {"grey": {}, name: {}, "truth": {}}
    for each, its_name in same:
        for row, means in systems.items():
            means |= each.systems[its_name if row == name else row].means
    return Scored(what, systems)
