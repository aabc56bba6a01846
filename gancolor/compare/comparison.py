"""Ranking of systems that were scored on the same photographs by the same protocol, with its uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from gancolor.config.identity import is_changeable
from gancolor.evaluation.results import BASELINES, EvaluationResult, SystemResult
from gancolor.metrics.bootstrap import Mean, difference, mean_of, summarize
from gancolor.metrics.table import METRICS
from gancolor.utils.run_files import BEST

MOST_NAMED = 4  # most options in a system's name


def may_differ(name: str) -> bool:
    """Return whether runs of one system may differ in the option."""
    return name == "seed" or (is_changeable(name) and name != "epochs")


@dataclass(frozen=True)
class SeedRun:
    """One run, or one folder of pictures.

    Attributes:
        origin: the file that its result was read from.
        about: see `results.describe_generator`.
        scored: options of its evaluation: "strength", and "input_size" if that is not the size used in training.
        scores: metric -> values per photograph (N,), in the comparison's order.
        whole: metric of the whole set (FID, KID) -> value.
        samples: photograph -> its picture, a WebP file.
        hints: number of colour hints -> metric -> mean.
    """

    name: str
    origin: str
    about: dict[str, Any]
    scored: dict[str, Any]
    scores: dict[str, Tensor]
    whole: dict[str, float]
    samples: dict[str, bytes]
    hints: dict[int, dict[str, Mean]]

    @property
    def seed(self) -> int | None:
        return self.about.get("options", {}).get("seed")

    @property
    def options(self) -> dict[str, Any]:
        """Options that define the system; runs that differ only in their seeds are one system."""
        options = self.about.get("options", {})
        return {
            name: value for name, value in options.items()
            if not may_differ(name) and name not in self.about.get("without_effect", ())
        } | self.scored  # fmt: skip

    @property
    def state(self) -> tuple[Any, ...]:
        """Stage, checkpoint name, step and share of an interpolation, which are the same for all seeds of one system.

        The best checkpoint's step may differ, because each run chooses its own.
        """
        name = Path(self.about.get("checkpoint", "")).name
        step = None if name == BEST else self.about.get("step")
        return self.about.get("stage", ""), name, step, self.about.get("interpolated", {}).get("share")

    @property
    def place(self) -> str:
        """The last two parts of its checkpoint's path; empty without a checkpoint."""
        return "/".join(Path(self.about.get("checkpoint", "")).parts[-2:])


@dataclass(frozen=True)
class Entry:
    """One system: a run, or several that differ only in their seeds.

    Attributes:
        scores: metric -> values per photograph (N,), averaged over seeds.
        seeds: metric -> (mean, standard deviation) over seeds; empty if there is one seed.
    """

    name: str
    members: tuple[SeedRun, ...]
    scores: dict[str, Tensor]
    means: dict[str, Mean]
    seeds: dict[str, tuple[float, float]]

    @property
    def about(self) -> dict[str, Any]:
        """Description of the first run; costs are the same for all runs."""
        return self.members[0].about

    @property
    def samples(self) -> dict[str, bytes]:
        return self.members[0].samples


class Comparison:
    """A comparison of comparable results.

    Args:
        results: origin -> result; all of the same protocol and photographs.
        metric: to rank systems by.

    Attributes:
        made: origin -> how that result was made.
        names, classes, files: of the photographs (N), as in `EvaluationResult`.
        sampled: photographs that have a picture of every system with pictures.
        entries: best first.
        grey, truth: the baselines.
        behind: entry, except the first -> mean paired difference from the first entry; positive is worse.
        varying: the options in which entries differ.
        unranked: systems without a value of the metric.
    """

    def __init__(self, results: dict[str, EvaluationResult], metric: str = "psnr") -> None:
        first = next(iter(results.values()))
        self.protocol, self.source, self.metric = first.protocol, first.source, metric
        self.made = {origin: result.made for origin, result in results.items()}
        self.names, self.classes, self.files = first.names, first.classes, first.files
        members = [member for origin, result in results.items() for member in _members(origin, result, self.names)]
        self.grey, self.truth = (
            _entry(name, [_merged([member for member in members if member.name == name])]) for name in BASELINES
        )
        groups = _systems(_distinct([member for member in members if member.name not in BASELINES]))
        self.varying = _varying([group[0].options for group in groups if group[0].options])
        names = _unique([_name(group[0], self.varying, groups) for group in groups], groups)
        entries = [_entry(name, group) for name, group in zip(names, groups, strict=True)]
        sign = 1 if METRICS[metric].better == "less" else -1
        ranked = [entry for entry in entries if metric in entry.means]
        self.entries = sorted(ranked, key=lambda entry: sign * entry.means[metric].mean)
        self.unranked = [entry.name for entry in entries if metric not in entry.means]
        self.behind = {
            entry.name: difference(sign * entry.scores[metric], sign * self.entries[0].scores[metric])
            for entry in self.entries[1:] if metric in entry.scores
        }  # fmt: skip
        pictured = [set(entry.samples) for entry in (*self.entries, self.truth) if entry.samples]
        common = set.intersection(*pictured) if pictured else set()
        self.sampled = [name for name in self.names if name in common]

    def metrics(self) -> list[str]:
        """Return the metrics that any entry has, in the tables' order."""
        return [name for name in METRICS if any(name in entry.means for entry in self.entries)]

    def by_class(self, metric: str) -> dict[str, dict[str, Mean]]:
        """Return class -> entry -> mean."""
        table: dict[str, dict[str, Mean]] = {}
        for label in sorted(set(self.classes)):
            chosen = torch.tensor([number for number, name in enumerate(self.classes) if name == label])
            table[label] = {
                entry.name: mean_of(entry.scores[metric][chosen]) for entry in self.entries if metric in entry.scores
            }
        return table


def _members(origin: str, result: EvaluationResult, names: Sequence[str]) -> list[SeedRun]:
    """Return the systems of a result, with their values in the order of `names`."""
    places = {name: place for place, name in enumerate(result.names)}
    order = torch.tensor([places[name] for name in names], dtype=torch.int64)
    sampled = [result.names[index] for index in result.sample_indices]

    def member(name: str, system: SystemResult) -> SeedRun:
        scores = {metric: values[order] for metric, values in system.scores.items()}
        samples = dict(zip(sampled, system.samples, strict=False))
        scored = _scored(system.about, result.protocol["size"])
        return SeedRun(name, origin, system.about, scored, scores, system.whole, samples, system.hints)

    return [member(name, system) for name, system in result.systems.items()]


def _scored(about: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the options of a generator's evaluation at this size; none for other tools' pictures."""
    if "options" not in about:
        return {}
    trained = about["options"].get("data.size", size)
    seen = about.get("input_size", trained)
    return {"strength": about.get("strength", 1.0), "input_size": "as in training" if seen == trained else seen}


def _merged(members: list[SeedRun]) -> SeedRun:
    """Merge all that several results contain of one system. If several have a value, the first one's is kept."""
    first, backwards = members[0], members[::-1]
    about = {name: value for member in backwards for name, value in member.about.items() if value not in (None, {})}
    hints = {count: row for member in backwards for count, row in member.hints.items()}
    return replace(
        first,
        about=about,
        scores={metric: values for member in backwards for metric, values in member.scores.items()},
        whole={metric: value for member in backwards for metric, value in member.whole.items()},
        samples={photograph: picture for member in backwards for photograph, picture in member.samples.items()},
        hints=dict(sorted(hints.items())),
    )


def _distinct(members: list[SeedRun]) -> list[SeedRun]:
    """Return each checkpoint once, even if several results contain it, unless they scored it in different ways."""
    groups: dict[str, list[SeedRun]] = {}
    for member in members:
        key = f"{member.about.get('sha256', f'{member.origin} {member.name}')} {member.scored}"
        groups.setdefault(key, []).append(member)
    return [_merged(group) for group in groups.values()]


def _systems(members: list[SeedRun]) -> list[list[SeedRun]]:
    """Group runs that differ only in their seeds into one system.

    Two checkpoints of one run have the same seed, so they are two systems.
    """

    def belongs(member: SeedRun, group: list[SeedRun]) -> bool:
        same = member.options == group[0].options and member.state == group[0].state
        return same and member.seed not in [other.seed for other in group]

    groups: list[list[SeedRun]] = []
    for member in members:
        group = next((group for group in groups if member.options and belongs(member, group)), None)
        if group is None:
            groups.append([member])
        else:
            group.append(member)
    return groups


def _varying(options: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for found in options for name in found)
    return [name for name in names if len({repr(found.get(name)) for found in options}) > 1]


def _name(member: SeedRun, varying: list[str], groups: Sequence[list[SeedRun]]) -> str:
    """Return the architecture, with the options that distinguish this system from others of the same architecture, or
    with its run's folder if there are more than MOST_NAMED such options."""
    if not member.options:
        return member.name
    arch = member.about["arch"]
    same = [group[0].options for group in groups if group[0].about.get("arch") == arch]
    differing = [name for name in _varying(same) if name in varying and name != "arch"]
    if len(differing) > MOST_NAMED:
        return f"{arch} ({Path(member.about.get('checkpoint', member.origin)).parent.name})"
    return ", ".join([arch, *(f"{name}={member.options.get(name)}" for name in differing)])


def _unique(names: list[str], groups: Sequence[list[SeedRun]]) -> list[str]:
    """Make equal names unique by adding their origin: the checkpoint, else the result's file, else a number."""
    origins = ([group[0].place for group in groups], [group[0].origin for group in groups], map(str, range(1, 10**6)))
    for places in origins:
        names = [
            f"{name} ({place})" if place and names.count(name) > 1 else name
            for name, place in zip(names, places, strict=False)
        ]
    return names


def _entry(name: str, members: list[SeedRun]) -> Entry:
    shared = [metric for metric in members[0].scores if all(metric in member.scores for member in members)]
    scores = {metric: torch.stack([member.scores[metric] for member in members]).mean(dim=0) for metric in shared}
    whole = {
        metric: fmean(member.whole[metric] for member in members)
        for metric in members[0].whole if all(metric in member.whole for member in members)
    }  # fmt: skip
    seeds = {}
    if len(members) > 1:
        per_seed = {m: [member.scores[m].double().mean().item() for member in members] for m in shared}
        per_seed |= {m: [member.whole[m] for member in members] for m in whole}
        seeds = {metric: (fmean(values), stdev(values)) for metric, values in per_seed.items()}
    means = summarize(scores) | {metric: Mean(value, math.nan, math.nan) for metric, value in whole.items()}
    return Entry(name, tuple(members), scores, means, seeds)
