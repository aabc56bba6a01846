"""Evaluation results: the scores of systems on photographs, and all that decides whether two results are comparable.
A result is one JSON file: a run's results.json, or the output of `evaluate.py --json`."""

import base64
import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gancolor import __version__
from gancolor.config.identity import flatten
from gancolor.data.cache.photographs import Photographs
from gancolor.metrics.bootstrap import Mean, mean_of, summarize
from gancolor.models import build_generator, would_take_hints
from gancolor.models.cost import count_macs, count_parameters
from gancolor.utils.errors import InputError
from gancolor.utils.files import file_digest, write_json
from gancolor.utils.metadata import section
from gancolor.utils.run_files import read_metrics

FORMAT = 1
GALLERY = 24  # photographs whose pictures a result includes
MACS_SIZE = 256  # side of the input for counting multiply-accumulates [pixels]
PACKAGES = ("torch", "torchvision", "kornia", "fastai", "lpips", "timm", "wandb", "numpy", "pillow", "safetensors")
BASELINES = ("grey", "truth")
_NAN = float("nan")


@dataclass
class SystemResult:
    """Scores of one system.

    Attributes:
        scores: metric -> one value per photograph, float32 (N,).
        whole: metric of the whole set (FID, KID) -> value.
        about: for a generator, see `describe_generator`; for another tool's pictures, {"pictures": folder}.
        hints: number of colour hints -> metric -> mean (`evaluate.py --hints`).
        samples: the system's pictures of the sample photographs, each a WebP file.
    """

    scores: dict[str, Tensor]
    whole: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    samples: list[bytes] = field(default_factory=list)
    hints: dict[int, dict[str, Mean]] = field(default_factory=dict)

    @cached_property
    def means(self) -> dict[str, Mean]:
        """Mean of each metric with its interval; metrics of the whole set have no interval."""
        whole = {name: Mean(value, _NAN, _NAN) for name, value in self.whole.items()}
        return summarize(self.scores) | whole

    def mean(self, metric: str, chosen: Sequence[int]) -> Mean | None:
        """Return a metric's mean over the chosen photographs; None if this system lacks the metric."""
        return mean_of(self.scores[metric][list(chosen)]) if metric in self.scores else None


@dataclass
class EvaluationResult:
    """Scores of several systems on the same photographs by one protocol.

    Attributes:
        protocol: {"name", "size" [pixels], "photographs", "resizing", "rounding"}, and "seen" if systems see damaged
            photographs.
        source: the name of the photographs' source, for display.
        names: the N photographs' names.
        files: digest of the photographs' names and contents, the same on every machine.
        classes: the N photographs' class names; empty if they have no classes.
        systems: by name; "grey" first and "truth" last.
        sample_indices: indices of the photographs whose pictures are included.
        made: {"command", "versions", ...}: how the result was made.
    """

    protocol: dict[str, Any]
    source: str
    names: list[str]
    files: str
    classes: list[str]
    systems: dict[str, SystemResult]
    sample_indices: list[int] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)

    def why_not_comparable(self, other: "EvaluationResult") -> str:
        """Explain why two results are not comparable; empty if they are."""
        if self.protocol != other.protocol:
            one, two = self.protocol, other.protocol
            keys = [key for key in dict.fromkeys((*one, *two)) if one.get(key) != two.get(key)]
            return "; ".join(f"{key} {one.get(key)} against {two.get(key)}" for key in keys)
        if self.files != other.files:
            common = len(set(self.names) & set(other.names))
            of = f"{len(self.names)} of {self.source} against {len(other.names)} of {other.source}"
            return f"other photographs ({of}; {common} names in common)"
        return ""

    def by_class(self) -> dict[str, list[int]]:
        """Return the indices of each class's photographs."""
        members: dict[str, list[int]] = {}
        for number, name in enumerate(self.classes):
            members.setdefault(name, []).append(number)
        return dict(sorted(members.items()))

    def save(self, path: Path) -> None:
        content = {
            "format": FORMAT,
            "made": self.made,
            "protocol": self.protocol,
            "source": self.source,
            "files": self.files,
            "means": {
                name: {k: asdict(mean) for k, mean in system.means.items()} for name, system in self.systems.items()
            },
            "about": {name: system.about for name, system in self.systems.items()},
            "whole": {name: system.whole for name, system in self.systems.items()},
            "hints": {
                name: {number: {k: asdict(mean) for k, mean in row.items()} for number, row in system.hints.items()}
                for name, system in self.systems.items()
                if system.hints
            },
            "names": self.names,
            "classes": self.classes,
            "scores": {
                name: {k: [_short(value) for value in values.tolist()] for k, values in system.scores.items()}
                for name, system in self.systems.items()
            },
            "samples": {
                "indices": self.sample_indices,
                "webp": {name: [_text(data) for data in system.samples] for name, system in self.systems.items()},
            },
        }
        write_json(path, content)


def load_result(path: Path) -> EvaluationResult:
    """Read a result.

    Raises:
        InputError: the file is missing, not a result, damaged, or of a newer version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
            raise InputError(f"{path} was written by a newer gancolor than this one ({__version__}): upgrade gancolor")
        systems = {
            name: SystemResult(
                {k: torch.tensor([_NAN if v is None else v for v in values]) for k, values in scores.items()},
                {k: _NAN if v is None else v for k, v in content["whole"][name].items()},
                content["about"][name],
                [base64.b64decode(text) for text in content["samples"]["webp"][name]],
                {
                    int(number): {k: Mean(**mean) for k, mean in row.items()}
                    for number, row in content.get("hints", {}).get(name, {}).items()
                },
            )
            for name, scores in content["scores"].items()
        }
        names, classes, indices = content["names"], content["classes"], content["samples"]["indices"]
        described = [*content["about"].values(), *content["whole"].values(), content["made"], content["protocol"]]
        named = isinstance(content["protocol"].get("name"), str) and isinstance(content["protocol"].get("size"), int)
        if not named or not all(isinstance(part, dict) for part in described):
            raise ValueError
        if len(set(names)) < len(names) or len(classes) not in (0, len(names)):
            raise ValueError
        result = EvaluationResult(
            content["protocol"], content["source"], names, content["files"], classes, systems, indices, content["made"]
        )
        columns = [values.shape for system in systems.values() for values in system.scores.values()]
        whole = all(shape == (len(names),) for shape in columns) and all(name in systems for name in BASELINES)
        if not whole or any(not 0 <= index < len(names) for index in indices):
            raise ValueError
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError):
        raise InputError(f"{path}: not a result of evaluate.py --json or of a finished run, or damaged") from None
    return result


def make_result(
    protocol: dict[str, Any], source: str, photographs: Photographs, classes: tuple[str, ...],
    systems: dict[str, SystemResult], pictures: Mapping[str, Tensor], **made: Any,
) -> EvaluationResult:  # fmt: skip
    """Create a result from these scores.

    Args:
        pictures: system -> uint8 (G, 3, S, S), its pictures of the photographs of `gallery_indices`.
        made: how the result was made, besides the command and the versions.
    """
    for name, batch in pictures.items():
        systems[name].samples = [_webp(picture) for picture in batch.cpu()]
    return EvaluationResult(
        protocol,
        source,
        list(photographs.names),
        photographs.contents_digest,
        _class_names(photographs.labels.tolist(), classes),
        systems,
        gallery_indices(photographs).tolist(),
        {"command": shlex.join(sys.argv), "versions": versions(), **made},
    )


def _class_names(labels: Sequence[int], classes: Sequence[str]) -> list[str]:
    """Return the photographs' class names; none unless every photograph has a class (in test splits, -1 is common)."""
    return [classes[label] for label in labels] if classes and min(labels, default=0) >= 0 else []


def gallery_indices(photographs: Photographs) -> Tensor:
    """Return the indices of the photographs whose pictures a result includes: int64, independent of their order."""
    drawn = sorted(
        range(len(photographs)), key=lambda index: hashlib.sha256(photographs.names[index].encode()).digest()
    )
    return torch.tensor(sorted(drawn[:GALLERY]), dtype=torch.int64)


def describe_generator(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a generator for a result: the file's hash, training progress and options (as far as the file has them),
    cost, and the training record if it lies beside the checkpoint.

    Args:
        path: the checkpoint.
        about: its metadata (`checkpoint.describe`).
    """
    built, options = about["generator"], flatten(dict(section(about, "config")))
    generator = build_generator(built["arch"], **{**built["options"], "backbone_weights": "random"})
    recorded = "effective_batch" in about and "step" in about
    return {
        "checkpoint": str(path),
        "sha256": file_digest(path),
        "arch": built["arch"],
        "step": about.get("step"),
        "stage": about.get("stage"),
        "trained_on": section(about, "data").get("source"),
        "options": options,
        "without_effect": _without_effect(options, built["arch"], built["options"]) if options else [],
        "parameters": count_parameters(generator),
        "macs": count_macs(generator, MACS_SIZE),
        "interpolated": about.get("interpolated", {}),
        **(read_training(path.parent, about["effective_batch"], about["step"]) if recorded else {}),
    }


def _without_effect(options: Mapping[str, Any], arch: str, built: Mapping[str, Any]) -> list[str]:
    """Return the options that have no effect, given the others.

    Args:
        built: the options that the generator was built with.
    """
    adversarial = options.get("loss.gan") or options.get("loss.feature_matching")
    idle = [name for name in options if name.startswith("generator.") and name.removeprefix("generator.") not in built]
    if not options.get("loss.perceptual"):
        idle += ["loss.perceptual_network", "loss.perceptual_weights"]
    if not adversarial:
        idle += [name for name in options if name.startswith("discriminator.")]
        idle += ["data.real_saturation", "loss.gan_mode", "loss.gradient_penalty", "loss.r1", "optim.lr_d"]
    if not would_take_hints(arch, built):
        idle += [name for name in options if name.startswith("hints.")]
    if "backbone" not in built or built.get("freeze_backbone"):
        idle += ["optim.backbone_lr"]
    return idle


def read_training(run: Path, effective_batch: int, until: int) -> dict[str, Any]:
    """Summarize a run's metrics.jsonl up to a step: "photographs_per_second" while the generator is trained (median),
    "seconds" of training without evaluation, and "curves", metric -> [[step, value], ...] of the evaluations; of a run
    without metrics, nothing."""
    lines = list(read_metrics(run))
    if not lines:
        return {}
    curves: dict[str, list[list[float]]] = {}
    paces, seconds, last = [], 0.0, 0
    for line in lines:
        if line["step"] > until:
            break
        for name, value in line.items():
            if name.startswith("val/") and isinstance(value, int | float):
                curves.setdefault(name.removeprefix("val/"), []).append([line["step"], value])
        if pace := line.get("photographs_per_second"):
            seconds += (line["step"] - last) * effective_batch / pace
            last = line["step"]
            if "grad_norm_g" in line:
                paces.append(pace)
    return {"photographs_per_second": median(paces) if paces else None, "seconds": seconds, "curves": curves}


def versions() -> dict[str, str]:
    """Return the versions of gancolor and of the packages that scores may depend on."""
    found = {"gancolor": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _short(value: float) -> float | None:
    return None if value != value else float(f"{value:.6g}")


def _webp(picture: Tensor) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(buffer, "WEBP", quality=90)
    return buffer.getvalue()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
