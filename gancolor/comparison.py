"""evaluate.py: checkpoints scored on the same photographs, beside grey and the truth."""

import csv
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancolor import __version__
from gancolor.checkpoint import describe, find_generator, load_generator
from gancolor.color import to_float
from gancolor.config import EvaluateConfig
from gancolor.data.photographs import Photographs, load_photographs, load_undivided
from gancolor.data.sources import find_source, shuffled
from gancolor.errors import InputError
from gancolor.evaluation import Mean, Scores, colorize, greyed, score, score_generator, summarize, with_gain
from gancolor.files import write_atomically, write_json
from gancolor.hardware import choose_hardware
from gancolor.metrics import Metric, lpips
from gancolor.report import results_table, sample_indices, save_grid
from gancolor.weights import file_digest


class Comparison:
    """Generators, the photographs that they are scored on, and the scores.

    Raises:
        InputError: a checkpoint or photographs that can't be read.
    """

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        self.hardware = choose_hardware(config.device, "fp32")
        self.paths = [find_generator(path) for path in config.checkpoints]
        self.abouts = [describe(path) for path in self.paths]
        names = _names(config.checkpoints, self.abouts)
        self.generators = {
            name: load_generator(path, self.hardware.device) for name, path in zip(names, self.paths, strict=True)
        }
        self.photographs, self.protocol = self._load_photographs()
        self.lpips, self.lpips_problem = self._load_lpips()
        self.scores: dict[str, Scores] = {}
        self.table: dict[str, dict[str, Mean]] = {}

    def _load_photographs(self) -> tuple[Photographs, str]:
        """The validation photographs of the source; all of them where it has no folder of those and nothing was trained
        on it."""
        name = self.config.data.source or self.abouts[0]["data"]["source"]
        size = self.config.data.size or self.abouts[0]["data"]["size"]
        seen = [about["config"] for about in self.abouts if about["data"]["source"] == name]
        splits = {(config["seed"], config["data"]["val_fraction"]) for config in seen}
        seed, val_fraction = min(splits, default=(0, 0.5))
        demo_photos = max((config["data"]["demo_photos"] for config in seen), default=2000)
        source = find_source(name, seed, val_fraction, demo_photos=demo_photos)
        if source.held_out and len(splits) > 1:
            raise InputError(
                f"the checkpoints held different photographs of {name} out of training (other --seed or "
                "--data.val_fraction), so each has seen the others'; give --data.source DIR with photographs new to all"
            )
        items, which = source.val, "validation photographs"
        if source.held_out and not splits:
            items, which = [*source.val, *source.train], "photographs, all,"
        if self.config.data.val_limit is not None:
            items = shuffled(items, seed)[: self.config.data.val_limit]
        cache = self.config.data.cache
        if source.held_out:
            photographs = load_undivided(source, size, cache).subset([item.name for item in items])
        else:
            photographs = load_photographs(items, size, cache, "photographs")
        if not len(photographs):
            raise InputError(f"--data.source {name}: none of its photographs can be decoded")
        return photographs, f"{len(photographs)} {which} of {source.name}, cropped to a square of {size} x {size}"

    def _load_lpips(self) -> tuple[Metric | None, str | None]:
        """The metric, or why it is left out."""
        weights = self.config.lpips.weights
        if weights == "off":
            return None, None
        try:
            return lpips(weights, self.hardware.device, size=self.photographs.size), None
        except InputError as error:
            if weights != "auto":
                raise
            return None, str(error)

    def score(self) -> None:
        """Scores grey, every generator and the truth, and prints the table."""
        photographs, hardware, batch = self.photographs, self.hardware, self.config.batch_size
        grey = score(greyed, photographs, hardware, batch, self.lpips)
        self.scores = {"grey": grey}
        for name, generator in self.generators.items():
            scores = score_generator(generator, photographs, hardware, batch, self.lpips)
            self.scores[name] = with_gain(scores, grey)
        self.scores["truth"] = {"colorfulness": score(to_float, photographs, hardware, batch)["colorfulness"]}
        self.table = {name: summarize(scores) for name, scores in self.scores.items()}
        print(f"{self.protocol}; mean ± standard error")
        if photographs.skipped:
            print(f"{len(photographs.skipped)} more can't be decoded: {_some(photographs.skipped)}")
        print(results_table(self.table))
        if self.lpips_problem:
            print(f"LPIPS left out: {self.lpips_problem}")

    def write(self) -> None:
        """Writes the files that were asked for."""
        wanted: list[tuple[str | None, Callable[[Path], None]]] = [
            (self.config.json, lambda path: write_json(path, self._as_json())),
            (self.config.csv, self._write_csv),
            (self.config.grid, self._write_grid),
        ]
        for name, write in wanted:
            if name:
                path = Path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path)
                print(f"wrote {path}")

    def _as_json(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "photographs": {"count": len(self.photographs), "digest": self.photographs.digest},
            "lpips": self.lpips_problem or ("off" if self.lpips is None else "AlexNet v0.1"),
            "command": shlex.join(sys.argv),
            "versions": {"gancolor": __version__, "torch": torch.__version__},
            "checkpoints": {
                name: {"path": str(path), "sha256": file_digest(path), "step": about["step"], **about["generator"]}
                for name, path, about in zip(self.generators, self.paths, self.abouts, strict=True)
            },
            "systems": {name: {k: asdict(mean) for k, mean in row.items()} for name, row in self.table.items()},
        }

    def _write_csv(self, path: Path) -> None:
        metrics = list(dict.fromkeys(metric for scores in self.scores.values() for metric in scores))

        def write(beside: Path) -> None:
            with beside.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["photograph", "system", *metrics])
                for system, scores in self.scores.items():
                    for row, name in enumerate(self.photographs.names):
                        values = [f"{scores[metric][row]:.6g}" if metric in scores else "" for metric in metrics]
                        writer.writerow([name, system, *values])

        write_atomically(path, write)

    @torch.inference_mode()
    def _write_grid(self, path: Path) -> None:
        chosen = sample_indices(len(self.photographs), self.config.samples)
        pictures = self.photographs.take(chosen).to(self.hardware.device)
        rows: dict[str, Tensor] = {"grey": greyed(pictures)}
        for name, generator in self.generators.items():
            rows[name] = colorize(generator, pictures)
        save_grid(path, {**rows, "truth": to_float(pictures)})


def _names(given: Iterable[str], abouts: Iterable[dict[str, Any]]) -> list[str]:
    """Each system's architecture, or where that is ambiguous what it was given as."""
    given = list(given)
    arches = [about["generator"]["arch"] for about in abouts]
    names = [arch if arches.count(arch) == 1 else path for arch, path in zip(arches, given, strict=True)]
    if len(set(names)) < len(names):
        raise InputError(f"the same checkpoint is given twice: {', '.join(given)}")
    return names


def _some(skipped: dict[str, str]) -> str:
    listed = [f"{name} ({reason})" for name, reason in list(skipped.items())[:3]]
    return ", ".join([*listed, "..."] if len(skipped) > 3 else listed)
