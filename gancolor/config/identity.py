"""Configurations as flat options under the names of their flags, and the options that identify a run."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from gancolor.config.options import TrainConfig

# Options that may change when a run is resumed. None of them affects what a step computes, except epochs, which sets
# the end (and so stretches the learning rates' decay). The file of --init may move: its sha256 identifies it.
CHANGEABLE = ("out", "init", "epochs", "checkpoint_every", "keep_freed_memory", "data.cache", "data.on_device")
CHANGEABLE_GROUPS = ("eval.", "lpips.", "tracking.")


def flatten(config: Any) -> dict[str, Any]:
    """Flatten a configuration (or its nested dictionaries) to flag names: {"seed": 0, "data.size": 256, ...}."""

    def walk(node: dict[str, Any], prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, value in node.items():
            flat |= walk(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return flat

    return walk(config if isinstance(config, dict) else to_dict(config), "")


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a configuration to nested dictionaries of plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def fixed_options(config: TrainConfig) -> dict[str, Any]:
    """Return the options that must stay the same from a run's first step to its last."""
    return {name: value for name, value in flatten(config).items() if not is_changeable(name)}


def is_changeable(name: str) -> bool:
    """Return whether an option may change when a run is resumed."""
    return name in CHANGEABLE or name.startswith(CHANGEABLE_GROUPS)


def default_out(config: TrainConfig) -> str:
    """Return the default run folder; the same command always gets the same folder."""
    digest = hashlib.sha256(json.dumps(fixed_options(config), sort_keys=True).encode()).hexdigest()[:6]
    source = re.sub(r"[^\w.-]+", "_", Path(config.data.source).name) or "photographs"
    return f"runs/{config.arch}-{source}-{config.data.size}-{digest}"


def save_yaml(config: Any, path: Path) -> None:
    path.write_text(yaml.safe_dump(to_dict(config), sort_keys=False), encoding="utf-8")
