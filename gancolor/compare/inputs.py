"""Inputs of `gancolor compare`: run folders, folders of runs and result files, grouped into comparable sets."""

import json
from collections.abc import Iterable
from pathlib import Path

from gancolor.compare.comparison import Comparison
from gancolor.compare.text_tables import cost_table
from gancolor.evaluation.results import EvaluationResult, load_result
from gancolor.utils.errors import InputError
from gancolor.utils.run_files import CONFIG, RESULTS


def find_results(paths: Iterable[Path]) -> tuple[dict[str, EvaluationResult], list[str]]:
    """Read the results of run folders, of all runs below a folder, and of files.

    Returns:
        file -> result, and a note on each input or run without a result.

    Raises:
        InputError: there are no results.
    """
    results: dict[str, EvaluationResult] = {}
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            notes.append(f"{path}: no such file or folder")
        elif path.is_dir():
            found = sorted(path.rglob(RESULTS))
            below = (config for config in path.rglob(CONFIG) if "wandb" not in config.relative_to(path).parts)
            runs = {config.parent for config in below}
            unfinished = sorted(runs - {file.parent for file in found} - _stopped_early(path))
            for folder in unfinished:
                notes.append(
                    f"{folder}: not finished, so without results; evaluate.py {folder} --json FILE scores it as it is"
                )
            if not found and not unfinished:
                notes.append(f"{path}: not a run folder, and contains none")
            for file in found:
                _read(file, results, notes)
        else:
            _read(path, results, notes)
    if not results:
        raise InputError("; ".join(notes) or "nothing to compare")
    return results, notes


def _stopped_early(folder: Path) -> set[Path]:
    """Return the folders of runs that a sweep stopped early, which are expected to have no results."""
    return {stopped for journal in folder.rglob("sweep.json") for stopped in _stopped_in(journal)}


def _stopped_in(journal: Path) -> list[Path]:
    """Return the folders of one sweep's stopped runs; none if the file is damaged or not a sweep's."""
    try:
        trials = json.loads(journal.read_text(encoding="utf-8"))["trials"]
        return [journal.parent / trial["folder"] for trial in trials if trial["status"] == "stopped early"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _read(file: Path, results: dict[str, EvaluationResult], notes: list[str]) -> None:
    try:
        results.setdefault(str(file), load_result(file))
    except InputError as error:
        notes.append(str(error))


def compare_results(results: dict[str, EvaluationResult], metric: str) -> tuple[list[Comparison], list[str]]:
    """Group results into comparable sets.

    Returns:
        a comparison of each set, largest first, and notes on results outside the first set or not ranked.
    """
    groups: list[dict[str, EvaluationResult]] = []
    notes = []
    for origin, result in results.items():
        group = next((g for g in groups if not result.why_not_comparable(next(iter(g.values())))), None)
        if group is not None:
            group[origin] = result
            continue
        if groups:
            other, first = next(iter(groups[0].items()))
            notes.append(f"{origin} cannot be compared with {other}: {result.why_not_comparable(first)}")
        groups.append({origin: result})
    comparisons = [Comparison(group, metric) for group in sorted(groups, key=len, reverse=True)]
    for comparison in comparisons:
        notes += [f"{name}: was not scored by {metric}, so not ranked" for name in comparison.unranked]
    comparisons = [comparison for comparison in comparisons if comparison.entries]
    if not comparisons:
        raise InputError(f"--metric {metric}: none of the results has it")
    return comparisons, notes


def sweep_table(folders: Iterable[Path], metric: str) -> str:
    """Return the table of a sweep's finished runs with costs, in Markdown; one for each comparable set of runs.

    Args:
        metric: to rank by; psnr if no run has it.
    """
    results, _ = find_results(folders)
    try:
        comparisons, _ = compare_results(results, metric)
    except InputError:
        comparisons, _ = compare_results(results, "psnr")
    return "\n\n".join(cost_table(comparison) for comparison in comparisons)
