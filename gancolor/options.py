"""A configuration as options: by the names of their flags, and what of them makes a run the run that it is."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from gancolor.config import TrainConfig

# Options that a resumed run may be given anew: none of them changes what a step computes, but epochs, which say where
# to stop (and so stretch the learning rates' decay). The file of --init may lie elsewhere: it is known by its sha256.
CHANGEABLE = ("out", "init", "epochs", "checkpoint_every", "data.cache", "data.on_device")
CHANGEABLE_GROUPS = ("eval.", "lpips.", "tracking.")


def flatten(config: Any) -> dict[str, Any]:
    """A configuration (or its nested dictionaries) by flag names: {"seed": 0, "data.size": 256, ...}."""

    def walk(node: dict[str, Any], prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in node.items():
            flat |= walk(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return flat

    return walk(config if isinstance(config, dict) else to_dict(config), "")


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as nested dictionaries of plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def fixed_options(config: TrainConfig) -> dict[str, Any]:
    """The flags that a run keeps from its first step to its last."""
    return {name: value for name, value in flatten(config).items() if not is_changeable(name)}


def is_changeable(name: str) -> bool:
    """Whether a resumed run may be given another value of the option."""
    return name in CHANGEABLE or name.startswith(CHANGEABLE_GROUPS)


def default_out(config: TrainConfig) -> str:
    """The run folder of a command that names none: the same command, the same folder."""
    digest = hashlib.sha256(json.dumps(fixed_options(config), sort_keys=True).encode()).hexdigest()[:6]
    source = re.sub(r"[^\w.-]+", "_", Path(config.data.source).name) or "photographs"
    return f"runs/{config.arch}-{source}-{config.data.size}-{digest}"


def save_yaml(config: Any, path: Path) -> None:
    path.write_text(yaml.safe_dump(to_dict(config), sort_keys=False), encoding="utf-8")
