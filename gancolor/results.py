"""A result: what systems scored on photographs, and all that says whether another result compares with it. One JSON
file, which a run keeps as results.json and `evaluate.py --json` writes."""

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
from gancolor.cost import count_macs, count_parameters
from gancolor.data.photographs import Photographs
from gancolor.errors import InputError
from gancolor.files import file_digest, write_json
from gancolor.models import build_generator
from gancolor.options import flatten
from gancolor.statistics import Mean, mean_of, summarize

FORMAT = 1
GALLERY = 24  # photographs that a result holds pictures of
MACS_SIZE = 256  # of the photograph that multiply-accumulates are counted for [pixels]
PACKAGES = ("torch", "torchvision", "kornia", "fastai", "lpips", "timm", "wandb", "numpy", "pillow", "safetensors")
BASELINES = ("grey", "truth")
_NAN = float("nan")


@dataclass
class SystemResult:
    """What one system scored.

    Attributes:
        scores: metric -> values of photographs, float32 (N,).
        whole: metric of the set as a whole (FID, KID) -> value.
        about: of a generator, see `describe_generator`; of another tool's pictures, {"pictures": folder}.
        samples: its pictures of the result's samples, each a WebP file.
    """

    scores: dict[str, Tensor]
    whole: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    samples: list[bytes] = field(default_factory=list)

    @cached_property
    def means(self) -> dict[str, Mean]:
        """Each metric's mean with its interval; those of the set as a whole have none."""
        whole = {name: Mean(value, _NAN, _NAN) for name, value in self.whole.items()}
        return summarize(self.scores) | whole

    def mean(self, metric: str, chosen: Sequence[int]) -> Mean | None:
        """A metric's mean over some of the photographs; None where it says nothing of this system."""
        return mean_of(self.scores[metric][list(chosen)]) if metric in self.scores else None


@dataclass
class Result:
    """What systems scored on photographs by a protocol.

    Attributes:
        protocol: {"name", "size" [pixels], "photographs", "resizing", "rounding"}, and "seen" where systems see the
            photographs damaged.
        source: of the photographs, for people.
        names: of the photographs (N).
        files: digest of the photographs' names and contents, the same on every machine.
        classes: of the photographs (N), empty where there are none.
        systems: by name; "grey" first and "truth" last.
        sample_indices: the photographs that the samples are of.
        made: {"command", "versions", ...}: how.
    """

    protocol: dict[str, Any]
    source: str
    names: list[str]
    files: str
    classes: list[str]
    systems: dict[str, SystemResult]
    sample_indices: list[int] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)

    def why_not_comparable(self, other: "Result") -> str:
        """Why figures of the two do not compare; empty: they do."""
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
        """Each class with the numbers of its photographs."""
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


def load_result(path: Path) -> Result:
    """Reads a result.

    Raises:
        InputError: no such file, another one, a damaged one, or one of a newer version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
            raise InputError(f"{path} was written by a newer gancolor: upgrade this one ({__version__})")
        systems = {
            name: SystemResult(
                {k: torch.tensor([_NAN if v is None else v for v in values]) for k, values in scores.items()},
                {k: _NAN if v is None else v for k, v in content["whole"][name].items()},
                content["about"][name],
                [base64.b64decode(text) for text in content["samples"]["webp"][name]],
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
        result = Result(
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
        raise InputError(f"{path}: no result of evaluate.py --json or of a finished run, or a damaged one") from None
    return result


def make_result(
    protocol: dict[str, Any], source: str, photographs: Photographs, classes: tuple[str, ...],
    systems: dict[str, SystemResult], pictures: Mapping[str, Tensor], **made: Any,
) -> Result:  # fmt: skip
    """A result of these scores.

    Args:
        pictures: system -> uint8 (G, 3, S, S), of the photographs of `gallery_indices`.
        made: how, besides the command and the versions.
    """
    for name, batch in pictures.items():
        systems[name].samples = [_webp(picture) for picture in batch.cpu()]
    return Result(
        protocol,
        source,
        list(photographs.names),
        photographs.contents_digest,
        [classes[label] for label in photographs.labels.tolist()] if classes else [],
        systems,
        gallery_indices(photographs).tolist(),
        {"command": shlex.join(sys.argv), "versions": versions(), **made},
    )


def gallery_indices(photographs: Photographs) -> Tensor:
    """The photographs that pictures are kept of, int64, always the same of the same photographs in whatever order."""
    drawn = sorted(
        range(len(photographs)), key=lambda index: hashlib.sha256(photographs.names[index].encode()).digest()
    )
    return torch.tensor(sorted(drawn[:GALLERY]), dtype=torch.int64)


def describe_generator(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says of a generator: the file's hash, how far it was trained and with which options, what it costs,
    and the record of its training where that lies beside.

    Args:
        path: the checkpoint.
        about: what it says of itself (`checkpoint.describe`).
    """
    built, options = about["generator"], flatten(about["config"])
    generator = build_generator(built["arch"], **{**built["options"], "backbone_weights": "random"})
    return {
        "checkpoint": str(path),
        "sha256": file_digest(path),
        "arch": built["arch"],
        "step": about["step"],
        "stage": about["stage"],
        "trained_on": about["data"]["source"],
        "options": options,
        "without_effect": _without_effect(options, built["options"]),
        "parameters": count_parameters(generator),
        "macs": count_macs(generator, MACS_SIZE),
        **read_training(path.parent / "metrics.jsonl", about["effective_batch"], about["step"]),
    }


def _without_effect(options: Mapping[str, Any], built: Mapping[str, Any]) -> list[str]:
    """Options that change nothing, given the others.

    Args:
        built: what the generator was built with.
    """
    game = options["loss.gan"] or options["loss.feature_matching"]
    idle = [name for name in options if name.startswith("generator.") and name.removeprefix("generator.") not in built]
    if not options["loss.perceptual"]:
        idle += ["loss.perceptual_network", "loss.perceptual_weights"]
    if not game:
        idle += [name for name in options if name.startswith("discriminator.")]
        idle += ["data.real_saturation", "loss.gan_mode", "loss.gradient_penalty", "loss.r1", "optim.lr_d"]
    if "backbone" not in built or built.get("freeze_backbone"):
        idle += ["optim.backbone_lr"]
    return idle


def read_training(record: Path, effective_batch: int, until: int) -> dict[str, Any]:
    """Of a run's metrics.jsonl up to a step: "photographs_per_second" in training of the generator (median), "seconds"
    of training (evaluation left out), and "curves", metric -> [[step, value], ...] of the evaluations."""
    if not record.is_file():
        return {}
    text = record.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]  # a kill may tear the last
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
    """gancolor's and those of the packages that figures may depend on."""
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
