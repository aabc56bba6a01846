"""Metadata of exported files: the fields listed here, and nothing else about the machine that made the file."""

import re
from collections.abc import Mapping
from typing import Any

from gancolor.inference.bundled import BUNDLED

KEPT = (
    "generator", "data", "config", "effective_batch", "step", "stage", "metrics", "grey", "init_sha256",
    "trained_on", "interpolated",
)  # fmt: skip
KEPT_OPTIONS = (
    "arch", "init_sha256", "epochs", "pretrain_epochs", "critic_epochs", "seed", "precision",
    "data", "generator", "discriminator", "hints", "loss", "optim",
)  # fmt: skip
PUBLISHED_WEIGHTS = ("imagenet", "random")  # any other value is a file's path
HUB_DATA_SET = re.compile(r"hf(-stream)?:[^/\\~.][^/\\]*(/[^/\\]+)?")  # hf:OWNER/NAME, but not hf:/a/folder


def public_description(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a checkpoint's metadata that may be published: no folders, file paths or accounts. A folder of
    photographs is reduced to its last name; a data set's name on the Hugging Face Hub is kept."""
    kept = {name: about[name] for name in KEPT if name in about}
    kept["trained_with"] = about.get("trained_with", about.get("version"))
    if not isinstance(kept.get("config", {}), dict):
        del kept["config"]
    if "config" in kept:
        config = {name: kept["config"][name] for name in KEPT_OPTIONS if name in kept["config"]}
        if isinstance(config.get("data"), dict):
            config["data"] = {name: value for name, value in config["data"].items() if name != "cache"}
        if kept["config"].get("init") == BUNDLED:  # any other value is a path
            config["init"] = BUNDLED
        kept["config"] = config
    return _without_paths(kept)


def last_name(path: str) -> str:
    """Return the last name in a path of any system: "scenes" for /data/scenes/ and C:\\data\\scenes. Names on the Hub
    are returned unchanged."""
    return public_parts(path)[-1]


def public_parts(source: str) -> list[str]:
    """Return the names in the path of a source of photographs."""
    if HUB_DATA_SET.fullmatch(source):
        return [source]
    return [name for name in re.split(r"[/\\]", source) if name] or ["photographs"]


def _without_paths(node: Any, key: str = "") -> Any:
    if isinstance(node, dict):
        return {name: _without_paths(value, name) for name, value in node.items()}
    if isinstance(node, list):
        return [_without_paths(each, key) for each in node]
    if key == "source" and isinstance(node, str):
        return last_name(node)
    if key.endswith("_weights") and node not in PUBLISHED_WEIGHTS:
        return "file"
    return node
